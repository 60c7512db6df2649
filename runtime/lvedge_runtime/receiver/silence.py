"""Neither pynetdicom nor pydicom says anything: what they would say repeats what peers sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pydicom
from pynetdicom import _config


@contextmanager
def silent() -> Iterator[None]:
    """Both are silent inside, and pydicom takes values as they are."""
    loggers = [logging.getLogger(name) for name in ("pynetdicom", "pydicom")]
    checks = pydicom.config.settings
    before = checks.reading_validation_mode, checks.writing_validation_mode, [log.level for log in loggers]
    handlers, _config.LOG_HANDLER_LEVEL = _config.LOG_HANDLER_LEVEL, "none"
    checks.reading_validation_mode = checks.writing_validation_mode = pydicom.config.IGNORE
    for log in loggers:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        checks.reading_validation_mode, checks.writing_validation_mode, levels = before
        _config.LOG_HANDLER_LEVEL = handlers
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
