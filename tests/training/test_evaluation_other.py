"""Frames of a source that nothing was trained on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from heart_samples import healthy, sample_of
from painted_hearts import COARSE, PaintReader, blank, painted
from scored_records import INF, NAN, NOBODY, figure

from lvedge.indices import Label
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.evaluation.other import ScoredFrame, other_source_figures, score_frames

# --- other sources ---------------------------------------------------------------------------------


def test_single_frames_of_another_source() -> None:
    seen = painted(sample_of(healthy(COARSE), 2, "sunnybrook", subject="SCD1"))
    no_wall = replace(seen, frame_index=5, has_epicardium=False)
    hidden = replace(blank(seen), subject="SCD2")
    scored = score_frames(PaintReader(), DEFAULT_QUALITY, [hidden, no_wall, seen])
    assert [(s.subject, s.slice_index, s.frame_index, s.found) for s in scored] == [
        ("SCD1", 4, 2, True),
        ("SCD1", 4, 5, True),
        ("SCD2", 4, 2, False),
    ]
    truth = float(seen.map(Label.CAVITY).sum()) * 6.25
    assert [s.true_cavity_mm2 for s in scored] == [pytest.approx(truth)] * 3
    assert [s.cavity_mm2 for s in scored] == [pytest.approx(truth, rel=0.01)] * 2 + [0.0]
    assert [s.centre_mm < 0.2 for s in scored] == [True, True, False]
    assert scored[2].centre_mm == math.inf
    assert [s.dice[0] > 0.97 for s in scored] == [True, True, False]
    assert scored[2].dice == (0.0, 0.0)
    assert [math.isnan(s.dice[1]) for s in scored] == [False, True, False]


def test_the_centre_s_distance_is_in_millimetres() -> None:
    grid = replace(COARSE, columns=90, spacing_mm=(2.5, 1.8))
    drawn = painted(sample_of(healthy(grid), 0, "sunnybrook"))
    shown = replace(drawn, pixels=np.roll(drawn.pixels, (2, 4), axis=(0, 1)))
    (said,) = score_frames(PaintReader(), DEFAULT_QUALITY, [shown])
    assert said.centre_mm == pytest.approx(math.hypot(2 * 2.5, 4 * 1.8), abs=0.3)


# --- figures ---------------------------------------------------------------------------------


def frame(subject: str, said: float, found: bool = True, **changes: Any) -> ScoredFrame:
    return replace(ScoredFrame(subject, 2, 0, found, 1000.0, said, 1.0, (0.9, 0.8)), **changes)


def test_frames_of_another_source() -> None:
    frames = [
        frame("s", 900.0),
        frame("s", 1300.0, dice=(0.7, NAN), centre_mm=6.5),
        frame("t", 0.0, found=False, dice=(0.0, 0.0), centre_mm=INF),
    ]
    assert other_source_figures(frames) == {
        "frames": 3,
        "frames_with_epicardium": 2,
        "coverage": figure(0.5, 0.0, 1.0, pooled=0.6667),
        "dice_cavity": figure(0.4, 0.0, 0.8, pooled=0.5333),
        "dice_myocardium": figure(0.4, 0.0, 0.8, pooled=0.4),
        "cavity_area_error_mm2": figure(600.0, 200.0, 1000.0, pooled=466.6667),
        "centre_within_6mm": figure(0.25, 0.0, 0.5, pooled=0.3333),
    }


def test_no_frame_gives_no_figures() -> None:
    names = ("coverage", "dice_cavity", "dice_myocardium", "cavity_area_error_mm2", "centre_within_6mm")
    expected = {"frames": 0, "frames_with_epicardium": 0, **dict.fromkeys(names, NOBODY)}
    assert other_source_figures([]) == expected
