"""Clips for the recurrent layer, as feature vectors: perceived once, then played at any rate from any frame.

The segmentation and convolution layers are frozen in this stage and see one frame at a time, so a clip is
a walk over feature vectors. york's slices hold a whole beat; acdc's hold the way from ED to ES, walked
there and back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lvedge.geometry import indices_from_rays
from lvedge.indices import FloatArray
from lvedge.network.config import NetworkConfig
from lvedge.network.model import FrameOutput
from lvedge.phase import end_frames, is_systole
from lvedge.training.augment import AugmentConfig, jittered_view, seen_through
from lvedge.training.data.sample import Sample
from lvedge.training.motion import motion_between
from lvedge.training.slices import PreparedSlice, prepare
from lvedge.view import View

BEAT_FRAMES = 20
LEVELS = 7
"""States between ED and ES at which an acdc slice is perceived."""

GRAIN = 0.04


class Perceiver(Protocol):
    """What makes feature vectors of pictures: lvedge's network, or one that is compared with it."""

    @property
    def config(self) -> NetworkConfig:
        """The view that it reads, and M and N."""

    def perceive(self, frame: Tensor) -> FrameOutput:
        """Pictures [B, 1, S, S] to feature vectors and the direction of mid-septum."""


@dataclass(frozen=True)
class Clip:
    """One slice under one augmentation.

    Args:
        source: data set.
        subject: subject within it.
        features: [n, F] float32, one vector a frame (york) or a state between ED and ES (acdc).
        values: [n, L] float32 truth in view pixels, NaN where unknown.
        ed: frame of end diastole (york), 0 for acdc.
        es: frame of end systole (york), n − 1 for acdc.
    """

    source: str
    subject: str
    features: Tensor
    values: Tensor
    ed: int
    es: int


@dataclass(frozen=True)
class Walk:
    """How a clip is played: positions among its feature vectors, with the truth on the way.

    Args:
        positions: [T] fractional index into the clip's vectors (cyclic for york).
        systole: [T] phase truth.
        true_values: [T] whether the values at this frame are true, not interpolated.
    """

    positions: FloatArray
    systole: NDArray[np.bool_]
    true_values: NDArray[np.bool_]

    def from_frame(self, first: int) -> Walk:
        """The same walk, begun at another frame and closed cyclically."""
        return Walk(
            positions=np.roll(self.positions, -first),
            systole=np.roll(self.systole, -first),
            true_values=np.roll(self.true_values, -first),
        )


def york_walk(
    clip: Clip, frames: int, beats: int, start: float, timing: tuple[NDArray[np.float64], ...] = ()
) -> Walk:
    """A york beat played ``beats`` times with ``frames`` frames each, from any position.

    Args:
        clip: of york.
        frames: frames a beat.
        beats: how often it is played.
        start: position that is played first.
        timing: (swing, shift) of ``other_timing``: the beat of a heart that keeps another time.
    """
    places = np.arange(frames * beats, dtype=np.float64)
    positions: FloatArray = start + places * (BEAT_FRAMES / frames)
    if timing:
        swing, shift = timing
        harmonic = np.arange(1, swing.size + 1)
        angle = 2 * np.pi * positions[:, None] / BEAT_FRAMES
        offset = swing / harmonic * np.sin(angle * harmonic + shift)
        positions = positions + offset.sum(axis=1) * (BEAT_FRAMES / (2 * np.pi))
    positions = positions % BEAT_FRAMES
    systole = is_systole(positions, clip.ed, clip.es, BEAT_FRAMES)
    return Walk(positions, systole, np.ones(positions.size, dtype=bool))


def other_timing(rng: np.random.Generator, most: float) -> tuple[NDArray[np.float64], ...]:
    """Another speed along the beat: swing and shift of two harmonics, each [2].

    Args:
        rng: draws them.
        most: largest change of speed by each harmonic; under 0.5, so that time never runs backwards.
    """
    return rng.uniform(-most, most, 2), rng.uniform(0.0, 2 * np.pi, 2)


