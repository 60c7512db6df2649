"""Figures from scored frames: every number below can be worked out by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from lvedge.indices import DEFAULT_LAYOUT
from lvedge.training.evaluation import (
    acdc_figures,
    by_subject,
    markdown,
    other_source_figures,
    york_figures,
)
from lvedge.training.scoring import ScoredBeat, ScoredFrame, ScoredSlice

NAN, INF = float("nan"), float("inf")
TRUTH = np.array([6.0] * 6 + [40.0] * 3 + [1200.0, 1000.0])
NOBODY: dict[str, Any] = {"subjects": 0}


def figure(mean: float, low: float, high: float, pooled: float, subjects: int = 2) -> dict[str, Any]:
    return {"mean": mean, "interval_95": [low, high], "pooled": pooled, "subjects": subjects}


def even(mean: float, subjects: int = 2) -> dict[str, Any]:
    """The figure of subjects that are all alike."""
    return figure(mean, mean, mean, mean, subjects)


# --- by subject ------------------------------------------------------------------------------------


def test_subjects_count_alike_however_many_slices_they_have() -> None:
    # Means 2 and 5; of two subjects a draw has 2, 3.5 or 5, the outer ones in a quarter of the draws each.
    found = by_subject(["a", "a", "b"], np.array([1.0, 3.0, 5.0]))
    assert found == figure(mean=3.5, low=2.0, high=5.0, pooled=3.0)


def test_one_subject_has_no_spread() -> None:
    assert by_subject(["a", "a"], np.array([1.0, 2.0])) == even(1.5, subjects=1)


def test_unknown_values_are_left_out_and_so_are_subjects_without_any_other() -> None:
    values = np.array([1.0, NAN, 3.0, NAN, NAN])
    assert by_subject(["a", "a", "b", "b", "c"], values) == figure(2.0, 1.0, 3.0, 2.0)
    assert np.isnan(values[[1, 3, 4]]).all()
    assert by_subject(["a", "b"], np.array([NAN, NAN])) == NOBODY
    assert by_subject([], np.array([])) == NOBODY


def test_figures_have_four_digits() -> None:
    found = by_subject(["a", "b"], np.array([1 / 3, 2 / 3]))
    assert found == figure(0.5, 0.3333, 0.6667, 0.5)


def test_the_interval_is_that_of_the_mean_over_subjects() -> None:
    values = np.random.default_rng(0).normal(10.0, 2.0, 400)
    found = by_subject([f"s{k:03d}" for k in range(400)], values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert found["mean"] == round(values.mean(), 4)
    np.testing.assert_allclose(found["interval_95"], values.mean() + np.array([-half, half]), atol=0.02)
    # Many slices of the same subjects say no more than the subjects do.
    again = by_subject([f"s{k:03d}" for k in range(400)] * 5, np.tile(values, 5))
    assert again["interval_95"] == found["interval_95"]


def test_the_same_draw_gives_the_same_interval() -> None:
    subjects, values = list("abcdefgh"), np.arange(8.0) ** 2
    found = by_subject(subjects, values)
    assert by_subject(subjects, values) == found
    assert by_subject(subjects[::-1], values[::-1]) == found
    other = by_subject(subjects, values, seed=1)
    assert other["interval_95"] != found["interval_95"]
    assert other["mean"] == found["mean"]


# --- acdc ------------------------------------------------------------------------------------------


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
        has_lv=True,
        mid=True,
        found=True,
        truth=truth,
        regressed=truth + said,
        geometric=truth + read,
        centre_mm=1.0,
        septum_deg=2.0,
        dice=(0.9, 0.8),
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


def test_errors_of_the_mid_slices_by_subject() -> None:
    figures = acdc_figures(SLICES)
    assert figures["mid_slices"] == 3
    assert figures["coverage"] == figure(0.75, 0.5, 1.0, pooled=0.6667)
    for name in ("rwt_mm", "dims_mm", "areas_mm2"):
        # a: (1 + 3) / 2, b: 4; drawn 2 throughout; the mean of both is off by 0.5, 2.5 and 3.
        assert figures["regressed"][name] == figure(3.0, 2.0, 4.0, pooled=2.6667)
        assert figures["geometric"][name] == even(2.0)
        assert figures["mean_of_both"][name] == figure(2.25, 1.5, 3.0, pooled=2.0)
    assert figures["dice_cavity"] == figure(0.65, 0.5, 0.8, pooled=0.7)
    assert figures["dice_myocardium"] == figure(0.6, 0.5, 0.7, pooled=0.6333)


def test_each_value_has_its_own_figures() -> None:
    found = acdc_figures(SLICES)["regressed"]["per_index"]
    assert tuple(found) == DEFAULT_LAYOUT.names
    errors, absolute = np.array([1.0, -3.0, 4.0]), np.array([1.0, 3.0, 4.0])
    bias, spread = 2 / 3, math.sqrt(np.mean(errors**2) - 4 / 9)
    said = {
        "mae": 2.667,
        "sd": round(math.sqrt(np.mean(absolute**2) - (8 / 3) ** 2), 3),
        "bias": 0.667,
        "limits_of_agreement": [round(bias - 1.96 * spread, 3), round(bias + 1.96 * spread, 3)],
    }
    for name, value in found.items():
        assert {key: value[key] for key in said} == said, name
    # Thicknesses 6, 6.6, 7.2 and said 7, 3.6, 11.2: r from the deviations, by hand.
    deviations = np.array([-0.6, 0.0, 0.6]), np.array([7.0, 3.6, 11.2]) - 21.8 / 3
    r = deviations[0] @ deviations[1] / math.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum())
    assert found["rwt_IS_mm"]["pearson_r"] == pytest.approx(r, abs=1e-4)


def test_only_the_value_that_is_off_is_charged() -> None:
    off = TRUTH.copy()
    off[[0, 7, 10]] += [1.2, -6.0, 80.0]
    figures = acdc_figures([scored("a", regressed=off), scored("b")])
    said = figures["regressed"]
    assert said["rwt_mm"] == figure(0.1, 0.0, 0.2, 0.1)
    assert said["dims_mm"] == figure(1.0, 0.0, 2.0, 1.0)
    assert said["areas_mm2"] == figure(20.0, 0.0, 40.0, 20.0)
    biases = [said["per_index"][name]["bias"] for name in DEFAULT_LAYOUT.names]
    assert biases == [0.6, 0, 0, 0, 0, 0, 0, -3.0, 0, 0, 40.0]


def test_the_locator_is_judged_on_all_slices_with_an_lv() -> None:
    found = acdc_figures(SLICES)["locator"]
    # a: 5.5 and 1 mm; b: nowhere and 6 mm.
    assert found == {
        "slices_with_lv": 4,
        "centre_median_mm": 5.75,
        "within_6mm": figure(0.75, 0.5, 1.0, pooled=0.75),
        "within_5mm": figure(0.25, 0.0, 0.5, pooled=0.25),
    }


def test_a_septum_that_is_not_seen_counts_as_missed() -> None:
    found = acdc_figures(SLICES)["septum"]
    # a: 20 and 15 degrees, b: none; the median is that of those seen.
    assert found == {"median_deg": 17.5, "within_15deg": figure(0.25, 0.0, 0.5, pooled=0.3333)}


def test_false_and_missed_lvs() -> None:
    figures = acdc_figures(SLICES)
    assert figures["found_of_slices_with_lv"] == 0.75
    assert (figures["empty_slices"], figures["false_lv_on_empty"]) == (4, 0.25)


def test_groups_are_pooled_over_their_mid_slices() -> None:
    assert acdc_figures(SLICES)["by_group"] == {
        "DCM": {"rwt_mm": 4.0, "dims_mm": 4.0, "areas_mm2": 4.0},
        "NOR": {"rwt_mm": 2.0, "dims_mm": 2.0, "areas_mm2": 2.0},
    }


def test_figures_without_a_value_are_none_and_valid_json() -> None:
    nowhere = [
        scored("a", regressed=TRUTH, centre_mm=INF, septum_deg=NAN),
        scored("b", regressed=TRUTH, scale=2.0, centre_mm=INF, septum_deg=NAN),
    ]
    figures = acdc_figures(nowhere)
    assert figures["locator"]["centre_median_mm"] is None
    assert figures["septum"] == {"median_deg": None, "within_15deg": even(0.0)}
    assert (figures["empty_slices"], figures["false_lv_on_empty"]) == (0, None)
    # One value for all slices correlates with nothing.
    said = {reading: figures[reading]["per_index"]["dim_IS-AL_mm"] for reading in ("regressed", "geometric")}
    assert {reading: value["pearson_r"] for reading, value in said.items()} == {
        "regressed": None,
        "geometric": 1.0,
    }
    json.dumps(figures, allow_nan=False)


# --- york ------------------------------------------------------------------------------------------


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
        clock=truth ^ (np.arange(10) < 2),
        ed_off=0.0,
        es_off=1.0,
        areas_true=areas,
        areas_regressed=areas,
        centre_mm=1.0,
        dice=(0.9, 0.8),
    )
    return replace(scored_beat, **changes)


def test_beats_as_stored_and_from_any_start() -> None:
    half = np.arange(10) < 5
    areas = np.array([[1000.0, 500.0]] * 10)
    figures = york_figures(
        [
            beat("1", wrong=1, found=half, areas_regressed=areas + np.array([100.0, -100.0]), ed_off=2.0),
            beat("1", wrong=5, start=7, ed_off=9.0, dice=(0.0, 0.0), centre_mm=INF),
            beat("2", wrong=3, clock=np.zeros(10, dtype=bool), centre_mm=6.5, dice=(0.5, 0.4), es_off=NAN),
            beat("2", wrong=3, start=7),
        ]
    )
    assert figures == {
        "complete_slices": 2,
        "coverage": figure(0.75, 0.5, 1.0, 0.75),
        "phase_error_stored": figure(0.2, 0.1, 0.3, 0.2),
        "clock_error_stored": figure(0.3, 0.2, 0.4, 0.3),
        # 1: (0.1 + 0.5) / 2, 2: 0.3.
        "phase_error_random_start": even(0.3),
        "ed_off_median_frames": 1.0,
        "es_off_median_frames": 1.0,
        "areas_relative_error": {
            "cavity": figure(0.05, 0.0, 0.1, 0.05),
            "myocardium": figure(0.1, 0.0, 0.2, 0.1),
        },
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


def test_ends_that_were_never_found_have_no_distance() -> None:
    figures = york_figures([beat(ed_off=NAN, es_off=NAN)])
    assert (figures["ed_off_median_frames"], figures["es_off_median_frames"]) == (None, None)


def test_no_complete_slice_gives_no_figures() -> None:
    figures = york_figures([])
    assert (figures["complete_slices"], figures["ed_off_median_frames"]) == (0, None)
    assert (figures["coverage"], figures["phase_error_random_start"]) == (NOBODY, NOBODY)
    assert figures["areas_relative_error"] == {"cavity": NOBODY, "myocardium": NOBODY}


# --- other sources ---------------------------------------------------------------------------------


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


# --- tables ----------------------------------------------------------------------------------------

TABLES = """\
| data | reading | coverage | RWT mm | diameters mm | areas mm² |
|---|---|---|---|---|---|
| acdc mid slices, ED and ES | regressed | 75.0 % [50.0, 100.0] | 3.000 [2.000, 4.000] |\
 3.000 [2.000, 4.000] | 3.000 [2.000, 4.000] |
