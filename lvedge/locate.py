"""From the locator's three points to the LV centre and mid-septum in the source frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvedge.contract import ContractShapes, Floats
from lvedge.frame import Frame, Handedness
from lvedge.view import SEPTUM_IN_VIEW_DEG, View, normalise


@dataclass(frozen=True)
class Location:
    """Where a frame shows the heart.

    Args:
        centre_px: LV centre in the source frame (x, y).
        septum_deg: direction of mid-septum in the source frame: the bisector of the RV insertions.
        confidence: peak probability of the LV centre, 0 .. 1.
        septum_confidence: the lesser peak probability of the two insertions, 0 .. 1.
    """

    centre_px: tuple[float, float]
    septum_deg: float
    confidence: float
    septum_confidence: float


def locator_view(frame: Frame, shapes: ContractShapes) -> View:
    """The whole frame as the locator sees it: centred, not turned, flipped where it is mirrored."""
    rows, columns = frame.pixels.shape
    return View(
        centre_px=((columns - 1) / 2, (rows - 1) / 2),
        septum_deg=SEPTUM_IN_VIEW_DEG,
        spacing_mm=frame.spacing_mm,
        size_px=shapes.locator_px,
        mm_per_px=shapes.locator_mm_per_px,
        mirrored=frame.handedness is Handedness.MIRRORED,
        handedness=frame.handedness,
    )


def locator_input(frame: Frame, view: View) -> Floats:
    """The locator's ``frame`` tensor, [1, 1, P, P] float32."""
    return np.ascontiguousarray(normalise(view.crop(frame.pixels))[None, None])


def location_from_points(
    points: NDArray[np.float32], confidence: NDArray[np.float32], view: View
) -> Location:
    """The heart's place in the source frame.

    Args:
        points: [3, 2] LV centre, anterior and inferior insertion in the locator's view, pixels (x, y).
        confidence: [3] peak probabilities.
        view: the locator's view of the frame.
    """
    centre, anterior, inferior = points.astype(np.float64)
    # In the view AS follows clockwise on mid-septum, so the arc runs clockwise from inferior to anterior.
    start, end = (np.arctan2(p[1] - centre[1], p[0] - centre[0]) for p in (inferior, anterior))
    middle = start + ((end - start) % (2 * np.pi)) / 2
    direction = view.to_source[:, :2] @ np.array([np.cos(middle), np.sin(middle)])
    dx_mm, dy_mm = direction[0] * view.spacing_mm[1], direction[1] * view.spacing_mm[0]
    x, y = view.points_in_source(centre[None])[0]
    return Location(
        centre_px=(float(x), float(y)),
        septum_deg=float(np.rad2deg(np.arctan2(dy_mm, dx_mm)) % 360.0),
        confidence=float(confidence[0]),
        septum_confidence=float(confidence[1:].min()),
    )
