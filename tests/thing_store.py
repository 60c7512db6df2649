"""A store of texts, for tests; it imports little, so that a process that uses it is soon there."""

from __future__ import annotations

from pathlib import Path

from lvedge.errors import LvedgeError
from lvedge.store import Store

SHIPPED_TEXT = "shipped one"
MARK = b"whole"


class RefusedError(LvedgeError):
    """What the test's reader raises."""


def read(path: Path | None) -> str:
    """A file's text; it is refused where it is not whole, or says "bad"."""
    if path is None:
        return SHIPPED_TEXT
    data = path.read_bytes()
    if not data.endswith(MARK) or data.startswith(b"bad"):
        raise RefusedError(f"{path} is refused")
    return data.removesuffix(MARK).decode()


def content(text: str) -> bytes:
    return text.encode() + MARK


def anything(_old: str, _new: str) -> None:
    """Every update is fine."""


def store() -> Store[str]:
    return Store("thing", "things", ".thing", "lvedge-things", read)