def acdc_walk(frames: int, beats: int, start: int, rng: np.random.Generator) -> Walk:
    """From ED to ES and back along a physiological curve; the values are true at those two frames only.

    Systole takes 28 to 45 % of the beat; filling has an early part, a rest and an atrial kick.
    """
    es = int(np.clip(round(frames * rng.uniform(0.28, 0.45)), 1, frames - 1))
    early, early_end = rng.uniform(0.6, 0.88), rng.uniform(0.3, 0.55)
    kick_start = rng.uniform(0.7, 0.85)
    t = np.arange(frames, dtype=np.float64)
    up = 0.5 - 0.5 * np.cos(np.pi * np.minimum(t / es, 1.0))
    filling = np.clip((t - es) / (frames - es), 0.0, 1.0)
    rapid = 0.5 - 0.5 * np.cos(np.pi * np.clip(filling / early_end, 0.0, 1.0))
    slow = 0.05 * filling
    kick = 0.5 - 0.5 * np.cos(np.pi * np.clip((filling - kick_start) / (1.0 - kick_start), 0.0, 1.0))
    down = 1.0 - (early * rapid + slow + (0.95 - early) * kick)
    contraction = np.where(t <= es, up, np.clip(down, 0.0, 1.0))
    order = (start + np.arange(frames * beats)) % frames
    return Walk(
        positions=contraction[order] * (LEVELS - 1),
        systole=is_systole(order, 0, es, frames),
        true_values=(order == 0) | (order == es),
    )


def played(clip: Clip, walk: Walk) -> tuple[Tensor, Tensor]:
    """Features [T, F] and values [T, L] along a walk; values NaN where they are not true."""
    count = clip.features.shape[0]
    below = np.floor(walk.positions).astype(int)
    share = torch.from_numpy(walk.positions - below).float()[:, None]
    above = (below + 1) % count if clip.source == "york" else np.minimum(below + 1, count - 1)
    features = clip.features[below] * (1 - share) + clip.features[above] * share
    # Beside a true frame lies an unknown one (acdc): take the true one where the position is whole.
    values = torch.where(
        share > 0, clip.values[below] * (1 - share) + clip.values[above] * share, clip.values[below]
    )
    values[~torch.from_numpy(walk.true_values)] = float("nan")
    return features, values


@torch.no_grad()
def perceived(network: Perceiver, pictures: list[NDArray[np.float32]]) -> Tensor:
    """Feature vectors [n, F] of normalised views."""
    parts = []
    for k in range(0, len(pictures), 32):
        batch = torch.from_numpy(np.stack(pictures[k : k + 32])[:, None]).to(
            memory_format=torch.channels_last
        )
        parts.append(network.perceive(batch).features)
    return torch.cat(parts)


def york_clips(
    network: Perceiver,
    samples: Sequence[Sample],
    versions: int,
    augment: AugmentConfig | None,
    seed: int,
) -> list[Clip]:
    """Whole beats of york's complete slices.

    york has no RV drawn: the network itself says where mid-septum is, once for the slice, and the truth's
    sectors are counted from there.

    Args:
        network: the perceiving network.
        samples: whole subjects of york.
        versions: how many augmentations of each slice.
        augment: how far they go; None for the plain view.
        seed: of the augmentation.
    """
    by_slice: dict[tuple[str, int], list[PreparedSlice]] = defaultdict(list)
    for prepared in prepare(samples, network.config.layout):
        by_slice[prepared.sample.subject, prepared.sample.slice_index].append(prepared)
    clips = []
    for (subject, index), found in sorted(by_slice.items()):
        if len(found) != BEAT_FRAMES:
            continue
        frames = turned_to_septum(network, sorted(found, key=lambda p: p.sample.frame_index))
        areas = [p.values_mm[network.config.layout.areas.start] for p in frames]
        ed, es = end_frames(areas)
        for version in range(versions):
            rng = np.random.default_rng((seed, int(subject), index, version))
            features, values = _seen_clip(network, frames, augment, rng)
            clips.append(Clip("york", subject, features, values, ed, es))
    return clips


