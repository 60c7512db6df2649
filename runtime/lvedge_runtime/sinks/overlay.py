"""The overlay of one frame: the heart, its values, the curves over the beat, and what the case table says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvedge.indices import Phase
from lvedge.measurement import Cycle, Measurement
from lvedge_runtime.sinks import NOTICE, canvas
from lvedge_runtime.sinks.canvas import Colour, Image
from lvedge_runtime.sinks.heart import draw_heart

HEART_PX = 600
HEADER_PX = 40
FOOTER_PX = 34
COLUMN_PX = 380
WIDTH_PX = HEART_PX + COLUMN_PX
HEIGHT_PX = HEADER_PX + HEART_PX + FOOTER_PX

_LEFT = HEART_PX + 18
_RIGHT = WIDTH_PX - 18


@dataclass(frozen=True)
class Sample:
    """A frame's point on the curves.

    Args:
        frame_index: its place in the cine.
        cavity_mm2: cavity area, NaN where it was not measured.
        wall_mm: mean wall thickness, NaN where it was not measured.
        systole: the frame is in systole.
    """

    frame_index: int
    cavity_mm2: float
    wall_mm: float
    systole: bool


def sample_from_measurement(measurement: Measurement) -> Sample:
    """The frame's point on the curves."""
    indices = measurement.indices if measurement.measured else None
    return Sample(
        frame_index=measurement.frame.frame_index,
        cavity_mm2=float("nan") if indices is None else float(indices.areas_mm2[0]),
        wall_mm=float("nan") if indices is None else float(indices.rwt_mm.mean()),
        systole=indices is not None and measurement.phase is Phase.SYSTOLE,
    )


def draw_overlay(
    measurement: Measurement, samples: Sequence[Sample], cycle: Cycle | None = None, origin: str = ""
) -> Image:
    """The picture of one frame.

    Args:
        measurement: the frame and its values.
        samples: the points of the curves, in order; the whole beat or as far as it has come.
        cycle: the beat's summary where it is known already.
        origin: bundle and engine, for the footer.

    Returns:
        [674, 980, 3] uint8, blue, green, red.
    """
    image = canvas.blank(WIDTH_PX, HEIGHT_PX)
    _draw_header(image, measurement)
    image[HEADER_PX : HEADER_PX + HEART_PX, :HEART_PX] = draw_heart(measurement, HEART_PX)
    y = HEADER_PX + 22
    if measurement.measured:
        y = _draw_values(image, measurement, y)
    else:
        y = _draw_words(image, measurement.reason or "not measured", "NOT MEASURED", y)
    _draw_result(image, measurement, cycle, y + 8)
    _draw_curves(image, measurement.frame.frame_index, samples, cycle)
    base = HEIGHT_PX - 12
    canvas.write(image, NOTICE, (_RIGHT, base), canvas.SEPTUM, 0.45, align=1.0)
    canvas.write(image, origin, (12, base), canvas.QUIET, 0.42)
    return image


def _draw_header(image: Image, measurement: Measurement) -> None:
    frame = measurement.frame
    of = f" of {frame.cine_length}" if frame.cine_length else ""
    time = "" if frame.time_ms is None else f"   {frame.time_ms:.0f} ms"
    where = f"slice {frame.slice_index}   frame {frame.frame_index}{of}{time}"
    series = canvas.wrapped(frame.series, 300, 0.5, 1)[0]
    canvas.write(image, series, (12, 26), canvas.TEXT, 0.5)
    canvas.write(image, where, (HEART_PX - 12, 26), canvas.QUIET, 0.45, align=1.0)
    if measurement.phase is not None and measurement.measured:
        share = "" if measurement.p_systole is None else f"  p {_p_of_phase(measurement):.2f}"
        settled = "" if measurement.phase_settled else "  (not settled)"
        canvas.write(image, measurement.phase.value, (_LEFT, 26), canvas.TEXT, 0.55)
        gone = canvas.width_of(measurement.phase.value, 0.55)
        canvas.write(image, share + settled, (_LEFT + gone, 26), canvas.QUIET, 0.42)
    canvas.write(image, measurement.mode.value, (_RIGHT, 26), canvas.QUIET, 0.42, align=1.0)


