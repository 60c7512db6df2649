"""Pictures without an LV for training: nothing is drawn on them, and they are what they are said to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from heart_samples import GRID, healthy, sample_of

from lvedge.indices import DEFAULT_LAYOUT
from lvedge.phantom import NEGATIVE_KINDS, stack
from lvedge.training.augment import AugmentConfig, seen_through
from lvedge.training.negatives import AWAY_MM, cut_across, elsewhere, other_pictures
from lvedge.training.perception import Mix, SliceSampler
from lvedge.training.slices import prepare


def test_elsewhere_is_away_from_the_lv_and_inside_the_picture() -> None:
    grid = replace(GRID, rows=160, columns=140, spacing_mm=(1.4, 1.8), offset_mm=(20.0, 0.0))
    (prepared,) = prepare([sample_of(healthy(grid))])
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = elsewhere(prepared, rng)
        off = (np.array(moved.centre_px) - prepared.centre_px) * (1.8, 1.4)
        assert AWAY_MM[0] - 0.01 <= np.hypot(*off) <= AWAY_MM[1] + 0.01
        assert 0 <= moved.centre_px[0] < 140
        assert 0 <= moved.centre_px[1] < 160
        assert np.isnan(moved.values_mm).all()
        seen = seen_through(moved, moved.view(80, 1.5), DEFAULT_LAYOUT)
        # What of the LV reaches into a corner of the view is still drawn there, and its middle is not.
        assert seen.maps[2].sum() * 1.5**2 < 0.5 * prepared.values_mm[9]
        assert not seen.maps[2, 15:65, 15:65].any()
        assert np.isnan(seen.septum).all()


def test_a_stack_is_cut_across_through_its_lv() -> None:
    slices = stack(healthy(replace(GRID, offset_mm=(12.0, -6.0))), 7)
    samples = [sample_of(p, slice_index=k, phase="ED") for k, p in enumerate(slices)]
    nobody = replace(samples[0], subject="patient002", maps=np.zeros_like(samples[0].maps))
    across, along = cut_across([*reversed(samples), nobody])
    x, y = prepare(samples)[3].centre_px
    assert across.sample.pixels.shape == (round(7 * 10 / 1.6), 120)
    assert across.centre_px == (pytest.approx(x, abs=1.0), 21.5)
    assert along.centre_px[0] == pytest.approx(y, abs=1.0)
    # The middle line of the cut is the middle slice's line through its LV.
    line = across.sample.pixels[22].astype(float)
    assert np.corrcoef(line, samples[3].pixels[round(y)])[0, 1] > 0.98
    for cut in (across, along):
        assert not cut.sample.has_lv
        assert not cut.layers[..., 1:].any()


def test_the_phantom_s_other_pictures_are_of_every_kind_and_differ() -> None:
    pictures = other_pictures(2)
    assert [p.sample.subject for p in pictures] == [kind for kind in NEGATIVE_KINDS for _ in range(2)]
    for kind, one, other in zip(NEGATIVE_KINDS, pictures[::2], pictures[1::2], strict=True):
        assert not one.sample.has_lv
        assert (kind == "blank") == np.array_equal(one.sample.pixels, other.sample.pixels)


def test_a_batch_holds_the_kinds_in_their_shares() -> None:
    samples = [sample_of(p, slice_index=k, phase="ED") for k, p in enumerate(stack(healthy(), 3))]
    samples[0] = replace(samples[0], maps=np.zeros_like(samples[0].maps))
    york = [sample_of(healthy(), k, "york") for k in range(2)]
    mix = Mix(york=0.2, empty=0.1, other=0.3)
    sampler = SliceSampler(prepare([*samples, *york]), mix, other_pictures(1))
    rng = np.random.default_rng(0)
    drawn = [sampler.draw(rng) for _ in range(2000)]
    away = [p for p in drawn if p.sample.source == "acdc" and p.sample.has_lv and np.isnan(p.values_mm).all()]
    shares = {
        "york": np.mean([p.sample.source == "york" for p in drawn]),
        "empty": np.mean([p.sample.source == "acdc" and not p.sample.has_lv for p in drawn]),
        "other": np.mean([p.sample.source == "none" for p in drawn]) + len(away) / len(drawn),
    }
    assert shares == pytest.approx({"york": 0.2, "empty": 0.1, "other": 0.3}, abs=0.03)
    assert len(away) / len(drawn) == pytest.approx(0.1, abs=0.03)
    # Without such pictures, none are drawn.
    plain = SliceSampler(prepare(samples), mix)
    assert {plain.draw(rng).sample.source for _ in range(200)} == {"acdc"}
    only_york = SliceSampler(prepare(york), mix)
    assert {only_york.draw(rng).sample.source for _ in range(200)} == {"york"}
    view = away[0].view(80, 1.5)
    assert np.isfinite(seen_through(away[0], view, DEFAULT_LAYOUT, AugmentConfig(), rng).picture).all()
