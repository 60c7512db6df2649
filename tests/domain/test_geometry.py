"""Geometry against closed forms: circles, ellipses, eccentric walls, arcs of contact, at any spacing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lvedge.geometry import (
    Rays,
    Septum,
    angle_between_deg,
    circular_median_deg,
    indices_from_rays,
    maps_from_labels,
    rays_from_maps,
    septum_from_map,
)
from lvedge.indices import DEFAULT_LAYOUT, IndexLayout

Floats = NDArray[np.float64]
Maps = NDArray[np.float32]
Radius = Callable[[Floats], Floats]
"""Direction (radians, clockwise as shown) to radius in mm."""

FINE = 4

spacings = st.floats(0.68, 2.08)
directions = st.floats(0.0, 360.0, exclude_max=True)


def filled(
    radius: Radius, spacing_mm: tuple[float, float], centre_px: tuple[float, float], shape: tuple[int, int]
) -> Maps:
    """Share of each pixel that lies within a star-shaped outline."""
    rows = (np.arange(shape[0] * FINE) + 0.5) / FINE - 0.5
    columns = (np.arange(shape[1] * FINE) + 0.5) / FINE - 0.5
    y, x = (rows[:, None] - centre_px[1]) * spacing_mm[0], (columns[None] - centre_px[0]) * spacing_mm[1]
    inside = np.hypot(x, y) < radius(np.arctan2(y, x))
    share: Maps = inside.reshape(shape[0], FINE, shape[1], FINE).mean(axis=(1, 3)).astype(np.float32)
    return share


def walls(
    endo: Radius, epi: Radius, spacing_mm: tuple[float, float], binary: bool = False, reach_mm: float = 55.0
) -> Rays:
    """Rays of a wall drawn between two outlines, off the middle of the pixel grid."""
    shape = (int(2 * reach_mm / spacing_mm[0]) + 4, int(2 * reach_mm / spacing_mm[1]) + 4)
    centre = (shape[1] / 2 - 0.37, shape[0] / 2 + 0.21)
    cavity, heart = (filled(outline, spacing_mm, centre, shape) for outline in (endo, epi))
    if binary:
        cavity, heart = ((m >= 0.5).astype(np.float32) for m in (cavity, heart))
    rays = rays_from_maps(cavity, heart - cavity, spacing_mm)
    assert rays is not None
    return rays


def circle(radius_mm: float) -> Radius:
    return lambda angle: np.full_like(angle, radius_mm)


def ellipse(a_mm: float, b_mm: float, turn_deg: float) -> Radius:
    turn = np.deg2rad(turn_deg)
    return lambda angle: a_mm * b_mm / np.hypot(b_mm * np.cos(angle - turn), a_mm * np.sin(angle - turn))


def off_centre(radius_mm: float, off_mm: float, towards_deg: float) -> Radius:
    """A circle whose centre lies off the origin."""
    towards = np.deg2rad(towards_deg)
    return lambda angle: (
        off_mm * np.cos(angle - towards) + np.sqrt(radius_mm**2 - (off_mm * np.sin(angle - towards)) ** 2)
    )


def sector_means(radius: Radius, septum_deg: float, sectors: int = 6, mirrored: bool = False) -> Floats:
    """Means over equal sectors, counter-clockwise from mid-septum, by fine quadrature."""
    offsets = (np.arange(sectors * 2000) + 0.5) * (360.0 / (sectors * 2000))
    around = np.deg2rad(septum_deg + offsets if mirrored else septum_deg - offsets)
    means: Floats = radius(around).reshape(sectors, 2000).mean(axis=1)
    return means


def expected(
    endo: Radius, epi: Radius, septum_deg: float, layout: IndexLayout = DEFAULT_LAYOUT, mirrored: bool = False
) -> Floats:
    """The L values of a wall between two outlines, from their formulas."""
    around = np.deg2rad(np.arange(0, 360, 0.05))
    areas = [float((outline(around) ** 2).mean() * np.pi) for outline in (endo, epi)]
    inner = sector_means(endo, septum_deg, layout.sectors, mirrored)
    outer = sector_means(epi, septum_deg, layout.sectors, mirrored)
    half = layout.sectors // 2
    dims = [inner[j] + inner[j + half] for j in range(layout.diameters)]
    return np.concatenate([outer - inner, dims, [areas[0], areas[1] - areas[0]]])


def assert_values(found: Floats, truth: Floats, px: float, layout: IndexLayout = DEFAULT_LAYOUT) -> None:
    """Lengths within ``px`` millimetres, areas within what such a shift of a 100 mm outline would change.

    The bounds given below are a quarter above the worst of some thousand drawn cases, corners of the
    ranges among them: a diameter sums two mean radii, and a small cavity on coarse pixels is cut into few.
    """
    np.testing.assert_allclose(found[: layout.areas.start], truth[: layout.areas.start], atol=px)
    np.testing.assert_allclose(found[layout.areas], truth[layout.areas], atol=100.0 * px)


@settings(max_examples=15)
@given(
    row_mm=spacings,
    column_mm=spacings,
    endo=st.floats(8.0, 35.0),
    wall=st.floats(4.0, 18.0),
    septum=directions,
)
def test_circles(row_mm: float, column_mm: float, endo: float, wall: float, septum: float) -> None:
    rays = walls(circle(endo), circle(endo + wall), (row_mm, column_mm))
    truth = np.array([wall] * 6 + [2 * endo] * 3 + [np.pi * endo**2, np.pi * ((endo + wall) ** 2 - endo**2)])
    assert_values(indices_from_rays(rays, septum).vector, truth, 0.18 * max(row_mm, column_mm))
    assert rays.wall_max_mm == pytest.approx(wall, abs=0.3 * max(row_mm, column_mm))


@settings(max_examples=15)
@given(
    row_mm=spacings,
    column_mm=spacings,
    a=st.floats(14.0, 32.0),
    flatness=st.floats(0.7, 1.0),
    wall=st.floats(5.0, 14.0),
    turn=directions,
    septum=directions,
)
def test_turned_ellipses(
    row_mm: float, column_mm: float, a: float, flatness: float, wall: float, turn: float, septum: float
) -> None:
    endo, epi = ellipse(a, flatness * a, turn), ellipse(a + wall, flatness * a + wall, turn)
    rays = walls(endo, epi, (row_mm, column_mm))
    truth = expected(endo, epi, septum)
    assert truth[9] == pytest.approx(np.pi * a * a * flatness)
    assert_values(indices_from_rays(rays, septum).vector, truth, 0.2 * max(row_mm, column_mm))


@settings(max_examples=15)
@given(spacing=spacings, off=st.floats(0.0, 4.0), towards=directions, septum=directions, binary=st.booleans())
def test_eccentric_walls(spacing: float, off: float, towards: float, septum: float, binary: bool) -> None:
    endo, epi = circle(22.0), off_centre(31.0, off, towards)
    rays = walls(endo, epi, (spacing, spacing), binary)
    assert_values(
        indices_from_rays(rays, septum).vector,
        expected(endo, epi, septum),
        (0.38 if binary else 0.125) * spacing,
    )


@pytest.mark.parametrize(("sectors", "diameters"), [(4, 2), (8, 4), (8, 1), (14, 7)])
def test_any_number_of_sectors_and_diameters(sectors: int, diameters: int) -> None:
    layout = IndexLayout(sectors, diameters)
    endo, epi = ellipse(26.0, 20.0, 40.0), off_centre(34.0, 3.0, 250.0)
    rays = walls(endo, epi, (0.9, 1.3))
    for mirrored in (False, True):
        found = indices_from_rays(rays, 170.0, layout, mirrored)
        assert found.layout == layout
        assert_values(found.vector, expected(endo, epi, 170.0, layout, mirrored), 0.16, layout)


def test_sectors_go_counter_clockwise_from_mid_septum() -> None:
    # Radiological view: septum left, inferior down, lateral right, anterior up.
    middles = {"IS": 150.0, "I": 90.0, "IL": 30.0, "AL": 330.0, "A": 270.0, "AS": 210.0}
    for place, towards in enumerate(middles.values()):
        rays = walls(circle(20.0), off_centre(30.0, 4.0, towards), (1.0, 1.0))
        assert int(indices_from_rays(rays, 180.0).rwt_mm.argmax()) == place


def test_a_mirrored_picture_gives_the_same_values_with_the_flag() -> None:
    rng = np.random.default_rng(0)
    endo, epi = rng.uniform(15, 25, 360), rng.uniform(30, 40, 360)
    areas = np.array([1000.0, 1500.0])
    rays = Rays((40.0, 40.0), (1.0, 1.0), endo, epi, areas)
    left_right = (180 - np.arange(360)) % 360
    flipped = Rays((40.0, 40.0), (1.0, 1.0), endo[left_right], epi[left_right], areas)
    for septum in (0.0, 170.0, 222.5):
        np.testing.assert_allclose(
            indices_from_rays(flipped, (180.0 - septum) % 360, mirrored=True).vector,
            indices_from_rays(rays, septum).vector,
        )
        assert not np.allclose(
            indices_from_rays(flipped, (180.0 - septum) % 360).vector, indices_from_rays(rays, septum).vector
        )


def test_papillary_muscles_do_not_shorten_a_ray() -> None:
    cavity = filled(circle(20.0), (1.0, 1.0), (40.0, 40.0), (81, 81))
    heart = filled(circle(30.0), (1.0, 1.0), (40.0, 40.0), (81, 81))
    hole = filled(circle(3.0), (1.0, 1.0), (52.0, 40.0), (81, 81))
    rays = rays_from_maps(cavity - hole, heart - cavity, (1.0, 1.0))
    assert rays is not None
    # The hole moves the centroid a little; along its own direction the outermost crossing still counts.
    assert rays.endo_mm[0] + rays.centre_px[0] == pytest.approx(60.0, abs=0.15)
    assert rays.epi_mm[0] + rays.centre_px[0] == pytest.approx(70.0, abs=0.15)


def test_a_cavity_without_a_wall_has_no_thickness_and_a_missing_one_no_rays() -> None:
    cavity = filled(circle(12.0), (1.0, 1.0), (20.0, 20.0), (41, 41))
    nothing = np.zeros_like(cavity)
    rays = rays_from_maps(cavity, nothing, (1.0, 1.0))
    assert rays is not None
    np.testing.assert_array_equal(indices_from_rays(rays, 180.0).rwt_mm, np.zeros(6))
    assert rays.areas_mm2[1] == 0.0
    assert rays_from_maps(nothing, cavity, (1.0, 1.0)) is None
    assert septum_from_map(rays, nothing) is None


def test_a_heart_at_the_edge_of_the_picture_is_measured_up_to_the_edge() -> None:
    cavity = filled(circle(12.0), (1.0, 1.0), (5.0, 20.0), (41, 41))
    rays = rays_from_maps(cavity, np.zeros_like(cavity), (1.0, 1.0))
    assert rays is not None
    # Outside the picture there is nothing: the last crossing lies half a pixel beyond the first column.
    assert rays.centre_px[0] - rays.endo_mm[180] == pytest.approx(-0.5, abs=0.1)
    assert rays.centre_px[0] + rays.endo_mm[0] == pytest.approx(17.0, abs=0.1)


def test_labels_become_maps_in_order() -> None:
    labels = np.array([[0, 1], [2, 3]], dtype=np.uint8)
    rv, myocardium, cavity = maps_from_labels(labels)
    np.testing.assert_array_equal(rv, np.array([[0, 1], [0, 0]], np.float32))
    np.testing.assert_array_equal(myocardium, np.array([[0, 0], [1, 0]], np.float32))
    np.testing.assert_array_equal(cavity, np.array([[0, 0], [0, 1]], np.float32))
    assert {m.dtype for m in (rv, myocardium, cavity)} == {np.dtype(np.float32)}


# --- mid-septum ------------------------------------------------------------------------------------

RING_MM = 30.0
PIXEL_MM = 0.25
SIDE = 301
_MIDDLE = (SIDE - 1) / 2
_Y, _X = (np.indices((SIDE, SIDE)) - _MIDDLE) * PIXEL_MM
_RAY_OF_PIXEL = np.round(np.rad2deg(np.arctan2(_Y, _X))).astype(int) % 360
_BAND = (np.hypot(_X, _Y) > RING_MM) & (np.hypot(_X, _Y) < RING_MM + 7.0)


def ring(spacing_mm: float = PIXEL_MM, middle: float = _MIDDLE) -> Rays:
    """A round wall of 30 mm outer radius."""
    even = np.ones(360)
    return Rays(
        (middle, middle), (spacing_mm, spacing_mm), 20 * even, RING_MM * even, np.array([1257.0, 1571.0])
    )


def septum_of(touching: NDArray[np.bool_]) -> Septum | None:
    """Mid-septum where the RV touches the rays that are said, and no others."""
    return septum_from_map(ring(), (_BAND & touching[_RAY_OF_PIXEL]).astype(np.float32))


def rays_from_to(*arcs: tuple[int, int]) -> NDArray[np.bool_]:
    """Rays within arcs, ends included; an arc may pass 360°."""
    touching = np.zeros(360, dtype=bool)
    for first, last in arcs:
        touching[np.arange(first, last + 1) % 360] = True
    return touching


@pytest.mark.parametrize(
    ("arcs", "middle", "length"),
    [
        (((130, 230),), 180.0, 101.0),
        (((330, 390),), 0.0, 61.0),
        (((320, 359),), 339.5, 40.0),
        (((0, 40),), 20.0, 41.0),
        (((100, 140), (149, 200)), 150.0, 101.0),  # a gap of 8 is bridged
        (((100, 140), (150, 200)), 175.0, 51.0),  # one of 9 is not: the longer arc counts
        (((100, 160), (170, 200)), 130.0, 61.0),
        (((340, 356), (363, 400)), 10.0, 61.0),  # a gap across 360° is bridged
        (((10, 19),), 14.5, 10.0),  # 10° of contact are enough
        (((350, 379), (100, 131), (200, 215)), 115.5, 32.0),
    ],
)
def test_the_middle_of_the_longest_arc(
    arcs: tuple[tuple[int, int], ...], middle: float, length: float
) -> None:
    assert septum_of(rays_from_to(*arcs)) == Septum(middle, length)


def test_insertions_are_the_ends_of_the_arc() -> None:
    assert Septum(180.0, 100.0).insertions_deg == (230.0, 130.0)
    assert Septum(350.0, 60.0).insertions_deg == (20.0, 320.0)
    assert Septum(180.0, 0.0).insertions_deg is None


@pytest.mark.parametrize("middle", [4, 90, 203, 357])
def test_under_ten_degrees_the_rv_centroid_gives_the_direction(middle: int) -> None:
    touching = rays_from_to((middle + 356, middle + 364))
    septum = septum_of(touching)
    assert septum is not None
    assert septum.contact_deg == 0.0
    assert septum.insertions_deg is None
    assert abs(angle_between_deg(septum.direction_deg, middle)) < 0.2


def test_an_rv_far_from_the_wall_gives_the_direction_of_its_centroid_at_any_spacing() -> None:
    y, x = np.indices((120, 60))
    spacing = (0.8, 1.6)
    rv = (np.hypot((y - 12) * spacing[0], (x - 10) * spacing[1]) < 6.0).astype(np.float32)
    even = np.ones(360)
    rays = Rays((40.0, 80.0), spacing, 12 * even, 20 * even, np.array([450.0, 800.0]))
    septum = septum_from_map(rays, rv)
    truth = np.rad2deg(np.arctan2((12 - 80) * spacing[0], (10 - 40) * spacing[1])) % 360
    assert septum is not None
    assert septum.direction_deg == pytest.approx(truth, abs=0.5)
    assert septum.contact_deg == 0.0


def test_contact_all_around_has_a_direction_and_the_whole_circle() -> None:
    assert septum_of(np.ones(360, dtype=bool)) == Septum(179.5, 360.0)
    # With gaps that are all bridged the circle is opened at its widest gap.
    touching = np.ones(360, dtype=bool)
    touching[[10, 100, 101, 102, 103, 250, 251]] = False
    septum = septum_of(touching)
    assert septum is not None
    assert septum.contact_deg == 356.0
    assert septum.direction_deg == pytest.approx((104 + 355 / 2) % 360)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 359), st.integers(0, 60)), min_size=1, max_size=6))
def test_arcs_follow_their_definition(arcs: list[tuple[int, int]]) -> None:
    touching = rays_from_to(*((start, start + length) for start, length in arcs))
    hits = np.flatnonzero(touching)
    bridged = touching.copy()
    for here, after in zip(hits, [*hits[1:], hits[0] + 360], strict=True):
        if after - here - 1 <= 8:
            bridged[np.arange(here, after + 1) % 360] = True
    assume(not bridged.all())
    starts = [k for k in range(360) if bridged[k] and not bridged[k - 1]]
    runs = {k: next(n for n in range(360) if not bridged[(k + n) % 360]) for k in starts}
    longest = max(runs.values())
    assume(longest >= 10)
    septum = septum_of(touching)
    assert septum is not None
    assert septum.contact_deg == longest
    middles = [(k + (n - 1) / 2) % 360 for k, n in runs.items() if n == longest]
    assert septum.direction_deg in middles


@settings(max_examples=25)
@given(spacing=spacings, middle=directions, contact=st.floats(40.0, 140.0))
def test_contact_at_real_spacings(spacing: float, middle: float, contact: float) -> None:
    side = 2 * int(60 / spacing) + 1
    half = (side - 1) / 2
    y, x = (np.indices((side, side)) - half) * spacing
    radius, angle = np.hypot(x, y), np.rad2deg(np.arctan2(y, x))
    apart = np.abs((angle - middle + 180) % 360 - 180)
    rv = ((radius > RING_MM + 1) & (radius < RING_MM + 20) & (apart < contact / 2)).astype(np.float32)
    septum = septum_from_map(ring(spacing, half), rv)
    assert septum is not None
    assert abs(angle_between_deg(septum.direction_deg, middle)) < 1.5 + spacing
    assert septum.contact_deg == pytest.approx(contact, abs=2.0 + 3.0 * spacing)


def test_circular_median_and_angles() -> None:
    assert circular_median_deg(np.array([350.0, 10.0, 5.0])) == 5.0
    assert circular_median_deg(np.array([170.0, 190.0, 182.0, 20.0, 185.0])) == 182.0
    assert circular_median_deg(np.array([33.0])) == 33.0
    with pytest.raises(ValueError, match="no direction"):
        circular_median_deg(np.array([]))
    assert angle_between_deg(10.0, 350.0) == 20.0
    assert angle_between_deg(350.0, 10.0) == -20.0
    assert angle_between_deg(720.0, 0.0) == 0.0


def test_a_point_on_a_ray() -> None:
    rays = Rays((10.0, 20.0), (0.5, 2.0), np.ones(360), np.ones(360), np.ones(2))
    np.testing.assert_allclose(rays.point_px(0.0, 4.0), (12.0, 20.0))
    np.testing.assert_allclose(rays.point_px(90.0, 4.0), (10.0, 28.0))
