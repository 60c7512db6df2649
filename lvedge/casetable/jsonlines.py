"""Cycle values out of a run's JSON lines, for looking finished results up again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from lvedge.casetable.features import cycle_features
from lvedge.indices import DEFAULT_LAYOUT, IndexLayout, Indices

_LISTS = ("rwt_mm", "dims_mm", "areas_mm2")


def cycle_values(
    lines: Iterable[str], layout: IndexLayout = DEFAULT_LAYOUT
) -> Iterator[tuple[str, dict[str, float] | None, str]]:
    """Each ``cycle`` object of the lines: its name, its values, and why it has none.

    Objects of other kinds are passed over.

    Args:
        lines: one JSON object a line.
        layout: M and N of the table.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as err:
            yield f"line {number}", None, f"is no JSON ({err}): give the file that jsonl: wrote"
            continue
        cycle = record.get("cycle") if isinstance(record, dict) else None
        if not isinstance(cycle, dict):
            continue
        name = f"line {number}: {cycle.get('series', 'series')} slice {cycle.get('slice', '?')}"
        if cycle.get("ed") is None or cycle.get("es") is None:
            yield name, None, str(cycle.get("reason") or "has no end diastole or no end systole")
            continue
        try:
            values = cycle_features(_indices(cycle["ed"], layout), _indices(cycle["es"], layout))
        except (KeyError, TypeError, ValueError) as err:
            yield name, None, f"has no {', '.join(_LISTS)} of {layout.size} numbers at ed and es ({err})"
            continue
        yield name, values, ""


def _indices(record: Mapping[str, Any], layout: IndexLayout) -> Indices:
    return Indices(np.array([value for key in _LISTS for value in record[key]], dtype=np.float64), layout)
