"""The log: one line an event on standard error, as text or as a JSON object, for people and for journald.

What is logged is what lvedge itself words, with counts; no name, identifier or word of a peer is put into
an event anywhere, and of an error that nobody expected only type and places are told, since its message may
repeat what was received.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, TextIO

from lvedge_runtime.trace import places_of

LOGGER = "lvedge_runtime"
"""Everything that lvedge logs is logged below this name."""

_LOG = logging.getLogger(f"{LOGGER}.service")
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class TextFormatter(logging.Formatter):
    """A line with the command before it, as all that a command says."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def format(self, record: logging.LogRecord) -> str:
        return f"{self._command}: {' '.join(record.getMessage().split())}"


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, room, message, and the event with its counts."""

    def format(self, record: logging.LogRecord) -> str:
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "room": record.name.removeprefix(f"{LOGGER}."),
            "message": " ".join(record.getMessage().split()),
            **fields,
        }
        return json.dumps(line, allow_nan=False)


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to standard error; where journald reads it, with the priority that its line then gets."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(formatter)
        self._priorities = _is_journal(sys.stderr)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}" if self._priorities else line

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A log that cannot be written ends no measuring."""


@contextmanager
def logged(command: str, level: str = "info", form: str = "text") -> Iterator[None]:
    """What is logged below ``LOGGER`` goes to standard error inside.

    Args:
        command: who says it, in text.
        level: the least that is told.
        form: "text" or "json"; with "json" errors that nobody expected are told by type and places, too.
    """
    logger = logging.getLogger(LOGGER)
    handler = _Handler(JsonFormatter() if form == "json" else TextFormatter(command))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextmanager
def unspoken() -> Iterator[None]:
    """Errors that nobody expected are told by type and places, in every thread, never by their message."""

    def told(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            _LOG.critical(
                "an error that nobody expected: %s", places_of(error), extra={"fields": {"event": "bug"}}
            )

    def told_of_thread(hook: threading.ExceptHookArgs) -> None:
        if hook.exc_value is not None:
            told(hook.exc_type, hook.exc_value, hook.exc_traceback)

    before = threading.excepthook
    threading.excepthook = told_of_thread
    try:
        yield
    except Exception as err:  # noqa: BLE001 - told here, so that Python does not print its message
        told(type(err), err, None)
        raise SystemExit(1) from None
    finally:
        threading.excepthook = before


def _is_journal(stream: TextIO) -> bool:
    """Whether journald reads the stream: systemd names its device and inode (systemd.exec(5))."""
    named = os.environ.get("JOURNAL_STREAM")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"
