"""The view: where the window lies, what it shows, and the way back."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lvedge.frame import Frame, Handedness, Orientation
from lvedge.indices import Label
from lvedge.phantom import Placement, preset_phantom
from lvedge.view import CLIP, PERCENTILES, View, normalise, view_of_frame

views = st.builds(
    View,
    centre_px=st.tuples(st.floats(20.0, 200.0), st.floats(20.0, 200.0)),
    septum_deg=st.floats(0.0, 360.0),
    spacing_mm=st.tuples(st.floats(0.68, 2.08), st.floats(0.68, 2.08)),
    size_px=st.sampled_from([16, 80, 128]),
    mm_per_px=st.floats(1.0, 3.0),
    mirrored=st.booleans(),
)
points = st.lists(st.tuples(st.floats(-50.0, 300.0), st.floats(-50.0, 300.0)), min_size=1, max_size=5).map(
    np.array
)


def towards(view: View, degrees: float, mm: float) -> NDArray[np.float64]:
    """The source pixel at a direction and distance from the view's centre."""
    angle = np.deg2rad(degrees)
    step = mm * np.array([np.cos(angle) / view.spacing_mm[1], np.sin(angle) / view.spacing_mm[0]])
    return np.asarray(view.centre_px + step)


@given(views, points)
def test_there_and_back(view: View, places: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(view.points_in_source(view.points_in_view(places)), places, atol=1e-9)
    np.testing.assert_allclose(view.points_in_view(view.points_in_source(places)), places, atol=1e-9)
    both = np.vstack([view.to_source, [0, 0, 1]]) @ np.vstack([view.from_source, [0, 0, 1]])
    np.testing.assert_allclose(both, np.eye(3), atol=1e-9)


@given(views, st.floats(1.0, 60.0))
def test_the_septum_lands_on_the_left_and_millimetres_stay(view: View, mm: float) -> None:
    middle, radius = (view.size_px - 1) / 2, mm / view.mm_per_px
    on_septum = view.points_in_view(towards(view, view.septum_deg, mm)[None])[0]
    np.testing.assert_allclose(on_septum, [middle - radius, middle], atol=1e-8)
    # Clockwise on the left lies what is above; a mirrored frame shows it counter-clockwise of the septum.
    clockwise = view.septum_deg + (-90.0 if view.mirrored else 90.0)
    above = view.points_in_view(towards(view, clockwise, mm)[None])[0]
    np.testing.assert_allclose(above, [middle, middle - radius], atol=1e-8)


@settings(max_examples=25)
@given(views, st.tuples(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0)))
def test_a_slope_is_cropped_exactly(view: View, slope: tuple[float, float]) -> None:
    # 220 x 240 pixels: inside them every view pixel shows the slope at its own place, smoothed or not.
    y, x = np.indices((220, 240), dtype=np.float32)
    pixels = np.float32(slope[0]) * x + np.float32(slope[1]) * y
    kept = pixels.copy()
    seen = view.crop(pixels)
    np.testing.assert_array_equal(pixels, kept)
    assert seen.shape == (view.size_px, view.size_px)
    assert seen.dtype == np.float32
    v, u = np.indices(seen.shape, dtype=float)
    source = view.points_in_source(np.column_stack([u.ravel(), v.ravel()]))
    inside = ((source > 12) & (source < np.array([227, 207]))).all(axis=1)
    expected = source @ np.array(slope)
    # OpenCV places samples on a grid of 1/32 pixel.
    np.testing.assert_allclose(seen.ravel()[inside], expected[inside], atol=0.07)


def test_outside_the_frame_the_edge_goes_on() -> None:
    pixels = np.repeat(np.arange(30, dtype=np.float32)[None], 30, axis=0)
    view = View((0.0, 15.0), 180.0, (1.5, 1.5), size_px=16, mm_per_px=1.5)
    np.testing.assert_allclose(view.crop(pixels)[8], [0.0] * 8 + [k + 0.5 for k in range(8)], atol=1e-5)


def test_fine_texture_does_not_alias() -> None:
    y, x = np.indices((200, 200))
    chequered = ((x + y) % 2).astype(np.float32)
    seen = View((100.3, 99.8), 193.0, (0.7, 0.7)).crop(chequered)
    assert np.abs(seen - 0.5).max() < 0.12
    # Where pixels are about as large as the view's, nothing is smoothed away.
    same = View((100.0, 100.0), 180.0, (1.5, 1.5), size_px=17).crop(chequered)
    np.testing.assert_array_equal(same, chequered[92:109, 92:109])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("spacing", [(0.8, 0.8), (1.0, 1.8), (2.0, 1.4)])
