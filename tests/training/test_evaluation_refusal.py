"""Refusals by kind: what is shown holds no LV, and every returned LV is counted."""

from __future__ import annotations

import pytest

pytest.importorskip("scipy")

from painted_hearts import PaintReader, painted_stack

from lvedge.phantom import NEGATIVE_KINDS
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.evaluation.refusal import Refusal, refusal_figures, score_refusals
from lvedge.training.pictures import phantom_pictures, pictures_of


def test_every_kind_is_counted() -> None:
    refusals = score_refusals(PaintReader(), DEFAULT_QUALITY, pictures_of(painted_stack(5)))
    counts = {r.kind: r for r in refusals}
    assert set(counts) <= {"beside the LV", "cut across"}
    assert counts["cut across"].shown == 4  # two phases, two directions
    # The reader takes painted grey levels for labels, so that a cut through a painted heart shows it one.
    assert 0 < counts["cut across"].returned <= 4


def test_the_phantom_s_pictures_are_of_every_kind() -> None:
    refusals = score_refusals(PaintReader(), DEFAULT_QUALITY, phantom_pictures(range(20, 23)))
    assert [r.kind for r in refusals] == [f"phantom: {kind.replace('_', ' ')}" for kind in NEGATIVE_KINDS]
    assert {r.shown for r in refusals} == {3}
    assert refusals[0].returned == 0  # blank


def test_figures_add_up_over_subjects() -> None:
    figures = refusal_figures([Refusal("a", 4, 1), Refusal("b", 2, 0), Refusal("a", 6, 2)])
    assert figures == {
        "a": {"shown": 10, "returned": 3, "refused": 0.7},
        "b": {"shown": 2, "returned": 0, "refused": 1.0},
    }
