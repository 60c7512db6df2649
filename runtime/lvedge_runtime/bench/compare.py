"""Two runs of the bench beside each other: what became faster, what slower, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvedge.errors import UsageError
from lvedge_runtime.bench.interval import Ratio, Series, median_ratio, percentile_ratio
from lvedge_runtime.bench.timing import discards

FORMAT = 1
"""Version of the JSON; another one is not compared."""

FEWEST = 10
"""Of fewer samples a bootstrap says nothing."""

TAIL = 99.0
WORDS = {"higher": "slower", "lower": "faster", "level": "level"}
SAME = ("processor", "cores_allowed", "governors", "gpus", "thread_settings")
"""What of a machine has to be the same for a comparison to say something of the software."""


@dataclass(frozen=True)
class Change:
    """One timing in two runs.

    Args:
        what: which.
        before_ms: the first run's median.
        after_ms: the second's.
        median: second over first.
        tail: the same of p99, or None where a run has too few samples for it.
    """

    what: str
    before_ms: float
    after_ms: float
    median: Ratio
    tail: Ratio | None

    @property
    def verdict(self) -> str:
        """ "faster", "slower" or "level", by the medians."""
        return WORDS[self.median.verdict]


def read_run(path: Path) -> dict[str, Any]:
    """What ``lvedge-bench run`` wrote.

    Raises:
        UsageError: if the file cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as err:
        raise UsageError(f"{path}: cannot be read as JSON ({err}): give what lvedge-bench run wrote") from err
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{path}: is no result of lvedge-bench run in format {FORMAT}")
    return content


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Every timing that both runs hold with samples enough for an interval.

    Raises:
        UsageError: if they have none in common.
    """
    first, second = (
        {what: ms for what, ms in timings(run) if ms.size >= FEWEST and np.median(ms) > 0.0}
        for run in (before, after)
    )
    changes = [_change(what, first[what], second[what]) for what in first if what in second]
    if not changes:
        raise UsageError("the two runs have no timing in common: run the same sections with the same engines")
    return changes


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What else than the software differs between two runs, a line each."""
    pairs = [(name, before["machine"].get(name), after["machine"].get(name)) for name in SAME]
    pairs += [(name, before.get(name), after.get(name)) for name in ("source", "bundle", "engine")]
    return [f"{name}: {first!r} before, {second!r} after" for name, first, second in pairs if first != second]


def timings(run: dict[str, Any]) -> Iterator[tuple[str, Series]]:
    """Name and samples of every timing whose samples were kept."""
    for way in run.get("way", ()):
        where = f"way{' live' if way['live'] else ''}, {way['streams']} stream{'s' * (way['streams'] > 1)}"
        for stage, timing in {**way["stages"], "total": way["total"]}.items():
            yield f"{where}: {stage}", np.array(timing["ms"])
    for paced in run.get("paced", ()):
        yield f"paced {paced['rate']:g}/s x {paced['streams']}: latency", np.array(paced["latency"]["ms"])
    for case in run.get("together", {}).get("cases", ()):
        for how, timing in case["latency"].items():
            yield f"together, {case['streams']} streams, {how}: latency", np.array(timing["ms"])
    for case in run.get("steps", {}).get("cases", ()):
        yield (
            f"step, {case['engine']}, {case['threads']} thr., batch {case['batch']}",
            np.array(case["total"]["ms"]),
        )
    start = run.get("start")
    if start:
        yield "start: first result", 1e3 * np.array(start["first_result_s"]["all"])


def _change(what: str, before: Series, after: Series) -> Change:
    enough = min(discards(before.size, TAIL), discards(after.size, TAIL)) > 0
    return Change(
        what=what,
        before_ms=float(np.median(before)),
        after_ms=float(np.median(after)),
        median=median_ratio(after, before),
        tail=percentile_ratio(after, before, TAIL) if enough else None,
    )