def _p_of_phase(measurement: Measurement) -> float:
    """Probability of the phase that is shown."""
    p_systole = measurement.p_systole or 0.0
    return p_systole if measurement.phase is Phase.SYSTOLE else 1.0 - p_systole


def _draw_values(image: Image, measurement: Measurement, y: int) -> int:
    """The table of values, the regressed reading beside the geometric one; gives the next free line."""
    indices, geometric = measurement.indices, measurement.geometric
    if indices is None:
        return y
    layout = indices.layout
    canvas.write(image, "regressed", (_LEFT + 162, y), canvas.QUIET, 0.4, align=1.0)
    canvas.write(image, "from mask", (_RIGHT, y), canvas.QUIET, 0.4, align=1.0)
    step = min(20.0, 240.0 / layout.size)
    labels = [*layout.sector_names, *layout.diameter_names, "cavity", "myocardium"]
    units = ["mm"] * (layout.sectors + layout.diameters) + ["mm2"] * 2
    second = None if geometric is None else geometric.vector
    at = y + 2.0
    for k, (label, unit, value) in enumerate(zip(labels, units, indices.vector, strict=True)):
        at += step + (7.0 if k in (layout.sectors, layout.sectors + layout.diameters) else 0.0)
        digits = 0 if unit == "mm2" else 1
        canvas.write(image, label, (_LEFT, at), canvas.QUIET, 0.43)
        canvas.write(image, f"{value:.{digits}f}", (_LEFT + 132, at), canvas.TEXT, 0.47, align=1.0)
        _write_unit(image, unit, (_LEFT + 138, at))
        if k < layout.sectors:
            length = int(min(max(value, 0.0), 25.0) * 4.0)
            canvas.box(image, (_LEFT + 182, round(at) - 8), (100, 7), canvas.PANEL)
            canvas.box(image, (_LEFT + 182, round(at) - 8), (max(length, 1), 7), canvas.EPI)
        if second is not None:
            canvas.write(image, f"{second[k]:.{digits}f}", (_RIGHT, at), canvas.QUIET, 0.43, align=1.0)
    return round(at)


def _write_unit(image: Image, unit: str, at: tuple[float, float]) -> None:
    """A unit, a square as a raised 2."""
    canvas.write(image, "mm", at, canvas.QUIET, 0.38)
    if unit == "mm2":
        canvas.write(image, "2", (at[0] + canvas.width_of("mm", 0.38) + 1, at[1] - 5), canvas.QUIET, 0.3)


def _draw_words(image: Image, words: str, title: str, y: int) -> int:
    canvas.write(image, title, (_LEFT, y + 8), canvas.SEPTUM, 0.5)
    lines = canvas.wrapped(words, _RIGHT - _LEFT, 0.43, 4)
    for k, line in enumerate(lines):
        canvas.write(image, line, (_LEFT, y + 32 + 19 * k), canvas.TEXT, 0.43)
    return y + 32 + 19 * len(lines)


def _draw_result(image: Image, measurement: Measurement, cycle: Cycle | None, y: int) -> None:
    """Quality, and what the case table says: of the beat where it is known, else of the frame."""
    y += 18
    if measurement.measured:
        canvas.write(image, "quality", (_LEFT, y), canvas.QUIET, 0.43)
        canvas.write(image, f"{measurement.quality:.2f}", (_LEFT + 132, y), canvas.TEXT, 0.47, align=1.0)
        if measurement.wall_max_mm is not None:
            words = f"thickest wall {measurement.wall_max_mm:.1f} mm"
            canvas.write(image, words, (_RIGHT, y), canvas.QUIET, 0.43, align=1.0)
    if cycle is not None and cycle.fac is not None:
        y += 20
        canvas.write(image, "FAC", (_LEFT, y), canvas.QUIET, 0.43)
        canvas.write(image, f"{100 * cycle.fac:.0f} %", (_LEFT + 132, y), canvas.TEXT, 0.47, align=1.0)
        words = f"ED frame {cycle.ed_frame}, ES frame {cycle.es_frame}"
        canvas.write(image, words, (_RIGHT, y), canvas.QUIET, 0.43, align=1.0)
    of_beat = cycle is not None and cycle.finding is not None
    finding = cycle.finding if cycle is not None and of_beat else measurement.finding
    if finding is None:
        return
    words = f"{'beat' if of_beat else 'frame'}, {finding.row}: {finding.label}"
    for line in canvas.wrapped(words, _RIGHT - _LEFT, 0.43, 4):
        y += 20
        canvas.write(image, line, (_LEFT, y), canvas.TEXT, 0.43)