| acdc mid slices, ED and ES | geometric | 75.0 % [50.0, 100.0] | 2.000 [2.000, 2.000] |\
 2.000 [2.000, 2.000] | 2.000 [2.000, 2.000] |
| acdc mid slices, ED and ES | mean_of_both | 75.0 % [50.0, 100.0] | 2.250 [1.500, 3.000] |\
 2.250 [1.500, 3.000] | 2.250 [1.500, 3.000] |

| figure | value |
|---|---|
| Dice cavity | 0.650 [0.500, 0.800] |
| Dice myocardium | 0.600 [0.500, 0.700] |
| LV centre within 6 mm, all slices with LV | 75.0 % [50.0, 100.0] |
| mid-septum within 15° | 25.0 % [0.0, 50.0] |
| false LV on slices without LV | 25.0 % |
| york: phase error, clips as stored | 30.0 % [30.0, 30.0] |
| york: frame-index clock, same clips | 20.0 % [20.0, 20.0] |
| york: phase error, random start | 40.0 % [40.0, 40.0] |
| york: coverage | 100.0 % [100.0, 100.0] |
| sunnybrook (not trained on): coverage | none |
| sunnybrook: Dice cavity | none |
| sunnybrook: Dice myocardium | none |
"""


def all_figures(slices: list[ScoredSlice]) -> dict[str, Any]:
    return {
        "acdc": acdc_figures(slices),
        "york": york_figures([beat(wrong=3), beat(wrong=5, start=5)]),
        "sunnybrook": other_source_figures([]),
    }


def test_the_tables_in_full() -> None:
    assert markdown(all_figures(SLICES)) == TABLES


def test_large_figures_have_one_digit_and_missing_ones_none() -> None:
    lines = markdown(all_figures([scored("a", said=30.0), scored("b", said=20.0)])).splitlines()
    assert lines[2].endswith("| 25.0 [20.0, 30.0] | 25.0 [20.0, 30.0] | 25.0 [20.0, 30.0] |")
    assert "| false LV on slices without LV | none |" in lines


def test_the_tables_come_out_of_the_written_figures_alike() -> None:
    figures = all_figures(SLICES)
    assert markdown(json.loads(json.dumps(figures))) == TABLES
