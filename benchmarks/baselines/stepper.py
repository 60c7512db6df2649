"""Baselines as steppers: lvedge's locator places the view, lvedge's measurer walks, the baseline answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from benchmarks.baselines.regression import VIEW, FrameRegression
from lvedge.contract import ContractShapes, Floats, ReplayResult, State, StepResult
from lvedge.errors import DataError
from lvedge.network.config import NetworkConfig, contract_shapes
from lvedge.network.locator import Locator
from lvedge.network.recurrent import RecurrentState
from lvedge.reading import MaskReading, read_mask
from lvedge.training.stepper import TorchStepper


class MaskStepper:
    """A network that gives nothing but a mask; the values are the mask's geometric reading.

    It keeps no state and knows no phase: both phases are equally likely, whatever it is shown.

    Args:
        network: pictures [B, 1, S, S] to mask logits [B, 4, S, S].
        locator: lvedge's, in evaluation mode.
        config: the view.
    """

    def __init__(self, network: nn.Module, locator: Locator, config: NetworkConfig) -> None:
        self._network = network.eval()
        self._locator = locator.eval()
        stateless = replace(config, regression_state=1, phase_state=1)
        self._shapes = contract_shapes(stateless, config.layout.size, locator.config)

    @property
    def shapes(self) -> ContractShapes:
        return self._shapes

    @torch.no_grad()
    def step(self, frame: Floats, state: State) -> StepResult:
        mask: Floats = torch.softmax(self._network(torch.from_numpy(frame)), dim=1).numpy()
        features = np.stack([self._read(one) for one in mask])
        again = self.replay(features, state)
        return StepResult(again.indices, again.phase, mask, features, again.state)

    def replay(self, features: Floats, state: State) -> ReplayResult:
        return ReplayResult(features.copy(), np.full((len(features), 2), 0.5, np.float32), state)

    @torch.no_grad()
    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        points, confidence = self._locator(torch.from_numpy(frame))
        return points.numpy(), confidence.numpy()

    def _read(self, mask: Floats) -> Floats:
        """Values of a mask [4, S, S] in view pixels; 0 where it shows no LV, as the measurer finds itself."""
        layout, mm_per_px = self._shapes.layout, self._shapes.view_mm_per_px
        reading = read_mask(mask, mm_per_px, layout)
        if not isinstance(reading, MaskReading):
            return np.zeros(layout.size, np.float32)
        in_px: Floats = (reading.indices.vector / mm_per_px ** layout.unit_power()).astype(np.float32)
        return in_px


class RegressionStepper:
    """A network that gives values and phase but draws nothing: lvedge's own mask holds the view for it.

    Args:
        network: the regression.
        own: lvedge's network and locator.

    Raises:
        DataError: if lvedge's network reads another view.
    """

    def __init__(self, network: FrameRegression, own: TorchStepper) -> None:
        self._network = network.eval()
        self._own = own
        config = network.config
        seen = own.shapes.view_px, own.shapes.view_mm_per_px
        if seen != (VIEW.view_px, VIEW.view_mm_per_px):
            raise DataError(
                f"lvedge's network sees {seen[0]} pixels of {seen[1]} mm: train it with the usual view"
            )
        self._shapes = replace(
            own.shapes,
            regression_state=config.hidden,
            phase_state=config.hidden,
            features=config.features,
        )

    @property
    def shapes(self) -> ContractShapes:
        return self._shapes

    @torch.no_grad()
    def step(self, frame: Floats, state: State) -> StepResult:
        mask = self._own.step(frame, State.zeros(self._own.shapes, len(frame))).mask
        features = self._network.features(torch.from_numpy(frame)).numpy()
        again = self.replay(features, state)
        return StepResult(again.indices, again.phase, mask, features, again.state)

    @torch.no_grad()
    def replay(self, features: Floats, state: State) -> ReplayResult:
        before = RecurrentState(*(torch.from_numpy(array) for array in state.as_inputs().values()))
        out = self._network.recur(torch.from_numpy(features), before)
        phase: Floats = torch.softmax(out.phase_logits, dim=1).numpy()
        return ReplayResult(out.indices.numpy(), phase, State(*(tensor.numpy() for tensor in out.state)))

    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        return self._own.locate(frame)
