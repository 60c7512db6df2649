"""What is scored where nothing is returned, and the clock beside a phase: from training subjects alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvedge.indices import DEFAULT_LAYOUT, FloatArray
from lvedge.phase import systole_of_areas
from lvedge.training.clips import BEAT_FRAMES
from lvedge.training.data.sample import Sample
from lvedge.training.scoring import areas_mm2_of, truth_of


@dataclass(frozen=True)
class Drawn:
    """What experts drew of some subjects, in short.

    Args:
        values: [n, L] truth of the mid slices, mm and mm²; NaN where it is not known.
        areas_mm2: [m, 2] cavity and myocardium of every sample.
        systole: [k, T] phase truth of every slice with a whole beat.
    """

    values: FloatArray
    areas_mm2: FloatArray
    systole: NDArray[np.bool_]


@dataclass(frozen=True)
class StandIn:
    """What stands in for a measurement that was not returned, and for a phase that nobody saw.

    Args:
        values: [L] mm and mm², the mean of the training subjects' mid slices.
        areas_mm2: [2] mean cavity and myocardium of their beats.
        clock: [T] bool, systole by stored frame index: the majority of their beats.
    """

    values: FloatArray
    areas_mm2: FloatArray
    clock: NDArray[np.bool_]


def drawn_of(samples: Sequence[Sample], frames: int = BEAT_FRAMES) -> Drawn:
    """What was drawn of samples of one data set.

    Args:
        samples: whole subjects.
        frames: T, of a whole beat.
    """
    slices: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        slices[sample.subject, sample.slice_index].append(sample)
    areas = {key: [areas_mm2_of(s) for s in _in_time(members)] for key, members in slices.items()}
    beats = [np.array(of_slice) for of_slice in areas.values() if len(of_slice) == frames]
    values = [truth_of(sample) for sample in samples if sample.is_mid_slice]
    return Drawn(
        values=np.array(values).reshape(-1, DEFAULT_LAYOUT.size),
        areas_mm2=np.array([pair for of_slice in areas.values() for pair in of_slice]).reshape(-1, 2),
        systole=np.array([systole_of_areas(beat[:, 0]) for beat in beats], dtype=bool).reshape(-1, frames),
    )


def stand_in(stills: Sequence[Drawn], beats: Sequence[Drawn]) -> StandIn:
    """The stand-in from training subjects.

    Args:
        stills: subjects whose mid slices have values (acdc).
        beats: subjects with beats (york); a tie of the clock is systole.
    """
    return StandIn(
        values=mean_values_of(stills),
        areas_mm2=np.concatenate([drawn.areas_mm2 for drawn in beats]).mean(axis=0),
        clock=np.concatenate([drawn.systole for drawn in beats]).mean(axis=0) >= 0.5,
    )


def mean_values_of(stills: Sequence[Drawn]) -> FloatArray:
    """Mean values of the mid slices, [L] mm and mm²: what is scored where nothing is returned."""
    values: FloatArray = np.nanmean(np.concatenate([drawn.values for drawn in stills]), axis=0)
    return values


def _in_time(members: Sequence[Sample]) -> list[Sample]:
    return sorted(members, key=lambda s: s.frame_index)
