"""The heart in an overlay: the frame enlarged, with walls, RV, sectors and mid-septum."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.frame import Frame
from lvedge.indices import DEFAULT_LAYOUT, FloatArray, IndexLayout
from lvedge.measurement import Measurement
from lvedge.view import normalise
from lvedge_runtime.sinks import canvas
from lvedge_runtime.sinks.canvas import Image
from lvedge_runtime.sinks.outline import Outline, outline_from_measurement

CROP_MM = 120.0
"""Side of the part of the frame that is shown around the heart."""

INSET_PX = 132
NAME_MM = 6.0
"""Distance of a sector's name from the epicardium."""


def draw_heart(measurement: Measurement, size_px: int) -> Image:
    """The frame around the heart with what was found in it; the whole frame where nothing was.

    Returns:
        [size_px, size_px, 3] uint8, a millimetre as long down as across.
    """
    to_panel, mm_px = _placement(measurement, size_px)
    image = _enlarged(measurement.frame, to_panel, size_px)
    outline = outline_from_measurement(measurement)
    if outline is not None:
        layout = DEFAULT_LAYOUT if measurement.indices is None else measurement.indices.layout
        _draw_outline(image, outline, to_panel, layout)
        _draw_legend(image, has_rv=bool(outline.rv), inferred=measurement.septum_inferred)
    elif not measurement.measured:
        _draw_reason(image, measurement.reason or "not measured")
    _draw_scale(image, mm_px)
    if measurement.view is not None:
        _draw_inset(image, measurement.frame, to_panel)
    return image


def _placement(measurement: Measurement, size_px: int) -> tuple[FloatArray, float]:
    """Affine map [2, 3] from source pixels to the panel, and its pixels per millimetre."""
    rows, columns = measurement.frame.pixels.shape
    down, across = measurement.frame.spacing_mm
    side_mm = max(rows * down, columns * across)
    centre = np.array([(columns - 1) / 2, (rows - 1) / 2])
    if measurement.view is not None and side_mm > CROP_MM:
        side_mm = CROP_MM
        centre = np.asarray(measurement.view.centre_px)
    mm_px = size_px / side_mm
    linear = np.diag([across * mm_px, down * mm_px])
    offset = (size_px - 1) / 2 - linear @ centre
    return np.column_stack([linear, offset]), mm_px


def _enlarged(frame: Frame, to_panel: FloatArray, size_px: int) -> Image:
    """The frame as the panel shows it, grey in three channels."""
    shown_part = cv2.warpAffine(frame.pixels, to_panel, (size_px, size_px), flags=cv2.INTER_CUBIC)
    # The window of what is shown: fat by the coil would leave the heart dark.
    grey = normalise(shown_part.astype(np.float32, copy=False))
    # Blood is far brighter than muscle: lift the dark half so that both walls show.
    shown = np.clip(grey, 0.0, 1.0) ** 0.8 * 235.0
    return cv2.cvtColor(shown.astype(np.uint8), cv2.COLOR_GRAY2BGR).astype(np.uint8)


def _panel(points: FloatArray, to_panel: FloatArray) -> FloatArray:
    mapped: FloatArray = points @ to_panel[:, :2].T + to_panel[:, 2]
    return mapped


def _draw_outline(image: Image, outline: Outline, to_panel: FloatArray, layout: IndexLayout) -> None:
    for line in outline.rv:
        canvas.curve(image, _panel(line, to_panel), canvas.RV, 1)
    for sector in range(layout.sectors):
        start = outline.sector_start_deg(sector, layout)
        endo, epi = outline.wall_mm(start)
        ends = np.stack([outline.point(start, endo), outline.point(start, epi + 2.0)])
        canvas.curve(image, _panel(ends, to_panel), canvas.TEXT, 1)
    canvas.curve(image, _panel(outline.endo, to_panel), canvas.ENDO, 2, closed=True)
    canvas.curve(image, _panel(outline.epi, to_panel), canvas.EPI, 2, closed=True)
    for sector, name in enumerate(layout.sector_names):
        middle = outline.sector_start_deg(sector + 0.5, layout)
        x, y = _panel(outline.point(middle, outline.wall_mm(middle)[1] + NAME_MM)[None], to_panel)[0]
        canvas.write(image, name, (x, y + 5), canvas.TEXT, 0.5, align=0.5, shaded=True)
    _draw_septum(image, outline, to_panel)
    canvas.dot(image, _panel(outline.point(0.0, 0.0)[None], to_panel)[0], 2.0, canvas.TEXT)


