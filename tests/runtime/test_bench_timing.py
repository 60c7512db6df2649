"""Percentiles and what they are worth: MLPerf's own numbers, and refusal where samples are too few."""

from __future__ import annotations

import json
from math import comb

import numpy as np
import pytest

from lvedge_runtime.bench.interval import median_ratio, paired_ratio, percentile_ratio
from lvedge_runtime.bench.timing import Timing, discards, fewest


@pytest.mark.parametrize(("percent", "queries"), [(90, 64), (95, 130), (99, 662), (99.9, 6636)])
def test_the_fewest_samples_are_those_of_the_mlperf_rules(percent: float, queries: int) -> None:
    assert fewest(percent) == queries
    assert discards(queries, percent) == 1
    assert discards(queries - 1, percent) == 0


@pytest.mark.parametrize("percent", [50.0, 90.0, 97.0])
@pytest.mark.parametrize("count", [1, 20, 64, 100, 333])
def test_as_many_are_left_out_as_the_binomial_allows(percent: float, count: int) -> None:
    q = 1 - percent / 100

    def at_most(t: int) -> float:
        return sum(comb(count, k) * q**k * (1 - q) ** (count - k) for k in range(t + 1))

    t = discards(count, percent)
    assert t == 0 or at_most(t) <= 0.01
    assert at_most(t + 1) > 0.01


def test_the_estimate_lies_above_the_true_percentile_in_99_of_100_runs() -> None:
    rng = np.random.default_rng(1)
    estimates = [Timing(rng.random(100)).at_most(90) for _ in range(2000)]
    assert 0.985 <= np.mean([estimate is not None and estimate >= 0.9 for estimate in estimates]) <= 1.0


def test_a_percentile_is_the_sample_of_its_rank() -> None:
    timing = Timing.of(range(1000, 0, -1))
    assert (timing.percentile(50), timing.percentile(90), timing.percentile(99)) == (500, 900, 990)
    assert timing.at_most(99) == 1000 - (discards(1000, 99) - 1)


def test_a_percentile_of_too_few_samples_is_refused_and_its_need_told() -> None:
    told = Timing.of([1.0, 2.0, 4.0] * 30).as_json(samples=False)
    assert told == {
        "n": 90,
        "median_ms": 2.0,
        "percentiles": {
            "p50": {"ms": 2.0, "at_most_ms": 2.0},
            "p90": {"ms": 4.0, "at_most_ms": 4.0},
            "p95": {"ms": None, "at_most_ms": None},
            "p99": {"ms": None, "at_most_ms": None},
            "p99.9": {"ms": None, "at_most_ms": None},
        },
        "too_few_for": {"p95": 130, "p99": 662, "p99.9": 6636},
        "max_ms": 4.0,
        "jitter_ms": round((1 * 30 + 2 * 30 + 3 * 29) / 89, 4),
    }
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize("ms", [[], [float("nan")], [1.0, float("inf")]])
def test_what_is_no_duration_is_no_timing(ms: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one duration"):
        Timing.of(ms)


def test_a_percentile_lies_between_0_and_100() -> None:
    with pytest.raises(ValueError, match="no percentile 100"):
        discards(10, 100)


def test_a_ratio_of_pairs_does_not_see_what_slows_both() -> None:
    rng = np.random.default_rng(2)
    load = np.repeat(rng.uniform(1, 5, 20), 20)
    ratio = paired_ratio(2 * load * rng.normal(1, 0.01, 400), load)
    assert ratio.low < 2 < ratio.high
    assert ratio.high - ratio.low < 0.02
    assert (ratio.verdict, ratio.is_wide) == ("higher", False)


def test_the_interval_of_two_equal_runs_holds_1_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    level = [
        median_ratio(rng.gamma(9, size=150), rng.gamma(9, size=150), block=1).verdict == "level"
        for _ in range(100)
    ]
    assert 88 <= sum(level) <= 100


def test_neighbours_that_are_alike_make_the_interval_wider() -> None:
    rng = np.random.default_rng(4)
    steps = np.repeat(rng.gamma(9, size=20), 20)
    other = np.repeat(rng.gamma(9, size=20), 20)
    blocks, singles = median_ratio(steps, other), median_ratio(steps, other, block=1)
    assert blocks.high - blocks.low > 2 * (singles.high - singles.low)
    assert blocks.is_wide


def test_a_tail_is_compared_for_itself() -> None:
    quiet = np.full(1000, 1.0)
    spiky = np.where(np.arange(1000) % 20 == 0, 5.0, 1.0)
    assert median_ratio(spiky, quiet).verdict == "level"
    assert percentile_ratio(spiky, quiet, 99).as_json() == {
        "ratio": 5.0,
        "interval_95": [5.0, 5.0],
        "wide": False,
    }


def test_samples_of_two_lengths_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="3 and 2 samples are no pairs"):
        paired_ratio(np.ones(3), np.ones(2))
