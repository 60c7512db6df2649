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
from lvedge.training.negatives import PHANTOM_SEEDS
from lvedge.training.refusal import CROP_MM, SEEDS, beside_the_lv, refusals


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
    stack = painted_stack(5)
    counts = refusals(PaintReader(), DEFAULT_QUALITY, stack)
    kinds = {f"phantom: {kind.replace('_', ' ')}" for kind in NEGATIVE_KINDS}
    assert kinds < set(counts)
    assert set(counts) - kinds <= {"beside the LV", "cut across"}
    for kind in kinds:
        assert counts[kind][0] == len(SEEDS)
    assert counts["cut across"][0] == 4  # two phases, two directions
    assert all(0 <= returned <= shown for shown, returned in counts.values())
    assert counts["phantom: blank"][1] == 0
    # The reader takes painted grey levels for labels, so that a cut through a painted heart shows it one.
    assert counts["cut across"][1] > 0


def test_no_picture_of_the_phantom_was_trained_on() -> None:
    assert min(SEEDS) >= PHANTOM_SEEDS
