"""Figures of york: every number below can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from scored_records import INF, NOBODY, beat, even, figure

from lvedge.training.evaluation.beat_figure import jitter, york_figures


def test_beats_as_stored_and_from_any_start() -> None:
    half = np.arange(10) < 5
    areas = np.array([[1000.0, 500.0]] * 10)
    figures = york_figures(
        [
            beat("1", wrong=1, found=half, areas_regressed=areas + np.array([100.0, -100.0]), ed_off=2.0),
            beat("1", wrong=5, start=7, ed_off=9.0, dice=(0.0, 0.0), centre_mm=INF),
            beat("2", wrong=3, clock=np.zeros(10, dtype=bool), centre_mm=6.5, dice=(0.5, 0.4), es_off=5.0),
            beat("2", wrong=3, start=7, systole_live=np.arange(10) < 4),
        ]
    )
    assert figures == {
        "complete_slices": 2,
        "coverage": figure(0.75, 0.5, 1.0, 0.75),
        "phase_error_stored": figure(0.2, 0.1, 0.3, 0.2),
        "clock_error_stored": figure(0.3, 0.2, 0.4, 0.3),
        # 1: (0.1 + 0.5) / 2, 2: 0.3.
        "phase_error_random_start": even(0.3),
        "phase_error_layer_alone": even(0.3),
        # 1: (0.1 + 0.5) / 2, 2: (0.3 + 0) / 2.
        "phase_error_live_second_beat": figure(0.225, 0.15, 0.3, 0.225),
        "ed_off_median_frames": 1.0,
        "es_off_median_frames": 3.0,
        "ed_off_frames": figure(1.0, 0.0, 2.0, 1.0),
        "es_off_frames": figure(3.0, 1.0, 5.0, 3.0),
        "areas_relative_error": {
            "cavity": figure(0.05, 0.0, 0.1, 0.05),
            "myocardium": figure(0.1, 0.0, 0.2, 0.1),
        },
        # Off by as much on every frame: nothing jitters.
        "jitter": dict.fromkeys(
            ("cavity", "myocardium"), dict.fromkeys(("error", "said", "drawn"), even(0.0))
        ),
        "dice_cavity": figure(0.7, 0.5, 0.9, 0.7),
        "dice_myocardium": figure(0.6, 0.4, 0.8, 0.6),
        "centre_within_6_nominal_mm": figure(0.5, 0.0, 1.0, 0.5),
    }


def test_areas_are_judged_against_the_slice_s_mean_area() -> None:
    areas = np.array([[1500.0, 500.0]] * 5 + [[500.0, 500.0]] * 5)
    said = areas.copy()
    said[5:, 0] += 100.0  # 100 mm² off on half of the frames, the mean area being 1000 mm²
    found = york_figures([beat(areas_true=areas, areas_regressed=said)])["areas_relative_error"]
    assert found == {"cavity": even(0.05, 1), "myocardium": even(0.0, 1)}


def test_the_jitter_of_white_noise_is_its_standard_deviation() -> None:
    noise = np.random.default_rng(0).normal(0.0, 3.0, 20000)
    assert jitter(noise) == pytest.approx(3.0, rel=0.02)
    assert jitter(noise + 500.0) == pytest.approx(jitter(noise))


def test_the_jitter_of_an_alternating_curve_in_closed_form() -> None:
    # Second differences of +1, -1, +1 ... are ±4.
    assert jitter(np.array([1.0, -1.0] * 5)) == pytest.approx(4 / np.sqrt(6))
    # Of one spike: 1, -2, 1 among ten frames.
    assert jitter(np.eye(10)[3]) == pytest.approx(np.sqrt(6 / 10 / 6))


def test_jitter_is_that_of_the_error_and_relative_to_the_subject_s_mean_area() -> None:
    motion = 1000.0 + 200.0 * np.cos(2 * np.pi * np.arange(10) / 10)
    drawn = np.column_stack([motion, np.full(10, 500.0)])
    wobble = 30.0 * np.array([1.0, -1.0] * 5)
    said = drawn + np.column_stack([wobble, 0 * wobble])
    other = beat(slice_index=5, areas_true=3 * drawn, areas_regressed=3 * drawn)
    found = york_figures([beat(areas_true=drawn, areas_regressed=said), other])["jitter"]
    # The subject's mean area over both slices is 2000 and 1000; the second slice has no error at all.
    expected = 30.0 * 4 / np.sqrt(6) / 2000.0
    assert found["cavity"]["error"] == even(round(expected / 2, 4), 1)
    assert found["myocardium"]["error"] == even(0.0, 1)
    # A cosine's second differences are itself times 2 cos(36°) - 2.
    own = 200.0 / np.sqrt(2) * (2 - 2 * np.cos(np.pi / 5)) / np.sqrt(6)
    assert found["cavity"]["drawn"] == even(round((own + 3 * own) / 2 / 2000.0, 4), 1)


def test_no_complete_slice_gives_no_figures() -> None:
    figures = york_figures([])
    assert (figures["complete_slices"], figures["ed_off_median_frames"]) == (0, None)
    assert (figures["coverage"], figures["phase_error_random_start"]) == (NOBODY, NOBODY)
    assert figures["jitter"]["cavity"]["error"] == NOBODY
    assert figures["areas_relative_error"] == {"cavity": NOBODY, "myocardium": NOBODY}
