"""Training of the locator on whole frames: any rotation, any place, several contrasts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lvedge.contract import LOCATOR_POINTS
from lvedge.indices import FloatArray
from lvedge.network.config import LocatorConfig
from lvedge.network.locator import Locator
from lvedge.training.augment import AugmentConfig, other_contrast
from lvedge.training.checkpoint import config_as_dict
from lvedge.training.loop import LoopConfig, Losses, train
from lvedge.training.perception import Mix, SliceSampler
from lvedge.training.slices import PreparedSlice
from lvedge.view import View, normalise

NAME = "locator"
SPOT_PX = 2.0
"""Spread of a point's spot on its map, input pixels (5.5 mm)."""

FRAME_AUGMENT = AugmentConfig(contrast=0.06, noise=0.06)


@dataclass(frozen=True)
class MarkedFrame:
    """A whole frame with its points.

    Args:
        picture: [P, P] float32 normalised.
        points: [3, 2] input pixels (x, y); NaN where a point is not there.
        judged: [3] whether the absence of a point is a fact that can be learned.
    """

    picture: NDArray[np.float32]
    points: FloatArray
    judged: NDArray[np.bool_]


def source_points(prepared: PreparedSlice) -> tuple[FloatArray, NDArray[np.bool_]]:
    """LV centre and RV insertions, [3, 2] source pixels, NaN where absent; whether absence is a fact, [3]."""
    points = np.full((len(LOCATOR_POINTS), 2), np.nan)
    sample = prepared.sample
    rays = sample.rays()
    if rays is not None:
        points[0] = rays.centre_px
        septum = sample.septum(rays)
        ends = septum.insertions_deg if septum is not None else None
        if ends is not None:
            for row, direction in zip((1, 2), ends, strict=True):
                points[row] = rays.point_px(direction, float(rays.epi_mm[round(direction) % 360]))
    return points, np.array([True, sample.has_rv, sample.has_rv])


def frame_view(prepared: PreparedSlice, config: LocatorConfig, rng: np.random.Generator | None) -> View:
    """The whole frame as the locator sees it; with a generator turned, moved, scaled and at times flipped."""
    rows, columns = prepared.sample.pixels.shape
    centre, turn, scale, mirrored = np.array([(columns - 1) / 2, (rows - 1) / 2]), 180.0, 1.0, False
    if rng is not None:
        turn += rng.uniform(-180, 180) if rng.random() < 0.6 else rng.normal(0, 15)
        centre = centre + rng.normal(0, 25.0, 2) / np.array(prepared.sample.spacing_mm[::-1])
        scale = (
            1 + rng.uniform(-0.35, 0.35) if not prepared.sample.has_spacing else np.exp(rng.normal(0, 0.13))
        )
        mirrored = bool(rng.random() < 0.25)
    return View(
        centre_px=(float(centre[0]), float(centre[1])),
        septum_deg=float(turn),
        spacing_mm=prepared.sample.spacing_mm,
        size_px=config.input_px,
        mm_per_px=config.mm_per_px / float(scale),
        mirrored=mirrored,
    )


def marked_frame(
    prepared: PreparedSlice,
    marks: tuple[FloatArray, NDArray[np.bool_]],
    config: LocatorConfig,
    rng: np.random.Generator | None = None,
) -> MarkedFrame:
    """A frame and its points in the locator's view."""
    view = frame_view(prepared, config, rng)
    warped = view.crop(prepared.layers.astype(np.float32)) * np.float32(1 / 255)
    picture = warped[..., 0]
    if rng is not None:
        maps = np.ascontiguousarray(warped[..., 1:].transpose(2, 0, 1))
        picture = other_contrast(picture, maps, FRAME_AUGMENT, rng)
    points = view.points_in_view(marks[0])
    if view.mirrored:
        points[[1, 2]] = points[[2, 1]]  # the clockwise end is called anterior
    points[((points < 2) | (points > config.input_px - 3)).any(axis=1)] = np.nan
    return MarkedFrame(normalise(picture), points, marks[1])


def spot_targets(points: Tensor, axis: Tensor) -> Tensor:
    """Where each point is, as a Gaussian spot that sums to 1, [B, 3, P/2, P/2]; anything where it is NaN."""
    spot = torch.nan_to_num(points)
    x = torch.softmax(-((axis - spot[..., :1]) ** 2) / (2 * SPOT_PX**2), dim=2)
    y = torch.softmax(-((axis - spot[..., 1:]) ** 2) / (2 * SPOT_PX**2), dim=2)
    return y[..., :, None] * x[..., None, :]


def train_locator(
    slices: list[PreparedSlice],
    watched: list[PreparedSlice],
    folder: Path,
    loop: LoopConfig,
    config: LocatorConfig | None = None,
    mix: Mix | None = None,
) -> Locator:
    """Train the locator; arguments as for ``train_perception``."""
    config = config or LocatorConfig()
    torch.manual_seed(loop.seed)
    model = Locator(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sampler = SliceSampler(slices, mix or Mix(york=0.25, empty=0.05))
    marks = {prepared.sample.key: source_points(prepared) for prepared in (*slices, *watched)}

    def losses_of_step(step: int) -> Losses:
        rng = np.random.default_rng((loop.seed, step))
        drawn = [sampler.draw(rng) for _ in range(loop.batch)]
        frames = [marked_frame(p, marks[p.sample.key], config, rng) for p in drawn]
        pictures, points, judged = _tensors(frames)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=loop.bfloat16):
            maps, presence = model.heat_maps(pictures.to(memory_format=torch.channels_last))
        maps, presence = maps.float(), presence.float()  # places are sums over many pixels
        known = torch.isfinite(points[..., 0])
        target = spot_targets(points, model.axis).flatten(2)
        spread = -(target * torch.log_softmax(maps.flatten(2), dim=2)).sum(dim=2)  # [B, 3]
        found, _ = model.points(maps, presence)
        error = torch.where(known[..., None], found - torch.nan_to_num(points), torch.zeros_like(found))
        distance = nn.functional.smooth_l1_loss(error, torch.zeros_like(error), beta=1.0, reduction="sum")
        there = nn.functional.binary_cross_entropy_with_logits(
            presence, known.float(), weight=(known | judged).float()
        )
        count = known.sum().clamp(min=1)
        return {
            "spread": 0.3 * (spread * known).sum() / count,
            "distance": 0.05 * distance / count,
            "presence": 0.3 * there,
        }

    fixed = _tensors([marked_frame(p, marks[p.sample.key], config) for p in watched])

    @torch.no_grad()
    def watch(averaged: nn.Module) -> dict[str, float]:
        pictures, points, _ = fixed
        found, _ = averaged(pictures)
        miss_mm = (found - points).norm(dim=2) * config.mm_per_px
        known = torch.isfinite(miss_mm[:, 0])
        return {
            "centre_mm": float(miss_mm[known, 0].median()),
            "centre_within_6mm": float((miss_mm[known, 0] <= 6).float().mean()),
            "insertion_mm": float(miss_mm[:, 1:].nanmedian()),
        }

    header = {"locator_config": config_as_dict(config)}
    averaged = train(model, losses_of_step, watch, loop, folder, NAME, header)
    if not isinstance(averaged, Locator):
        raise TypeError("the loop returned another module than it was given")
    return averaged


def _tensors(frames: list[MarkedFrame]) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.from_numpy(np.stack([f.picture for f in frames])[:, None]).float(),
        torch.from_numpy(np.stack([f.points for f in frames])).float(),
        torch.from_numpy(np.stack([f.judged for f in frames])),
    )
