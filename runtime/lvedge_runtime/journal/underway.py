"""Which instance is being measured just now: the next run reads whether this one ended over it."""

from __future__ import annotations

import os
from pathlib import Path

from lvedge.errors import JournalError

_DIGITS = 20


class Underway:
    """One number in a file of 20 bytes, mode 0600.

    It is written with every picture, and so without waiting for the disk: it outlives the process, which is
    all that a picture can end; a power cut may take it along.

    Args:
        path: the file, made where it is missing.

    Raises:
        JournalError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as err:
            raise JournalError(f"the journal's file {path} cannot be used: {err.strerror}") from err
        text = os.pread(self._handle, _DIGITS, 0)
        self._number = int(text) if text.isdigit() else 0

    @property
    def number(self) -> int | None:
        """What was noted last, by this run or the one before; None for nothing."""
        return self._number or None

    def note(self, number: int | None) -> None:
        """Note an instance's number, or None for nothing.

        Raises:
            OSError: if the disk does not take it.
        """
        if number != self.number:
            os.pwrite(self._handle, f"{number or 0:0{_DIGITS}d}".encode(), 0)
            self._number = number or 0

    def close(self) -> None:
        os.close(self._handle)
