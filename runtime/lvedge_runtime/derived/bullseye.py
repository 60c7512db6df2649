"""A stack at a glance: bull's-eyes of wall thickening and thickness, a ring a slice."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.indices import DEFAULT_LAYOUT
from lvedge.view import SEPTUM_IN_VIEW_DEG
from lvedge.volume import StackVolumes
from lvedge_runtime.derived.series import MeasuredSeries, MeasuredSlice
from lvedge_runtime.sinks import NOTICE, canvas
from lvedge_runtime.sinks.canvas import Image
from lvedge_runtime.sinks.overlay import FOOTER_PX, HEADER_PX, HEIGHT_PX, WIDTH_PX
from lvedge_runtime.sinks.term import volumes_line

RADIUS_PX = 190
HOLE_PX = 24
_MOST_LABELLED = 6
"""Rings with values written into them; more of them leave no room."""


def draw_bullseye(series: MeasuredSeries, origin: str) -> Image:
    """The page of a whole series.

    Args:
        series: what was measured; the outermost ring is the slice at its wider end, taken for the base.
        origin: bundle and engine, for the footer.

    Returns:
        [674, 980, 3] uint8, blue, green, red.
    """
    image = canvas.blank(WIDTH_PX, HEIGHT_PX)
    rings = _base_first(series.slices)
    canvas.write(image, series.name, (12, 26), canvas.TEXT, 0.5)
    words = f"{len(rings)} slices, the wider end of the stack outside"
    canvas.write(image, words, (WIDTH_PX - 18, 26), canvas.QUIET, 0.42, align=1.0)
    nothing = np.full(DEFAULT_LAYOUT.sectors, np.nan)
    thickening = [nothing if r.cycle.thickening is None else 100.0 * r.cycle.thickening for r in rings]
    thickness = [nothing if r.ed.indices is None else r.ed.indices.rwt_mm for r in rings]
    y = HEADER_PX + 50 + RADIUS_PX
    _draw_rings(image, (WIDTH_PX // 4, y), thickening, (0.0, 100.0), "wall thickening, %")
    _draw_rings(image, (3 * WIDTH_PX // 4, y), thickness, (4.0, 16.0), "wall at end diastole, mm")
    _draw_volumes(image, series.volumes)
    base = HEIGHT_PX - 12
    canvas.write(image, NOTICE, (WIDTH_PX - 18, base), canvas.SEPTUM, 0.45, align=1.0)
    canvas.write(image, origin, (12, base), canvas.QUIET, 0.42)
    return image


def _base_first(slices: Sequence[MeasuredSlice]) -> list[MeasuredSlice]:
    """The slices in the stack's order, turned so that the wider end comes first."""
    widths = [0.0 if s.ed.indices is None else float(s.ed.indices.areas_mm2.sum()) for s in slices]
    half = (len(slices) + 1) // 2
    turned = sum(widths[-half:]) > sum(widths[:half])
    return list(reversed(slices)) if turned else list(slices)


def _draw_rings(
    image: Image,
    centre: tuple[int, int],
    rings: Sequence[NDArray[np.float64]],
    span: tuple[float, float],
    title: str,
) -> None:
    """One bull's-eye: septum left, anterior above, as AHA has it."""
    canvas.write(image, title, (centre[0], centre[1] - RADIUS_PX - 28), canvas.TEXT, 0.5, align=0.5)
    width = (RADIUS_PX - HOLE_PX) / len(rings)
    for k, values in enumerate(rings):
        outer = RADIUS_PX - k * width
        step = 360.0 / len(values)
        for sector, value in enumerate(values):
            start = SEPTUM_IN_VIEW_DEG - (sector + 1) * step
            _draw_cell(image, centre, (outer - width, outer), (start, start + step), _colour(value, span))
            if len(rings) <= _MOST_LABELLED and np.isfinite(value):
                x, y = _point(centre, outer - width / 2, start + step / 2)
                canvas.write(image, f"{value:.0f}", (x, y + 4), canvas.BACKGROUND, 0.4, align=0.5)
    names = DEFAULT_LAYOUT.sector_names
    if all(len(values) == len(names) for values in rings):
        for sector, name in enumerate(names):
            x, y = _point(centre, RADIUS_PX + 14, SEPTUM_IN_VIEW_DEG - (sector + 0.5) * 360.0 / len(names))
            canvas.write(image, name, (x, y + 5), canvas.QUIET, 0.42, align=0.5)
    _draw_scale(image, (centre[0], centre[1] + RADIUS_PX + 32), span)


def _draw_cell(
    image: Image,
    centre: tuple[int, int],
    radii: tuple[float, float],
    angles_deg: tuple[float, float],
    colour: canvas.Colour,
) -> None:
    turn = np.deg2rad(np.linspace(*angles_deg, 21))
    arc = np.column_stack([np.cos(turn), np.sin(turn)])
    corners = np.concatenate([radii[0] * arc, radii[1] * arc[::-1]]) + np.asarray(centre)
    canvas.filled(image, corners, colour)
    canvas.curve(image, corners, canvas.BACKGROUND, 1, closed=True)


def _point(centre: tuple[int, int], radius: float, angle_deg: float) -> tuple[float, float]:
    turn = np.deg2rad(angle_deg)
    return centre[0] + radius * float(np.cos(turn)), centre[1] + radius * float(np.sin(turn))


def _colour(value: float, span: tuple[float, float]) -> canvas.Colour:
    """A value's place in its span as a colour; grey where there is none."""
    if not np.isfinite(value):
        return canvas.RULE
    share = min(max((value - span[0]) / (span[1] - span[0]), 0.0), 1.0)
    # The darkest fifth of the scale would not stand out from the page.
    level = np.array([[round(50 + 205 * share)]], dtype=np.uint8)
    blue, green, red = cv2.applyColorMap(level, cv2.COLORMAP_VIRIDIS)[0, 0]
    return int(blue), int(green), int(red)


def _draw_scale(image: Image, at: tuple[int, int], span: tuple[float, float]) -> None:
    left, width = at[0] - 100, 200
    for x in range(width):
        colour = _colour(span[0] + (span[1] - span[0]) * x / (width - 1), span)
        canvas.box(image, (left + x, at[1]), (1, 10), colour)
    canvas.write(image, f"{span[0]:.0f}", (left - 6, at[1] + 10), canvas.QUIET, 0.42, align=1.0)
    canvas.write(image, f"{span[1]:.0f}", (left + width + 6, at[1] + 10), canvas.QUIET, 0.42)


def _draw_volumes(image: Image, volumes: StackVolumes | None) -> None:
    if volumes is None:
        return
    for k, line in enumerate(canvas.wrapped(volumes_line(volumes), WIDTH_PX - 40, 0.45, 2)):
        y = HEIGHT_PX - FOOTER_PX - 36 + 20 * k
        canvas.write(image, line, (WIDTH_PX / 2, y), canvas.TEXT, 0.45, align=0.5)
