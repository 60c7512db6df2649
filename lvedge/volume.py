"""Volumes of a whole stack: end-diastolic, end-systolic and stroke volume, ejection fraction, mass.

Disc summation (Schulz-Menger et al., JCMR 22:19, 2020): each slice's cavity area times the distance from
slice to slice, with one end diastole and one end systole for all slices. A slice gives an area change, never
an EF; a stack gives one only where it reaches from beyond the apex to beyond the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvedge.indices import FloatArray
from lvedge.measurement import Measurement
from lvedge.phase import end_frames

FEWEST_SLICES = 5
"""Fewer slices with an LV are no discs to sum over."""

UNEVEN = 0.1
"""Distances between slices that differ by more than this share mean that a slice is missing."""

TAPERED = 0.4
"""An outermost cavity below this share of the largest one is the apex running out."""

MUSCLE_G_PER_ML = 1.05
"""Density of myocardium (the same recommendations)."""


@dataclass(frozen=True)
class StackVolumes:
    """Volumes of one series, or why there are none.

    Args:
        series: name of the series.
        slices: slices with an LV at end diastole.
        slice_count: slices of the series.
        distance_mm: from slice to slice, or None.
        ed_frame, es_frame: the common end diastole and end systole, or None.
        edv_ml, esv_ml: volumes of the cavity then, or None.
        ef: ejection fraction, (EDV − ESV) / EDV, 0 .. 1, or None.
        mass_g: myocardial mass at end diastole, or None.
        reason: why there are no volumes, where there are none.
    """

    series: str
    slices: int
    slice_count: int
    distance_mm: float | None = None
    ed_frame: int | None = None
    es_frame: int | None = None
    edv_ml: float | None = None
    esv_ml: float | None = None
    ef: float | None = None
    mass_g: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class DiscSum:
    """A stack's volumes over a beat.

    Args:
        ed, es: index of end diastole and end systole.
        edv_ml, esv_ml: cavity then.
        mass_g: myocardium at end diastole.
    """

    ed: int
    es: int
    edv_ml: float
    esv_ml: float
    mass_g: float


class NoVolumesError(ValueError):
    """Why a stack gives no volumes."""


def disc_sum(
    cavity_mm2: FloatArray,
    myocardium_mm2: FloatArray,
    distance_mm: float,
    ends: tuple[int, int] | None = None,
) -> DiscSum:
    """Volumes by disc summation.

    Args:
        cavity_mm2: [slices, frames] in the stack's order, NaN where no LV was measured.
        myocardium_mm2: the same of the myocardium.
        distance_mm: from slice to slice.
        ends: which frames are end diastole and end systole; None finds them in the volumes.

    Raises:
        NoVolumesError: if the stack is too small or an end of the LV lies outside it.
    """
    discs_ml = np.nansum(cavity_mm2, axis=0) * distance_mm / 1000.0
    ed, es = end_frames(discs_ml) if ends is None else ends
    shown = np.flatnonzero(np.isfinite(cavity_mm2[:, ed]))
    if shown.size < FEWEST_SLICES:
        raise NoVolumesError(f"{shown.size} slices show an LV; volumes need at least {FEWEST_SLICES}")
    if shown[-1] - shown[0] + 1 > shown.size:
        raise NoVolumesError("a slice between two with an LV shows none")
    for end, beyond in ((shown[0], shown[0] - 1), (shown[-1], shown[-1] + 1)):
        if not _runs_out(cavity_mm2, int(end), int(beyond), ed, es):
            raise NoVolumesError("the stack does not reach from beyond the apex to beyond the base")
    mass_g = float(np.nansum(myocardium_mm2[:, ed])) * distance_mm / 1000.0 * MUSCLE_G_PER_ML
    return DiscSum(ed, es, float(discs_ml[ed]), float(discs_ml[es]), mass_g)


@dataclass(frozen=True)
class SliceAreas:
    """What volumes need of one slice; pictures and masks need not be kept until the stack is whole.

    Args:
        height_mm: the slice's place along the stack's normal, or None where the source does not say.
        frames: frame index of each phase.
        cavity_mm2, myocardium_mm2: [frames], NaN where no LV was measured.
    """

    height_mm: float | None
    frames: tuple[int, ...]
    cavity_mm2: FloatArray
    myocardium_mm2: FloatArray

    @classmethod
    def of(cls, measurements: Sequence[Measurement]) -> SliceAreas:
        """The areas of a slice's beat.

        Args:
            measurements: its phases in order, measured or not; at least one.
        """
        first = measurements[0].frame
        height_mm = None
        if first.orientation is not None and first.position_mm is not None:
            height_mm = float(first.orientation.normal @ np.asarray(first.position_mm))
        unknown = np.full(2, np.nan)
        areas = np.array([unknown if m.indices is None else m.indices.areas_mm2 for m in measurements])
        return cls(height_mm, tuple(m.frame.frame_index for m in measurements), areas[:, 0], areas[:, 1])


def stack_volumes(series: str, slice_count: int, slices: Sequence[SliceAreas]) -> StackVolumes:
    """The volumes of one series.

    Args:
        series: its name.
        slice_count: slices that the series has.
        slices: the measured ones in the stack's order, closed beats.
    """
    shown = sum(bool(np.isfinite(s.cavity_mm2).any()) for s in slices)
    try:
        distance_mm = slice_distance_mm(slices, slice_count)
        if len({len(s.frames) for s in slices}) > 1:
            raise NoVolumesError("the slices have different numbers of phases")
        cavity, myocardium = (
            np.stack([getattr(s, name) for s in slices]) for name in ("cavity_mm2", "myocardium_mm2")
        )
        discs = disc_sum(cavity, myocardium, distance_mm)
    except NoVolumesError as why:
        return StackVolumes(series, shown, slice_count, reason=str(why))
    return StackVolumes(
        series=series,
        slices=int(np.isfinite(cavity[:, discs.ed]).sum()),
        slice_count=slice_count,
        distance_mm=distance_mm,
        ed_frame=slices[0].frames[discs.ed],
        es_frame=slices[0].frames[discs.es],
        edv_ml=discs.edv_ml,
        esv_ml=discs.esv_ml,
        ef=(discs.edv_ml - discs.esv_ml) / discs.edv_ml,
        mass_g=discs.mass_g,
    )


def slice_distance_mm(slices: Sequence[SliceAreas], slice_count: int) -> float:
    """Distance from slice to slice along the stack, mm.

    Args:
        slices: the measured ones in the stack's order.
        slice_count: slices that the series has.

    Raises:
        NoVolumesError: if positions are unknown or uneven, or slices are missing.
    """
    if len(slices) < slice_count:
        raise NoVolumesError(f"{len(slices)} of {slice_count} slices were measured as whole beats")
    if len(slices) < FEWEST_SLICES:
        raise NoVolumesError(f"{len(slices)} slices are no whole stack")
    heights = [s.height_mm for s in slices if s.height_mm is not None]
    if len(heights) < len(slices):
        raise NoVolumesError("the pictures do not say where their slices lie")
    steps = np.abs(np.diff(heights))
    distance_mm = float(np.median(steps))
    if distance_mm <= 0 or (np.abs(steps - distance_mm) > UNEVEN * distance_mm).any():
        raise NoVolumesError("the slices do not lie evenly: one is missing or two lie in one place")
    return distance_mm


def _runs_out(cavity_mm2: FloatArray, end: int, beyond: int, ed: int, es: int) -> bool:
    """Whether the LV ends at this slice: none beyond it, none here at end systole, or hardly any left."""
    if 0 <= beyond < len(cavity_mm2) or np.isnan(cavity_mm2[end, es]):
        return True
    return bool(cavity_mm2[end, ed] < TAPERED * np.nanmax(cavity_mm2[:, ed]))
