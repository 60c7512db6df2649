"""Times of TensorRT's own tool, ``trtexec --exportTimes=FILE``, as timings that ours can stand beside.

The file is one list with an object a query: milliseconds ``h2dMs``, ``computeMs``, ``d2hMs`` and their sum
``latencyMs`` (NVIDIA/TensorRT, samples/common/sampleReporting.cpp, ``exportJSONTrace``; before TensorRT 8 the
copies were ``inMs`` and ``outMs``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

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
    try:
        queries = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as err:
        raise UsageError(
            f"{path}: cannot be read as JSON ({err}): give what trtexec --exportTimes wrote"
        ) from err
    if not isinstance(queries, list) or not queries or not all(isinstance(query, dict) for query in queries):
        raise UsageError(f"{path}: holds no list of queries: give what trtexec --exportTimes wrote")
    return {stage: _timing(path, queries, names) for stage, names in KEYS.items()}


def _timing(path: Path, queries: list[dict[str, object]], names: tuple[str, ...]) -> Timing:
    ms = []
    for number, query in enumerate(queries):
        value = next((query[name] for name in names if name in query), None)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise UsageError(
                f"{path}: query {number} has no {names[0]}: give what trtexec --exportTimes wrote"
            )
        ms.append(float(value))
    try:
        return Timing.of(ms)
    except ValueError as err:
        raise UsageError(f"{path}: {names[0]} is not finite in all queries") from err
