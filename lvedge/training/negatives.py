"""Pictures without a short-axis LV, beside acdc's own empty slices: what the network has to learn to refuse.

Elsewhere in the frame, the stack cut across its slices, and the phantom's other organs, noise and blanks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.indices import DEFAULT_LAYOUT
from lvedge.phantom import NEGATIVE_KINDS, negative_frames
from lvedge.training.data.sample import MAP_LABELS, Sample, stacks_of
from lvedge.training.slices import PreparedSlice

AWAY_MM = (75.0, 140.0)
"""How far from the LV's centre a view of 120 mm is moved so that hardly any of the LV is left in it."""

STEP_MM = 10.0
"""Slices of acdc lie 5 to 10 mm apart; cut across, they are taken as 10."""

SOURCE = "none"
PHANTOM_SEEDS = 12


def elsewhere(prepared: PreparedSlice, rng: np.random.Generator) -> PreparedSlice:
    """The same slice looked at away from its LV, which is still drawn where the view reaches it.

    Args:
        prepared: any slice.
        rng: draws where.
    """
    rows, columns = prepared.sample.pixels.shape
    row_mm, column_mm = prepared.sample.spacing_mm
    x, y = prepared.centre_px
    for _ in range(20):
        far, towards = rng.uniform(*AWAY_MM), rng.uniform(0.0, 2 * np.pi)
        centre = (x + far * np.cos(towards) / column_mm, y + far * np.sin(towards) / row_mm)
        if 0 <= centre[0] < columns and 0 <= centre[1] < rows:
            break
    return replace(
        prepared,
        centre_px=centre,
        septum_deg=float(rng.uniform(0.0, 360.0)),
        septum_drawn=False,
        values_mm=np.full(DEFAULT_LAYOUT.size, np.nan),
    )


def cut_across(samples: Iterable[Sample]) -> list[PreparedSlice]:
    """Each stack cut through its LV along rows and along columns: the long axis, not the short one.

    Args:
        samples: whole subjects of acdc, in any order.
    """
    cuts = []
    for ordered in stacks_of(samples):
        rays = [r for r in (s.rays() for s in ordered) if r is not None]
        if not rays:
            continue
        x, y = np.mean([r.centre_px for r in rays], axis=0)
        row_mm, column_mm = ordered[0].spacing_mm
        along_columns = np.stack([s.pixels[round(y)] for s in ordered])
        along_rows = np.stack([s.pixels[:, round(x)] for s in ordered])
        for lines, at, mm in ((along_columns, x, column_mm), (along_rows, y, row_mm)):
            height = max(round(len(lines) * STEP_MM / mm), 2)
            picture = cv2.resize(lines, (lines.shape[1], height), interpolation=cv2.INTER_CUBIC).astype(
                np.uint8
            )
            centre = (float(at), (height - 1) / 2)
            cuts.append(without_lv(picture, (mm, mm), centre, ordered[0].subject))
    return cuts


def other_pictures(seeds: int = PHANTOM_SEEDS) -> list[PreparedSlice]:
    """The phantom's pictures without an LV: blank, noise, other organs, beyond apex and base.

    Args:
        seeds: how many of each kind.
    """
    pictures = []
    for kind in NEGATIVE_KINDS:
        for seed in range(seeds):
            (frame,) = negative_frames(kind, seed, frames=1)
            top = float(np.percentile(frame.pixels, 99.9)) or 1.0
            pixels = np.clip(255.0 * frame.pixels / top, 0, 255).astype(np.uint8)
            middle = ((pixels.shape[1] - 1) / 2, (pixels.shape[0] - 1) / 2)
            pictures.append(without_lv(pixels, frame.spacing_mm, middle, kind))
    return pictures


def without_lv(
    pixels: NDArray[np.uint8], spacing_mm: tuple[float, float], centre_px: tuple[float, float], subject: str
) -> PreparedSlice:
    """A picture on which nothing is drawn because there is nothing to draw.

    Args:
        pixels: [rows, columns].
        spacing_mm: (row, column).
        centre_px: where a view is centred (x, y).
        subject: whom it comes from, or what it shows.
    """
    maps = np.zeros((*pixels.shape, len(MAP_LABELS)), dtype=np.uint8)
    sample = Sample(
        source=SOURCE,
        subject=subject,
        slice_index=0,
        slice_count=1,
        frame_index=0,
        pixels=np.ascontiguousarray(pixels),
        maps=maps,
        spacing_mm=spacing_mm,
        has_spacing=True,
        has_rv=True,
    )
    return PreparedSlice(
        sample=sample,
        layers=np.ascontiguousarray(np.dstack([pixels, maps])),
        centre_px=centre_px,
        septum_deg=180.0,
        septum_drawn=False,
        values_mm=np.full(DEFAULT_LAYOUT.size, np.nan),
    )
