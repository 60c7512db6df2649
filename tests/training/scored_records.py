"""Scored slices and beats whose every figure can be worked out by hand, and figures as they are expected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lvedge.training.evaluation.beat import ScoredBeat
from lvedge.training.evaluation.still import ScoredSlice

NAN, INF = float("nan"), float("inf")
TRUTH = np.array([6.0] * 6 + [40.0] * 3 + [1200.0, 1000.0])
NOBODY: dict[str, Any] = {"subjects": 0}


def figure(mean: float, low: float, high: float, pooled: float, subjects: int = 2) -> dict[str, Any]:
    return {"mean": mean, "interval_95": [low, high], "pooled": pooled, "subjects": subjects}


def even(mean: float, subjects: int = 2) -> dict[str, Any]:
    """The figure of subjects that are all alike."""
    return figure(mean, mean, mean, mean, subjects)


def scored(
    subject: str = "a", said: float = 0.0, read: float = 0.0, scale: float = 1.0, **changes: Any
) -> ScoredSlice:
    """A slice whose every value is off by ``said`` in the regressed and by ``read`` in the drawn reading."""
    truth = scale * TRUTH
    slice_ = ScoredSlice(
        subject=subject,
        slice_index=4,
        phase="ED",
        group="NOR",
        spacing_mm=1.5,
        level=0.4,
        has_lv=True,
        mid=True,
        found=True,
        flagged=False,
        mirrored=False,
        truth=truth,
        regressed=truth + said,
        geometric=truth + read,
        centre_mm=1.0,
        septum_deg=2.0,
        dice=(0.9, 0.8),
        hausdorff_mm=np.array([[2.0, 3.0], [4.0, 6.0]]),
        quality=0.9,
    )
    return replace(slice_, **changes)


SLICES = [
    scored("a", said=1.0, read=-2.0, scale=1.0, centre_mm=5.5, septum_deg=20.0),
    scored("a", said=-3.0, read=-2.0, scale=1.1, dice=(0.7, 0.6), septum_deg=15.0, found=False),
    scored("b", said=4.0, read=2.0, scale=1.2, dice=(0.5, 0.5), centre_mm=INF, septum_deg=NAN, group="DCM"),
    # Neither counts among the mid slices.
    scored("b", said=50.0, read=50.0, mid=False, dice=(0.0, 0.0), centre_mm=6.0, septum_deg=NAN),
    *(
        scored(
            "b", mid=False, has_lv=False, found=found, truth=np.full(11, NAN), centre_mm=NAN, dice=(NAN, NAN)
        )
        for found in (True, False, False, False)
    ),
]


def beat(subject: str = "1", wrong: int = 0, start: int = 0, **changes: Any) -> ScoredBeat:
    """Ten frames, systole first, of which ``wrong`` have the other phase."""
    truth = np.arange(10) < 4
    areas = np.array([[1000.0, 500.0]] * 10)
    scored_beat = ScoredBeat(
        subject=subject,
        slice_index=3,
        start=start,
        found=np.ones(10, dtype=bool),
        systole_true=truth,
        systole_said=truth ^ (np.arange(10) < wrong),
        systole_layer=truth ^ (np.arange(10) < wrong),
        systole_live=truth ^ (np.arange(10) < wrong),
        clock=truth ^ (np.arange(10) < 2),
        ed_off=0.0,
        es_off=1.0,
        areas_true=areas,
        areas_regressed=areas,
        centre_mm=1.0,
        dice=(0.9, 0.8),
    )
    return replace(scored_beat, **changes)
