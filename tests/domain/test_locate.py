"""From the locator's points to the LV centre and mid-septum of the source frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lvedge.contract import ContractShapes
from lvedge.frame import Frame, Orientation
from lvedge.geometry import angle_between_deg
from lvedge.locate import Location, location_from_points, locator_input, locator_view
from lvedge.phantom import Phantom, Placement, preset_phantom
from lvedge.view import View

SHAPES = ContractShapes(
    view_px=80,
    view_mm_per_px=1.5,
    regression_state=1,
    phase_state=1,
    features=1,
    locator_px=128,
    locator_mm_per_px=2.75,
)
SURE = np.array([0.9, 0.6, 0.7], np.float32)


def blank_frame(phantom: Phantom) -> Frame:
    """The phantom's frame without the work of painting it."""
    pixels = np.zeros(phantom.placement.shape, np.float32)
    return Frame(pixels, phantom.placement.spacing_mm, "s", orientation=phantom.orientation)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 90.0, 133.0, 270.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.8, 1.9), (2.0, 0.7)])
def test_the_heart_is_found_where_it_is(
    mirrored: bool, rotation: float, spacing: tuple[float, float]
) -> None:
    grid = Placement(
        rows=int(300 / spacing[0]),
        columns=int(280 / spacing[1]),
        spacing_mm=spacing,
        offset_mm=(20.0, -30.0),
        rotation_deg=rotation,
        mirrored=mirrored,
    )
    phantom = preset_phantom("healthy", grid)
    view = locator_view(blank_frame(phantom), SHAPES)
    assert view.mirrored == mirrored
    # The insertions lie half a contact arc from mid-septum; in the body's view the anterior one clockwise.
    body = phantom.heart.septum_deg + np.array([0.5, -0.5]) * phantom.heart.rv_contact_deg
    around = [grid.picture_point(35.0 * np.cos(a), 35.0 * np.sin(a)) for a in np.deg2rad(body)]
    points = view.points_in_view(np.array([grid.picture_point(0.0, 0.0), *around]))
    location = location_from_points(points.astype(np.float32), SURE, view)
    np.testing.assert_allclose(location.centre_px, phantom.centre_px(0), atol=1e-3)
    assert abs(angle_between_deg(location.septum_deg, phantom.septum_deg)) < 0.01
    assert (location.confidence, location.septum_confidence) == (
        pytest.approx(0.9),
        pytest.approx(0.6),
    )


def test_an_arc_of_more_than_half_a_turn_keeps_its_side() -> None:
    view = View((63.5, 63.5), 180.0, (2.0, 2.0), size_px=128, mm_per_px=2.0)
    angles = np.deg2rad([180 + 100, 180 - 100])
    points = 60.0 + np.array([[0, 0], *(20 * np.array([np.cos(a), np.sin(a)]) for a in angles)])
    assert location_from_points(points.astype(np.float32), SURE, view) == Location(
        pytest.approx((60.0, 60.0)),  # type: ignore[arg-type]
        pytest.approx(180.0),  # type: ignore[arg-type]
        float(SURE[0]),
        float(SURE[1]),
    )
    swapped = points[[0, 2, 1]].astype(np.float32)
    opposite = location_from_points(swapped, SURE, view).septum_deg
    assert abs(angle_between_deg(opposite, 0.0)) < 1e-4


def test_the_locator_sees_the_whole_frame_and_the_input_is_the_contract_s() -> None:
    grid = Placement(rows=200, columns=150, spacing_mm=(1.5, 1.5), offset_mm=(30.0, 20.0))
    frame = preset_phantom("healthy", grid).frame(0)
    view = locator_view(frame, SHAPES)
    assert view == View(
        centre_px=(74.5, 99.5),
        septum_deg=180.0,
        spacing_mm=(1.5, 1.5),
        size_px=128,
        mm_per_px=2.75,
        mirrored=False,
        handedness=frame.handedness,
    )
    tensor = locator_input(frame, view)
    assert (tensor.shape, tensor.dtype, tensor.flags.c_contiguous) == (
        (1, 1, 128, 128),
        np.dtype(np.float32),
        True,
    )
    low, high = np.percentile(tensor, (1, 99))
    assert (low, high) == (pytest.approx(0.0, abs=1e-5), pytest.approx(1.0, abs=1e-5))


def test_a_mirrored_frame_is_shown_to_the_locator_the_usual_way() -> None:
    grid = Placement(rows=129, columns=129, spacing_mm=(2.5, 2.5))
    usual = preset_phantom("healthy", grid).frame(0)
    assert usual.orientation is not None
    # Rows from below: the column direction turns round, and with it the way round.
    right, down = usual.orientation.row, usual.orientation.column
    upside_down = Orientation(right, (-down[0], -down[1], -down[2]))
    frame = replace(usual, pixels=np.ascontiguousarray(usual.pixels[::-1]), orientation=upside_down)
    np.testing.assert_allclose(
        locator_input(frame, locator_view(frame, SHAPES)),
        locator_input(usual, locator_view(usual, SHAPES)),
        atol=1e-4,
    )
