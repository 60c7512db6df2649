"""What TensorRT's own tool measures, ``trtexec``, told so that ours can stand beside it.

NVIDIA/TensorRT, samples/common/sampleReporting.cpp. ``exportJSONTrace`` (``--exportTimes``) writes a list
with an object a query: milliseconds ``h2dMs``, ``computeMs``, ``d2hMs`` and their sum ``latencyMs``; before
TensorRT 8 the copies were ``inMs`` and ``outMs``. ``exportJSONProfile`` (``--exportProfile``) writes an
object with the ``count`` of runs, then one a layer with its ``name``, ``averageMs`` and, since TensorRT 8,
``medianMs``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvedge.errors import UsageError
from lvedge_runtime.bench.timing import Timing

KEYS: Mapping[str, tuple[str, ...]] = {
    "copy in": ("h2dMs", "inMs"),
    "step": ("computeMs",),
    "copy out": ("d2hMs", "outMs"),
    "total": ("latencyMs",),
}
"""Our stage to trtexec's names for it."""


def read_trtexec(path: Path) -> dict[str, Timing]:
    """Stage to its timing, over all queries.

    Raises:
        UsageError: if the file cannot be read, or is not what ``--exportTimes`` writes.
    """
    queries = _objects(path, "queries", "--exportTimes")
    return {stage: _timing(path, queries, names) for stage, names in KEYS.items()}


@dataclass(frozen=True)
class TrtLayer:
    """A layer of an engine, often several of the graph's nodes in one.

    Args:
        name: TensorRT's name for it.
        ms: the median of its runs, or their mean where no median is told.
    """

    name: str
    ms: float


def read_profile(path: Path) -> list[TrtLayer]:
    """The layers, the longest first.

    Raises:
        UsageError: if the file cannot be read, or is not what ``--exportProfile`` writes.
    """
    layers = [layer for layer in _objects(path, "layers", "--exportProfile") if "name" in layer]
    if not layers:
        raise UsageError(f"{path}: names no layer: give what trtexec --exportProfile wrote")
    found = [
        TrtLayer(str(layer["name"]), _number(path, f"layer {number}", layer, ("medianMs", "averageMs")))
        for number, layer in enumerate(layers)
    ]
    return sorted(found, key=lambda layer: -layer.ms)


def _objects(path: Path, what: str, option: str) -> list[dict[str, Any]]:
    try:
        objects = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as err:
        raise UsageError(f"{path}: cannot be read as JSON ({err}): give what trtexec {option} wrote") from err
    if not isinstance(objects, list) or not objects or not all(isinstance(each, dict) for each in objects):
        raise UsageError(f"{path}: holds no list of {what}: give what trtexec {option} wrote")
    return objects


def _number(path: Path, whose: str, told: Mapping[str, Any], names: tuple[str, ...]) -> float:
    value = next((told[name] for name in names if name in told), None)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise UsageError(f"{path}: {whose} has no {names[0]}: give what trtexec itself wrote")
    return float(value)


def _timing(path: Path, queries: list[dict[str, Any]], names: tuple[str, ...]) -> Timing:
    ms = [_number(path, f"query {number}", query, names) for number, query in enumerate(queries)]
    try:
        return Timing.of(ms)
    except ValueError as err:
        raise UsageError(f"{path}: {names[0]} is not finite in all queries") from err