def turned_to_septum(network: Perceiver, frames: list[PreparedSlice]) -> list[PreparedSlice]:
    """Frames of one slice with one centre, mid-septum as the network sees it, sectors counted from it."""
    config = network.config
    for _ in range(2):  # once from the typical direction, once from nearly right
        view = frames[0].view(config.view_px, config.view_mm_per_px)
        pictures = [seen_through(p, view, config.layout).picture for p in frames]
        batch = torch.from_numpy(np.stack(pictures)[:, None]).to(memory_format=torch.channels_last)
        with torch.no_grad():
            direction = network.perceive(batch).septum.mean(dim=0)
        off = float(np.rad2deg(np.arctan2(float(direction[1]), float(direction[0])))) - 180.0
        frames = [
            replace(p, septum_deg=(view.septum_deg + off) % 360.0, centre_px=frames[0].centre_px)
            for p in frames
        ]
    turned = []
    for prepared in frames:
        rays = prepared.sample.rays()
        values = prepared.values_mm
        if rays is not None and prepared.sample.has_epicardium:
            values = indices_from_rays(rays, prepared.septum_deg, config.layout).vector.copy()
        turned.append(replace(prepared, values_mm=values))
    return turned


def acdc_clips(
    network: Perceiver,
    samples: Sequence[Sample],
    versions: int,
    augment: AugmentConfig | None,
    seed: int,
) -> list[Clip]:
    """The way from ED to ES of acdc's slices; arguments as for ``york_clips``."""
    ends: dict[tuple[str, int], dict[str, PreparedSlice]] = defaultdict(dict)
    for prepared in prepare(samples, network.config.layout):
        if prepared.sample.phase:
            ends[prepared.sample.subject, prepared.sample.slice_index][prepared.sample.phase] = prepared
    clips = []
    for (subject, index), pair in sorted(ends.items()):
        if len(pair) < 2:  # no LV was drawn in the whole stack at the other end of the beat
            continue
        motion = motion_between(pair["ED"], pair["ES"])
        if motion is None:
            continue
        unknown = np.full_like(pair["ED"].values_mm, np.nan)
        frames = [
            replace(pair["ED"], layers=motion.at(k / (LEVELS - 1)), values_mm=unknown) for k in range(LEVELS)
        ]
        frames[0] = pair["ED"]
        frames[-1] = replace(pair["ES"], centre_px=pair["ED"].centre_px, septum_deg=pair["ED"].septum_deg)
        number = int("".join(c for c in subject if c.isdigit()))
        for version in range(versions):
            rng = np.random.default_rng((seed, number, index, version))
            features, values = _seen_clip(network, frames, augment, rng)
            clips.append(Clip("acdc", subject, features, values, 0, LEVELS - 1))
    return clips


def _seen_clip(
    network: Perceiver,
    frames: list[PreparedSlice],
    augment: AugmentConfig | None,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """All frames through one view, under one contrast, with grain of their own."""
    config = network.config
    view: View = frames[0].view(config.view_px, config.view_mm_per_px)
    steady = None
    if augment is not None:
        view = jittered_view(frames[0], config.view_px, config.view_mm_per_px, augment, rng)
        steady = replace(augment, noise=0.0)
    contrast_seed, grain = int(rng.integers(2**31)), rng.uniform(0.0, GRAIN)
    pictures, values = [], []
    for prepared in frames:
        contrast = np.random.default_rng(contrast_seed) if steady is not None else None
        seen = seen_through(prepared, view, config.layout, steady, contrast)
        picture = seen.picture
        if steady is not None:
            noise = rng.normal(0.0, grain, picture.shape).astype(np.float32)
            picture = picture + cv2.GaussianBlur(noise, (0, 0), 0.6)
        pictures.append(picture)
        values.append(seen.values_px)
    return perceived(network, pictures), torch.from_numpy(np.stack(values)).float()
