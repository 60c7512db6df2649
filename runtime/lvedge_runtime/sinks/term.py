"""``term:``: results for a person at a terminal; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from lvedge.indices import IndexLayout
from lvedge.measurement import Cycle, Measurement
from lvedge.volume import StackVolumes
from lvedge_runtime.sinks import BaseSink, Item, RunContext

if TYPE_CHECKING:
    from lvedge_runtime.sinks.dashboard import Dashboard

REFRESH_S = 1 / 10
"""The shortest time between two pictures on the terminal."""


def total_ms(latency_ms: Mapping[str, float]) -> float:
    """A frame's latency: its ``total`` where that is among the stages, else their sum."""
    return float(latency_ms.get("total", sum(latency_ms.values())))


class TermSink(BaseSink):
    """A live table on a terminal: the beating heart, its values, phase, quality, result, the cavity's curve.

    Elsewhere (a pipe, a log file, a terminal that knows no Unicode): one line a frame and one a beat. Both go
    to standard output, or to standard error where standard output carries another sink's results.

    Args:
        target: empty.
        context: source, engine and bundle, for the title.
    """

    def __init__(self, target: str, context: RunContext) -> None:
        del target
        self._context = context
        self._file: TextIO = sys.stderr if context.console_is_stderr else sys.stdout
        self._dashboard: Dashboard | None = None
        self._drawn_s = float("-inf")
        encoding = (self._file.encoding or "").lower().replace("-", "")
        if self._file.isatty() and encoding.startswith("utf"):
            from lvedge_runtime.sinks.dashboard import Dashboard

            self._dashboard = Dashboard(self._file, context)

    def write(self, item: Item, stream: int = 0) -> None:
        if self._dashboard is None:
            line = plain_line(item, self._context.layout)
            if line is not None:
                line = f"stream {stream}  {line}" if self._context.streams else line
                encoding = self._file.encoding or "utf-8"
                self._file.write(line.encode(encoding, "replace").decode(encoding) + "\n")
                self._file.flush()
            return
        self._dashboard.take(item, stream)
        now = time.perf_counter()
        if now - self._drawn_s >= REFRESH_S or isinstance(item, Cycle):
            self._dashboard.draw()
            self._drawn_s = now

    def close(self) -> None:
        if self._dashboard is not None:
            self._dashboard.close()
            self._dashboard = None


def plain_line(item: Item, layout: IndexLayout) -> str | None:
    """One line that says what an item holds; None for what others report."""
    if isinstance(item, Measurement):
        return _frame_line(item, layout)
    if isinstance(item, Cycle):
        return _beat_line(item)
    if isinstance(item, StackVolumes):
        return volumes_line(item)
    return None


def volumes_line(volumes: StackVolumes) -> str:
    """A stack's volumes, or why it has none."""
    where = f"{volumes.series} stack"
    if volumes.edv_ml is None or volumes.esv_ml is None or volumes.ef is None or volumes.mass_g is None:
        return f"{where}  no volumes: {volumes.reason or 'no reason given'}"
    parts = (
        where,
        f"{volumes.slices} of {volumes.slice_count} slices with an LV",
        f"EDV {volumes.edv_ml:.0f} ml",
        f"ESV {volumes.esv_ml:.0f} ml",
        f"EF {100 * volumes.ef:.0f} %",
        f"mass {volumes.mass_g:.0f} g",
    )
    return "  ".join(parts)


def _frame_line(measurement: Measurement, layout: IndexLayout) -> str:
    frame = measurement.frame
    where = f"{frame.series} s{frame.slice_index:02d} t{frame.frame_index:02d}"
    indices = measurement.indices
    if not measurement.measured or indices is None:
        return f"{where}  not measured: {measurement.reason or 'no reason given'}"
    walls = " ".join(
        f"{name} {value:.1f}" for name, value in zip(layout.sector_names, indices.rwt_mm, strict=True)
    )
    dims = " ".join(f"{value:.1f}" for value in indices.dims_mm)
    parts = [
        where,
        f"{'-' if measurement.phase is None else measurement.phase.value:8s}",
        f"wall {walls} mm",
        f"dims {dims} mm",
        f"cavity {indices.areas_mm2[0]:.0f} myocardium {indices.areas_mm2[1]:.0f} mm2",
        f"quality {measurement.quality:.2f}",
        f"{total_ms(measurement.latency_ms):.1f} ms",
    ]
    if measurement.finding is not None:
        parts.append(f"{measurement.finding.label} [{measurement.finding.row}]")
    return "  ".join(parts)


def _beat_line(cycle: Cycle) -> str:
    where = f"{cycle.series} s{cycle.slice_index:02d} beat"
    counted = f"{cycle.measured} of {cycle.frames} frames measured"
    if cycle.ed_frame is None or cycle.es_frame is None or cycle.fac is None:
        return f"{where}  {counted}  {cycle.reason or 'no whole beat'}"
    parts = [
        where,
        counted,
        f"ED t{cycle.ed_frame:02d} ES t{cycle.es_frame:02d}",
        f"FAC {100 * cycle.fac:.0f} %",
    ]
    if cycle.thickening is not None:
        parts.append(f"thickening {100 * float(cycle.thickening.mean()):.0f} %")
    parts.append(f"quality {cycle.quality:.2f}")
    if cycle.finding is not None:
        finding = cycle.finding
        parts.append(f"{finding.label} [{finding.row}; {finding.source}] {finding.caveat}")
    return "  ".join(parts)
