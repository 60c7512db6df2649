"""Files that are there whole or not at all, and one way to say that a place cannot be written to."""

from __future__ import annotations

import os
from pathlib import Path

from lvedge import disk
from lvedge.errors import SinkError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place, then move it there: nobody ever reads half of it.

    Raises:
        SinkError: if it cannot be written.
    """
    try:
        disk.write_whole(path, data, durable=False)
    except OSError as error:
        raise unwritable(path, error) from error


def write_private(path: Path, data: bytes) -> None:
    """The same for a file that says whom it is about: nobody but its owner may read it (0600).

    Raises:
        SinkError: if it cannot be written.
    """
    beside = disk.part_path(path)
    try:
        try:
            beside.unlink(missing_ok=True)
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error) from error


def made_folder(target: str) -> Path:
    """The folder of that name, made where it is missing.

    Raises:
        SinkError: if it cannot be made.
    """
    folder = Path(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


def unwritable(path: Path, error: OSError) -> SinkError:
    """The error to raise where a place cannot be written to."""
    why = error.strerror or type(error).__name__
    return SinkError(f"cannot write to {path}: {why}; choose another place or free this one")
