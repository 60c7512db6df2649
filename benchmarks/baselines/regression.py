"""A plain CNN that regresses the 11 values, two parallel LSTMs over the frames: in the manner of FullLVNet.

After Xue et al. (MICCAI 2017, arXiv 1705.09307) and their DMTRL: no mask anywhere; five convolution + pool
layers embed a frame, one LSTM leads to the values and a second one to the phase. Trained in two steps: the
embedding from stills, then both LSTMs from clips. The sizes are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lvedge.network.config import NetworkConfig
from lvedge.network.model import FrameOutput, LeftVentricleNetwork, StepOutput
from lvedge.network.recurrent import RecurrentState
from lvedge.network.segmentation import convolution
from lvedge.training.augment import AugmentConfig
from lvedge.training.checkpoint import of_this_version, read_checkpoint
from lvedge.training.clips import Clip
from lvedge.training.loop import LoopConfig, Losses, train
from lvedge.training.losses import LossWeights, tolerances, value_loss
from lvedge.training.perception import SliceBatch, SliceSampler
from lvedge.training.recurrence import ClipMix, by_source, clip_losses, draw_clips
from lvedge.training.slices import PreparedSlice

STILLS, CLIPS = "stills", "clips"
VIEW = NetworkConfig()
CLIP_MIX = ClipMix(seen=0.0)
"""As lvedge's, but the phase follows the experts' contours alone: there is no drawn area to follow."""

ABOUT = (
    "a plain CNN (five convolution + pool layers) regressing the 11 values, with one LSTM to the values and "
    "one to the phase, in the manner of FullLVNet and DMTRL (arXiv 1705.09307); the embedding trained on "
    "the same slices, sampler, augmentation, schedule and averaging as lvedge's perception stage for the "
    "same core-seconds, both LSTMs on the same clips as lvedge's recurrence stage; it draws no mask, so "
    "lvedge's own locator and mask place the view and say whether there is an LV, and its Dice, coverage, "
    "centre and septum are lvedge's"
)


@dataclass(frozen=True)
class RegressionConfig:
    """Sizes of the network.

    Args:
        channels: of the five convolution + pool layers.
        kernel: side of their kernels.
        features: length of a frame's feature vector.
        hidden: width of each LSTM.
    """

    channels: tuple[int, ...] = (32, 64, 96, 128, 128)
    kernel: int = 5
    features: int = 128
    hidden: int = 128


class FrameRegression(nn.Module):
    """Frames to the 11 values and the phase, with memory.

    Args:
        config: sizes.
        mean, spread: [L] of the values in view pixels, which the output is scaled by.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self, config: RegressionConfig, mean: Tensor | None = None, spread: Tensor | None = None
    ) -> None:
        super().__init__()
        self.config = config
        layers, inputs, size = list[nn.Module](), 1, VIEW.view_px
        for outputs in config.channels:
            layers += [convolution(inputs, outputs, config.kernel), nn.MaxPool2d(2)]
            inputs, size = outputs, size // 2
        self.embedding = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(inputs * size * size, config.features), nn.ReLU(inplace=True)
        )
        length = VIEW.layout.size
        self.regression = nn.LSTM(config.features, config.hidden, batch_first=True)
        self.values = nn.Linear(config.hidden, length)
        self.phase = nn.LSTM(config.features, config.hidden, batch_first=True)
        self.classification = nn.Linear(config.hidden, 2)
        self.register_buffer("mean", torch.zeros(length) if mean is None else mean)
        self.register_buffer("spread", torch.ones(length) if spread is None else spread)

    def features(self, frames: Tensor) -> Tensor:  # [B, 1, S, S]
        """A feature vector a frame."""
        embedded: Tensor = self.embedding(frames)
        return embedded  # [B, F]

    def over(self, clips: Tensor, state: RecurrentState | None = None) -> StepOutput:  # [B, T, F]
        """Clips through both LSTMs: values [B, T, L] in view pixels, logits [B, T, 2], the state after."""
        state = self.zero_state(len(clips)) if state is None else state
        h, after = self.regression(clips, (state.h_regression[None], state.c_regression[None]))
        hp, after_phase = self.phase(clips, (state.h_phase[None], state.c_phase[None]))
        values = self.values(h) * self.spread + self.mean
        last = RecurrentState(*(s[0] for s in (*after, *after_phase)))
        return StepOutput(values, self.classification(hp), last)

    def recur(self, features: Tensor, state: RecurrentState) -> StepOutput:  # [B, F]
        """One frame's feature vector: values [B, L], phase logits [B, 2], the state after."""
        values, phase, after = self.over(features[:, None], state)
        return StepOutput(values[:, 0], phase[:, 0], after)

    def zero_state(self, batch: int) -> RecurrentState:
        """The state before the first frame."""
        zeros = self.mean.new_zeros(batch, self.config.hidden)
        return RecurrentState(zeros, zeros, zeros, zeros)


