"""``jsonl:PATH``: one JSON object a line, written and flushed as it arrives. The public interface."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lvedge.frame import SeriesEnd
from lvedge_runtime.journal.journal import Delivery
from lvedge_runtime.sinks import STANDARD_OUTPUT, BaseSink, Item, RunContext
from lvedge_runtime.sinks.output import unwritable
from lvedge_runtime.sinks.record import record_of, record_of_stream
from lvedge_runtime.sinks.textfile import JournaledFile, TextFile


class JsonLinesSink(BaseSink):
    """One object a frame, a ``cycle`` a slice, ``volumes`` a stack, ``rejected`` for what is refused.

    Args:
        target: the file, replaced if it is there, and continued under a journal; ``-`` is standard output.
        context: engine and bundle, which every frame's object names; with several streams every object
            names its own.

    Raises:
        SinkError: if the file cannot be written.
    """

    def __init__(self, target: str, context: RunContext) -> None:
        self._context = context
        self._path = Path(target)
        self._file: TextFile | None = None
        self._owned = target != STANDARD_OUTPUT
        self._encoder = json.JSONEncoder(ensure_ascii=not self._owned, allow_nan=False)
        if not self._owned:
            self._file = sys.stdout
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if context.journal is not None:
                self._file = JournaledFile(self._path, context.journal)
            else:
                self._file = self._path.open("w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise unwritable(self._path, error) from error

    def write(self, item: Item, stream: int = 0) -> None:
        if self._file is None:
            raise ValueError("the sink is closed")
        if isinstance(item, SeriesEnd):
            return
        record = record_of(item, self._context.engine, self._context.bundle_label)
        if self._context.streams:
            record = record_of_stream(record, stream)
        line = self._encoder.encode(record) + "\n"
        try:
            self._file.write(line)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(self._path, error) from error

    def settle(self, delivery: Delivery) -> None:
        if isinstance(self._file, JournaledFile):
            self._file.settle(delivery)

    def close(self) -> None:
        if self._file is not None and self._owned:
            self._file.close()
        self._file = None
