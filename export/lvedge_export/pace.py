"""Pace: two engines timed in turn on the same frames, so that what else the machine does slows both alike."""

from __future__ import annotations

from itertools import cycle, islice
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from lvedge.contract import State, Stepper
from lvedge_export.clip import Clip

WARM_UP = 5


def pace(slow: Stepper, fast: Stepper, clip: Clip, pairs: int) -> dict[str, Any]:
    """How many times faster one engine steps than the other: the median ratio of calls next to each other.

    Args:
        slow: the one that is compared with.
        fast: the one that should take less.
        clip: frames that both see.
        pairs: how many calls of each count.
    """
    state = State.zeros(slow.shapes)
    taken = []
    for view in islice(cycle(clip.views), WARM_UP + pairs):
        times = []
        for stepper in (slow, fast):
            started = perf_counter()
            stepper.step(view[None], state)
            times.append(1e3 * (perf_counter() - started))
        taken.append(times)
    counted = np.array(taken[WARM_UP:])
    ratios = counted[:, 0] / counted[:, 1]
    draws = np.median(ratios[np.random.default_rng(0).integers(pairs, size=(2000, pairs))], axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return {
        "pairs": pairs,
        "median_ms": [round(median(column), 3) for column in counted.T],
        "speed_up_median": round(float(np.median(ratios)), 3),
        "speed_up_interval_95": [round(float(low), 3), round(float(high), 3)],
    }
