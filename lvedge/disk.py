"""Files that are written whole or not at all, also where the power fails in between."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

PART = ".part"
"""How the name of a file that is being written ends; one that is left over belongs to nobody."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place, flush it to disk, and give it its name; what was there stays until then.

    Raises:
        OSError: if it cannot be written; nothing is left of it then.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder: a file's own flush does not cover its name (fsync(2), under NOTES)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