def _draw_septum(image: Image, outline: Outline, to_panel: FloatArray) -> None:
    """A wedge outside the wall that points at mid-septum."""
    at = outline.septum_in_view_deg
    epi = outline.wall_mm(at)[1]
    spread = float(np.rad2deg(1.8 / (epi + 7.0)))
    corners = [
        outline.point(at, epi + 2.5),
        outline.point(at - spread, epi + 6.5),
        outline.point(at + spread, epi + 6.5),
    ]
    canvas.filled(image, _panel(np.stack(corners), to_panel), canvas.SEPTUM)


def _draw_legend(image: Image, has_rv: bool, inferred: bool) -> None:
    entries = [("endocardium", canvas.ENDO), ("epicardium", canvas.EPI)]
    if has_rv:
        entries.append(("right ventricle", canvas.RV))
    entries.append(("mid-septum, inferred" if inferred else "mid-septum", canvas.SEPTUM))
    width = 50 + max(canvas.width_of(words, 0.42) for words, _ in entries)
    canvas.shade(image, (4, 4), (width, 8 + 19 * len(entries)))
    for line, (words, colour) in enumerate(entries):
        y = 22 + 19 * line
        canvas.curve(image, np.array([[12.0, y - 4.0], [30.0, y - 4.0]]), colour, 2)
        canvas.write(image, words, (38, y), canvas.TEXT, 0.42)


def _draw_scale(image: Image, mm_px: float) -> None:
    """A bar of 20 mm in the lower left corner."""
    y, length = image.shape[0] - 18.0, 20.0 * mm_px
    ends = np.array([[14.0, y], [14.0 + length, y]])
    canvas.curve(image, ends, (0, 0, 0), 4)
    canvas.curve(image, ends, canvas.TEXT, 2)
    canvas.write(image, "20 mm", (14 + length / 2, y - 7), canvas.TEXT, 0.42, align=0.5, shaded=True)


def _draw_inset(image: Image, frame: Frame, to_panel: FloatArray) -> None:
    """The whole frame, small, with what the panel shows of it; nothing where the panel shows it all."""
    rows, columns = frame.pixels.shape
    size_px = image.shape[0]
    if rows * frame.spacing_mm[0] <= CROP_MM and columns * frame.spacing_mm[1] <= CROP_MM:
        return
    scale = INSET_PX / max(rows * frame.spacing_mm[0], columns * frame.spacing_mm[1])
    across, down = scale * frame.spacing_mm[1], scale * frame.spacing_mm[0]
    width, height = round(columns * across), round(rows * down)
    small = cv2.resize(normalise(frame.pixels), (width, height), interpolation=cv2.INTER_AREA)
    left, top = size_px - width - 10, size_px - height - 10
    grey: NDArray[np.float32] = np.clip(small, 0.0, 1.0) ** 0.8 * 235.0
    image[top : top + height, left : left + width] = grey[..., None].astype(np.uint8)
    canvas.box(image, (left - 1, top - 1), (width + 2, height + 2), canvas.RULE, line=1)
    inverse = cv2.invertAffineTransform(to_panel).astype(float)
    corners = np.array([[0.0, 0.0], [size_px, 0.0], [size_px, size_px], [0.0, size_px]])
    shown = _panel(corners, inverse) * [across, down]
    square = np.clip(shown, 0, [width - 1, height - 1]) + np.array([left, top])
    canvas.curve(image, square, canvas.SEPTUM, 1, closed=True)


def _draw_reason(image: Image, reason: str) -> None:
    """A bar across the picture that says why there are no values."""
    size_px = image.shape[0]
    lines = canvas.wrapped(reason, size_px - 60, 0.5, 3)
    height = 46 + 22 * len(lines)
    canvas.shade(image, (0, 0), (size_px, height), keep=0.25)
    canvas.write(image, "NOT MEASURED", (size_px / 2, 26), canvas.SEPTUM, 0.6, align=0.5)
    for k, line in enumerate(lines):
        canvas.write(image, line, (size_px / 2, 52 + 22 * k), canvas.TEXT, 0.5, align=0.5)
