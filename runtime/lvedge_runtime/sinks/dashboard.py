"""The live terminal: what ``term:`` draws with rich."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import TextIO

import cv2
import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lvedge.frame import Rejected
from lvedge.indices import DEFAULT_LAYOUT, Label, Phase
from lvedge.measurement import Cycle, Finding, Measurement
from lvedge.volume import StackVolumes
from lvedge_runtime.sinks import NOTICE, Item, RunContext
from lvedge_runtime.sinks.term import total_ms, volumes_line

HEART_CELLS = (28, 14)
"""Columns and rows of the small heart; a braille cell holds 2 × 4 dots. All fits into 80 × 24 cells."""

HEART_MM = 96.0
"""Side of the view's middle that the small heart shows."""

STAYS_S = 1.0
"""Of several streams one is shown until its beat is over, or until it has given nothing for so long."""

POINTS = 40
"""Points of the cavity's curve."""

BEATS = 100
"""How many beats the table at the end shows, the last ones."""

COLOURS = {Label.RV: "#78aaf0", Label.MYOCARDIUM: "#5cd4b2", Label.CAVITY: "#ff7a60"}
SEVERITY = ("#5cd4b2", "#e8e4e0", "#ffd060", "#ff7a60")
QUIET = "#8f969f"

_BLOCKS = "▁▂▃▄▅▆▇█"
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


