"""Frames of a source that nothing was trained on: too few subjects for intervals to mean much."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvedge.aim import Stack
from lvedge.contract import Stepper
from lvedge.indices import Label
from lvedge.measure import SliceMeasurer
from lvedge.quality import QualityModel
from lvedge.training.data.sample import Sample
from lvedge.training.evaluation.figure import CENTRE_MM, by_subject
from lvedge.training.scoring import centre_off_mm, dice, frame_of_sample


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
                centre_mm=centre_off_mm(sample, measurement),
                dice=(cavity, wall if sample.has_epicardium else float("nan")),
            )
        )
    return scored


def other_source_figures(scored: Sequence[ScoredFrame]) -> dict[str, Any]:
    """Figures on a source that nothing was trained on, of too few subjects for intervals to mean much."""
    subjects = [s.subject for s in scored]
    walls = [s for s in scored if np.isfinite(s.dice[1])]
    return {
        "frames": len(scored),
        "frames_with_epicardium": len(walls),
        "coverage": by_subject(subjects, np.array([float(s.found) for s in scored])),
        "dice_cavity": by_subject(subjects, np.array([s.dice[0] for s in scored])),
        "dice_myocardium": by_subject([s.subject for s in walls], np.array([s.dice[1] for s in walls])),
        "cavity_area_error_mm2": by_subject(
            subjects, np.array([abs(s.cavity_mm2 - s.true_cavity_mm2) for s in scored])
        ),
        "centre_within_6mm": by_subject(
            subjects, np.array([float(s.centre_mm <= CENTRE_MM) for s in scored])
        ),
    }
