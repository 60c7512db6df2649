"""The whole network, top to bottom: a frame through the four layers, one step of a cine.

view [B, 1, S, S]
  └─ segmentation layer ──▶ feature map, mask
       ├─ convolution layer ──▶ feature vector ─┐
       └─ polar reading of the mask ────────────┴─▶ features [B, F] (the shared hidden layer of claim 7)
            └─ recurrent layer ──▶ L values (first LSTM), hidden state (second LSTM)
                 └─ classification layer ──▶ phase
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lvedge.indices import AREA_NAMES
from lvedge.network.classification import ClassificationLayer
from lvedge.network.config import NetworkConfig
from lvedge.network.convolution import ConvolutionLayer
from lvedge.network.polar import PolarReading
from lvedge.network.recurrent import RecurrentLayer, RecurrentState
from lvedge.network.segmentation import SegmentationLayer


class FrameOutput(NamedTuple):
    """What the first two layers give for a frame, before any memory."""

    mask_logits: Tensor  # [B, 4, S, S]
    features: Tensor  # [B, F]
    drawn: Tensor  # [B, L] the polar reading, view pixels
    septum: Tensor  # [B, 2] direction of mid-septum in the view


class StepOutput(NamedTuple):
    """What one step of the recurrent and the classification layer gives."""

    indices: Tensor  # [B, L] view pixels and square view pixels
    phase_logits: Tensor  # [B, 2] diastole, systole
    state: RecurrentState


class LeftVentricleNetwork(nn.Module):
    """Segmentation, convolution, recurrent and classification layer of CN110731777A."""

    scale: Tensor
    offset: Tensor

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        self.segmentation = SegmentationLayer(self.config)
        self.convolution = ConvolutionLayer(self.segmentation.outputs, self.config)
        self.shared = nn.Sequential(
            nn.Linear(self.convolution.outputs, self.config.shared), nn.ReLU(inplace=True)
        )
        self.polar = PolarReading(self.config)
        self.features = self.config.layout.size + len(AREA_NAMES) + self.polar.outputs + self.config.shared
        self.recurrent = RecurrentLayer(self.features, self.config)
        self.classification = ClassificationLayer(self.config)
        layout = self.config.layout
        # Typical mean and spread of the values in view pixels (5 mm, 30 mm, 1000 mm² at 1.5 mm a pixel).
        scale, offset = torch.ones(layout.size), torch.zeros(layout.size)
        scale[layout.rwt], offset[layout.rwt] = 2.0, 6.0
        scale[layout.dims], offset[layout.dims] = 8.0, 30.0
        scale[layout.areas], offset[layout.areas] = 350.0, 700.0
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)

    def perceive(self, frame: Tensor) -> FrameOutput:  # [B, 1, S, S]
        """A frame through the segmentation and the convolution layer."""
        feature_map, mask_logits = self.segmentation(frame)
        return self.read(mask_logits, self.convolution(feature_map))

    def read(self, mask_logits: Tensor, vector: Tensor) -> FrameOutput:  # [B, 4, S, S], [B, V]
        """What both layers have found, as one feature vector beside its geometry."""
        drawn, septum, geometry = self.polar(torch.softmax(mask_logits, dim=1))
        standard = (drawn - self.offset) / self.scale  # [B, L]
        logs = torch.log(drawn[:, self.config.layout.areas] * 0.002 + 0.02)  # equal steps for equal ratios
        features = torch.cat([standard, logs, geometry, self.shared(vector)], dim=1)
        return FrameOutput(mask_logits, features, drawn, septum)

    def recur(self, features: Tensor, state: RecurrentState) -> StepOutput:  # [B, F]
        """A feature vector through the recurrent and the classification layer."""
        standard = features[:, : self.config.layout.size]
        values, hidden, after = self.recurrent(features, standard, state)
        return StepOutput(values * self.scale + self.offset, self.classification(hidden), after)

    def step(self, frame: Tensor, state: RecurrentState) -> tuple[FrameOutput, StepOutput]:
        """One frame through all four layers."""
        seen = self.perceive(frame)
        return seen, self.recur(seen.features, state)

    def forward(self, clip: Tensor) -> tuple[list[FrameOutput], list[StepOutput]]:  # [B, T, 1, S, S]
        """A whole clip from the zero state."""
        state = self.recurrent.zero_state(clip.shape[0], clip)
        seen, steps = [], []
        for t in range(clip.shape[1]):
            frame_output, step_output = self.step(clip[:, t], state)
            seen.append(frame_output)
            steps.append(step_output)
            state = step_output.state
        return seen, steps

    def zero_state(self, batch: int = 1) -> RecurrentState:
        """The state before the first frame."""
        return self.recurrent.zero_state(batch, self.scale)
