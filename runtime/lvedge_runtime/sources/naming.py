"""Names of series, and the order of file names as people count them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from lvedge.errors import SourceError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_DIGITS = re.compile(r"([0-9]+)")
LONGEST_NAME = 80


def series_name(text: str) -> str:
    """A text as a series' name: letters, digits, ``._-``; safe as a file name, never empty or hidden."""
    return _UNSAFE.sub("_", text).strip("._-")[:LONGEST_NAME].rstrip("._-") or "series"


def unique_name(name: str, taken: set[str]) -> str:
    """The name, with -2, -3 and so on where it is taken; the result is added to ``taken``.

    Names that differ in case only count as one: some file systems think so too.
    """
    chosen, number = name, 1
    while chosen.casefold() in taken:
        number += 1
        chosen = f"{name}-{number}"
    taken.add(chosen.casefold())
    return chosen


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """A sort key under which ``2.dcm`` comes before ``10.dcm``."""
    parts = _DIGITS.split(text)
    return tuple((int(part), part) if k % 2 else (-1, part) for k, part in enumerate(parts))


def files_under(path: Path, skip: frozenset[str] = frozenset()) -> list[tuple[Path, str]]:
    """The file, or all files below the folder in natural order, each with its name for messages.

    Hidden files and folders are left out, links to folders are not followed.

    Args:
        path: a file or a folder.
        skip: file names, in upper case, to leave out.

    Raises:
        SourceError: if there is no such file or folder, if it cannot be read, or if it holds no files.
    """
    if path.is_file():
        return [(path, path.name)]
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder")
    if not path.is_dir():
        raise SourceError(f"{path}: neither a file nor a folder")
    found = sorted(_walk(path), key=lambda item: natural_key(item[1]))
    kept = [item for item in found if item[0].name.upper() not in skip]
    if not kept:
        raise SourceError(f"{path}: the folder holds no files to measure")
    return kept


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    def refuse(err: OSError) -> None:
        raise SourceError(f"{err.filename}: cannot be read: {err.strerror}") from err

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(root, name)
            if not name.startswith(".") and file.is_file():
                yield file, file.relative_to(folder).as_posix()
