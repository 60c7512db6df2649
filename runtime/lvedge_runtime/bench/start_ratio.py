"""How sure it is that a start takes so many times as long as the imports; apart, since it needs numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lvedge_runtime.bench.interval import paired_ratio


def start_ratios(start: Mapping[str, Any]) -> dict[str, Any]:
    """``over_imports`` by the wall, ``over_imports_cpu`` by the processes' own time where it is counted.

    Args:
        start: what ``start_of`` gave.
    """
    found: dict[str, Any] = {}
    for kind in ("", "_cpu"):
        ours, theirs = (
            np.array(start[f"{what}{kind}_s"]["all"], dtype=np.float64)
            for what in ("first_result", "imports_alone")
        )
        is_counted = bool((theirs > 0).all() and (ours > 0).all())
        found[f"over_imports{kind}"] = paired_ratio(ours, theirs, block=1).as_json() if is_counted else None
    return found
