"""Slices that lie askew: a stack cut again at an angle, and the phantom cut at an angle exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from lvedge.errors import DataError
from lvedge.frame import Frame
from lvedge.geometry import Rays, angle_between_deg, indices_from_rays
from lvedge.indices import FloatArray, Label
from lvedge.phantom import Phantom
from lvedge.training.data.sample import Sample

THICKEST_MM = 6.0
"""Slices further apart are not cut again: what lies between them is not known well enough."""

ABSENT_MM = -20.0
"""Distance inside a part that a slice does not show at all."""


def depth_reached_mm(sample: Sample, tilt_deg: float) -> float:
    """How far above and below its slice a tilted cut passes through the LV's wall, mm; 0 without an LV."""
    rays = sample.rays()
    return 0.0 if rays is None else float(rays.epi_mm.max() * np.sin(np.deg2rad(tilt_deg)))


def tilted(stack: Sequence[Sample], index: int, tilt_deg: float, axis_deg: float) -> Sample:
    """The slice that a plane through the LV centre of one slice, tilted out of it, would show.

    Grey values are interpolated linearly between the slices, contours by their signed distances (shape-based
    interpolation: Raya & Udupa, IEEE TMI 9:32, 1990). Beyond the stack its last slice goes on.

    Args:
        stack: all slices at one phase, in order.
        index: the slice in whose LV centre the planes meet.
        tilt_deg: between the planes; at 0 the slice comes back as it is.
        axis_deg: direction of the line in which they meet, clockwise from increasing columns.

    Raises:
        DataError: if the slice has no LV or does not say how far the slices lie apart.
    """
    middle = stack[index]
    rays = middle.rays()
    if rays is None or not middle.slice_mm:
        raise DataError(f"{middle.key} cannot be tilted: it needs an LV and a distance between slices")
    map_x, map_y, depth_mm = _plane(middle, rays.centre_px, tilt_deg, axis_deg)
    height = np.clip(index + depth_mm / middle.slice_mm, 0, len(stack) - 1)

    def cut(layers: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        total = np.zeros(height.shape, dtype=np.float32)
        for k, layer in enumerate(layers):
            weight = np.maximum(1.0 - np.abs(height - k), 0.0).astype(np.float32)
            if weight.any():
                total += weight * cv2.remap(
                    layer, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
                )
        return total

    rv, heart, cavity = (
        np.clip(cut([_inside_mm(s, labels) for s in stack]) / min(middle.spacing_mm) + 0.5, 0.0, 1.0)
        for labels in ((Label.RV,), (Label.MYOCARDIUM, Label.CAVITY), (Label.CAVITY,))
    )
    maps = np.dstack([np.minimum(rv, 1.0 - heart), np.maximum(heart - cavity, 0.0), cavity])
    pixels = cut([s.pixels.astype(np.float32) for s in stack])
    return replace(
        middle,
        pixels=np.clip(np.round(pixels), 0, 255).astype(np.uint8),
        maps=np.round(255 * maps).astype(np.uint8),
    )


def tilted_phantom(phantom: Phantom, index: int, tilt_deg: float) -> tuple[Frame, FloatArray]:
    """A frame of the phantom cut at an angle, and its exact values [L].

    The phantom is one slice; it is taken as drawn out along its axis. A plane tilted about the picture's
    vertical then shows it stretched by 1 / cos(tilt) along the rows, and nothing else.

    Args:
        phantom: any; the frame carries no orientation, so it should not be mirrored.
        index: the frame.
        tilt_deg: under 90.
    """
    shrink = float(np.cos(np.deg2rad(tilt_deg)))
    grid = phantom.placement
    row_mm, column_mm = grid.spacing_mm
    painted = replace(phantom, placement=replace(grid, spacing_mm=(row_mm, column_mm * shrink)), tagged=False)
    frame = replace(painted.frame(index), spacing_mm=grid.spacing_mm, frame_index=0, cine_length=1)
    heart = phantom.heart
    stretch = np.array([[1.0 / shrink], [1.0]])
    # Each ray of the picture is one of the body, of another length and direction.
    angles = np.deg2rad(np.arange(360.0))
    body = grid.to_body @ (np.stack([np.cos(angles), np.sin(angles)]) / stretch)
    length = np.hypot(*body)
    theta = np.deg2rad(heart.septum_deg) - np.arctan2(body[1], body[0])
    endo, epi = (series.at(theta) / length for series in (heart.endo(index), heart.epi(index)))
    values = heart.indices(index)
    rays = Rays(painted.centre_px(index), grid.spacing_mm, endo, epi, values.areas_mm2 / shrink)
    half = heart.rv_contact_deg / 2
    ends = np.deg2rad([heart.septum_deg - half, heart.septum_deg + half])
    seen = stretch * (grid.to_body.T @ np.stack([np.cos(ends), np.sin(ends)]))
    first, second = np.rad2deg(np.arctan2(seen[1], seen[0]))
    septum_deg = float(first + angle_between_deg(float(second), float(first)) / 2) % 360.0
    return frame, indices_from_rays(rays, septum_deg, mirrored=grid.mirrored).vector


def _plane(
    sample: Sample, centre_px: tuple[float, float], tilt_deg: float, axis_deg: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], FloatArray]:
    """Source pixels (x, y) under every pixel of the plane, and its depth below the slice, mm."""
    rows, columns = sample.pixels.shape
    row_mm, column_mm = sample.spacing_mm
    right = (np.arange(columns)[None] - centre_px[0]) * column_mm
    down = (np.arange(rows)[:, None] - centre_px[1]) * row_mm
    axis, tilt = np.deg2rad(axis_deg), np.deg2rad(tilt_deg)
    across: FloatArray = np.cos(axis) * down - np.sin(axis) * right
    nearer = across * (np.cos(tilt) - 1.0)  # what tilting takes off the distance from the axis
    map_x = centre_px[0] + (right - np.sin(axis) * nearer) / column_mm
    map_y = centre_px[1] + (down + np.cos(axis) * nearer) / row_mm
    return map_x.astype(np.float32), map_y.astype(np.float32), across * np.sin(tilt)


def _inside_mm(sample: Sample, labels: Sequence[Label]) -> NDArray[np.float32]:
    """Distance inside what was drawn, mm, negative outside; half a pixel at the pixels along the border."""
    drawn = sum(sample.map(label) for label in labels) >= 0.5
    if not np.any(drawn):
        return np.full(sample.pixels.shape, ABSENT_MM, dtype=np.float32)
    half = 0.5 * min(sample.spacing_mm)
    inside = distance_transform_edt(drawn, sampling=sample.spacing_mm)
    outside = distance_transform_edt(~drawn, sampling=sample.spacing_mm)
    signed: NDArray[np.float32] = np.where(drawn, inside - half, half - outside).astype(np.float32)
    return signed
