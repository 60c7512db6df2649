"""``csv:PATH``: one row a frame, for spreadsheets and statistics."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

from lvedge.disk import part_path
from lvedge.indices import Indices
from lvedge.measurement import Measurement
from lvedge_runtime.journal.journal import Delivery
from lvedge_runtime.sinks import STANDARD_OUTPUT, BaseSink, Item, RunContext
from lvedge_runtime.sinks.output import unwritable
from lvedge_runtime.sinks.record import Record, frame_record, number
from lvedge_runtime.sinks.textfile import JournaledFile, TextFile

_PLAIN = ("series", "slice", "frame", "time_ms", "measured", "reason")
_SPACING = ("spacing_row_mm", "spacing_column_mm", "spacing_source")
_VALUES = ("phase", "p_systole", "phase_settled", "quality", "wall_max_mm")
_VIEW = ("centre_x_px", "centre_y_px", "septum_deg", "septum_inferred", "mm_per_px", "orientation")
_RESULT = ("case", "label", "source", "caveat", "row", "severity", "distance")


class CsvSink(BaseSink):
    """One row a frame; cycles and refused items have no row.

    The rows stand in a hidden file beside the target until the run ends, then take its name; under a journal
    they are appended to the target itself.

    Args:
        target: the file, replaced if it is there; ``-`` is standard output, row by row.
        context: engine, bundle and the layout that names the value columns; with several streams the
            first column names each row's.

    Raises:
        SinkError: if the file cannot be written.
    """

    def __init__(self, target: str, context: RunContext) -> None:
        self._context = context
        self._path = Path(target)
        self._owned = target != STANDARD_OUTPUT
        self._file: TextFile | None = sys.stdout
        if self._owned:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                if self._path.is_dir():
                    raise IsADirectoryError(21, "it is a folder")
                if context.journal is not None:
                    self._file = JournaledFile(self._path, context.journal)
                else:
                    self._file = part_path(self._path).open("w", encoding="utf-8", newline="")
            except OSError as error:
                raise unwritable(self._path, error) from error
        self._writer = csv.DictWriter(self._file, self.columns, lineterminator="\n")
        if not isinstance(self._file, JournaledFile) or self._file.is_new:
            self._writer.writeheader()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        names = self._context.layout.names
        geometric = tuple(f"geometric_{name}" for name in names)
        return (
            *(("stream",) if self._context.streams else ()),
            *_PLAIN,
            *names,
            *_VALUES,
            *geometric,
            *_VIEW,
            "mode",
            *_RESULT,
            "latency_ms",
            "engine",
            "bundle",
            *_SPACING,
            "provisional",
        )

    def write(self, item: Item, stream: int = 0) -> None:
        if self._file is None:
            raise ValueError("the sink is closed")
        if not isinstance(item, Measurement):
            return
        try:
            row = self._row(item)
            self._writer.writerow(row if not self._context.streams else {"stream": stream, **row})
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(self._path, error) from error

    def settle(self, delivery: Delivery) -> None:
        if isinstance(self._file, JournaledFile):
            self._file.settle(delivery)

    def close(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        if not self._owned:
            return
        try:
            file.close()
            if isinstance(file, JournaledFile):
                return
            os.replace(part_path(self._path), self._path)
        except OSError as error:
            raise unwritable(self._path, error) from error

    def _row(self, measurement: Measurement) -> Record:
        record = frame_record(measurement, self._context.engine, self._context.bundle_label)
        row: Record = {
            name: record[name] for name in (*_PLAIN, *_VALUES, "mode", "provisional", "engine", "bundle")
        }
        row |= self._columns_of(measurement.indices if measurement.measured else None)
        row |= self._columns_of(measurement.geometric if measurement.measured else None, "geometric_")
        row |= dict(zip(_SPACING, (*record["spacing"]["mm"], record["spacing"]["source"]), strict=True))
        if record["view"] is not None:
            view = dict(record["view"])
            row["centre_x_px"], row["centre_y_px"] = view.pop("centre_px")
            row |= view
        if record["result"] is not None:
            row |= record["result"]
        # Stages may lie inside each other only if one of them is their total.
        stages = record["latency_ms"]
        row["latency_ms"] = stages["total"] if "total" in stages else number(sum(stages.values()))
        for flag in ("measured", "phase_settled", "septum_inferred", "provisional"):
            if flag in row:
                row[flag] = int(row[flag])
        return row

    def _columns_of(self, indices: Indices | None, prefix: str = "") -> Record:
        if indices is None:
            return {}
        values = zip(self._context.layout.names, indices.vector, strict=True)
        return {prefix + name: number(float(value)) for name, value in values}
