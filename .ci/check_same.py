"""Checks that two runs measured the same: ``check_same.py ONE OTHER --frames 5 --within 1e-4``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OTHERWISE = ("latency_ms",)
"""Keys that two runs may fill differently."""

LAST_DIGIT = 1.001e-3
"""Results carry three decimals: values that are equal may be rounded to neighbours."""


def main() -> str | None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--frames", type=int, required=True, help="so many frames have to be there, measured")
    parser.add_argument("--within", type=float, required=True, help="of the larger number, or of 1")
    options = parser.parse_args()
    runs = [
        [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for path in (options.one, options.other)
    ]
    for run in runs:
        measured = [line for line in run if line.get("measured") is True]
        if len(measured) != options.frames:
            return f"{len(measured)} measured frames instead of {options.frames}"
    pairs = list(differences("", *runs))
    found = [
        f"{where}: {one} and {other}" for where, one, other, apart in pairs if not apart <= options.within
    ]
    worst = max((apart for *_, apart in pairs), default=0.0)
    sys.stdout.write(f"{options.frames} frames, {len(pairs)} values compared, worst {worst:.1e}\n")
    return "\n".join(found) or None


def differences(where: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any, float]]:
    """Each value of both, and how far apart they are; what is no number is equal or infinitely far."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one.keys() - set(OTHERWISE):
            yield from differences(f"{where}.{key}", one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(f"{where}[{number}]", *pair)
    elif isinstance(one, float) and isinstance(other, float):
        yield where, one, other, max(abs(one - other) - LAST_DIGIT, 0.0) / max(1.0, abs(one), abs(other))
    else:
        yield where, one, other, 0.0 if one == other else float("inf")


if __name__ == "__main__":
    sys.exit(main())
