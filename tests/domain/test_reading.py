"""Reading a mask: the phantom's values come back, and what shows no LV is refused."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lvedge.geometry import angle_between_deg
from lvedge.indices import IndexLayout, Label
from lvedge.phantom import Phantom, Placement, preset_phantom, random_phantom
from lvedge.reading import MaskReading, NoVentricle, centre_in_source, read_mask, septum_in_source
from lvedge.view import View

Mask = NDArray[np.float32]

SIDE, MM = 80, 1.5
_Y, _X = (np.indices((SIDE, SIDE)) - (SIDE - 1) / 2) * MM
RADIUS, ANGLE = np.hypot(_X, _Y), np.rad2deg(np.arctan2(_Y, _X)) % 360


def mask_of(cavity: NDArray[np.bool_], wall: NDArray[np.bool_], rv: NDArray[np.bool_] | None = None) -> Mask:
    """One-hot probabilities of what is drawn; a cavity covers a wall, a wall an RV."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    if rv is not None:
        labels[rv] = Label.RV
    labels[wall] = Label.MYOCARDIUM
    labels[cavity] = Label.CAVITY
    return np.stack([labels == label for label in Label]).astype(np.float32)


def phantom_mask(phantom: Phantom, view: View, frame: int = 0) -> Mask:
    """The phantom's exact labels as the view shows them."""
    labels = phantom.labels(frame)
    return np.stack([view.crop((labels == label).astype(np.float32)) for label in Label])


def read(mask: Mask) -> MaskReading:
    reading = read_mask(mask, MM)
    assert isinstance(reading, MaskReading)
    return reading


@pytest.mark.parametrize("seed", range(6))
def test_a_phantom_is_read_as_what_it_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    phantom = random_phantom(rng)
    mirrored = phantom.placement.mirrored
    # The view lies off the truth, as a located one does.
    turn = float(rng.uniform(-20, 20))
    x, y = phantom.centre_px(0) + rng.uniform(-3, 3, 2)
    view = View((x, y), (phantom.septum_deg + turn) % 360, phantom.placement.spacing_mm, mirrored=mirrored)
    reading = read(phantom_mask(phantom, view))
    truth = phantom.indices(0).vector
    np.testing.assert_allclose(reading.indices.vector[:9], truth[:9], atol=0.75)
    np.testing.assert_allclose(reading.indices.vector[9:], truth[9:], rtol=0.04)
    np.testing.assert_allclose(centre_in_source(reading, view), phantom.centre_px(0), atol=0.5)
    assert abs(angle_between_deg(septum_in_source(reading, view), phantom.septum_deg)) < 4.0
    assert reading.closed == 1.0
    assert reading.confidence > 0.85
    assert reading.other_share == 0.0
    assert reading.rays.wall_max_mm == pytest.approx(phantom.heart.wall_max_mm(0), abs=1.5)


def test_a_mask_may_lie_in_memory_in_any_order() -> None:
    phantom = preset_phantom("healthy")
    view = View(phantom.centre_px(0), phantom.septum_deg, phantom.placement.spacing_mm)
    mask = phantom_mask(phantom, view)
    before = mask.copy()
    turned = np.ascontiguousarray(mask.transpose(0, 2, 1)).transpose(0, 2, 1)
    np.testing.assert_array_equal(read(turned).indices.vector, read(mask).indices.vector)
    np.testing.assert_array_equal(mask, before)


def test_without_an_rv_the_view_axis_is_the_septum() -> None:
    placement = Placement(rows=160, columns=160, spacing_mm=(1.5, 1.5), rotation_deg=30.0)
    phantom = preset_phantom("healthy", placement).with_heart(rv_contact_deg=0.0)
    view = View(phantom.centre_px(0), phantom.septum_deg, (1.5, 1.5))
    reading = read(phantom_mask(phantom, view))
    assert reading.septum is None
    assert reading.septum_in_view_deg == 180.0
    assert septum_in_source(reading, view) == pytest.approx(phantom.septum_deg)
    np.testing.assert_allclose(reading.indices.rwt_mm, phantom.indices(0).rwt_mm, atol=0.6)


def test_a_mirrored_view_turns_the_septum_the_other_way() -> None:
    wall, cavity = RADIUS < 30, RADIUS < 20
    rv = (RADIUS < 50) & (np.abs(ANGLE - 200) < 50)  # 20° clockwise of the view's left
    reading = read(mask_of(cavity, wall, rv))
    assert reading.septum_in_view_deg == pytest.approx(200.0, abs=2.0)
    for mirrored, expected in ((False, 120.0), (True, 80.0)):
        view = View((40.0, 40.0), 100.0, (1.0, 1.0), mirrored=mirrored)
        assert septum_in_source(reading, view) == pytest.approx(expected, abs=2.0)
        angle = np.deg2rad(reading.septum_in_view_deg)
        towards = view.to_source[:, :2] @ np.array([np.cos(angle), np.sin(angle)])
        seen = np.rad2deg(np.arctan2(towards[1], towards[0]))
        assert abs(angle_between_deg(septum_in_source(reading, view), seen)) < 1e-6