class Dashboard:
    """The state of the live terminal.

    Args:
        file: the terminal.
        context: source, engine and bundle, for the title.
    """

    def __init__(self, file: TextIO, context: RunContext) -> None:
        self._context = context
        self._console = Console(file=file, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._last: Measurement | None = None
        self._beats: deque[Cycle] = deque(maxlen=BEATS)
        self._volumes: deque[StackVolumes] = deque(maxlen=BEATS)
        self._cavity: deque[float] = deque(maxlen=POINTS)
        self._key: tuple[int, str, int] | None = None
        self._stream: int | None = None
        self._shown_s = self._start_s = time.perf_counter()
        self._frames = self._rejected = 0

    def take(self, item: Item, stream: int = 0) -> None:
        """Remember an item for the next picture, which shows one stream."""
        if isinstance(item, Measurement):
            self._frames += 1
            self._show(item, stream)
        elif isinstance(item, Cycle):
            self._beats.append(replace(item, series=self._of(stream) + item.series))
            if stream == self._stream:
                self._stream = None  # the next frame may be another's
        elif isinstance(item, StackVolumes):
            self._volumes.append(replace(item, series=self._of(stream) + item.series))
        elif isinstance(item, Rejected):
            self._rejected += 1

    def _show(self, item: Measurement, stream: int) -> None:
        now = time.perf_counter()
        if self._stream not in (None, stream) and now < self._shown_s + STAYS_S:
            return
        self._stream, self._shown_s = stream, now
        key = (stream, item.frame.series, item.frame.slice_index)
        if key != self._key:
            self._cavity.clear()
            self._key = key
        measured = item.measured and item.indices is not None
        self._cavity.append(item.indices.areas_mm2[0] if measured and item.indices else float("nan"))
        self._last = item

    def _of(self, stream: int) -> str:
        """What stands before a series' name: the stream, where there are several."""
        return f"stream {stream}  " if self._context.streams else ""

    def draw(self) -> None:
        """Put the present state on the terminal."""
        if not self._live.is_started:
            self._live.start()
        self._live.update(self._picture(), refresh=True)

    def close(self) -> None:
        """Leave the last picture, and below it what was found in each beat."""
        if self._last is not None:
            self.draw()
        self._live.stop()
        if self._beats:
            self._console.print(beats_table(self._beats))
            for volumes in self._volumes:
                self._console.print(Text(volumes_line(volumes)))
            self._print_caveats()

    def _print_caveats(self) -> None:
        findings = [beat.finding for beat in self._beats if beat.finding is not None]
        for source, caveat in dict.fromkeys((f.source, f.caveat) for f in findings):
            self._console.print(Text(f"{caveat}  [{source}]", style=QUIET))

    def _picture(self) -> RenderableType:
        if self._last is None:
            body: RenderableType = Text("waiting for the first frame", style=QUIET)
        else:
            body = Table.grid(padding=(0, 2))
            body.add_row(heart_text(self._last), self._values(self._last))
        title = f"lvedge  {self._context.source}  {self._context.bundle_label}  {self._context.engine}"
        return Panel(
            body,
            title=Text(title),
            subtitle=Text(NOTICE),
            box=box.ROUNDED,
            border_style=QUIET,
            padding=(0, 1),
        )

    def _values(self, measurement: Measurement) -> RenderableType:
        frame = measurement.frame
        of = f"/{frame.cine_length}" if frame.cine_length else ""
        stream = "" if self._key is None else self._of(self._key[0])
        where = Text(
            f"{stream}{frame.series}  slice {frame.slice_index}  frame {frame.frame_index}{of}", style="bold"
        )
        lines: list[RenderableType] = [where, Text()]
        if measurement.measured and measurement.indices is not None:
            lines += [phase_text(measurement), Text(), values_table(measurement), Text()]
        else:
            lines += [Text("not measured", style="#ffd060"), Text(measurement.reason or ""), Text()]
        lines.append(Text.assemble(("cavity  ", QUIET), (sparkline(self._cavity), COLOURS[Label.CAVITY])))
        lines.append(finding_text(measurement.finding))
        rate = self._frames / max(time.perf_counter() - self._start_s, 1e-6)
        latency = total_ms(measurement.latency_ms)
        refused = f"   {self._rejected} refused" if self._rejected else ""
        lines.append(Text(f"{latency:.1f} ms a frame   {rate:.0f} frames/s{refused}", style=QUIET))
        return Group(*lines)


def phase_text(measurement: Measurement) -> Text:
    """The beat in a word: a full heart in systole, an empty one in diastole, and the quality beside it."""
    text = Text()
    if measurement.phase is not None:
        systole = measurement.phase is Phase.SYSTOLE
        glyph, style = ("♥", "bold #ff7a60") if systole else ("♡", "#ff7a60")
        text.append(f"{glyph} {measurement.phase.value:9s}", style)
        if not measurement.phase_settled:
            text.append(" not settled ", QUIET)
    filled = round(10 * min(max(measurement.quality, 0.0), 1.0))
    text.append("  quality ", QUIET).append("━" * filled, "#5cd4b2").append("━" * (10 - filled), "#3a3f45")
    return text.append(f" {measurement.quality:.2f}")


def values_table(measurement: Measurement) -> Table:
    """Wall thickness by sector, diameters and areas; the second row of each is read off the mask."""
    indices, geometric = measurement.indices, measurement.geometric
    layout = DEFAULT_LAYOUT if indices is None else indices.layout
    table = Table.grid(padding=(0, 1))
    if indices is None:
        return table
    for _ in range(layout.sectors + 1):
        table.add_column(justify="right")

    def rows(title: str, names: Sequence[str], which: slice, unit: str, digits: int) -> None:
        table.add_row(Text(title, QUIET), *(Text(name, QUIET) for name in names))
        table.add_row(Text(unit, QUIET), *(f"{value:.{digits}f}" for value in indices.vector[which]))
        if geometric is not None:
            shown = (Text(f"{value:.{digits}f}", QUIET) for value in geometric.vector[which])
            table.add_row(Text("mask", QUIET), *shown)

    rows("wall", layout.sector_names, layout.rwt, "mm", 1)
    rows("diameter", layout.diameter_names, layout.dims, "mm", 1)
    rows("area", ("cavity", "muscle"), layout.areas, "mm²", 0)
    return table


def finding_text(finding: Finding | None) -> Text:
    """What the case table says of the frame, coloured by severity, with the row that says it."""
    if finding is None:
        return Text()
    text = Text(finding.label, style=SEVERITY[min(max(finding.severity, 0), len(SEVERITY) - 1)])
    return text.append(f"  {finding.row}", QUIET)


def sparkline(values: Iterable[float]) -> str:
    """Values as a row of blocks, the lowest to the highest; a blank where there is none."""
    values = list(values)
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    top = len(_BLOCKS) - 1
    return "".join(
        _BLOCKS[round(top * (value - low) / span) if span > 0 else 0] if np.isfinite(value) else " "
        for value in values
    )


def heart_text(measurement: Measurement) -> Text:
    """The view's mask in braille dots: the wall full, both ventricles' blood in every second dot."""
    columns, rows = HEART_CELLS
    if measurement.mask is None or measurement.view is None or not measurement.measured:
        return Text("\n".join(" " * columns for _ in range(rows)))
    labels = _small_labels(measurement.mask, measurement.view.mm_per_px)
    y, x = np.indices(labels.shape)
    shown = (labels == Label.MYOCARDIUM) | ((labels != Label.BACKGROUND) & ((x + y) % 2 == 0))
    cells = shown.reshape(rows, 4, columns, 2).swapaxes(1, 2)
    codes = 0x2800 + (cells * _DOTS).sum(axis=(2, 3))
    parts = labels.reshape(rows, 4, columns, 2).swapaxes(1, 2).reshape(rows, columns, 8)
    counts = np.stack([(parts == label).sum(axis=2) for label in COLOURS])
    styles = [*COLOURS.values(), ""]
    which = np.where(counts.any(axis=0), counts.argmax(axis=0), len(COLOURS))
    text = Text()
    for row in range(rows):
        # A run of cells of one colour is one piece of text: the terminal is drawn many times a second.
        for style, run in groupby(zip(which[row], codes[row], strict=True), key=itemgetter(0)):
            text.append("".join(chr(code) for _, code in run), styles[style])
        if row < rows - 1:
            text.append("\n")
    return text


def _small_labels(mask: NDArray[np.float32], mm_per_px: float) -> NDArray[np.uint8]:
    """Labels of the view's middle, one a braille dot, [4 rows, 2 columns] of them a cell."""
    columns, rows = HEART_CELLS
    width, height = 2 * columns, 4 * rows
    middle = (mask.shape[-1] - 1) / 2
    scale = HEART_MM / mm_per_px / width
    to_view = np.array(
        [[scale, 0.0, middle - scale * (width - 1) / 2], [0.0, scale, middle - scale * (height - 1) / 2]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    small = [cv2.warpAffine(part, to_view, (width, height), flags=flags) for part in mask]
    labels: NDArray[np.uint8] = np.argmax(np.stack(small), axis=0).astype(np.uint8)
    return labels


def beats_table(beats: Iterable[Cycle]) -> RenderableType:
    """One row a slice: what its beat gave."""
    table = Table(box=box.SIMPLE_HEAD, header_style=QUIET, pad_edge=False)
    for name in ("series", "slice", "frames", "ED", "ES", "FAC", "thickening", "quality"):
        table.add_column(name, justify="left" if name == "series" else "right", no_wrap=True)
    table.add_column("result")
    for beat in beats:
        if beat.fac is None:
            result = Text(beat.reason or "no whole beat", style=QUIET)
        else:
            result = finding_text(beat.finding)
        thicker = None if beat.thickening is None else 100 * float(beat.thickening.mean())
        table.add_row(
            beat.series,
            str(beat.slice_index),
            f"{beat.measured}/{beat.frames}",
            "" if beat.ed_frame is None else str(beat.ed_frame),
            "" if beat.es_frame is None else str(beat.es_frame),
            "" if beat.fac is None else f"{100 * beat.fac:.0f} %",
            "" if thicker is None else f"{thicker:.0f} %",
            f"{beat.quality:.2f}",
            result,
        )
    return Padding(table, (1, 0, 0, 1))
