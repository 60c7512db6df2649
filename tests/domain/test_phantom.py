"""The phantom's closed forms against label maps, the independent geometry, and the definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lvedge.frame import Handedness
from lvedge.geometry import (
    angle_between_deg,
    indices_from_rays,
    maps_from_labels,
    rays_from_maps,
    septum_from_map,
)
from lvedge.indices import IndexLayout, Label, Phase
from lvedge.phantom import (
    HEARTS,
    NEGATIVE_KINDS,
    Heart,
    Look,
    Phantom,
    Placement,
    Series,
    contraction_at,
    negative_frames,
    preset_phantom,
    random_phantom,
    series_from_sectors,
    stack,
)

FINE = Placement(rows=640, columns=640, spacing_mm=(0.2, 0.2))


def random_phantoms(count: int, seed: int = 5) -> list[Phantom]:
    rng = np.random.default_rng(seed)
    return [random_phantom(rng) for _ in range(count)]


@pytest.mark.parametrize("name", HEARTS)
def test_areas_and_walls_agree_with_a_fine_count_of_labels(name: str) -> None:
    phantom = preset_phantom(name)
    for frame in (0, phantom.heart.es_frame):
        labels = phantom.labels(frame, FINE)
        truth = phantom.indices(frame)
        counted = np.array([np.sum(labels == k) for k in (Label.CAVITY, Label.MYOCARDIUM)]) * 0.04
        np.testing.assert_allclose(truth.areas_mm2, counted, rtol=2e-3)
        y, x = np.indices(labels.shape)
        dx, dy = phantom.heart.shift_mm(frame)
        x_mm, y_mm = (x - 319.5) * 0.2 - dx, (y - 319.5) * 0.2 - dy
        theta = (phantom.heart.septum_deg - np.rad2deg(np.arctan2(y_mm, x_mm))) % 360
        # A wall's mean thickness over a sector is the area integral of 1 / rho over it.
        weight = np.where(labels == Label.MYOCARDIUM, 0.04 / np.hypot(x_mm, y_mm), 0.0)
        walls = [weight[theta // 60 == k].sum() / np.deg2rad(60) for k in range(6)]
        np.testing.assert_allclose(truth.rwt_mm, walls, atol=0.06)


def test_the_sector_means_are_the_ones_asked_for() -> None:
    heart = Heart(
        wall_ed_mm=(9.0, 7.0, 6.0, 5.0, 6.5, 8.0), thickening=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), frames=20
    )
    np.testing.assert_allclose(heart.indices(0).rwt_mm, heart.wall_ed_mm)
    np.testing.assert_allclose(
        heart.indices(7).rwt_mm,
        np.array(heart.wall_ed_mm) * (1 + heart.contraction[7] * np.array(heart.thickening)),
    )


def test_diameters_and_areas_of_a_round_even_heart_are_the_textbook_ones() -> None:
    heart = Heart(
        diameter_ed_mm=40.0, ellipticity=0.0, squareness=0.0, wall_ed_mm=(10.0,) * 6, thickening=(0.0,) * 6
    )
    expected = [10.0] * 6 + [40.0] * 3 + [np.pi * 400, np.pi * 500]
    np.testing.assert_allclose(heart.indices(0).vector, expected)
    assert heart.wall_max_mm(0) == pytest.approx(10.0)
    four = heart.indices(0, IndexLayout(sectors=8, diameters=4)).vector
    np.testing.assert_allclose(four, [10.0] * 8 + [40.0] * 4 + [np.pi * 400, np.pi * 500])


def test_series_means_and_area_agree_with_a_sum_over_many_angles() -> None:
    rng = np.random.default_rng(0)
    series = Series(np.append(20.0, rng.normal(0, 2, 4)), rng.normal(0, 2, 5))
    theta = (np.arange(60_000) + 0.5) * (2 * np.pi / 60_000)
    values = series.at(theta)
    direct = series.cos[0] + sum(
        series.cos[k] * np.cos(k * theta) + series.sin[k] * np.sin(k * theta) for k in range(1, 5)
    )
    np.testing.assert_allclose(values, direct)
    np.testing.assert_allclose(series.sector_means(), values.reshape(6, -1).mean(axis=1), atol=1e-6)
    assert series.enclosed_area() == pytest.approx(np.mean(values**2) * np.pi, rel=1e-9)
    np.testing.assert_allclose(
        series_from_sectors(series.sector_means()).sector_means(), series.sector_means()
    )


def test_the_geometry_measures_what_the_phantom_says_at_any_spacing_and_rotation() -> None:
    for phantom in random_phantoms(12):
        spacing = phantom.placement.spacing_mm
        assert 0.68 <= spacing[0] <= 2.08
        for frame in (0, phantom.heart.es_frame):
            rv, myocardium, cavity = maps_from_labels(phantom.labels(frame))
            rays = rays_from_maps(cavity, myocardium, spacing)
            assert rays is not None
            np.testing.assert_allclose(rays.centre_px, phantom.centre_px(frame), atol=0.2)
            septum = septum_from_map(rays, rv)
            assert septum is not None
            assert abs(angle_between_deg(septum.direction_deg, phantom.septum_deg)) < 3.0
            assert septum.contact_deg == pytest.approx(phantom.heart.rv_contact_deg, abs=8.0)
            mirrored = phantom.frame(frame).handedness is Handedness.MIRRORED
            measured = indices_from_rays(rays, phantom.septum_deg, mirrored=mirrored).vector
            truth = phantom.indices(frame).vector
            np.testing.assert_allclose(measured[:9], truth[:9], atol=0.4 * spacing[0])
            np.testing.assert_allclose(measured[9:], truth[9:], rtol=0.035)
            assert rays.wall_max_mm == pytest.approx(phantom.heart.wall_max_mm(frame), abs=0.8 * spacing[0])


def test_unequal_row_and_column_spacing_changes_no_value() -> None:
    grid = Placement(rows=300, columns=150, spacing_mm=(0.7, 1.4), rotation_deg=33.0)
    phantom = preset_phantom("healthy", grid)
    rv, myocardium, cavity = maps_from_labels(phantom.labels(0))
    rays = rays_from_maps(cavity, myocardium, grid.spacing_mm)
    assert rays is not None
    septum = septum_from_map(rays, rv)
    assert septum is not None
    assert abs(angle_between_deg(septum.direction_deg, phantom.septum_deg)) < 2.0
    measured = indices_from_rays(rays, phantom.septum_deg).vector
    np.testing.assert_allclose(measured[:9], phantom.indices(0).vector[:9], atol=0.4)


def test_the_phase_follows_its_definition_and_the_beat() -> None:
    for frames, start in ((12, 0.0), (25, 0.0), (40, 0.6), (30, 0.2)):
        heart = Heart(frames=frames, start_fraction=start)
        area = heart.cavity_areas_mm2
        smooth = [(area[i - 1] + 2 * area[i] + area[(i + 1) % frames]) / 4 for i in range(frames)]
        ed, es = smooth.index(max(smooth)), smooth.index(min(smooth))
        assert (heart.ed_frame, heart.es_frame) == (ed, es)
        systole = {(ed + i) % frames for i in range((es - ed) % frames)}
        assert heart.phases == tuple(Phase.SYSTOLE if i in systole else Phase.DIASTOLE for i in range(frames))
        beat = (start + np.arange(frames) / frames) % 1.0
        # Within a frame of the true end of diastole and of systole.
        assert min(beat[ed], 1 - beat[ed]) <= 1.01 / frames
        assert abs(beat[es] - heart.systole_fraction) <= 1.01 / frames


def test_contraction_runs_through_the_beat_smoothly() -> None:
    beat = np.linspace(0, 1, 2001)
    curve = contraction_at(beat, 0.38)
    assert curve[0] == 0.0
    assert curve[760] == pytest.approx(1.0)
    assert curve[-1] == 0.0
    assert np.all(np.diff(curve[:761]) >= 0)
    assert np.all(np.diff(curve[760:]) <= 0)
    assert np.abs(np.diff(curve, 2)).max() < 2e-4
    np.testing.assert_allclose(contraction_at(beat + 3.0, 0.38), curve, atol=1e-9)


def test_fac_is_what_was_asked_for() -> None:
    for heart in HEARTS.values():
        area = replace(heart, frames=200).cavity_areas_mm2
        assert 1 - area.min() / area.max() == pytest.approx(heart.fac, abs=1e-3)


@pytest.mark.parametrize("rotation", [0.0, 77.0, 200.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_tags_say_how_the_picture_lies(rotation: float, mirrored: bool) -> None:
    upright = preset_phantom("healthy", Placement(rows=128, columns=128))
    turned = preset_phantom(
        "healthy",
        Placement(rows=140, columns=120, rotation_deg=rotation, mirrored=mirrored, offset_mm=(9.0, -6.0)),
    )
    frame = turned.frame(3)
    assert frame.handedness is (Handedness.MIRRORED if mirrored else Handedness.RADIOLOGICAL)
    assert frame.orientation is not None
    row, column = np.array(frame.orientation.row), np.array(frame.orientation.column)
    np.testing.assert_allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-9)
    septum = np.deg2rad(turned.septum_deg)
    towards = row * np.cos(septum) + column * np.sin(septum)
    reference = np.deg2rad(upright.septum_deg)
    up_row, up_column = np.array(upright.orientation.row), np.array(upright.orientation.column)
    np.testing.assert_allclose(towards, up_row * np.cos(reference) + up_column * np.sin(reference), atol=1e-9)
    # The LV centre is the same point of the patient in both pictures.
    places = []
    for phantom in (upright, turned):
        x, y = phantom.centre_px(3)
        sy, sx = phantom.placement.spacing_mm
        axes = np.array(phantom.orientation.row) * x * sx + np.array(phantom.orientation.column) * y * sy
        places.append(np.array(phantom.position_mm) + axes)
    np.testing.assert_allclose(places[0], places[1], atol=1e-6)


def test_a_mirrored_picture_is_the_flipped_one() -> None:
    plain = preset_phantom("hypertrophic", Placement(rows=96, columns=97, spacing_mm=(1.9, 1.9)))
    flipped = replace(plain, placement=replace(plain.placement, mirrored=True))
    assert np.array_equal(flipped.labels(4), plain.labels(4)[:, ::-1])


def test_equal_phantoms_give_equal_pixels_in_any_order() -> None:
    first, second = random_phantoms(1, seed=8)[0], random_phantoms(1, seed=8)[0]
    assert first == second
    late = second.pixels(6)
    assert np.array_equal(first.pixels(2), second.pixels(2))
    assert np.array_equal(first.pixels(6), late)
    assert not np.array_equal(first.pixels(2), first.pixels(3))
    assert not np.array_equal(replace(first, seed=first.seed + 1).pixels(2), first.pixels(2))


def test_pixels_are_finite_and_show_blood_muscle_and_lung_as_in_bright_blood_cine() -> None:
    for phantom in random_phantoms(4, seed=2):
        even = replace(phantom, look=replace(phantom.look, bias=0.0, banding=0.0))
        pixels = even.pixels(0)
        assert pixels.shape == even.placement.shape
        assert pixels.dtype == np.float32
        assert np.isfinite(pixels).all()
        labels = even.labels(0)
        blood, muscle, rv = (
            float(np.median(pixels[labels == k])) for k in (Label.CAVITY, Label.MYOCARDIUM, Label.RV)
        )
        assert blood == pytest.approx(even.look.grey_level, rel=0.2)
        assert 0.15 < muscle / blood < 0.7
        assert rv > 1.15 * muscle
        assert np.percentile(pixels, 10) < 0.3 * muscle + 2.5 * even.look.noise * even.look.grey_level


def test_edges_lie_where_the_labels_have_them() -> None:
    heart = Heart(papillary_mm=0.0, trabeculae_mm=0.0, ellipticity=0.0, squareness=0.0, motion_mm=(0.0, 0.0))
    look = Look(noise=0.0, texture=0.0, flow=0.0, bias=0.0, banding=0.0, myocardium=0.3)
    phantom = Phantom(
        heart=heart, look=look, placement=Placement(rows=321, columns=321, spacing_mm=(0.4, 0.4))
    )
    pixels = phantom.pixels(0) / look.grey_level
    right = pixels[160, 161:]
    crossing = np.flatnonzero(right < 0.65)[0]
    share = (right[crossing - 1] - 0.65) / (right[crossing - 1] - right[crossing])
    direction = np.deg2rad(heart.septum_deg)
    expected = float(heart.endo(0).at(np.array(direction)))
    assert (crossing + share) * 0.4 == pytest.approx(expected, abs=0.05)


def test_frames_carry_their_place_in_the_cine() -> None:
    phantom = replace(
        preset_phantom("dilated", Placement(rows=64, columns=64, spacing_mm=(2.0, 2.0))), slice_count=1
    )
    frames = list(phantom.with_heart(frames=12, heart_rate_bpm=75.0).frames())
    assert [f.frame_index for f in frames] == list(range(12))
    assert [f.time_ms for f in frames] == pytest.approx([i * 800 / 12 for i in range(12)])
    assert {(f.cine_length, f.slice_count, f.spacing_mm, f.series) for f in frames} == {
        (12, 1, (2.0, 2.0), "phantom-dilated")
    }
    bare = replace(phantom, tagged=False).frame(0)
    assert (bare.orientation, bare.position_mm, bare.handedness) == (None, None, Handedness.ASSUMED)
    with pytest.raises(IndexError, match="no frame 25"):
        phantom.frame(25)


def test_a_stack_is_numbered_along_its_normal_and_narrows_towards_the_apex() -> None:
    slices = stack(preset_phantom("healthy"), 5)
    assert [p.slice_index for p in slices] == [0, 1, 2, 3, 4]
    areas = [p.indices(0).areas_mm2[0] for p in slices]
    assert areas == sorted(areas)
    assert slices[2].heart == HEARTS["healthy"]
    steps = np.diff([p.position_mm for p in slices], axis=0)
    np.testing.assert_allclose(steps, np.tile(10.0 * slices[0].orientation.normal, (4, 1)), atol=1e-4)
    mirrored = stack(preset_phantom("healthy", Placement(mirrored=True)), 3)
    assert mirrored[0].indices(0).areas_mm2[0] > mirrored[2].indices(0).areas_mm2[0]
    along = [np.array(p.position_mm) @ p.orientation.normal for p in mirrored]
    assert along == sorted(along)
    with pytest.raises(ValueError, match="at least one slice"):
        stack(slices[0], 0)


def test_a_phantom_without_rv_has_none() -> None:
    phantom = preset_phantom("healthy", Placement(rows=96, columns=96, spacing_mm=(2.0, 2.0)))
    alone = phantom.with_heart(rv_contact_deg=0.0)
    assert set(np.unique(phantom.labels(0))) == {0, 1, 2, 3}
    assert set(np.unique(alone.labels(0))) == {0, 2, 3}
    assert not np.array_equal(alone.pixels(0), phantom.pixels(0))


@pytest.mark.parametrize("kind", NEGATIVE_KINDS)
def test_negatives_are_valid_cines_and_differ_by_kind(kind: str) -> None:
    grid = Placement(rows=100, columns=90, spacing_mm=(2.5, 2.5))
    frames = negative_frames(kind, seed=3, frames=2, placement=grid)
    again = negative_frames(kind, seed=3, frames=2, placement=grid)
    assert [f.frame_index for f in frames] == [0, 1]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(frames, again, strict=True))
    assert all(f.pixels.shape == (100, 90) and np.isfinite(f.pixels).all() for f in frames)
    assert bool(frames[0].pixels.any()) == (kind != "blank")
    with pytest.raises(ValueError, match="no negative 'horse'"):
        negative_frames("horse")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"frames": 0}, "at least one frame"),
        ({"fac": 1.0}, "fac within"),
        ({"systole_fraction": 0.9}, "systole_fraction"),
        ({"wall_ed_mm": (20.0, 1.0, 20.0, 1.0, 20.0, 1.0)}, "wall gets as thin"),
        ({"ellipticity": 0.5}, "ellipticity"),
    ],
)
def test_hearts_that_cannot_be_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Heart(**fields)  # type: ignore[arg-type]
