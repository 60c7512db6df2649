"""Reading a mask: is there an LV, where, and what does its drawn geometry measure?

This is the geometric reading that stands beside the network's regression, and the judge of whether a frame
shows an LV at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.geometry import (
    Rays,
    Septum,
    angle_between_deg,
    indices_from_rays,
    rays_from_maps,
    septum_from_map,
)
from lvedge.indices import DEFAULT_LAYOUT, IndexLayout, Indices, Label
from lvedge.view import SEPTUM_IN_VIEW_DEG, View

Mask = NDArray[np.float32]

MIN_CAVITY_MM2 = 20.0
MIN_WALL_MM2 = 100.0
MIN_CLOSED = 0.5
MIN_CONFIDENCE = 0.72
"""Pure noise reaches 0.69; of the LVs trained on, one in a hundred stays under 0.79."""
WALL_SEEN_MM = 1.5
NEAR_PX = 4
"""How far around the LV the labels' entropy is looked at, view pixels."""

_LEAST = np.float32(1e-6)
"""Probability under which a label surprises no more."""
_PAINT = 2
"""What a filled piece is painted with, over 0 and 1."""
_SQUARES = {pixels: np.ones((2 * pixels + 1,) * 2, np.uint8) for pixels in (1, 2, NEAR_PX)}


@dataclass(frozen=True)
class MaskReading:
    """What a mask in a view shows.

    Args:
        rays: the walls, in view pixels and mm.
        septum: mid-septum as this mask's RV shows it, in the view; None where no RV is seen.
        indices: the values read geometrically, sectors from the seen septum, else from the view's axis.
        closed: share of rays with a wall, 0 .. 1.
        confidence: mean probability of the label over the LV, 0 .. 1.
        entropy: mean entropy of the labels within 6 mm of the walls, in nats.
        other_share: cavity outside the LV's own piece, as a share of all cavity.
    """

    rays: Rays
    septum: Septum | None
    indices: Indices
    closed: float
    confidence: float
    entropy: float
    other_share: float

    @property
    def septum_in_view_deg(self) -> float:
        """Direction of mid-septum in the view: as seen, else the view's own axis."""
        return self.septum.direction_deg if self.septum is not None else SEPTUM_IN_VIEW_DEG


@dataclass(frozen=True)
class NoVentricle:
    """Why a mask shows no LV."""

    reason: str


def read_mask(
    mask: Mask, mm_per_px: float, layout: IndexLayout = DEFAULT_LAYOUT
) -> MaskReading | NoVentricle:
    """The geometric reading of a mask.

    Args:
        mask: [4, S, S] label probabilities in the view.
        mm_per_px: size of a view pixel.
        layout: M and N.
    """
    whole_cavity = mask[Label.CAVITY]
    largest = _largest_piece(whole_cavity >= 0.5)
    if largest is None:
        return NoVentricle("no LV cavity in this frame")
    whole_piece, piece_share, place = largest
    whole_heart, window = _piece_and_window(mask[Label.MYOCARDIUM] + whole_cavity >= 0.5, place)
    # All that follows looks at the heart alone, but for the RV.
    own = np.ascontiguousarray(mask[:, window[0], window[1]])
    heart, piece = whole_heart[window], whole_piece[window]
    cavity = _cut_out(own[Label.CAVITY], _grown(piece, 1))
    myocardium = _cut_out(own[Label.MYOCARDIUM], _grown(heart, 2))
    corner_px = window[1].start, window[0].start
    rays = rays_from_maps(cavity, myocardium, (mm_per_px, mm_per_px), corner_px)
    if rays is None or rays.areas_mm2[0] < MIN_CAVITY_MM2:
        return NoVentricle(f"the cavity is smaller than {MIN_CAVITY_MM2:.0f} mm²")
    if rays.areas_mm2[1] < MIN_WALL_MM2:
        return NoVentricle(f"the wall is smaller than {MIN_WALL_MM2:.0f} mm²")
    closed = np.count_nonzero(rays.wall_mm >= WALL_SEEN_MM) / rays.wall_mm.size
    if closed < MIN_CLOSED:
        return NoVentricle(f"the wall closes around only {closed:.0%} of the cavity")
    confidence = _mean(np.maximum.reduce(own[1:]), heart)
    if confidence < MIN_CONFIDENCE:
        return NoVentricle("the picture shows no clear LV")
    septum = septum_from_map(rays, mask[Label.RV])
    direction = septum.direction_deg if septum is not None else SEPTUM_IN_VIEW_DEG
    surprise = cv2.log(np.maximum(own, _LEAST))
    surprise *= own
    return MaskReading(
        rays=rays,
        septum=septum,
        indices=indices_from_rays(rays, direction, layout),
        closed=closed,
        confidence=confidence,
        entropy=-_mean(np.add.reduce(surprise), _grown(heart, NEAR_PX)),
        other_share=1.0 - piece_share,
    )


def centre_in_source(reading: MaskReading, view: View) -> tuple[float, float]:
    """The cavity's centroid in source pixels (x, y)."""
    return view.point_in_source(*reading.rays.centre_px)


def septum_in_source(reading: MaskReading, view: View) -> float:
    """Mid-septum in the source frame, degrees: as seen, else the view's axis."""
    off = angle_between_deg(reading.septum_in_view_deg, SEPTUM_IN_VIEW_DEG)
    return (view.septum_deg + (-off if view.mirrored else off)) % 360.0


def _grown(inside: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """A mask and all that lies within a square of so many pixels around it."""
    return cv2.dilate(inside.view(np.uint8), _SQUARES[pixels]).view(np.bool_)


def _cut_out(values: Mask, inside: NDArray[np.bool_]) -> Mask:
    """Values inside a mask, 0 outside."""
    return np.asarray(cv2.copyTo(values, inside.view(np.uint8)), dtype=np.float32)


def _mean(values: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """The mean of the values inside a mask."""
    return cv2.mean(values, inside.view(np.uint8))[0]


def _largest_piece(inside: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], float, int] | None:
    """The largest connected piece of a mask, its share of it and a flat index in it; None of an empty one.

    The mask may be painted on.
    """
    total = np.count_nonzero(inside)
    if not total:
        return None
    place = int(inside.argmax())
    painted = np.ascontiguousarray(inside).view(np.uint8)
    area, _ = _fill(painted, place)
    if 2 * area > total:  # as nearly always: no need to label and measure all of them
        return painted == _PAINT, area / total, place
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(painted, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = pieces == 1 + areas.argmax()
    return largest, float(areas.max()) / total, int(largest.argmax())


def _piece_and_window(inside: NDArray[np.bool_], place: int) -> tuple[NDArray[np.bool_], tuple[slice, slice]]:
    """The connected piece of a mask at a flat index inside it, and the (rows, columns) near it.

    The mask may be painted on.
    """
    painted = np.ascontiguousarray(inside).view(np.uint8)
    _, (x, y, width, height) = _fill(painted, place)
    near = slice(max(y - NEAR_PX, 0), y + height + NEAR_PX), slice(max(x - NEAR_PX, 0), x + width + NEAR_PX)
    return painted == _PAINT, near


def _fill(painted: NDArray[np.uint8], place: int) -> tuple[int, Sequence[int]]:
    """Area and box (x, y, width, height) of the connected piece at a flat index, which is painted."""
    row, column = divmod(place, painted.shape[1])
    area, _, _, box = cv2.floodFill(painted, None, (column, row), _PAINT)
    return area, box
