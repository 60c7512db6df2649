"""The file of a sink that writes text: new with every run, or under a journal one that goes on."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol

from lvedge_runtime.journal.journal import Delivery, Journal
from lvedge_runtime.sinks.output import unwritable

LOG = logging.getLogger("lvedge_runtime.sinks")
MOST_BEHIND = 64 << 20
"""Characters that wait for a disk to have room again; then the run ends."""


class TextFile(Protocol):
    """What a sink needs of its file."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class JournaledFile:
    """A file that is cut back to what was delivered when it is opened, and appended to from there.

    While its disk takes nothing, what is written waits, and no delivery goes by.

    Args:
        path: the file; what it held before the journal knew it is replaced.
        journal: remembers its length.

    Raises:
        OSError: if it cannot be opened.
    """

    def __init__(self, path: Path, journal: Journal) -> None:
        self._path = path.resolve()
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        self._waiting = b""
        self._length = 0
        length, found = journal.written(self._path), os.fstat(self._handle).st_size
        if length is not None:
            if found < length:
                LOG.warning(
                    "%s is shorter than it was at the last delivery; it goes on from its end", path.name
                )
            self._length = min(length, found)
        os.ftruncate(self._handle, self._length)

    @property
    def is_new(self) -> bool:
        """Whether nothing stands in it."""
        return not self._length and not self._waiting

    def write(self, text: str) -> None:
        self._waiting += text.encode()

    def flush(self) -> None:
        """Write what waits, as far as the disk takes it.

        Raises:
            SinkError: if too much waits.
        """
        try:
            # Somebody may have emptied it meanwhile.
            self._length = min(self._length, os.fstat(self._handle).st_size)
            while self._waiting:
                done = os.pwrite(self._handle, self._waiting, self._length)
                self._length += done
                self._waiting = self._waiting[done:]
        except OSError as error:
            if len(self._waiting) > MOST_BEHIND:
                raise unwritable(self._path, error) from error

    def settle(self, delivery: Delivery) -> None:
        """Flush all of it to the disk, and say how long it is; or that some of it has to wait.

        Raises:
            SinkError: if the disk lost it: what was delivered is still there after a new start.
        """
        self.flush()
        if self._waiting:
            delivery.whole = False
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise unwritable(self._path, error) from error
        delivery.lengths[self._path] = self._length

    def close(self) -> None:
        os.close(self._handle)
