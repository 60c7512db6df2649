"""Scoring: every annotated frame of a subject measured as a user gets it, and set against what was drawn.

No frame leaves a table: where no LV is returned, the training set's mean values and Dice 0 are scored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from lvedge.aim import Stack
from lvedge.contract import Stepper
from lvedge.frame import Frame
from lvedge.geometry import angle_between_deg, indices_from_rays
from lvedge.indices import DEFAULT_LAYOUT, FloatArray, Label
from lvedge.measure import SliceMeasurer
from lvedge.measurement import Measurement
from lvedge.phase import end_frames, systole_of_areas
from lvedge.quality import QualityModel
from lvedge.training.data.sample import Sample


@dataclass(frozen=True)
class ScoredSlice:
    """One annotated slice of acdc, measured.

    Args:
        subject, slice_index, phase, group, spacing_mm: which slice.
        has_lv: whether an LV was drawn.
        mid: whether it is a mid slice.
        found: whether an LV was returned.
        truth: [L] mm and mm², NaN without an LV.
        regressed, geometric: [L] returned values; the means scored instead where nothing was returned.
        centre_mm: distance of the located view's centre from the drawn centroid, NaN without LV or view.
        septum_deg: angle between the seen and the drawn mid-septum, NaN where either is missing.
        dice: cavity and myocardium.
        quality: 0 .. 1.
    """

    subject: str
    slice_index: int
    phase: str
    group: str
    spacing_mm: float
    has_lv: bool
    mid: bool
    found: bool
    truth: FloatArray
    regressed: FloatArray
    geometric: FloatArray
    centre_mm: float
    septum_deg: float
    dice: tuple[float, float]
    quality: float

    def as_json(self) -> dict[str, object]:
        """Plain values, arrays as lists, NaN as None."""
        plain: dict[str, object] = {}
        for key, value in asdict(self).items():
            if isinstance(value, np.ndarray):
                plain[key] = [_plain(float(v), 3) for v in value]
            elif isinstance(value, tuple):
                plain[key] = [_plain(v, 4) for v in value]
            else:
                plain[key] = _plain(value, 4) if isinstance(value, float) else value
        return plain


@dataclass(frozen=True)
class ScoredBeat:
    """One complete slice of york, measured over its beat.

    Args:
        subject, slice_index: which slice.
        start: the stored frame that was played first.
        found: [T] whether an LV was returned.
        systole_true, systole_said: [T] phases in playing order.
        clock: [T] what the frame-index clock says, in playing order.
        ed_off, es_off: frames between the found and the true end diastole and end systole, cyclic; NaN where
            no beat was found.
        areas_true, areas_regressed: [T, 2] nominal mm².
        centre_mm: nominal distance of the view's centre from the drawn centroid, first frame.
        dice: mean over frames of cavity and myocardium.
    """

    subject: str
    slice_index: int
    start: int
    found: np.ndarray
    systole_true: np.ndarray
    systole_said: np.ndarray
    clock: np.ndarray
    ed_off: float
    es_off: float
    areas_true: FloatArray
    areas_regressed: FloatArray
    centre_mm: float
    dice: tuple[float, float]


@dataclass(frozen=True)
class ScoredFrame:
    """A frame of a source that nothing was trained on.

    Args:
        subject, slice_index, frame_index: which frame.
        found: whether an LV was returned.
        true_cavity_mm2, cavity_mm2: drawn and returned cavity area; 0 where nothing was returned.
        centre_mm: distance of the view's centre from the drawn centroid.
        dice: cavity and myocardium; NaN for a wall that was not drawn.
    """

    subject: str
    slice_index: int
    frame_index: int
    found: bool
    true_cavity_mm2: float
    cavity_mm2: float
    centre_mm: float
    dice: tuple[float, float]


def score_frames(stepper: Stepper, quality: QualityModel, samples: Sequence[Sample]) -> list[ScoredFrame]:
    """Single annotated frames, each a one-frame clip through the located view.

    Args:
        stepper: executes the network.
        quality: judges the values.
        samples: annotated frames of any source.
    """
    scored = []
    stacks: dict[str, Stack] = defaultdict(Stack)
    for sample in sorted(samples, key=lambda s: (s.subject, s.slice_index, s.frame_index)):
        measurer = SliceMeasurer(stepper, quality, stacks[sample.subject])
        (measurement,) = measurer.measure_closed([frame_of_sample(sample, sample.frame_index)])
        pixel_mm2 = sample.spacing_mm[0] * sample.spacing_mm[1]
        cavity, wall = dice(sample, measurement)
        found = measurement.indices
        scored.append(
            ScoredFrame(
                subject=sample.subject,
                slice_index=sample.slice_index,
                frame_index=sample.frame_index,
                found=found is not None,
                true_cavity_mm2=float(sample.map(Label.CAVITY).sum()) * pixel_mm2,
                cavity_mm2=float(found.areas_mm2[0]) if found is not None else 0.0,
                centre_mm=_centre_off_mm(sample, measurement),
                dice=(cavity, wall if sample.has_epicardium else float("nan")),
            )
        )
    return scored


def frame_of_sample(sample: Sample, frame_index: int = 0, cine_length: int = 1) -> Frame:
    """The frame that a source would give for an annotated picture."""
    return Frame(
        pixels=sample.pixels.astype(np.float32),
        spacing_mm=sample.spacing_mm,
        series=f"{sample.source}-{sample.subject}-{sample.phase or 'cine'}",
        slice_index=sample.slice_index,
        frame_index=frame_index,
        cine_length=cine_length,
        slice_count=sample.slice_count,
        origin=sample.key,
    )


def score_acdc(
    stepper: Stepper, quality: QualityModel, samples: Sequence[Sample], mean_values: FloatArray
) -> list[ScoredSlice]:
    """Every slice of acdc subjects at ED and ES, each a one-frame clip (cold), through the located view.

    Args:
        stepper: executes the network.
        quality: judges the values.
        samples: whole subjects.
        mean_values: [L] scored where no LV is returned.
    """
    stacks: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        stacks[sample.subject, sample.phase or ""].append(sample)
    scored = []
    for members in stacks.values():
        stack = Stack()
        for sample in sorted(members, key=lambda s: s.slice_index):
            measurer = SliceMeasurer(stepper, quality, stack)
            (measurement,) = measurer.measure_closed([frame_of_sample(sample)])
            scored.append(scored_slice(sample, measurement, mean_values))
    return scored


def score_york(
    stepper: Stepper,
    quality: QualityModel,
    samples: Sequence[Sample],
    starts: Sequence[int],
    clock: np.ndarray,
    mean_areas: FloatArray,
) -> list[ScoredBeat]:
    """Every complete slice of york subjects as a closed beat, played from each of the starting frames.

    Args:
        stepper: executes the network.
        quality: judges the values.
        samples: whole subjects.
        starts: stored frames to begin with; 0 plays the clip as stored.
        clock: [T] bool, systole by stored frame index, from other subjects.
        mean_areas: [2] nominal mm², cavity and myocardium, scored where no LV is returned.
    """
    slices: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        slices[sample.subject, sample.slice_index].append(sample)
    scored = []
    stacks: dict[tuple[str, int], Stack] = defaultdict(Stack)
    for (subject, _), members in sorted(slices.items()):
        stored = sorted(members, key=lambda s: s.frame_index)
        if len(stored) != clock.size:
            continue
        for start in starts:
            order = stored[start:] + stored[:start]
            frames = [frame_of_sample(s, k, len(order)) for k, s in enumerate(order)]
            measurer = SliceMeasurer(stepper, quality, stacks[subject, start])
            results = list(measurer.measure_closed(frames))
            scored.append(_scored_beat(order, start, results, np.roll(clock, -start), mean_areas))
    return scored


def clock_of(samples: Sequence[Sample], frames: int = 20) -> np.ndarray:
    """Majority phase by stored frame index over complete slices, [T] bool: a clock that sees no picture."""
    slices: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        slices[sample.subject, sample.slice_index].append(sample)
    votes = [systole_of_areas(_areas(members)) for members in slices.values() if len(members) == frames]
    majority: np.ndarray = np.mean(votes, axis=0) >= 0.5
    return majority


def mean_values_of(samples: Sequence[Sample]) -> FloatArray:
    """Mean values of the mid slices, [L] mm and mm²: what is scored where nothing is returned."""
    values = [truth_of(s) for s in samples if s.is_mid_slice]
    means: FloatArray = np.nanmean(np.stack(values), axis=0)
    return means


def mean_areas_of(samples: Sequence[Sample]) -> FloatArray:
    """Mean drawn areas, [2] mm²: what is scored on a beat where nothing is returned."""
    means: FloatArray = np.mean([_areas_mm2(s) for s in samples], axis=0)
    return means


def truth_of(sample: Sample) -> FloatArray:
    """The drawn values, [L] mm and mm²; NaN without an LV or without an RV to count sectors from."""
    rays = sample.rays()
    septum = sample.septum(rays) if rays is not None else None
    if rays is None or septum is None:
        return np.full(DEFAULT_LAYOUT.size, np.nan)
    return indices_from_rays(rays, septum.direction_deg).vector


def _plain(value: float, digits: int) -> float | None:
    return round(value, digits) if np.isfinite(value) else None


def _areas_mm2(sample: Sample) -> list[float]:
    pixel_mm2 = sample.spacing_mm[0] * sample.spacing_mm[1]
    return [float(sample.map(label).sum()) * pixel_mm2 for label in (Label.CAVITY, Label.MYOCARDIUM)]


def _areas(members: Sequence[Sample]) -> list[float]:
    ordered = sorted(members, key=lambda s: s.frame_index)
    return [float(s.map(Label.CAVITY).sum()) for s in ordered]


def scored_slice(sample: Sample, measurement: Measurement, mean_values: FloatArray) -> ScoredSlice:
    """A measurement set against what was drawn; ``mean_values`` [L] where it returned nothing."""
    truth = truth_of(sample)
    rays = sample.rays()
    found = measurement.indices is not None and measurement.geometric is not None
    regressed = measurement.indices.vector if measurement.indices is not None else mean_values
    geometric = measurement.geometric.vector if measurement.geometric is not None else mean_values
    septum = sample.septum(rays) if rays is not None else None
    septum_off = np.nan
    if septum is not None and measurement.septum_deg is not None:
        septum_off = abs(angle_between_deg(measurement.septum_deg, septum.direction_deg))
    return ScoredSlice(
        subject=sample.subject,
        slice_index=sample.slice_index,
        phase=sample.phase or "",
        group=sample.group or "",
        spacing_mm=sample.spacing_mm[0],
        has_lv=sample.has_lv,
        mid=sample.is_mid_slice,
        found=found,
        truth=truth,
        regressed=regressed,
        geometric=geometric,
        centre_mm=_centre_off_mm(sample, measurement),
        septum_deg=septum_off,
        dice=dice(sample, measurement),
        quality=measurement.quality,
    )


def _scored_beat(
    order: Sequence[Sample],
    start: int,
    results: Sequence[Measurement],
    clock: np.ndarray,
    mean_areas: FloatArray,
) -> ScoredBeat:
    areas = np.array([_areas_mm2(s) for s in order])
    said_areas = np.array([m.indices.areas_mm2 if m.indices is not None else mean_areas for m in results])
    truth = systole_of_areas(areas[:, 0])
    # A frame without an LV has no phase: it counts as wrong.
    said = np.array(
        [(m.p_systole >= 0.5) if m.p_systole is not None else not truth[k] for k, m in enumerate(results)]
    )
    ed_off = es_off = np.nan
    if all(m.measured for m in results):
        count = len(order)
        offs = [
            min((a - b) % count, (b - a) % count)
            for a, b in zip(end_frames(areas[:, 0]), end_frames(said_areas[:, 0]), strict=True)
        ]
        ed_off, es_off = float(offs[0]), float(offs[1])
    dices = np.array([dice(s, m) for s, m in zip(order, results, strict=True)])
    return ScoredBeat(
        subject=order[0].subject,
        slice_index=order[0].slice_index,
        start=start,
        found=np.array([m.measured for m in results]),
        systole_true=truth,
        systole_said=said,
        clock=clock,
        ed_off=ed_off,
        es_off=es_off,
        areas_true=areas,
        areas_regressed=said_areas,
        centre_mm=_centre_off_mm(order[0], results[0]),
        dice=(float(dices[:, 0].mean()), float(dices[:, 1].mean())),
    )


def dice(sample: Sample, measurement: Measurement) -> tuple[float, float]:
    """Dice of cavity and myocardium in the source's grid; 0 where one side is empty, NaN where both are."""
    labels = measurement.labels()
    scores = []
    for label in (Label.CAVITY, Label.MYOCARDIUM):
        drawn, said = sample.map(label) >= 0.5, labels == label
        total = int(drawn.sum()) + int(said.sum())
        scores.append(2.0 * int((drawn & said).sum()) / total if total else float("nan"))
    return scores[0], scores[1]


def _centre_off_mm(sample: Sample, measurement: Measurement) -> float:
    rays = sample.rays()
    if rays is None:
        return float("nan")
    if measurement.view is None:
        return float("inf")
    off = (np.array(measurement.view.centre_px) - rays.centre_px) * np.array(sample.spacing_mm[::-1])
    return float(np.hypot(*off))