def test_another_layout_is_read_too() -> None:
    reading = read_mask(mask_of(RADIUS < 20, RADIUS < 30), MM, IndexLayout(8, 4))
    assert isinstance(reading, MaskReading)
    np.testing.assert_allclose(reading.indices.rwt_mm, [10.0] * 8, atol=0.5)
    np.testing.assert_allclose(reading.indices.dims_mm, [40.0] * 4, atol=0.5)


def test_a_second_piece_of_cavity_is_left_out_and_told() -> None:
    apart = (np.hypot(_X - 45, _Y - 45) < 8) & (RADIUS > 36)
    alone, beside = (read(mask_of((RADIUS < 20) | (apart & bool(k)), RADIUS < 30)) for k in (0, 1))
    np.testing.assert_array_equal(beside.indices.vector, alone.indices.vector)
    assert alone.other_share == 0.0
    pieces = float(np.sum(apart)), float(np.sum(RADIUS < 20))
    assert beside.other_share == pytest.approx(pieces[0] / sum(pieces))


def test_muscle_elsewhere_is_no_wall() -> None:
    far = np.hypot(_X - 48, _Y - 48) < 7
    alone, beside = (read(mask_of(RADIUS < 20, (RADIUS < 30) | (far & bool(k)))) for k in (0, 1))
    np.testing.assert_array_equal(beside.indices.vector, alone.indices.vector)


def test_an_open_wall_is_told_and_half_a_wall_is_refused() -> None:
    cavity, ring = RADIUS < 20, RADIUS < 30
    quarter = read(mask_of(cavity, ring & (np.abs(ANGLE - 180) > 45)))
    assert quarter.closed == pytest.approx(0.75, abs=0.03)
    most = read_mask(mask_of(cavity, ring & (ANGLE < 150)), MM)
    assert isinstance(most, NoVentricle)
    assert most.reason.startswith("the wall closes around only 4")
    assert most.reason.endswith("% of the cavity")


NOTHING = np.zeros((SIDE, SIDE), dtype=bool)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (mask_of(NOTHING, NOTHING), "no LV cavity in this frame"),
        (mask_of(NOTHING, RADIUS < 30, RADIUS < 50), "no LV cavity in this frame"),
        (mask_of(RADIUS < 1.5, RADIUS < 12), "the cavity is smaller than 20 mm²"),
        (mask_of(RADIUS < 12, NOTHING), "the wall is smaller than 100 mm²"),
        (mask_of(RADIUS < 5, RADIUS < 6.5), "the wall is smaller than 100 mm²"),
    ],
)
def test_what_is_no_ventricle(mask: Mask, reason: str) -> None:
    assert read_mask(mask, MM) == NoVentricle(reason)


def test_an_unsure_mask_is_refused() -> None:
    sure = mask_of(RADIUS < 20, RADIUS < 30)
    unsure = 0.52 * sure + 0.16 * (1 - sure)
    assert read_mask(unsure.astype(np.float32), MM) == NoVentricle("the picture shows no clear LV")


def test_confidence_and_entropy_follow_the_mask() -> None:
    sure = mask_of(RADIUS < 20, RADIUS < 30)
    reading = read(sure)
    assert reading.confidence == pytest.approx(1.0)
    assert reading.entropy == pytest.approx(0.0, abs=1e-5)
    doubtful = (0.76 * sure + 0.08 * (1 - sure)).astype(np.float32)
    softer = read(doubtful)
    assert softer.confidence == pytest.approx(0.76, abs=1e-5)
    assert softer.entropy == pytest.approx(-(0.76 * np.log(0.76) + 0.24 * np.log(0.08)), abs=1e-5)


@pytest.mark.parametrize("change", [lambda m: cv2.GaussianBlur(m, (0, 0), 0.8), lambda m: m.copy()])
def test_the_mask_is_not_written_to(change: Callable[[Mask], Mask]) -> None:
    mask = np.stack([change(m) for m in mask_of(RADIUS < 20, RADIUS < 30, ANGLE > 180)])
    kept = mask.copy()
    read_mask(mask, MM)
    np.testing.assert_array_equal(mask, kept)
