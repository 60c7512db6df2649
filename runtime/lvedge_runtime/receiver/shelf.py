"""Where pictures lie between the answer to the scanner and the end of their measuring."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock


class ShelfFullError(Exception):
    """There is no room for another picture."""


class Shelf:
    """Files in a folder of our own (0700, files 0600), named by a count: no path holds a word of a peer's.

    ``keep`` is what an answer of success rests on; it is called before every such answer, from several
    threads. Here the files go with the process.

    Args:
        most_bytes, most_files: how much there is room for.
    """

    def __init__(self, most_bytes: int, most_files: int) -> None:
        self._folder = TemporaryDirectory(prefix="lvedge-received-")
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._lock = Lock()
        self._sizes: dict[Path, int] = {}
        self._bytes = 0
        self._count = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def keep(self, content: bytes) -> Path:
        """The file that now holds the content.

        Raises:
            ShelfFullError: if there is no room for it, or the disk has none.
        """
        with self._lock:
            if self._bytes + len(content) > self._most_bytes or len(self._sizes) >= self._most_files:
                raise ShelfFullError
            self._count += 1
            path = Path(self._folder.name, f"{self._count:08d}.dcm")
            self._sizes[path] = len(content)
            self._bytes += len(content)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "wb") as file:
                file.write(content)
        except OSError as err:
            self.free(path)
            raise ShelfFullError from err
        return path

    def knows(self, _series: str, _uid: str) -> bool:
        """Whether an instance came before, so that this one needs not be taken in again."""
        return False

    def settle(self, path: Path, _series: str, _uid: str, dropped: str | None) -> None:
        """Do what is needed before a success may be answered; what is dropped needs no file.

        Raises:
            ShelfFullError: if the disk does not take it.
        """
        if dropped is not None:
            self.free(path)

    def begin(self, _numbers: Sequence[int]) -> None:
        """Take note that these are measured from now on."""

    def measuring(self, _number: int | None) -> None:
        """Take note of whose series is measured just now, while it arrives."""

    def discard(self, path: Path) -> None:
        """Remove a file that was kept and not settled."""
        self.free(path)

    def free(self, path: Path) -> None:
        """Forget a file that nobody reads any more."""
        with self._lock:
            self._bytes -= self._sizes.pop(path, 0)
        path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all that is left."""
        self._folder.cleanup()