def test_labels_come_back_where_they_were(mirrored: bool, spacing: tuple[float, float]) -> None:
    grid = Placement(
        rows=int(260 / spacing[0]),
        columns=int(240 / spacing[1]),
        spacing_mm=spacing,
        offset_mm=(12.0, -9.0),
        rotation_deg=64.0,
        mirrored=mirrored,
    )
    phantom = preset_phantom("healthy", grid)
    labels = phantom.labels(0)
    view = View(phantom.centre_px(0), phantom.septum_deg, spacing, mirrored=mirrored)
    mask = np.stack([view.crop((labels == label).astype(np.float32)) for label in Label])
    back = view.labels_in_source(mask, grid.shape)
    assert (back.shape, back.dtype) == (grid.shape, np.dtype(np.uint8))
    for label in (Label.CAVITY, Label.MYOCARDIUM):
        both = np.sum((back == label) & (labels == label))
        assert 2 * both / (np.sum(back == label) + np.sum(labels == label)) > 0.94
    # In the view the septum is on the left, the RV beyond it.
    rv = mask[Label.RV]
    columns = (rv.sum(axis=0) @ np.arange(80)) / rv.sum()
    assert columns < 20.0


def test_beyond_the_view_there_is_background() -> None:
    mask = np.zeros((4, 16, 16), np.float32)
    mask[Label.CAVITY] = 1.0
    view = View((50.0, 40.0), 180.0, (1.5, 1.5), size_px=16, mm_per_px=1.5)
    labels = view.labels_in_source(mask, (80, 100))
    expected = np.zeros((80, 100), np.uint8)
    rows, columns = slice(33, 48), slice(43, 58)
    expected[rows, columns] = Label.CAVITY
    np.testing.assert_array_equal(labels[rows, columns], expected[rows, columns])
    # The view's own border is half a pixel wide: nothing further out.
    outline = cv2.dilate(expected, np.ones((5, 5), np.uint8))
    assert not labels[outline == 0].any()


def test_the_view_of_a_frame_takes_its_tags() -> None:
    pixels = np.zeros((4, 4), np.float32)
    toward_base = Orientation((0.78, 0.55, 0.29), (-0.02, 0.49, -0.87))
    frame = Frame(pixels, (1.1, 1.3), "s", orientation=toward_base)
    expected = View((3.0, 2.0), 170.0, (1.1, 1.3), 80, 1.5, mirrored=False, handedness=frame.handedness)
    assert view_of_frame(frame, (3.0, 2.0), 530.0, 80, 1.5) == expected
    assert expected.handedness is Handedness.RADIOLOGICAL
    behind = Frame(pixels, (1.1, 1.3), "s", orientation=Orientation(toward_base.column, toward_base.row))
    assert view_of_frame(behind, (3.0, 2.0), 170.0, 80, 1.5) == replace(
        expected, mirrored=True, handedness=Handedness.MIRRORED
    )


@pytest.mark.parametrize("shape", [(80, 80), (128, 128), (7, 3)])
def test_grey_values_are_numpy_s_own(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).gamma(2.0, 100.0, shape).astype(np.float32)
    low, high = (np.float64(p) for p in np.percentile(pixels.astype(np.float64), PERCENTILES))
    expected = np.clip((pixels - np.float32(low)) * np.float32(1.0 / (high - low)), *CLIP, dtype=np.float32)
    np.testing.assert_array_max_ulp(normalise(pixels), expected, 2)


def test_grey_values_are_scaled_by_their_percentiles() -> None:
    pixels = np.arange(101, dtype=np.float32).reshape(1, 101)
    pixels[0, 100] = 1e6
    kept = pixels.copy()
    scaled = normalise(pixels)
    np.testing.assert_array_equal(pixels, kept)
    np.testing.assert_allclose(scaled[0, :100], np.clip((np.arange(100) - 1) / 98, 0, None), atol=1e-6)
    assert scaled[0, 100] == 1.25
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(normalise(7.0 * pixels + 30.0), scaled, atol=1e-5)
    np.testing.assert_array_equal(normalise(np.full((3, 3), 4.0, np.float32)), np.zeros((3, 3), np.float32))
