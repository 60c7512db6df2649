"""The tables that are compared differ in their rows, not in what a look-up is expected to find."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.casetable_scale import HITS_A_SET, RANGE, SETS, rules_content
from lvedge.casetable.rule import Rule


def chance(rule: Rule) -> float:
    """That a point drawn from the whole range meets the rule."""
    return math.prod((min(c.upper, RANGE) - max(c.lower, 0.0)) / RANGE for c in rule.conditions)


@pytest.mark.parametrize("count", [1_000, 12_000])
def test_a_drawn_point_meets_three_rules_among_any_number(count: int) -> None:
    rules = [rule for rule in rules_content(count, 1).rules if not rule.is_fallback]
    assert len(rules) == count
    assert {tuple(c.value for c in rule.conditions) for rule in rules} == set(SETS)
    expected = HITS_A_SET * len(SETS)
    assert np.isclose(sum(map(chance, rules)), expected, rtol=0.05)
