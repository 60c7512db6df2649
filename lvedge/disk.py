"""Files that are written whole or not at all, also where the power fails in between."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

PART = ".part"
"""How the name of a file that is being written ends; one that is left over belongs to nobody."""


def part_path(path: Path) -> Path:
    """Where a file is written until it is whole: a hidden neighbour, one per process."""
    return path.with_name(f".{path.name}.{os.getpid()}{PART}")


def write_whole(path: Path, data: bytes, durable: bool = True) -> None:
    """Write a file beside its place, flush it to disk, and give it its name; what was there stays until then.

    Args:
        path: its place.
        data: its bytes.
        durable: flush it, so that it is there after a power cut; without, only whole or not at all.

    Raises:
        OSError: if it cannot be written; nothing is left of it then.
    """
    beside = part_path(path)
    try:
        with beside.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
        if durable:
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
