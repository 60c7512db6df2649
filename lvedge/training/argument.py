"""Arguments of the training commands that are whole numbers within limits."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type for ``add_argument``: whole numbers from ``least`` to ``most``."""
    what = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parsed(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {what}")
        return value

    return parsed
