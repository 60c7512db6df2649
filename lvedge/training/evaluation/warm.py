"""Warm: the drawn ED and ES frames of acdc reached within a synthetic beat, as in service cines come whole.

The beat is made of the slice's two drawn frames by the registration that training uses (``motion``), along a
physiological curve (``acdc_walk``); it is measured closed, and only its two true frames are scored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvedge.aim import Stack
from lvedge.contract import Stepper
from lvedge.frame import Frame
from lvedge.indices import FloatArray
from lvedge.measure import SliceMeasurer
from lvedge.quality import QualityModel
from lvedge.training.clips import LEVELS, acdc_walk
from lvedge.training.data.sample import Sample
from lvedge.training.evaluation.still import ScoredSlice, scored_slice
from lvedge.training.motion import motion_between
from lvedge.training.scoring import frame_of_sample
from lvedge.training.slices import PreparedSlice, prepare

WARM_FRAMES = 12
WARM_SEED = 3


@dataclass(frozen=True)
class SyntheticBeat:
    """A beat that passes through drawn frames.

    Args:
        frames: of one slice, in phase order.
        true: place in ``frames`` and sample of each frame that was drawn.
    """

    frames: Sequence[Frame]
    true: Sequence[tuple[int, Sample]]


def score_warm(
    stepper: Stepper, quality: QualityModel, samples: Sequence[Sample], mean_values: FloatArray
) -> list[ScoredSlice]:
    """Every slice of acdc subjects at ED and ES within a synthetic beat (warm), through the located view.

    Args:
        stepper: executes the network.
        quality: judges the values.
        samples: whole subjects.
        mean_values: [L] scored where no LV is returned.
    """
    subjects: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        subjects[sample.subject].append(sample)
    scored = []
    for members in subjects.values():
        stack = Stack()
        for beat in synthetic_beats(members):
            measurer = SliceMeasurer(stepper, quality, stack)
            results = list(measurer.measure_closed(beat.frames))
            scored += [scored_slice(sample, results[k], quality, mean_values) for k, sample in beat.true]
    return scored


def synthetic_beats(samples: Sequence[Sample]) -> list[SyntheticBeat]:
    """The beats of one subject, slice by slice.

    A slice with an LV at both ends gives one beat through both. Where an end has none nothing says how it
    moves: each end is then a heart that stands still, its picture repeated, the last one scored.
    """
    ends: dict[int, dict[str, Sample]] = defaultdict(dict)
    for sample in samples:
        ends[sample.slice_index][sample.phase or ""] = sample
    prepared = {p.sample.key: p for p in prepare(samples)}
    beats = []
    for _, pair in sorted(ends.items()):
        known = [prepared.get(sample.key) for sample in (pair.get("ED"), pair.get("ES")) if sample]
        moving = _moving(known[0], known[1]) if len(known) == 2 and known[0] and known[1] else None
        beats += [moving] if moving is not None else [_still(sample) for sample in pair.values()]
    return beats


def _moving(ed: PreparedSlice, es: PreparedSlice) -> SyntheticBeat | None:
    motion = motion_between(ed, es)
    if motion is None:
        return None
    number = int("".join(c for c in ed.sample.subject if c.isdigit()) or 0)
    rng = np.random.default_rng((WARM_SEED, number, ed.sample.slice_index))
    walk = acdc_walk(WARM_FRAMES, 1, 0, rng)
    ed_at, es_at = np.flatnonzero(walk.true_values).tolist()
    frames = []
    for k, contraction in enumerate(walk.positions / (LEVELS - 1)):
        picture = motion.at(float(contraction))[..., 0]
        frames.append(frame_of_sample(replace(ed.sample, pixels=picture), k, WARM_FRAMES))
    return SyntheticBeat(frames, [(ed_at, ed.sample), (es_at, es.sample)])


def _still(sample: Sample) -> SyntheticBeat:
    frames = [frame_of_sample(sample, k, WARM_FRAMES) for k in range(WARM_FRAMES)]
    return SyntheticBeat(frames, [(WARM_FRAMES - 1, sample)])