class SeptumAndFeatures:
    """A perceiver of clips: the regression's feature vectors, mid-septum as lvedge's network sees it.

    york has no RV drawn, so that the truth of its sectors needs somebody who sees the septum.

    Args:
        network: whose feature vectors are wanted.
        own: lvedge's network.
    """

    def __init__(self, network: FrameRegression, own: LeftVentricleNetwork) -> None:
        self._network = network.eval()
        self._own = own.eval()

    @property
    def config(self) -> NetworkConfig:
        return self._own.config

    def perceive(self, frame: Tensor) -> FrameOutput:
        return self._own.perceive(frame)._replace(features=self._network.features(frame))


def scale_of(slices: Sequence[PreparedSlice]) -> tuple[Tensor, Tensor]:
    """Mean and spread of the true values in view pixels, [L] each."""
    power = VIEW.view_mm_per_px ** VIEW.layout.unit_power()
    values = np.stack([p.values_mm / power for p in slices if p.sample.has_spacing])
    return torch.from_numpy(np.nanmean(values, axis=0)).float(), torch.from_numpy(
        np.nanstd(values, axis=0)
    ).float()


def train_stills(
    slices: list[PreparedSlice],
    watched: list[PreparedSlice],
    folder: Path,
    loop: LoopConfig,
    config: RegressionConfig | None = None,
) -> FrameRegression:
    """First step: the embedding and the cold values, from stills; arguments as for ``train_perception``."""
    config = config or RegressionConfig()
    torch.manual_seed(loop.seed)
    network = FrameRegression(config, *scale_of(slices)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in (network.phase, network.classification):
        layer.requires_grad_(False)
    sampler, augment, weights = SliceSampler.of_training(slices), AugmentConfig(), LossWeights()
    tolerance = tolerances(VIEW.layout, VIEW.view_mm_per_px)

    def losses_of_step(step: int) -> Losses:
        batch = sampler.batch(loop.batch, VIEW, augment, np.random.default_rng((loop.seed, step)))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=loop.bfloat16):
            features = network.features(batch.pictures.to(memory_format=torch.channels_last))
        values = network.over(features.float()[:, None]).indices[:, 0]
        return {"values": weights.values * value_loss(values, batch.values, tolerance)}

    fixed = SliceBatch.as_they_are(watched, VIEW) if watched else None
    header = {"regression_config": asdict(config)}
    averaged = train(network, losses_of_step, lambda m: _watch(m, fixed), loop, folder, STILLS, header)
    return _regression(averaged)


def train_clips(
    network: FrameRegression, clips: list[Clip], folder: Path, loop: LoopConfig
) -> FrameRegression:
    """Second step: both LSTMs and what reads them, from clips of the frozen embedding's feature vectors."""
    torch.manual_seed(loop.seed)
    network.requires_grad_(True)
    network.embedding.requires_grad_(False)
    tolerance = tolerances(VIEW.layout, VIEW.view_mm_per_px)
    york, acdc = by_source(clips)

    def losses_of_step(step: int) -> Losses:
        rng = np.random.default_rng((loop.seed, step))
        batch = draw_clips(york, acdc, loop.batch, CLIP_MIX, rng)
        keep = torch.from_numpy(rng.random((loop.batch, 1, network.config.features)) >= CLIP_MIX.drop)
        said = network.over(batch.features * keep / (1.0 - CLIP_MIX.drop))
        return clip_losses(said.indices, said.phase_logits, batch, CLIP_MIX, tolerance)

    header = {"regression_config": asdict(network.config)}
    return _regression(train(network, losses_of_step, lambda _: {}, loop, folder, CLIPS, header))


def read_regression(checkpoint: Path) -> FrameRegression:
    """The averaged network of a checkpoint, in evaluation mode.

    Raises:
        DataError: if the file is missing, damaged or of something else.
    """
    content = read_checkpoint(checkpoint)
    with of_this_version(checkpoint):
        fields = dict(content["regression_config"])
        network = FrameRegression(RegressionConfig(**{**fields, "channels": tuple(fields["channels"])}))
        network.load_state_dict(content["weights"])
        return network.eval()


@torch.no_grad()
def _watch(network: nn.Module, batch: SliceBatch | None) -> dict[str, float]:
    """Errors of the averaged network's cold values on watched slices, through the hand-made view."""
    if batch is None:
        return {}
    said = _regression(network)
    error = (said.over(said.features(batch.pictures)[:, None]).indices[:, 0] - batch.values).abs()
    layout, mm = VIEW.layout, VIEW.view_mm_per_px
    return {
        "rwt_mm": float(error[:, layout.rwt].nanmean()) * mm,
        "dims_mm": float(error[:, layout.dims].nanmean()) * mm,
        "areas_mm2": float(error[:, layout.areas].nanmean()) * mm * mm,
    }


def _regression(module: nn.Module) -> FrameRegression:
    if not isinstance(module, FrameRegression):
        raise TypeError("the loop returned another module than it was given")
    return module
