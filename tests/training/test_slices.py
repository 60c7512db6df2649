"""Prepared slices and augmentation: the truth follows the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from heart_samples import GRID, healthy, sample_of
from scipy import ndimage

from lvedge.geometry import angle_between_deg, indices_from_rays, rays_from_maps, septum_from_map
from lvedge.indices import DEFAULT_LAYOUT, IndexLayout
from lvedge.phantom import Placement, random_phantom, stack
from lvedge.training.augment import MAP_LAYERS, AugmentConfig, jittered_view, other_contrast, seen_through
from lvedge.training.deform import emptied
from lvedge.training.slices import TYPICAL_SEPTUM_DEG, PreparedSlice, prepare
from lvedge.view import View


def prepared_of(*samples: object) -> list[PreparedSlice]:
    return prepare(samples)  # type: ignore[arg-type]


def test_truth_is_the_phantom_s() -> None:
    phantom = healthy(replace(GRID, rotation_deg=40.0, offset_mm=(8.0, -5.0)))
    (prepared,) = prepared_of(sample_of(phantom))
    truth = phantom.indices(0).vector
    np.testing.assert_allclose(prepared.values_mm[:9], truth[:9], atol=0.25)
    np.testing.assert_allclose(prepared.values_mm[9:], truth[9:], rtol=0.005)
    np.testing.assert_allclose(prepared.centre_px, phantom.centre_px(0), atol=0.05)
    assert abs(angle_between_deg(prepared.septum_deg, phantom.septum_deg)) < 2.0
    assert prepared.septum_drawn
    assert prepared.layers.shape == (120, 120, 4)
    np.testing.assert_array_equal(prepared.layers[..., 0], prepared.sample.pixels)
    np.testing.assert_array_equal(prepared.layers[..., 1:], prepared.sample.maps)


def test_what_was_not_drawn_is_unknown() -> None:
    york, endo_only = prepared_of(
        sample_of(healthy(), 0, "york"),
        sample_of(healthy(), 3, "sunnybrook", has_epicardium=False),
    )
    assert np.isnan(york.values_mm[:9]).all()
    np.testing.assert_allclose(york.values_mm[9:], healthy().indices(0).areas_mm2, rtol=0.005)
    assert np.isnan(endo_only.values_mm[[*range(9), 10]]).all()
    assert np.isfinite(endo_only.values_mm[9])
    assert not york.septum_drawn
    assert york.septum_deg == TYPICAL_SEPTUM_DEG


def test_slices_without_rv_or_lv_are_completed_from_their_neighbours() -> None:
    slices = stack(healthy(replace(GRID, rotation_deg=25.0)), 5)
    samples = [sample_of(p, slice_index=k, phase="ED") for k, p in enumerate(slices)]
    no_rv, no_lv = samples[1].maps.copy(), samples[0].maps.copy()
    no_rv[..., 0] = 0
    no_lv[...] = 0
    samples[1] = replace(samples[1], maps=no_rv)
    samples[0] = replace(samples[0], maps=no_lv)
    # Another phase of the same stack and another subject say nothing about these.
    elsewhere = healthy(replace(GRID, rotation_deg=200.0))
    others = [
        sample_of(elsewhere, slice_index=2, phase="ES"),
        sample_of(elsewhere, slice_index=2, subject="x"),
    ]
    prepared = {p.sample.key: p for p in prepare([*others, *reversed(samples)])}
    found = [prepared[s.key] for s in samples if s.key in prepared][:5]
    drawn = [p.septum_deg for p in found[2:]]
    assert [p.septum_drawn for p in found] == [False, False, True, True, True]
    assert found[0].septum_deg == found[1].septum_deg
    assert found[1].septum_deg in drawn
    assert found[0].centre_px == found[1].centre_px
    assert np.isnan(found[0].values_mm).all()
    # The septum is inferred, the wall is drawn: the values count from the inferred direction.
    assert np.isfinite(found[1].values_mm).all()


def test_a_stack_without_any_lv_is_left_out() -> None:
    sample = sample_of(healthy())
    assert prepared_of(replace(sample, maps=np.zeros_like(sample.maps))) == []


def test_views_move_off_the_truth_in_millimetres() -> None:
    (prepared,) = prepared_of(sample_of(healthy(replace(GRID, spacing_mm=(2.0, 1.0), columns=220))))
    view = prepared.view(80, 1.5, dx_mm=4.0, dy_mm=-6.0, turn_deg=12.0, mirrored=1.0)
    x, y = prepared.centre_px
    assert view == View(
        (pytest.approx(x + 4.0), pytest.approx(y - 3.0)),  # type: ignore[arg-type]
        prepared.septum_deg + 12.0,
        (2.0, 1.0),
        80,
        1.5,
        mirrored=True,
    )


# --- augmentation ----------------------------------------------------------------------------------


def measured(seen_maps: np.ndarray, septum: np.ndarray, layout: IndexLayout) -> np.ndarray:
    """What geometry reads off the warped maps, in view pixels, sectors from a given direction."""
    rv, myocardium, cavity = seen_maps
    rays = rays_from_maps(cavity, myocardium, (1.0, 1.0))
    assert rays is not None
    direction = np.rad2deg(np.arctan2(septum[1], septum[0])) % 360
    own = septum_from_map(rays, rv)
    assert own is not None
    assert abs(angle_between_deg(own.direction_deg, direction)) < 8.0
    return indices_from_rays(rays, direction, layout).vector


@pytest.mark.parametrize("layout", [DEFAULT_LAYOUT, IndexLayout(8, 4)])
def test_the_truth_is_what_geometry_reads_off_the_warped_maps(layout: IndexLayout) -> None:
    rng = np.random.default_rng(7)
    config = AugmentConfig()
    mirrored = 0
    for _ in range(8):
        phantom = random_phantom(rng)
        grid = replace(phantom.placement, mirrored=False)
        phantom = replace(phantom, placement=grid)
        (prepared,) = prepare([sample_of(phantom)], layout)
        for _ in range(3):
            view = jittered_view(prepared, 80, 1.5, config, rng)
            if np.abs(view.points_in_view(np.array([prepared.centre_px])) - 39.5).max() > 9:
                continue  # a large heart that far off would leave the view
            seen = seen_through(prepared, view, layout)
            found = measured(seen.maps, seen.septum, layout)
            np.testing.assert_allclose(seen.values_px[layout.rwt], found[layout.rwt], atol=0.3)
            np.testing.assert_allclose(seen.values_px[layout.dims], found[layout.dims], rtol=0.02, atol=0.2)
            np.testing.assert_allclose(seen.values_px[layout.areas], found[layout.areas], rtol=0.03)
            mirrored += view.mirrored
    assert mirrored >= 2


def test_a_mirrored_view_without_all_diameters_does_not_guess() -> None:
    layout = IndexLayout(6, 2)
    (prepared,) = prepare([sample_of(healthy())], layout)
    seen = seen_through(prepared, prepared.view(80, 1.5, mirrored=1.0), layout)
    assert np.isnan(seen.values_px[layout.dims]).all()
    assert np.isfinite(seen.values_px[layout.rwt]).all()


def test_nothing_of_the_slice_is_written_to() -> None:
    (prepared,) = prepared_of(sample_of(healthy()))
    layers, values = prepared.layers.copy(), prepared.values_mm.copy()
    for mirrored in (0.0, 1.0):
        view = prepared.view(80, 1.5, mirrored=mirrored)
        seen_through(prepared, view, DEFAULT_LAYOUT, AugmentConfig(), np.random.default_rng(0))
    np.testing.assert_array_equal(prepared.layers, layers)
    np.testing.assert_array_equal(prepared.values_mm, values)


def test_contrast_changes_the_picture_and_not_the_truth() -> None:
    (prepared,) = prepared_of(sample_of(healthy()))
    view = prepared.view(80, 1.5)
    plain = seen_through(prepared, view, DEFAULT_LAYOUT)
    pictures = []
    config = AugmentConfig(bent_share=0.0, emptied_share=0.0)
    for seed in (0, 0, 1):
        seen = seen_through(prepared, view, DEFAULT_LAYOUT, config, np.random.default_rng(seed))
        np.testing.assert_array_equal(seen.maps, plain.maps)
        np.testing.assert_array_equal(seen.values_px, plain.values_px)
        assert np.isfinite(seen.picture).all()
        assert (seen.picture.min(), seen.picture.max()) >= (0.0, 0.9)
        pictures.append(seen.picture)
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[0] - pictures[2]).mean() > 0.02
    assert np.abs(pictures[0] - plain.picture).mean() > 0.02
    # It is still the same heart.
    assert np.corrcoef(pictures[0].ravel(), plain.picture.ravel())[0, 1] > 0.5


BENT = AugmentConfig(bent_share=1.0, emptied_share=0.0, contrast=0.0, bias=0.0)
EMPTIED = replace(BENT, bent_share=0.0, emptied_share=1.0)


@pytest.mark.parametrize("mirrored", [0.0, 1.0])
def test_a_bent_heart_is_another_heart_and_its_truth_is_measured_again(mirrored: float) -> None:
    (prepared,) = prepared_of(sample_of(healthy()))
    view = prepared.view(80, 1.5, mirrored=mirrored)
    plain = seen_through(prepared, view, DEFAULT_LAYOUT)
    walls = []
    for seed in range(6):
        seen = seen_through(prepared, view, DEFAULT_LAYOUT, BENT, np.random.default_rng(seed))
        found = measured(seen.maps, seen.septum, DEFAULT_LAYOUT)
        np.testing.assert_allclose(seen.values_px, found, rtol=1e-6)
        assert np.abs(seen.maps - plain.maps).max() > 0.3
        walls.append(seen.values_px[DEFAULT_LAYOUT.rwt])
    # Shapes differ from each other, and on average they are the heart that was bent.
    assert np.std(walls, axis=0).mean() > 0.2
    np.testing.assert_allclose(np.mean(walls, axis=0), plain.values_px[DEFAULT_LAYOUT.rwt], rtol=0.15)


@pytest.mark.parametrize("mirrored", [0.0, 1.0])
def test_an_emptied_heart_keeps_its_muscle_and_its_truth_is_measured_again(mirrored: float) -> None:
    (prepared,) = prepared_of(sample_of(healthy()))
    view = prepared.view(80, 1.5, mirrored=mirrored)
    plain = seen_through(prepared, view, DEFAULT_LAYOUT)
    rwt, (cavity, muscle) = DEFAULT_LAYOUT.rwt, range(*DEFAULT_LAYOUT.areas.indices(DEFAULT_LAYOUT.size))
    left, muscles = [], []
    for seed in range(24):
        seen = seen_through(prepared, view, DEFAULT_LAYOUT, EMPTIED, np.random.default_rng(seed))
        found = measured(seen.maps, seen.septum, DEFAULT_LAYOUT)
        np.testing.assert_allclose(seen.values_px, found, rtol=1e-6)
        left.append(seen.values_px[cavity] / plain.values_px[cavity])
        muscles.append(seen.values_px[muscle] / plain.values_px[muscle])
        # The smaller the cavity, the thicker the wall around it; the heart stays where it is.
        assert (seen.values_px[rwt] > plain.values_px[rwt]).all() or left[-1] > 0.5
        off = np.subtract(ndimage.center_of_mass(seen.maps[2]), ndimage.center_of_mass(plain.maps[2]))
        assert np.hypot(*off) < 3.0
        angle = np.rad2deg(np.arctan2(*seen.septum[::-1])) - np.rad2deg(np.arctan2(*plain.septum[::-1]))
        assert abs(angle_between_deg(angle, 0.0)) < 12.0
    assert min(left) < 0.1
    assert 0.4 < max(left) < 0.8
    np.testing.assert_allclose(muscles, 1.1, atol=0.45)
    assert np.mean(muscles) == pytest.approx(1.1, abs=0.1)


def test_what_is_left_of_the_blood_looks_like_muscle_where_little_is_left() -> None:
    (prepared,) = prepared_of(sample_of(healthy()))
    layers = prepared.view(80, 1.5).crop(prepared.layers.astype(np.float32)) / 255
    cavity, muscle = (layers[..., k] for k in MAP_LAYERS)
    blood, grey = ((layers[..., 0] * m).sum() / m.sum() for m in (cavity, muscle))
    shares, contrasts = [], []
    for seed in range(40):
        moved = emptied(layers, MAP_LAYERS, np.random.default_rng(seed))
        left = moved[..., MAP_LAYERS[0]]
        shares.append(left.sum() / cavity.sum())
        contrasts.append(((moved[..., 0] * left).sum() / left.sum() - grey) / (blood - grey))
    small = np.array(shares) < 0.1
    assert np.min(contrasts) < 0.3
    assert np.mean(np.array(contrasts)[small]) < np.mean(np.array(contrasts)[~small])
    # Its surroundings move less the further they lie, and not at all beyond the reach.
    lv = cavity + muscle > 0.5
    outer_px = np.sqrt(lv.sum() / np.pi)
    far = ndimage.distance_transform_edt(~lv) > outer_px
    assert far.any()
    np.testing.assert_allclose(moved[far], layers[far], atol=1e-4)
    # Nothing to empty: no LV, or one without a wall.
    for gone in (list(MAP_LAYERS), [MAP_LAYERS[1]]):
        without = layers.copy()
        without[..., gone] = 0.0
        assert emptied(without, MAP_LAYERS, np.random.default_rng(1)) is without


def test_bending_leaves_what_it_cannot_measure() -> None:
    slices = stack(healthy(), 3)
    samples = [sample_of(p, slice_index=k, phase="ED") for k, p in enumerate(slices)]
    inferred = replace(samples[2], maps=samples[2].maps * np.array([0, 1, 1], dtype=np.uint8))
    empty = replace(samples[0], maps=np.zeros_like(samples[0].maps))
    rng = np.random.default_rng(0)
    prepared = {p.sample.slice_index: p for p in prepared_of(empty, samples[1], inferred)}
    (york,) = prepared_of(sample_of(healthy(), 0, "york"))
    # The septum of a neighbour would not bend along.
    view = prepared[2].view(80, 1.5)
    plain, seen = (seen_through(prepared[2], view, DEFAULT_LAYOUT, *how) for how in ((), (BENT, rng)))
    np.testing.assert_array_equal(seen.maps, plain.maps)
    np.testing.assert_array_equal(seen.values_px, plain.values_px)
    # Without an RV the areas are known, and only these.
    seen = seen_through(york, york.view(80, 1.5), DEFAULT_LAYOUT, BENT, rng)
    np.testing.assert_allclose(seen.values_px[9:], seen.maps[[2, 1]].sum(axis=(1, 2)), rtol=1e-6)
    assert np.isnan(seen.values_px[:9]).all()
    # Without an LV there is nothing to know, but another picture to see.
    view = prepared[0].view(80, 1.5)
    seen = seen_through(prepared[0], view, DEFAULT_LAYOUT, BENT, rng)
    assert np.isnan(seen.values_px).all()
    assert not seen.maps.any()


def test_a_blank_picture_stays_finite() -> None:
    blank = np.zeros((80, 80), np.float32)
    maps = np.zeros((3, 80, 80), np.float32)
    for seed in range(8):
        assert np.isfinite(other_contrast(blank, maps, AugmentConfig(), np.random.default_rng(seed))).all()


def test_the_jitter_is_as_wide_as_it_says() -> None:
    grid = Placement(rows=80, columns=80, spacing_mm=(2.4, 2.4))
    acdc, york = prepared_of(sample_of(healthy(grid)), sample_of(healthy(grid), 0, "york"))
    rng = np.random.default_rng(0)
    config = AugmentConfig(wide_share=0.0)
    views = [jittered_view(acdc, 80, 1.5, config, rng) for _ in range(600)]
    off = (np.array([v.centre_px for v in views]) - acdc.centre_px) * 2.4
    np.testing.assert_allclose(off.std(axis=0), config.shift_mm, rtol=0.15)
    turns = np.array([v.septum_deg for v in views]) - acdc.septum_deg
    assert turns.std() == pytest.approx(config.turn_deg, rel=0.15)
    scales = np.log([1.5 / v.mm_per_px for v in views])
    assert scales.std() == pytest.approx(config.scale, rel=0.15)
    assert np.mean([v.mirrored for v in views]) == pytest.approx(config.mirror_share, abs=0.06)
    # Without a spacing sizes are drawn evenly, and without a drawn septum the view turns three times as far.
    views = [jittered_view(york, 80, 1.5, config, rng) for _ in range(600)]
    sizes = 1.5 / np.array([v.mm_per_px for v in views])
    assert 0.65 <= sizes.min() < 0.67
    assert 1.33 < sizes.max() <= 1.35
    turns = np.array([v.septum_deg for v in views]) - york.septum_deg
    assert turns.std() == pytest.approx(3 * config.turn_deg, rel=0.15)
