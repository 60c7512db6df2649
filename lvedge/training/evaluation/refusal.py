"""Refusals: pictures that show no short-axis LV, measured as a user would, by kind.

No LV may be returned on any of them: parts of acdc's pictures beside the LV, its stacks cut across, and the
phantom's blanks, noise and other organs. (Slices where experts drew no LV are scored with their stacks.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Refusal:
    """Pictures of one kind without an LV.

    Args:
        kind: what they show.
        shown: how many there were.
        returned: on how many of them an LV was returned all the same.
    """

    kind: str
    shown: int
    returned: int


def score_refusals(
    stepper: Stepper, quality: QualityModel, pictures: Iterable[tuple[str, Frame]]
) -> list[Refusal]:
    """What became of pictures without an LV, each measured by itself.

    Args:
        stepper: executes the network.
        quality: judges the values.
        pictures: kind and picture.
    """
    found: dict[str, list[bool]] = defaultdict(list)
    for kind, frame in pictures:
        (measurement,) = SliceMeasurer(stepper, quality).measure_closed([frame])
        found[kind].append(measurement.measured)
    return [Refusal(kind, len(measured), sum(measured)) for kind, measured in found.items()]


def refusal_figures(refusals: Iterable[Refusal]) -> dict[str, dict[str, float | int]]:
    """By kind: how many pictures, how many with an LV returned, and the share that was refused."""
    figures: dict[str, dict[str, float | int]] = {}
    for refusal in refusals:
        before = figures.get(refusal.kind, {"shown": 0, "returned": 0})
        shown = int(before["shown"]) + refusal.shown
        returned = int(before["returned"]) + refusal.returned
        share = round(1.0 - returned / shown, 4)
        figures[refusal.kind] = {"shown": shown, "returned": returned, "refused": share}
    return figures


def pictures_of(samples: Sequence[Sample], seed: int = 0) -> Iterator[tuple[str, Frame]]:
    """Pictures without an LV from acdc's: beside the LV, and the stacks cut across.

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


def phantom_pictures() -> Iterator[tuple[str, Frame]]:
    """The phantom's pictures without an LV."""
    for kind in NEGATIVE_KINDS:
        for seed in SEEDS:
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
