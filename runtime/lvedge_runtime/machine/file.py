"""Small files in which the system states one thing each."""

from __future__ import annotations

from pathlib import Path


def text_of(path: Path) -> str:
    """A small file of the system, without the white space around it; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def number_of(path: Path) -> float | None:
    """The number that a file states, or None."""
    try:
        return float(text_of(path))
    except ValueError:
        return None
