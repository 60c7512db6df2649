"""Pictures without a short-axis LV: none of it is in them, and none is both learned from and measured on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from heart_samples import GRID, healthy, sample_of
from painted_hearts import painted_stack

from lvedge.phantom import NEGATIVE_KINDS
from lvedge.training.negatives import PHANTOM_SEEDS
from lvedge.training.pictures import (
    CROP_MM,
    FITTED_SEEDS,
    MEASURED_SEEDS,
    beside_the_lv,
    phantom_pictures,
    pictures_of,
)


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


def test_every_kind_is_told() -> None:
    kinds = [kind for kind, _ in pictures_of(painted_stack(5))]
    assert kinds.count("cut across") == 4  # two phases, two directions
    assert set(kinds) <= {"beside the LV", "cut across"}
    told = [kind for kind, _ in phantom_pictures(range(2))]
    assert told == [f"phantom: {kind.replace('_', ' ')}" for kind in NEGATIVE_KINDS for _ in range(2)]


def test_no_picture_of_the_phantom_serves_twice() -> None:
    used = [*range(PHANTOM_SEEDS), *MEASURED_SEEDS, *FITTED_SEEDS]
    assert len(set(used)) == len(used)
