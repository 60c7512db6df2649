"""First stage: segmentation and convolution layer, the recurrent layer's cold start, from single slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lvedge.indices import Label
from lvedge.network.config import NetworkConfig
from lvedge.network.model import LeftVentricleNetwork
from lvedge.training.augment import AugmentConfig, SeenSlice, jittered_view, seen_through
from lvedge.training.checkpoint import config_as_dict
from lvedge.training.loop import LoopConfig, Losses, train
from lvedge.training.losses import (
    LossWeights,
    cross_entropy,
    septum_loss,
    soft_dice_loss,
    tolerances,
    value_loss,
)
from lvedge.training.negatives import cut_across, elsewhere, other_pictures
from lvedge.training.precision import perceive
from lvedge.training.slices import PreparedSlice

NAME = "perception"


@dataclass(frozen=True)
class Mix:
    """Share of each kind of slice in a batch; the rest is acdc with an LV.

    Args:
        york: frames of york.
        empty: acdc slices without an LV.
        other: what is no slice of a heart at all: elsewhere in the frame, cut across the stack, other organs.
    """

    york: float = 0.15
    empty: float = 0.12
    other: float = 0.05


@dataclass(frozen=True)
class SliceBatch:
    """Seen slices: pictures [B, 1, S, S], maps [B, 3, S, S], values [B, L], septum [B, 2], has_rv [B]."""

    pictures: Tensor
    maps: Tensor
    values: Tensor
    septum: Tensor
    has_rv: Tensor

    @classmethod
    def of(cls, seen: list[SeenSlice]) -> SliceBatch:
        return cls(
            torch.from_numpy(np.stack([s.picture for s in seen])[:, None]).float(),
            torch.from_numpy(np.stack([s.maps for s in seen])).float(),
            torch.from_numpy(np.stack([s.values_px for s in seen])).float(),
            torch.from_numpy(np.stack([s.septum for s in seen])).float(),
            torch.tensor([s.has_rv for s in seen]),
        )

    @classmethod
    def as_they_are(cls, slices: list[PreparedSlice], config: NetworkConfig) -> SliceBatch:
        """Slices through their hand-made views."""
        views = [p.view(config.view_px, config.view_mm_per_px) for p in slices]
        return cls.of([seen_through(p, v, config.layout) for p, v in zip(slices, views, strict=True)])


class SliceSampler:
    """Draws batches from the kinds of slices; a subject of york counts as one, however many frames it has.

    Args:
        slices: prepared slices of acdc and york.
        mix: share of each kind.
        other: pictures that show no short-axis LV.
    """

    def __init__(self, slices: list[PreparedSlice], mix: Mix, other: Sequence[PreparedSlice] = ()) -> None:
        self.mix = mix
        self.other = list(other)
        self.with_lv = [s for s in slices if s.sample.source == "acdc" and s.sample.has_lv]
        self.empty = [s for s in slices if s.sample.source == "acdc" and not s.sample.has_lv]
        york: dict[str, list[PreparedSlice]] = {}
        for prepared in slices:
            if prepared.sample.source == "york":
                york.setdefault(prepared.sample.subject, []).append(prepared)
        self.york = list(york.values())

    def draw(self, rng: np.random.Generator) -> PreparedSlice:
        chance = rng.random()
        if self.york and (chance < self.mix.york or not self.with_lv):
            subject = self.york[rng.integers(len(self.york))]
            return subject[rng.integers(len(subject))]
        if chance < self.mix.york + self.mix.empty and self.empty:
            return self.empty[rng.integers(len(self.empty))]
        if chance > 1.0 - self.mix.other and self.other:
            if rng.random() < 1 / 3:
                return elsewhere(self.with_lv[rng.integers(len(self.with_lv))], rng)
            return self.other[rng.integers(len(self.other))]
        return self.with_lv[rng.integers(len(self.with_lv))]

    def batch(
        self, size: int, config: NetworkConfig, augment: AugmentConfig, rng: np.random.Generator
    ) -> SliceBatch:
        """So many drawn slices, each through a view and under a contrast of its own."""
        seen = []
        for _ in range(size):
            prepared = self.draw(rng)
            view = jittered_view(prepared, config.view_px, config.view_mm_per_px, augment, rng)
            seen.append(seen_through(prepared, view, config.layout, augment, rng))
        return SliceBatch.of(seen)

    @classmethod
    def of_training(cls, slices: list[PreparedSlice], mix: Mix | None = None) -> SliceSampler:
        """Over training slices, with the pictures that show no short-axis LV beside them."""
        cuts = cut_across(p.sample for p in slices if p.sample.source == "acdc")
        return cls(slices, mix or Mix(), [*cuts, *other_pictures()])


def train_perception(
    slices: list[PreparedSlice],
    watched: list[PreparedSlice],
    folder: Path,
    loop: LoopConfig,
    config: NetworkConfig | None = None,
    augment: AugmentConfig | None = None,
    mix: Mix | None = None,
    weights: LossWeights | None = None,
    start: LeftVentricleNetwork | None = None,
) -> LeftVentricleNetwork:
    """Train on single slices, each a one-frame clip from the zero state.

    Args:
        slices: prepared slices of the training subjects.
        watched: prepared slices of the watched subjects, for the log.
        folder: where checkpoint and log go; a checkpoint there is resumed.
        loop: how long and how fast.
        config, augment, mix, weights: sizes, augmentation, mixture, loss weights; the defaults where None.
        start: a trained network to begin from, of the same sizes; from nothing where None. It stays as it is.

    Returns:
        The averaged network.
    """
    config = start.config if start is not None else config or NetworkConfig()
    augment = augment or AugmentConfig()
    weights = weights or LossWeights()
    torch.manual_seed(loop.seed)
    network = LeftVentricleNetwork(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None:
        network.load_state_dict(start.state_dict())
    tolerance = tolerances(config.layout, config.view_mm_per_px)
    sampler = SliceSampler.of_training(slices, mix)

    def losses_of_step(step: int) -> Losses:
        rng = np.random.default_rng((loop.seed, step))
        batch = sampler.batch(loop.batch, config, augment, rng)
        pictures = batch.pictures.to(memory_format=torch.channels_last)
        frame = perceive(network, pictures, loop.bfloat16)
        step_output = network.recur(frame.features, network.zero_state(loop.batch))
        return {
            "cross_entropy": weights.cross_entropy
            * cross_entropy(frame.mask_logits, batch.maps, batch.has_rv),
            "dice": weights.dice * soft_dice_loss(frame.mask_logits, batch.maps, batch.has_rv),
            "values": weights.values * value_loss(step_output.indices, batch.values, tolerance),
            "drawn": weights.drawn * value_loss(frame.drawn, batch.values, tolerance),
            "septum": weights.septum * septum_loss(frame.septum, batch.septum),
        }

    fixed = SliceBatch.as_they_are(watched, config)
    header = {"network_config": config_as_dict(config)}
    averaged = train(
        network, losses_of_step, lambda m: watch(m, fixed, config), loop, folder, NAME, header, start
    )
    if not isinstance(averaged, LeftVentricleNetwork):
        raise TypeError("the loop returned another module than it was given")
    return averaged


@torch.no_grad()
def watch(model: nn.Module, batch: SliceBatch, config: NetworkConfig) -> dict[str, float]:
    """Errors in mm and Dice of the cold network on watched slices, through the hand-made view."""
    if not isinstance(model, LeftVentricleNetwork) or not len(batch.pictures):
        return {}
    seen, out = model.step(batch.pictures, model.zero_state(len(batch.pictures)))
    layout, mm = config.layout, config.view_mm_per_px
    figures: dict[str, float] = {}
    for reading, values in (("regressed", out.indices), ("drawn", seen.drawn)):
        error = (values - batch.values).abs()
        for part, where, unit in (
            ("rwt_mm", layout.rwt, mm),
            ("dims_mm", layout.dims, mm),
            ("areas_mm2", layout.areas, mm * mm),
        ):
            figures[f"{reading}_{part}"] = float(error[:, where].nanmean()) * unit
    figures |= mean_dice(seen.mask_logits, batch.maps)
    known = torch.isfinite(batch.septum[:, 0])
    cosine = (seen.septum * batch.septum).sum(dim=1)[known].clamp(-1, 1)
    figures["septum_deg"] = float(torch.rad2deg(torch.acos(cosine)).median())
    return figures


def mean_dice(logits: Tensor, maps: Tensor) -> dict[str, float]:
    """Dice of cavity and myocardium, mean over slices.

    Args:
        logits: [B, 4, S, S].
        maps: [B, 3, S, S] membership of RV, myocardium, cavity.
    """
    labels = logits.argmax(dim=1)
    figures = {}
    for label, name in ((Label.CAVITY, "cavity"), (Label.MYOCARDIUM, "myocardium")):
        drawn, found = maps[:, label - 1] > 0.5, labels == label
        both = (drawn & found).sum(dim=(1, 2))
        figures[f"dice_{name}"] = float((2.0 * both / (drawn.sum(dim=(1, 2)) + found.sum(dim=(1, 2)))).mean())
    return figures
