"""What quality is worth, on slices whose every figure can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scored_records import NAN, scored

from lvedge.training.evaluation.plot import plot_risk_coverage
from lvedge.training.evaluation.quality_figure import quality_figures, risk_coverage, share_of_worst

# Ten frames a subject; ``said`` puts every sector off by so many mm: over 3 is gross.
GOOD = [scored(subject, said=1.0, quality=0.5 + 0.04 * k) for subject in "ab" for k in range(9)]
BAD = [scored("a", said=3.5, quality=0.1), scored("b", said=-3.5, quality=0.7, flagged=True)]


def test_figures_by_hand() -> None:
    figures = quality_figures([*GOOD, *BAD])
    assert (figures["frames"], figures["gross"], figures["base_rate"]) == (20, 2, 0.1)
    # The first is below all 18 good ones; the second ties with two, is above 10 and below 6 of them.
    assert figures["auroc"]["value"] == pytest.approx((18 + 6 + 1) / 36, abs=1e-4)
    low, high = figures["auroc"]["interval_95"]
    assert low < figures["auroc"]["value"] < high
    # The worst tenth is two frames and could hold both.
    assert figures["worst_tenth"] == {"share_of_gross": 0.5, "of_attainable": 0.5}
    assert figures["flagged"] == {
        "share": 0.05,
        "gross_among_flagged": 1.0,
        "gross_among_others": pytest.approx(1 / 19, abs=1e-4),
    }


def test_what_has_no_truth_or_was_not_returned_is_left_out() -> None:
    half_known = np.array([NAN] * 6 + [40.0] * 3 + [1200.0, 1000.0])
    others = [
        scored(found=False, said=9.0),
        scored(has_lv=False, truth=np.full(11, NAN)),
        scored(truth=half_known),
    ]
    assert quality_figures([*GOOD, *BAD, *others]) == quality_figures([*GOOD, *BAD])
    assert quality_figures(others) == {"frames": 0}


def test_without_gross_errors_nothing_is_told_apart() -> None:
    figures = quality_figures(GOOD)
    assert figures["auroc"] == {"value": None, "interval_95": None}
    assert figures["worst_tenth"] == {"share_of_gross": None, "of_attainable": None}


def test_where_errors_are_many_the_worst_tenth_cannot_hold_them_all() -> None:
    slices = [scored(said=5.0 if k < 4 else 0.0, quality=0.1 * k) for k in range(10)]
    assert quality_figures(slices)["worst_tenth"] == {"share_of_gross": 0.25, "of_attainable": 1.0}


def test_risk_falls_from_the_base_rate_to_the_best() -> None:
    quality = np.linspace(0, 1, 20)
    gross = np.arange(20) < 5
    perfect = risk_coverage(quality, gross)
    assert perfect["quality"] == perfect["oracle"]
    assert perfect["quality"][-1] == perfect["random"][-1] == 0.25
    assert perfect["quality"][perfect["coverage"].index(0.75)] == 0.0
    assert perfect["quality"][perfect["coverage"].index(0.8)] == pytest.approx(1 / 16, abs=1e-4)
    assert risk_coverage(-quality, gross)["quality"][0] == 1.0
    assert share_of_worst(quality, gross) == pytest.approx(2 / 5)


def test_a_picture_of_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figures = {"cold": quality_figures([*GOOD, *BAD]), "warm": {"frames": 0}}
    pixels = cv2.imread(str(plot_risk_coverage(figures, tmp_path / "deep")))
    assert pixels is not None
    drawn = pixels.max(axis=2).astype(int) - pixels.min(axis=2) > 40
    assert drawn.sum() > 500
