"""The one file of settings: TOML tables, each of which the room that it is named after reads and checks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvedge.errors import MissingExtraError, UsageError

TABLES = ("run", "service", "dicom", "series", "journal", "outbox")
"""Every table that a file may have."""


@dataclass(frozen=True)
class Config:
    """A file of settings.

    Args:
        path: where it lies; certificates in it are relative to its folder.
        tables: what it says, by table.
    """

    path: Path
    tables: Mapping[str, Any]

    def table(self, name: str) -> Mapping[str, Any]:
        """One of its tables; empty where the file leaves it out."""
        return table_of(self.tables, name)


class Faults:
    """Collects what is wrong, so that a user is told of all of it at once."""

    def __init__(self) -> None:
        self._words: list[str] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """What cannot be meant inside is noted, and the next thing is looked at."""
        try:
            yield
        except UsageError as err:
            self._words.append(str(err))

    def tell(self) -> None:
        """Say what was noted.

        Raises:
            UsageError: if anything was.
        """
        if self._words:
            raise UsageError("; ".join(self._words))


def config_from_file(path: Path, faults: Faults | None = None) -> Config:
    """What a TOML file states; the rooms that its tables belong to look at them.

    Args:
        path: where it lies.
        faults: notes a table that nobody knows, so that the others are looked at, too.

    Raises:
        UsageError: if it cannot be read, is no TOML, or, without ``faults``, has a table that nobody knows.
        MissingExtraError: on CPython 3.10 without tomli.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"the settings in {path} cannot be read: {getattr(err, 'strerror', err)}") from err
    with placed(path):
        tables = _parsed(text)
    with nullcontext() if faults is None else faults.noted(), placed(path):
        check_known(tables, TABLES, "")
    return Config(path, tables)


@contextmanager
def placed(path: Path) -> Iterator[None]:
    """What cannot be meant inside is told with the file's name."""
    try:
        yield
    except UsageError as err:
        raise UsageError(f"{path}: {err}") from err


def table_of(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table of tables; empty where it is left out.

    Raises:
        UsageError: if it is something else.
    """
    found = tables.get(name, {})
    if not isinstance(found, dict):
        raise UsageError(f"{name}: expected a table, [{name}]")
    return found


def check_known(table: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    """Refuse what is no setting.

    Args:
        table: what was said.
        names: what can be said.
        where: the table's name with a dot behind it, for messages.

    Raises:
        UsageError: that names every one.
    """
    faults = Faults()
    for name in table:
        if name not in names:
            with faults.noted():
                raise UsageError(f"{where}{name}: no such setting (known: {', '.join(names)})")
    faults.tell()


def number_in(value: Any, where: str, *, whole: bool) -> Any:
    """A number above 0, checked.

    Raises:
        UsageError: if it is none, or no whole one where one is asked for.
    """
    right = isinstance(value, int) if whole else isinstance(value, (int, float))
    if not right or isinstance(value, bool) or not 0 < value < 1e15:
        raise UsageError(f"{where}: {value!r} is not {'a whole number' if whole else 'a number'} above 0")
    return value


def flag_in(value: Any, where: str) -> bool:
    """True or false, checked.

    Raises:
        UsageError: if it is neither.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{where}: expected true or false")
    return value


def _parsed(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as err:
            raise MissingExtraError("tomli", "dicom-net", "a file of settings on CPython 3.10") from err
    try:
        return dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as err:
        raise UsageError(f"no TOML: {err}") from err
