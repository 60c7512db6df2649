"""Pictures that show no short-axis LV, as a user might hand them over: parts of acdc's, and the phantom's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lvedge.frame import Frame
from lvedge.phantom import NEGATIVE_KINDS, negative_frames
from lvedge.training.data.sample import MAP_LABELS, Sample
from lvedge.training.negatives import PHANTOM_SEEDS, cut_across

CROP_MM = 100.0
"""Side of a part of the picture beside the LV."""

MEASURED_SEEDS = range(PHANTOM_SEEDS, PHANTOM_SEEDS + 10)
"""Seeds of the phantom's pictures that networks and their models of presence are measured on."""

FITTED_SEEDS = range(PHANTOM_SEEDS + 10, PHANTOM_SEEDS + 50)
"""Seeds of those that models of presence are fitted on; networks learn from those below ``PHANTOM_SEEDS``."""


def pictures_of(samples: Sequence[Sample], seed: int = 0) -> Iterator[tuple[str, Frame]]:
    """Kind and picture of parts of acdc's pictures without an LV: beside the LV, and the stacks cut across.

    Args:
        samples: whole subjects.
        seed: decides which part of a picture is shown.
    """
    rng = np.random.default_rng(seed)
    for sample in samples:
        if sample.is_mid_slice:
            part = beside_the_lv(sample, rng)
            if part is not None:
                yield "beside the LV", _frame(part, sample.spacing_mm, sample.key)
    for cut in cut_across(samples):
        yield "cut across", _frame(cut.sample.pixels, cut.sample.spacing_mm, cut.sample.subject)


def phantom_pictures(seeds: Iterable[int]) -> Iterator[tuple[str, Frame]]:
    """Kind and picture of what the phantom draws without an LV.

    Args:
        seeds: one picture of each kind for each.
    """
    of_all = list(seeds)
    for kind in NEGATIVE_KINDS:
        for seed in of_all:
            yield f"phantom: {kind.replace('_', ' ')}", negative_frames(kind, seed, frames=1)[0]


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


def _frame(pixels: NDArray[np.uint8], spacing_mm: tuple[float, float], series: str) -> Frame:
    return Frame(pixels.astype(np.float32), spacing_mm, series, cine_length=1, slice_count=1)
