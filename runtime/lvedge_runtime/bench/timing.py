"""Timings: a series of durations, its percentiles as far as there are samples for them, and its jitter.

A percentile of too few samples says nothing, so it is not given. How many are enough, and what the percentile
is at most, follow MLPerf's early stopping for single-stream latency (mlcommons/inference, loadgen,
``early_stopping.cc`` and ``results.cc``; confidence 0.99, tolerance 0): with n samples sorted and t the
largest number with P(Binomial(n, 1 - p) <= t) <= 0.01, the estimate is what remains largest when the t - 1
highest are left out. With 99 % confidence the true percentile is not higher.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
CONFIDENCE = 0.99
DECIMALS = 4


@dataclass(frozen=True)
class Timing:
    """Durations in the order in which they were taken.

    Args:
        ms: [n] float64 milliseconds; at least one.

    Raises:
        ValueError: if there is none, or one that is not finite.
    """

    ms: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.ms.ndim != 1 or not self.ms.size or not np.isfinite(self.ms).all():
            raise ValueError("a timing needs at least one duration, all of them finite")

    @classmethod
    def of(cls, ms: Iterable[float]) -> Timing:
        """The timing of any sequence of milliseconds."""
        return cls(np.fromiter(ms, dtype=np.float64))

    @property
    def median(self) -> float:
        """The middle one, however few there are."""
        return float(np.median(self.ms))

    @property
    def jitter_ms(self) -> float:
        """Mean absolute difference of neighbours; 0 for a single sample."""
        return float(np.abs(np.diff(self.ms)).mean()) if self.ms.size > 1 else 0.0

    def percentile(self, percent: float) -> float | None:
        """The smallest sample that so many percent do not exceed; None where there are too few samples."""
        if not discards(self.ms.size, percent):
            return None
        rank = math.ceil(self.ms.size * percent / 100.0)
        return float(np.sort(self.ms)[rank - 1])

    def at_most(self, percent: float) -> float | None:
        """What the true percentile does not exceed, with 99 % confidence; None where there are too few."""
        t = discards(self.ms.size, percent)
        return float(np.sort(self.ms)[self.ms.size - t]) if t else None

    def as_json(self, samples: bool = True) -> dict[str, Any]:
        """The timing as JSON keeps it; with all samples, so that another run can be compared with it."""
        figures = {
            f"p{percent:g}": {
                "ms": _rounded(self.percentile(percent)),
                "at_most_ms": _rounded(self.at_most(percent)),
            }
            for percent in PERCENTILES
        }
        needs = {
            f"p{percent:g}": fewest(percent) for percent in PERCENTILES if not discards(self.ms.size, percent)
        }
        content: dict[str, Any] = {
            "n": int(self.ms.size),
            "median_ms": _rounded(self.median),
            "percentiles": figures,
            "too_few_for": needs,
            "max_ms": _rounded(float(self.ms.max())),
            "jitter_ms": _rounded(self.jitter_ms),
        }
        if samples:
            content["ms"] = [_rounded(float(ms)) for ms in self.ms]
        return content


def discards(count: int, percent: float) -> int:
    """MLPerf's t for so many samples: t - 1 of the highest may be left out; 0 where the samples are too few.

    Raises:
        ValueError: if the percentile is not between 0 and 100.
    """
    if not 0.0 < percent < 100.0:
        raise ValueError(f"there is no percentile {percent:g}")
    p = percent / 100.0
    over = np.arange(count, dtype=np.float64)  # k samples lie above the percentile
    log_pmf = count * math.log(p) + np.concatenate(
        ([0.0], np.cumsum(np.log((count - over) / (over + 1.0)) + math.log((1.0 - p) / p)))
    )
    # 1 - 0.99 in floating point; the sums that decide lie further from it than its rounding.
    return max(int(np.searchsorted(np.cumsum(np.exp(log_pmf)), 1.0 - CONFIDENCE, side="right")) - 1, 0)


def fewest(percent: float) -> int:
    """The smallest number of samples that a percentile is given for."""
    low, high = 1, 2
    while not discards(high, percent):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if discards(middle, percent) else (middle, high)
    return high


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)
