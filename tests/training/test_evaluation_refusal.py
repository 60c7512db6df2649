"""Refusals by kind: what is shown holds no LV, and every returned LV is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from heart_samples import GRID, healthy, sample_of
from painted_hearts import PaintReader, painted_stack

from lvedge.phantom import NEGATIVE_KINDS
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.evaluation.refusal import (
    CROP_MM,
    SEEDS,
    Refusal,
    beside_the_lv,
    phantom_pictures,
    pictures_of,
    refusal_figures,
    score_refusals,
)
from lvedge.training.negatives import PHANTOM_SEEDS


def test_a_part_beside_the_lv_holds_none_of_it() -> None:
    grid = replace(GRID, rows=190, columns=170, spacing_mm=(1.6, 1.8))
    sample = sample_of(healthy(grid))
    # Mark the LV in the picture itself: no part may show the mark.
    lv = sample.maps[..., 1:].any(axis=-1)
    marked = replace(sample, pixels=np.where(lv, 255, np.minimum(sample.pixels, 254)).astype(np.uint8))
    rng = np.random.default_rng(0)
    parts = [beside_the_lv(marked, rng) for _ in range(30)]
    for part in parts:
        assert part is not None
        assert part.shape == (round(CROP_MM / 1.6), round(CROP_MM / 1.8))
        assert part.max() < 255
    assert len({part.tobytes() for part in parts if part is not None}) > 20


def test_there_may_be_no_room_beside_the_lv() -> None:
    small = sample_of(healthy(replace(GRID, rows=80, columns=80)))
    assert beside_the_lv(small, np.random.default_rng(0)) is None
    tiny = sample_of(healthy(replace(GRID, rows=50, columns=50)))
    assert beside_the_lv(tiny, np.random.default_rng(0)) is None


def test_every_kind_is_counted() -> None:
    refusals = score_refusals(PaintReader(), DEFAULT_QUALITY, pictures_of(painted_stack(5)))
    counts = {r.kind: r for r in refusals}
    assert set(counts) <= {"beside the LV", "cut across"}
    assert counts["cut across"].shown == 4  # two phases, two directions
    # The reader takes painted grey levels for labels, so that a cut through a painted heart shows it one.
    assert 0 < counts["cut across"].returned <= 4


def test_the_phantom_s_pictures_are_of_every_kind() -> None:
    refusals = score_refusals(PaintReader(), DEFAULT_QUALITY, phantom_pictures())
    assert [r.kind for r in refusals] == [f"phantom: {kind.replace('_', ' ')}" for kind in NEGATIVE_KINDS]
    assert {r.shown for r in refusals} == {len(SEEDS)}
    assert refusals[0].returned == 0  # blank


def test_figures_add_up_over_subjects() -> None:
    figures = refusal_figures([Refusal("a", 4, 1), Refusal("b", 2, 0), Refusal("a", 6, 2)])
    assert figures == {
        "a": {"shown": 10, "returned": 3, "refused": 0.7},
        "b": {"shown": 2, "returned": 0, "refused": 1.0},
    }


def test_no_picture_of_the_phantom_was_trained_on() -> None:
    assert min(SEEDS) >= PHANTOM_SEEDS
