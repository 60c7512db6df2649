"""Refusals: pictures that show no short-axis LV, measured as a user would, by kind.

No LV may be returned on any of them: parts of acdc's pictures beside the LV, its stacks cut across, and the
phantom's blanks, noise and other organs. (Slices where experts drew no LV are scored with their stacks.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lvedge.contract import Stepper
from lvedge.frame import Frame
from lvedge.measure import SliceMeasurer
from lvedge.phantom import NEGATIVE_KINDS, negative_frames
from lvedge.quality import QualityModel
from lvedge.training.data.sample import MAP_LABELS, Sample
from lvedge.training.negatives import PHANTOM_SEEDS, cut_across

CROP_MM = 100.0
"""Side of a part of the picture beside the LV."""

SEEDS = range(PHANTOM_SEEDS, PHANTOM_SEEDS + 10)
"""Seeds of the phantom's pictures, none of them used in training."""


def refusals(
    stepper: Stepper, quality: QualityModel, samples: Sequence[Sample], seed: int = 0
) -> dict[str, tuple[int, int]]:
    """How many pictures of each kind there were, and on how many an LV was returned all the same.

    Args:
        stepper: executes the network.
        quality: judges the values.
        samples: whole subjects of acdc that were not trained on.
        seed: decides which parts of a picture are shown.
    """
    counts: dict[str, tuple[int, int]] = {}
    for kind, frame in _pictures(samples, np.random.default_rng(seed)):
        (measurement,) = SliceMeasurer(stepper, quality).measure_closed([frame])
        shown, returned = counts.get(kind, (0, 0))
        counts[kind] = shown + 1, returned + measurement.measured
    return counts


def beside_the_lv(sample: Sample, rng: np.random.Generator) -> NDArray[np.uint8] | None:
    """A square part of the picture, CROP_MM wide, without any of the LV; None where there is no room for one.

    Args:
        sample: a picture with an LV.
        rng: draws where.
    """
    rows, columns = (round(CROP_MM / mm) for mm in sample.spacing_mm)
    drawn = sample.maps[..., [MAP_LABELS.index(label) for label in MAP_LABELS[1:]]].any(axis=-1)
    height, width = sample.pixels.shape
    if height < rows or width < columns:
        return None
    # Sums over all windows at once, from the summed-area table.
    table = np.pad(drawn.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = (
        table[rows:, columns:] - table[:-rows, columns:] - table[rows:, :-columns] + table[:-rows, :-columns]
    )
    free = np.argwhere(inside == 0)
    if not free.size:
        return None
    y, x = free[rng.integers(len(free))]
    return np.ascontiguousarray(sample.pixels[y : y + rows, x : x + columns])


def _pictures(samples: Sequence[Sample], rng: np.random.Generator) -> Iterator[tuple[str, Frame]]:
    for sample in samples:
        if sample.is_mid_slice:
            part = beside_the_lv(sample, rng)
            if part is not None:
                yield "beside the LV", _frame(part, sample.spacing_mm, sample.key)
    for cut in cut_across(samples):
        yield "cut across", _frame(cut.sample.pixels, cut.sample.spacing_mm, cut.sample.subject)
    for kind in NEGATIVE_KINDS:
        for seed in SEEDS:
            yield f"phantom: {kind.replace('_', ' ')}", negative_frames(kind, seed, frames=1)[0]


def _frame(pixels: NDArray[np.uint8], spacing_mm: tuple[float, float], series: str) -> Frame:
    return Frame(pixels.astype(np.float32), spacing_mm, series, cine_length=1, slice_count=1)
