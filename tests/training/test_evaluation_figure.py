"""Figures from numbers: every one below can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from scored_records import NAN, NOBODY, TRUTH, even, figure

from lvedge.indices import DEFAULT_LAYOUT
from lvedge.training.evaluation.figure import by_subject, per_index

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


# --- each value ------------------------------------------------------------------------------------


def test_agreement_of_each_value() -> None:
    truth = np.array([1.0, 1.1, 1.2])[:, None] * TRUTH
    errors = np.array([1.0, -3.0, 4.0])
    found = per_index(truth + errors[:, None], truth)
    assert tuple(found) == DEFAULT_LAYOUT.names
    bias, spread = 2 / 3, math.sqrt(np.mean(errors**2) - 4 / 9)
    said = {
        "mae": 2.667,
        "sd": round(math.sqrt(np.mean(errors**2) - (8 / 3) ** 2), 3),
        "rmse": round(math.sqrt((1 + 9 + 16) / 3), 3),
        "bias": 0.667,
        "limits_of_agreement": [round(bias - 1.96 * spread, 3), round(bias + 1.96 * spread, 3)],
    }
    for name, value in found.items():
        assert {key: value[key] for key in said} == said, name
    # Thicknesses 6, 6.6, 7.2 and said 7, 3.6, 11.2: r from the deviations, by hand.
    deviations = np.array([-0.6, 0.0, 0.6]), np.array([7.0, 3.6, 11.2]) - 21.8 / 3
    r = deviations[0] @ deviations[1] / math.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum())
    assert found["rwt_IS_mm"]["pearson_r"] == pytest.approx(r, abs=1e-4)


def test_one_value_for_all_correlates_with_nothing() -> None:
    truth = np.array([1.0, 2.0])[:, None] * TRUTH
    assert per_index(np.array([TRUTH, TRUTH]), truth)["rwt_I_mm"]["pearson_r"] is None
