"""Figures of york: phase, ends of systole, areas relative to the subject's own, and how they jitter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from lvedge.indices import AREA_NAMES, FloatArray
from lvedge.training.evaluation.beat import ScoredBeat
from lvedge.training.evaluation.figure import CENTRE_MM, by_subject, median


def york_figures(beats: Sequence[ScoredBeat]) -> dict[str, Any]:
    """Phase error beside the clock's, ED and ES distance, areas relative to the subject's mean."""
    stored = [b for b in beats if b.start == 0]
    subjects = [b.subject for b in stored]
    every = [b.subject for b in beats]

    def wrong(beat: ScoredBeat, said: np.ndarray) -> float:
        return float((said != beat.systole_true).mean())

    relative = np.array(
        [np.abs(b.areas_regressed - b.areas_true).mean(axis=0) / b.areas_true.mean(axis=0) for b in stored]
    ).reshape(-1, 2)
    off = np.array([[b.ed_off, b.es_off] for b in stored]).reshape(-1, 2)
    return {
        "complete_slices": len(stored),
        "coverage": by_subject(subjects, np.array([b.found.mean() for b in stored])),
        "phase_error_stored": by_subject(subjects, np.array([wrong(b, b.systole_said) for b in stored])),
        "clock_error_stored": by_subject(subjects, np.array([wrong(b, b.clock) for b in stored])),
        "phase_error_random_start": by_subject(every, np.array([wrong(b, b.systole_said) for b in beats])),
        "phase_error_layer_alone": by_subject(every, np.array([wrong(b, b.systole_layer) for b in beats])),
        "phase_error_live_second_beat": by_subject(
            every, np.array([wrong(b, b.systole_live) for b in beats])
        ),
        "ed_off_median_frames": median(off[:, 0]),
        "es_off_median_frames": median(off[:, 1]),
        "ed_off_frames": by_subject(subjects, off[:, 0]),
        "es_off_frames": by_subject(subjects, off[:, 1]),
        "areas_relative_error": {
            name: by_subject(subjects, relative[:, k]) for k, name in enumerate(AREA_NAMES)
        },
        "jitter": jitter_figures(stored),
        "dice_cavity": by_subject(subjects, np.array([b.dice[0] for b in stored])),
        "dice_myocardium": by_subject(subjects, np.array([b.dice[1] for b in stored])),
        "centre_within_6_nominal_mm": by_subject(
            subjects, np.array([float(b.centre_mm <= CENTRE_MM) for b in stored])
        ),
    }


def jitter_figures(beats: Sequence[ScoredBeat]) -> dict[str, Any]:
    """Frame-to-frame jitter of the areas, relative to the subject's mean drawn area.

    ``error`` is that of the returned minus the drawn area, so that the heart's own motion drops out;
    ``drawn`` is that of the drawn area alone, since contours drawn frame by frame wander too, and ``said``
    that of the returned area: both hold the motion's own curvature besides.
    """
    of_subject: dict[str, list[FloatArray]] = defaultdict(list)
    for beat in beats:
        of_subject[beat.subject].append(beat.areas_true)
    usual = {subject: np.concatenate(areas).mean(axis=0) for subject, areas in of_subject.items()}
    subjects = [b.subject for b in beats]
    curves = {
        "error": [b.areas_regressed - b.areas_true for b in beats],
        "said": [b.areas_regressed for b in beats],
        "drawn": [b.areas_true for b in beats],
    }
    return {
        name: {
            kind: by_subject(
                subjects,
                np.array(
                    [jitter(c[:, k]) / usual[s][k] for c, s in zip(of_kind, subjects, strict=True)],
                    dtype=np.float64,
                ),
            )
            for kind, of_kind in curves.items()
        }
        for k, name in enumerate(AREA_NAMES)
    }


def jitter(curve: FloatArray) -> float:
    """Standard deviation of the white noise that would make a closed curve as rough as it is.

    The root mean square of its cyclic second differences c[t − 1] − 2 c[t] + c[t + 1], divided by √6, which
    is what they are for white noise of standard deviation 1. A constant offset gives 0.

    Args:
        curve: [T] over one beat, in any unit.
    """
    second = np.roll(curve, 1) - 2.0 * curve + np.roll(curve, -1)
    return float(np.sqrt(np.mean(second**2) / 6.0))
