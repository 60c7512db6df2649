"""Hausdorff distances of outlines that are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("scipy")

from squares import labelled, returned

from lvedge.training.evaluation.contour import contour_distance_mm, hausdorff_mm


def disc(radius_px: float, centre: tuple[float, float] = (100.0, 100.0), side: int = 201) -> np.ndarray:
    y, x = np.indices((side, side))
    return np.hypot(x - centre[0], y - centre[1]) <= radius_px


def test_two_circles_about_one_centre_are_apart_by_their_radii() -> None:
    near, far = contour_distance_mm(disc(40), disc(60), (0.5, 0.5))
    assert (near, far) == (pytest.approx(10.0, abs=0.5), pytest.approx(10.0, abs=0.5))
    assert contour_distance_mm(disc(60), disc(40), (0.5, 0.5)) == (near, far)


def test_a_circle_that_was_moved_is_off_by_the_way_at_most() -> None:
    near, far = contour_distance_mm(disc(40), disc(40, (112.0, 100.0)), (1.0, 1.0))
    assert far == pytest.approx(12.0, abs=0.7)
    # At an angle t from the way the other circle is off by about 12 |cos t|: 95 % of these are below ...
    assert near == pytest.approx(12.0 * math.cos(math.pi / 2 * 0.05), abs=0.7)


def test_one_far_pixel_counts_in_the_largest_alone() -> None:
    said = disc(40)
    said[100, 190] = True
    near, far = contour_distance_mm(disc(40), said, (1.0, 1.0))
    assert (near, far) == (0.0, pytest.approx(50.0))


def test_a_hole_is_no_outline() -> None:
    said = disc(40) & ~disc(10)
    assert contour_distance_mm(disc(40), said, (1.0, 1.0)) == (0.0, 0.0)


def test_rows_and_columns_have_millimetres_of_their_own() -> None:
    drawn, said = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    drawn[4, 4] = said[4, 6] = True
    assert contour_distance_mm(drawn, said, (3.0, 0.5)) == (1.0, 1.0)
    assert contour_distance_mm(drawn.T, said.T, (3.0, 0.5)) == (6.0, 6.0)


def test_nothing_returned_is_off_by_the_drawn_extent_and_nothing_drawn_is_not_scored() -> None:
    nothing = np.zeros((201, 201), bool)
    assert contour_distance_mm(disc(40), nothing, (2.0, 2.0)) == (pytest.approx(160.0), pytest.approx(160.0))
    assert np.isnan(contour_distance_mm(nothing, disc(40), (2.0, 2.0))).all()


def test_the_epicardium_is_the_outline_of_cavity_and_wall_together() -> None:
    drawn = labelled(["222200", "233200", "233200", "222200", "000000", "000000"])
    same = returned(drawn, ["222200", "233200", "233200", "222200", "000000", "000000"])
    np.testing.assert_array_equal(hausdorff_mm(drawn, same), np.zeros((2, 2)))
    # The cavity fills the wall: its outline is one pixel off, two steps at the corners; the heart's is not.
    full = returned(drawn, ["333300", "333300", "333300", "333300", "000000", "000000"])
    found = hausdorff_mm(drawn, full)
    assert found[0, 1] == pytest.approx(math.sqrt(2))
    np.testing.assert_array_equal(found[1], [0.0, 0.0])
