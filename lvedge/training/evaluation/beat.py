"""Beats: york's complete slices measured over their beat, closed and live, from any first frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvedge.aim import Stack
from lvedge.contract import Stepper
from lvedge.indices import FloatArray, Phase
from lvedge.measure import SliceMeasurer
from lvedge.measurement import Measurement
from lvedge.phase import end_frames, systole_of_areas
from lvedge.quality import QualityModel
from lvedge.training.data.sample import Sample
from lvedge.training.evaluation.standin import StandIn
from lvedge.training.scoring import areas_mm2_of, centre_off_mm, dice, frame_of_sample


@dataclass(frozen=True)
class ScoredBeat:
    """One complete slice of york, measured over its beat.

    Args:
        subject, slice_index: which slice.
        start: the stored frame that was played first.
        found: [T] whether an LV was returned.
        systole_true, systole_said: [T] phases in playing order, said by closed mode.
        systole_layer: [T] what the classification layer alone said of them.
        systole_live: [T] phases that live mode says in the second of two beats.
        clock: [T] what the frame-index clock says, in playing order.
        ed_off, es_off: frames between the reported and the true end diastole and end systole, cyclic; half a
            beat, the worst that can be, where no cycle was reported.
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
    systole_layer: np.ndarray
    systole_live: np.ndarray
    clock: np.ndarray
    ed_off: float
    es_off: float
    areas_true: FloatArray
    areas_regressed: FloatArray
    centre_mm: float
    dice: tuple[float, float]


def score_york(
    stepper: Stepper,
    quality: QualityModel,
    samples: Sequence[Sample],
    starts: Sequence[int],
    missing: StandIn,
) -> list[ScoredBeat]:
    """Every complete slice of york subjects, closed and live, played from each of the starting frames.

    Args:
        stepper: executes the network.
        quality: judges the values.
        samples: whole subjects.
        starts: stored frames to begin with; 0 plays the clip as stored.
        missing: from other subjects: the clock, whose length is a beat's, and what is scored where no LV is
            returned.
    """
    slices: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        slices[sample.subject, sample.slice_index].append(sample)
    scored = []
    closed: dict[tuple[str, int], Stack] = defaultdict(Stack)
    live: dict[tuple[str, int], Stack] = defaultdict(Stack)
    for (subject, _), members in sorted(slices.items()):
        stored = sorted(members, key=lambda s: s.frame_index)
        if len(stored) != missing.clock.size:
            continue
        for start in starts:
            order = stored[start:] + stored[:start]
            played = _closed(stepper, quality, order, closed[subject, start])
            second = _live_second_beat(stepper, quality, order, live[subject, start])
            scored.append(_scored_beat(order, start, played, second, missing))
    return scored


def _closed(
    stepper: Stepper, quality: QualityModel, order: Sequence[Sample], stack: Stack
) -> list[Measurement]:
    frames = [frame_of_sample(s, k, len(order)) for k, s in enumerate(order)]
    return list(SliceMeasurer(stepper, quality, stack).measure_closed(frames))


def _live_second_beat(
    stepper: Stepper, quality: QualityModel, order: Sequence[Sample], stack: Stack
) -> list[Measurement]:
    """The clip twice, frame by frame as it would arrive; the second time."""
    measurer = SliceMeasurer(stepper, quality, stack)
    results = [
        measurer.measure_live(frame_of_sample(sample, k, cine_length=None))[0]
        for k, sample in enumerate([*order, *order])
    ]
    return results[len(order) :]


def _systole(phases: Sequence[Phase | None], truth: np.ndarray) -> np.ndarray:
    """[T] what was said; a frame without an LV has no phase and counts as wrong."""
    return np.array(
        [phase is Phase.SYSTOLE if phase else not said for phase, said in zip(phases, truth, strict=True)]
    )


def _of_layer(measurement: Measurement) -> Phase | None:
    """The phase by the classification layer."""
    p_systole = measurement.p_systole
    return None if p_systole is None else Phase.from_probability(p_systole)


def _scored_beat(
    order: Sequence[Sample],
    start: int,
    closed: Sequence[Measurement],
    live: Sequence[Measurement],
    missing: StandIn,
) -> ScoredBeat:
    areas = np.array([areas_mm2_of(s) for s in order])
    said = [m.indices.areas_mm2 if m.indices is not None else missing.areas_mm2 for m in closed]
    truth = systole_of_areas(areas[:, 0])
    cycle = SliceMeasurer.cycle(closed)
    ed, es = end_frames(areas[:, 0])
    dices = np.array([dice(s, m) for s, m in zip(order, closed, strict=True)])
    return ScoredBeat(
        subject=order[0].subject,
        slice_index=order[0].slice_index,
        start=start,
        found=np.array([m.measured for m in closed]),
        systole_true=truth,
        systole_said=_systole([m.phase for m in closed], truth),
        systole_layer=_systole([_of_layer(m) for m in closed], truth),
        systole_live=_systole([m.phase for m in live], truth),
        clock=np.roll(missing.clock, -start),
        ed_off=_frames_off(cycle.ed_frame, ed, len(order)),
        es_off=_frames_off(cycle.es_frame, es, len(order)),
        areas_true=areas,
        areas_regressed=np.array(said),
        centre_mm=centre_off_mm(order[0], closed[0]),
        dice=(float(dices[:, 0].mean()), float(dices[:, 1].mean())),
    )


def _frames_off(said: int | None, truth: int, count: int) -> float:
    """Frames between two places of a beat, the short way round; half a beat where nothing was said."""
    return count / 2 if said is None else float(min((said - truth) % count, (truth - said) % count))
