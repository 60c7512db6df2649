"""Figures of acdc: every number below can be worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from scored_records import INF, NAN, SLICES, TRUTH, even, figure, scored

from lvedge.indices import DEFAULT_LAYOUT
from lvedge.training.evaluation.still_figure import acdc_figures, differences, is_confused, still_figures


def test_errors_of_the_mid_slices_by_subject() -> None:
    figures = acdc_figures(SLICES)
    assert figures["mid_slices"] == 3
    assert figures["coverage"] == figure(0.75, 0.5, 1.0, pooled=0.6667)
    a, b = (1 / 1200 + 3 / 1320) / 2, 4 / 1440
    assert figures["areas_relative_error"]["cavity"]["mean"] == pytest.approx((a + b) / 2, abs=1e-4)
    for name in ("rwt_mm", "dims_mm", "areas_mm2"):
        # a: (1 + 3) / 2, b: 4; drawn 2 throughout; the mean of both is off by 0.5, 2.5 and 3.
        assert figures["regressed"][name] == figure(3.0, 2.0, 4.0, pooled=2.6667)
        assert figures["geometric"][name] == even(2.0)
        assert figures["mean_of_both"][name] == figure(2.25, 1.5, 3.0, pooled=2.0)
    assert figures["dice_cavity"] == figure(0.65, 0.5, 0.8, pooled=0.7)
    assert figures["dice_myocardium"] == figure(0.6, 0.5, 0.7, pooled=0.6333)


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
    assert found == {
        "median_deg": 17.5,
        "within_15deg": figure(0.25, 0.0, 0.5, pooled=0.3333),
        "sector_confusion": even(0.0),
    }


def test_false_and_missed_lvs() -> None:
    figures = acdc_figures(SLICES)
    assert figures["found_of_slices_with_lv"] == 0.75
    assert (figures["empty_slices"], figures["false_lv_on_empty"]) == (4, 0.25)


def part(error: float, slices: int, subjects: int = 1, **changes: Any) -> dict[str, Any]:
    """A part whose values are all off by as much, and else like any."""
    kinds = dict.fromkeys(("rwt_mm", "dims_mm", "areas_mm2"), error)
    usual = {
        "coverage": 1.0,
        "dice_cavity": 0.9,
        "dice_myocardium": 0.8,
        "endocardium_95_mm": 2.0,
        "epicardium_95_mm": 4.0,
        "centre_median_mm": 1.0,
        "septum_median_deg": 2.0,
    }
    return {"slices": slices, "subjects": subjects, **kinds, **usual, **changes}


def test_groups_are_pooled_over_their_mid_slices() -> None:
    nowhere = {"centre_median_mm": None, "septum_median_deg": None}
    seen = {"centre_median_mm": 3.25, "septum_median_deg": 17.5}
    assert acdc_figures(SLICES)["by_group"] == {
        "DCM": part(4.0, 1, dice_cavity=0.5, dice_myocardium=0.5, **nowhere),
        "NOR": part(2.0, 2, coverage=0.5, dice_cavity=0.8, dice_myocardium=0.7, **seen),
    }


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (0.0, "0.0-0.2 basal"),
        (0.19, "0.0-0.2 basal"),
        (0.2, "0.2-0.4 mid"),
        (0.5, "0.4-0.6 mid"),
        (0.8, "0.6-0.8 mid"),
        (0.81, "0.8-1.0 apical"),
        (1.0, "0.8-1.0 apical"),
    ],
)
def test_levels_reach_from_base_to_apex_beyond_the_mid_slices(level: float, name: str) -> None:
    mid = 0.2 <= level <= 0.8
    found = still_figures([scored(said=1.5, level=level, mid=mid), scored(truth=np.full(11, NAN), mid=False)])
    assert found["by_level"] == {name: part(1.5, 1)}


def test_the_five_levels_of_a_stack_of_eleven() -> None:
    stack = [scored(said=float(k), level=k / 10, mid=0.2 <= k / 10 <= 0.8) for k in range(11)]
    found = still_figures(stack)["by_level"]
    assert [(f["slices"], f["rwt_mm"]) for f in found.values()] == [
        (2, 0.5),
        (2, 2.5),
        (2, 4.5),
        (3, 7.0),
        (2, 9.5),
    ]


def test_spacings_and_flags_have_bins_of_their_own() -> None:
    figures = still_figures(
        [
            scored("a", said=1.0, spacing_mm=0.7),
            scored("b", said=2.0, spacing_mm=1.3, flagged=True),
            scored("b", said=4.0, spacing_mm=1.49, found=False),
            scored("c", said=8.0, spacing_mm=1.9),
        ]
    )
    assert figures["by_spacing_mm"] == {
        "1.3 to 1.5": part(3.0, 2, coverage=0.5),
        "1.7 or more": part(8.0, 1),
        "under 1.3": part(1.0, 1),
    }
    assert figures["by_quality"] == {
        "flagged": part(2.0, 1),
        "not flagged": part(4.5, 2, subjects=2),
        "not returned": part(4.0, 1, coverage=0.0),
    }


def test_contours_by_subject() -> None:
    far = np.array([[4.0, 8.0], [5.0, 9.0]])
    found = still_figures([scored("a"), scored("b", hausdorff_mm=far)])["hausdorff_mm"]
    assert found == {
        "endocardium": {"95": figure(3.0, 2.0, 4.0, 3.0), "max": figure(5.5, 3.0, 8.0, 5.5)},
        "epicardium": {"95": figure(4.5, 4.0, 5.0, 4.5), "max": figure(7.5, 6.0, 9.0, 7.5)},
    }


# --- thickening ------------------------------------------------------------------------------------


def test_thickening_is_es_minus_ed_of_the_same_slice() -> None:
    thick = TRUTH.copy()
    thick[:6] += [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    pairs = [
        # Off by 1 at ED and by 3 at ES: thickening by 2 too much.
        scored("a", said=1.0, read=0.5),
        scored("a", phase="ES", truth=thick, regressed=thick + 3.0, geometric=thick + 0.5),
        # A bias that is the same at both ends is none in thickening.
        scored("b", said=-2.0),
        scored("b", phase="ES", truth=thick, regressed=thick - 2.0, geometric=thick - 1.0),
        # Neither has another end.
        scored("c", said=9.0),
        scored("c", slice_index=5, phase="ES", said=9.0),
    ]
    found = still_figures(pairs)["thickening_mm"]
    assert found["pairs"] == 2
    assert found["regressed"]["mae"] == figure(1.0, 0.0, 2.0, 1.0)
    assert found["regressed"]["bias"] == 1.0
    assert found["geometric"]["mae"] == figure(0.5, 0.0, 1.0, 0.5)
    assert found["geometric"]["bias"] == -0.5


def test_without_a_pair_there_is_no_thickening() -> None:
    found = still_figures([scored()])["thickening_mm"]
    assert found["pairs"] == 0
    assert found["regressed"] == {"mae": {"subjects": 0}, "bias": None, "pearson_r": None}


# --- sectors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turned_deg", "confused"),
    [(0.0, False), (29.0, False), (31.0, True), (59.0, True), (61.0, True), (180.0, True)],
)
def test_a_septum_nearer_to_another_sector_s_place_confuses_the_names(
    turned_deg: float, confused: bool
) -> None:
    assert is_confused(scored(septum_deg=turned_deg)) is confused


def test_a_mirrored_picture_confuses_the_names_however_well_the_septum_fits() -> None:
    assert is_confused(scored(septum_deg=0.0, mirrored=True))


def test_only_found_mid_slices_can_be_confused() -> None:
    slices = [
        scored("a", septum_deg=61.0),
        scored("a", septum_deg=NAN, found=False),
        scored("a", septum_deg=90.0, mid=False),
        scored("b", septum_deg=10.0),
        scored("b", septum_deg=59.0),
    ]
    assert still_figures(slices)["septum"]["sector_confusion"] == figure(0.75, 0.5, 1.0, pooled=0.6667)


# --- cold, warm, hand-made -------------------------------------------------------------------------

PAIR = [scored("a", said=1.0), scored("a", said=2.0, phase="ES"), scored("b", said=-3.0)]


def test_warm_minus_cold_is_nothing_for_identical_inputs() -> None:
    assert differences(PAIR, PAIR) == {
        "coverage": even(0.0),
        "regressed": dict.fromkeys(("rwt_mm", "dims_mm", "areas_mm2"), even(0.0)),
        "geometric": dict.fromkeys(("rwt_mm", "dims_mm", "areas_mm2"), even(0.0)),
        "dice_cavity": even(0.0),
        "dice_myocardium": even(0.0),
    }


def test_warm_minus_cold_is_paired_by_slice_whatever_their_order() -> None:
    warm = [
        scored("b", said=3.5, dice=(0.8, 0.8)),
        scored("a", said=-2.0, phase="ES", found=False),
        scored("a", said=0.0, read=1.0),
        scored("a", said=70.0, slice_index=9, mid=False),
    ]
    found = differences(warm, PAIR)
    # a: -1 and 0, b: +0.5.
    assert found["regressed"]["rwt_mm"] == figure(0.0, -0.5, 0.5, pooled=-0.1667)
    # a: 1 and 0, b: 0.
    assert found["geometric"]["areas_mm2"] == figure(0.25, 0.0, 0.5, pooled=0.3333)
    assert found["coverage"] == figure(-0.25, -0.5, 0.0, pooled=-0.3333)
    assert found["dice_cavity"] == figure(-0.05, -0.1, 0.0, pooled=-0.0333)


def test_other_slices_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="the same mid slices"):
        differences(PAIR[:2], PAIR)


def test_warm_and_hand_made_stand_beside_the_cold_figures() -> None:
    better = [replace(s, regressed=s.truth) for s in PAIR]
    figures = acdc_figures(PAIR, better, [replace(s, regressed=s.truth + 5.0) for s in PAIR])
    assert {name: figures[name] for name in still_figures(PAIR)} == still_figures(PAIR)
    assert figures["warm"] == still_figures(better)
    assert figures["warm_minus_cold"]["regressed"]["rwt_mm"]["mean"] == -2.25
    assert figures["hand_made"]["regressed"]["dims_mm"] == even(5.0)
    assert figures["located_minus_hand_made"]["regressed"]["areas_mm2"]["mean"] == -2.75
    assert not {"warm", "hand_made", "retest"} & acdc_figures(PAIR).keys()


def test_figures_without_a_value_are_none_and_valid_json() -> None:
    nowhere = [
        scored("a", regressed=TRUTH, centre_mm=INF, septum_deg=NAN),
        scored("b", regressed=TRUTH, scale=2.0, centre_mm=INF, septum_deg=NAN),
    ]
    figures = acdc_figures(nowhere)
    assert figures["locator"]["centre_median_mm"] is None
    assert figures["septum"] == {
        "median_deg": None,
        "within_15deg": even(0.0),
        "sector_confusion": even(0.0),
    }
    assert (figures["empty_slices"], figures["false_lv_on_empty"]) == (0, None)
    # One value for all slices correlates with nothing.
    said = {reading: figures[reading]["per_index"]["dim_IS-AL_mm"] for reading in ("regressed", "geometric")}
    assert {reading: value["pearson_r"] for reading, value in said.items()} == {
        "regressed": None,
        "geometric": 1.0,
    }
    json.dumps(figures, allow_nan=False)