def _draw_curves(image: Image, now: int, samples: Sequence[Sample], cycle: Cycle | None) -> None:
    """Cavity area and mean wall thickness over the beat, systole shaded, the present frame marked."""
    left, top, width, height = _LEFT, HEADER_PX + HEART_PX - 178, _RIGHT - _LEFT, 160
    canvas.box(image, (left, top), (width, height), canvas.PANEL)
    if not samples:
        return
    first, last = samples[0].frame_index, max(samples[-1].frame_index, samples[0].frame_index + 1)
    step = (width - 24) / (last - first)
    xs = np.array([left + 12 + (s.frame_index - first) * step for s in samples])
    for x, sample in zip(xs, samples, strict=True):
        if sample.systole:
            begin, end = round(max(x - step / 2, left)), round(min(x + step / 2, left + width))
            image[top + 22 : top + height - 20, begin:end] = canvas.SYSTOLE
    cavity = np.array([s.cavity_mm2 for s in samples])
    wall = np.array([s.wall_mm for s in samples])
    rows = (top + 30.0, top + height - 28.0)
    _draw_curve(image, xs, cavity, rows, canvas.ENDO)
    _draw_curve(image, xs, wall, rows, canvas.EPI)
    at = left + 12 + (now - first) * step
    canvas.curve(image, np.array([[at, top + 22.0], [at, top + height - 20.0]]), canvas.TEXT, 1)
    shown = {s.frame_index: k for k, s in enumerate(samples)}
    if now in shown:
        for values, colour in ((cavity, canvas.ENDO), (wall, canvas.EPI)):
            y = _heights(values, rows)[shown[now]]
            if np.isfinite(y):
                canvas.dot(image, (at, y), 4.0, colour)
    canvas.write(image, _span("cavity", cavity, "mm2"), (left + 8, top + 15), canvas.ENDO, 0.4)
    canvas.write(
        image, _span("mean wall", wall, "mm"), (left + width - 8, top + 15), canvas.EPI, 0.4, align=1.0
    )
    base = top + height - 6
    if cycle is not None and cycle.ed_frame is not None and cycle.es_frame is not None:
        for name, frame in (("ED", cycle.ed_frame), ("ES", cycle.es_frame)):
            place = min(max(left + 12 + (frame - first) * step, left + 14), left + width - 14)
            canvas.write(image, name, (place, base), canvas.QUIET, 0.4, align=0.5)
    elif any(s.systole for s in samples):
        canvas.write(image, "systole shaded", (left + width / 2, base), canvas.QUIET, 0.38, align=0.5)


def _heights(values: np.ndarray, rows: tuple[float, float]) -> np.ndarray:
    """Rows of the picture for values, the largest on top; a flat curve lies in the middle."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.full(values.shape, np.nan)
    low, high = float(finite.min()), float(finite.max())
    share = (values - low) / (high - low) if high > low else np.where(np.isfinite(values), 0.5, np.nan)
    return rows[1] - share * (rows[1] - rows[0])


def _draw_curve(
    image: Image, xs: np.ndarray, values: np.ndarray, rows: tuple[float, float], colour: Colour
) -> None:
    """One curve, open where a frame was not measured."""
    ys = _heights(values, rows)
    breaks = np.flatnonzero(~np.isfinite(ys))
    for part in np.split(np.arange(xs.size), breaks):
        kept = part[np.isfinite(ys[part])]
        canvas.curve(image, np.column_stack([xs[kept], ys[kept]]), colour, 2)


def _span(name: str, values: np.ndarray, unit: str) -> str:
    """Name and range of a curve, for its title."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return name
    digits = 0 if unit == "mm2" else 1
    return f"{name} {finite.min():.{digits}f}-{finite.max():.{digits}f} {unit}"
