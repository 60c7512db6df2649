"""What is drawn on a frame: sub-pixel outlines of the walls and the RV, and where the sectors lie."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.geometry import Rays, rays_from_maps
from lvedge.indices import FloatArray, IndexLayout, Label
from lvedge.measurement import Measurement
from lvedge.view import SEPTUM_IN_VIEW_DEG, View

FINE = 8
"""Times that the view is enlarged before its 0.5-level is followed."""

SMOOTH_POINTS = 9
"""Width of the cyclic smoothing along an outline, in points of the enlarged view (about a view pixel)."""


@dataclass(frozen=True)
class Outline:
    """Outlines of one frame, in pixels (x, y) of the source frame.

    Args:
        endo: [n, 2] closed outline of the cavity.
        epi: [n, 2] closed outline of cavity and wall together.
        rv: lines [n, 2] along the right ventricle, open where it leaves the view; none where it is not seen.
        view: the window that the walls were read in.
        rays: the walls on rays from the cavity's centroid, in the view.
        septum_in_view_deg: mid-septum as seen in this frame, in the view.
    """

    endo: FloatArray
    epi: FloatArray
    rv: tuple[FloatArray, ...]
    view: View
    rays: Rays
    septum_in_view_deg: float

    def sector_start_deg(self, sector: float, layout: IndexLayout) -> float:
        """Direction in the view at which a sector begins; half a sector later is its middle.

        In a view sectors always follow each other counter-clockwise from mid-septum, a mirrored frame is
        flipped on its way there.
        """
        return self.septum_in_view_deg - sector * 360.0 / layout.sectors

    def wall_mm(self, direction_deg: float) -> tuple[float, float]:
        """Endocardial and epicardial radius on the ray nearest to a direction in the view, mm."""
        ray = round(direction_deg) % self.rays.endo_mm.size
        return float(self.rays.endo_mm[ray]), float(self.rays.epi_mm[ray])

    def point(self, direction_deg: float, radius_mm: float) -> FloatArray:
        """Source pixel (x, y) at a direction in the view and a distance from the cavity's centroid."""
        in_view = np.array([self.rays.point_px(direction_deg, radius_mm)])
        return self.view.points_in_source(in_view).reshape(2)


def outline_from_measurement(measurement: Measurement) -> Outline | None:
    """The outlines of a measured frame, or None where there is no mask or no closed cavity in it."""
    mask, view = measurement.mask, measurement.view
    if not measurement.measured or mask is None or view is None:
        return None
    cavity, myocardium = mask[Label.CAVITY], mask[Label.MYOCARDIUM]
    endo = _level_lines(cavity, view)
    epi = _level_lines(cavity + myocardium, view)
    rays = rays_from_maps(cavity, myocardium, (view.mm_per_px, view.mm_per_px))
    if not endo or not epi or rays is None:
        return None
    seen = view.septum_deg if measurement.septum_deg is None else measurement.septum_deg
    turned = seen - view.septum_deg
    in_view = SEPTUM_IN_VIEW_DEG - turned if view.mirrored else SEPTUM_IN_VIEW_DEG + turned
    rv = [part for line in _level_lines(mask[Label.RV], view) for part in _inside_view(line, view)]
    return Outline(
        endo=view.points_in_source(endo[0]),
        epi=view.points_in_source(epi[0]),
        rv=tuple(view.points_in_source(part) for part in rv),
        view=view,
        rays=rays,
        septum_in_view_deg=in_view % 360.0,
    )


def _level_lines(probability: NDArray[np.float32], view: View, least_px: float = 12.0) -> list[FloatArray]:
    """Closed lines [n, 2] at 0.5, in view pixels, the largest first, without specks under ``least_px``."""
    size = (view.size_px * FINE, view.size_px * FINE)
    fine = cv2.resize(probability, size, interpolation=cv2.INTER_LINEAR)
    inside = (fine >= 0.5).astype(np.uint8)
    lines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    kept = [line for line in lines if cv2.contourArea(line) >= least_px * FINE * FINE]
    kept.sort(key=cv2.contourArea, reverse=True)
    return [_smoothed(line.reshape(-1, 2).astype(float)) for line in kept]


def _smoothed(points: FloatArray) -> FloatArray:
    """An outline of the enlarged view, smoothed along itself, in pixels of the view."""
    half = SMOOTH_POINTS // 2
    padded = np.concatenate([points[-half:], points, points[:half]])
    kernel = np.full(SMOOTH_POINTS, 1.0 / SMOOTH_POINTS)
    smooth = np.column_stack([np.convolve(padded[:, axis], kernel, mode="valid") for axis in (0, 1)])
    return (smooth + 0.5) / FINE - 0.5


def _inside_view(line: FloatArray, view: View) -> list[FloatArray]:
    """The parts of a closed line that do not run along the view's border."""
    border = ((line < 0.5) | (line > view.size_px - 1.5)).any(axis=1)
    if not border.any():
        return [np.concatenate([line, line[:1]])]
    start = int(border.argmax())
    turned, border = np.roll(line, -start, axis=0), np.roll(border, -start)
    parts = np.split(np.arange(len(line)), np.flatnonzero(border))
    return [turned[part[1:]] for part in parts if part.size > SMOOTH_POINTS]
