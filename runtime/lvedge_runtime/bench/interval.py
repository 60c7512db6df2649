"""How sure a ratio is: bootstrap intervals over blocks of neighbouring samples.

What disturbs a machine lasts longer than a frame, so neighbours are alike: blocks are drawn, not samples
(Kuensch, Annals of Statistics 17:1217, 1989).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

BLOCK = 20
DRAWS = 2000
WIDEST = 0.10
"""An interval that reaches further than this share from its ratio is not to be reported."""


@dataclass(frozen=True)
class Ratio:
    """A ratio of two timings.

    Args:
        value: the ratio.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def is_wide(self) -> bool:
        """The interval says too little: the run wants repeating."""
        return max(self.high / self.value - 1.0, 1.0 - self.low / self.value) > WIDEST

    @property
    def verdict(self) -> str:
        """ "higher", "lower", or "level" where the interval holds 1."""
        if self.low <= 1.0 <= self.high:
            return "level"
        return "higher" if self.value > 1.0 else "lower"

    def as_json(self) -> dict[str, Any]:
        """The ratio as JSON keeps it."""
        return {
            "ratio": round(self.value, 4),
            "interval_95": [round(self.low, 4), round(self.high, 4)],
            "wide": self.is_wide,
        }

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def paired_ratio(over: Series, under: Series, block: int = BLOCK) -> Ratio:
    """The median ratio of samples that were taken in turn.

    Args:
        over: [n] numerators.
        under: [n] denominators, each taken beside its numerator.
        block: how many neighbours are drawn together.

    Raises:
        ValueError: if they are not of one length.
    """
    if over.shape != under.shape:
        raise ValueError(f"{over.size} and {under.size} samples are no pairs")
    ratios = over / under
    draws = np.median(ratios[_drawn(ratios.size, block, np.random.default_rng(0))], axis=1)
    return _ratio(float(np.median(ratios)), draws)


def median_ratio(over: Series, under: Series, block: int = BLOCK) -> Ratio:
    """The ratio of two medians, of samples from two runs."""
    return statistic_ratio(over, under, partial(np.median, axis=-1), block)


def percentile_ratio(over: Series, under: Series, percent: float, block: int = BLOCK) -> Ratio:
    """The ratio of two percentiles, of samples from two runs."""
    return statistic_ratio(over, under, lambda samples: np.percentile(samples, percent, axis=-1), block)


def statistic_ratio(
    over: Series, under: Series, statistic: Callable[[Series], Any], block: int = BLOCK
) -> Ratio:
    """The ratio of a statistic of samples from two runs; each run is drawn for itself.

    Args:
        over: [n] samples.
        under: [m] samples.
        statistic: reduces the last axis.
        block: how many neighbours are drawn together.
    """
    rng = np.random.default_rng(0)
    above, below = (statistic(run[_drawn(run.size, block, rng)]) for run in (over, under))
    return _ratio(float(statistic(over)) / float(statistic(under)), above / below)


def _drawn(count: int, block: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Places of samples, [DRAWS, count]: blocks from anywhere, the end joined to the beginning."""
    block = max(1, min(block, count // 5))  # few samples: small blocks, or there is nothing to draw
    starts = rng.integers(count, size=(DRAWS, -(-count // block)))
    places = (starts[:, :, None] + np.arange(block)).reshape(DRAWS, -1)[:, :count]
    return np.asarray(places % count, dtype=np.intp)


def _ratio(value: float, draws: Series) -> Ratio:
    low, high = np.percentile(draws, (2.5, 97.5))
    return Ratio(value, float(low), float(high))
