"""Neighbours through pages and a tree: to the last bit what ranking all of them gives."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvedge.casetable import CaseTable, cycle_names, page
from lvedge.casetable.reference import Feature, Reference, ReferenceGroup, ReferenceSet, Search

GROUPS = {name: ReferenceGroup(name, name, 1, "s") for name in "ab"}


def brute_force(
    features: list[Feature], references: list[Reference], query: list[float], count: int
) -> list[tuple[int, float]]:
    """Every case ranked by the definition of the distance."""
    weight = np.array([f.weight for f in features])
    scale = np.sqrt(weight / weight.sum()) / np.array([f.sd for f in features])
    mean = np.array([f.mean for f in features])
    ranked = []
    for reference in references:
        gap = (np.array(reference.values) - mean) * scale - (np.array(query) - mean) * scale
        ranked.append((float(np.einsum("ij,ij->i", gap[None], gap[None])[0]), reference.number))
    return [(number, math.sqrt(squared)) for squared, number in sorted(ranked)[:count]]


@st.composite
def searches(draw: st.DrawFn) -> tuple[list[Feature], list[Reference], list[float], int, int]:
    """Duplicates and ties from a coarse grid, or any numbers; up to eight values, weights far apart."""
    size = draw(st.integers(1, 8))
    number = draw(
        st.sampled_from([st.integers(-2, 2).map(float), st.floats(-1e3, 1e3), st.floats(-1e-6, 1e-6)])
    )
    points = draw(st.lists(st.lists(number, min_size=size, max_size=size), min_size=1, max_size=40))
    far = draw(st.sampled_from([1.0, 1.0, 1e4, 1e12]))
    query = [far * value for value in draw(st.lists(number, min_size=size, max_size=size))]
    features = [
        Feature(
            name,
            mean=draw(st.floats(-2, 2)),
            sd=draw(st.sampled_from([0.01, 1.0, 3.0])),
            weight=draw(st.sampled_from([1e-6, 1.0, 7.0])),
        )
        for name in cycle_names()[:size]
    ]
    numbers = draw(st.permutations(range(1, len(points) + 1)))
    references = [Reference(n, "ab"[n % 2], tuple(p)) for n, p in zip(numbers, points, strict=True)]
    return features, references, query, draw(st.integers(1, 45)), draw(st.integers(1, 8))


@given(searches())
def test_neighbours_are_those_of_ranking_all(
    drawn: tuple[list[Feature], list[Reference], list[float], int, int],
) -> None:
    features, references, query, count, page_cases = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "PAGE_CASES", page_cases)
        search = ReferenceSet.in_memory(features, references, GROUPS, Search())
    search.check(references)
    found = search.nearest(dict(zip((f.name for f in features), query, strict=True)), count)
    assert [(r.number, d) for r, d in found] == brute_force(features, references, query, count)
    assert all(r in references for r, _ in found)


def test_a_query_beyond_all_numbers_is_infinitely_far() -> None:
    features = [Feature("fac", 0.0, 1e-9), Feature("thickening_min", 0.0, 1.0)]
    references = [Reference(n, "a", (float(n), 0.0)) for n in range(1, 600)]
    search = ReferenceSet.in_memory(features, references, GROUPS, Search())
    with np.errstate(over="ignore"):
        found = search.nearest({"fac": 1e308, "thickening_min": 0.0}, 2)
    assert [(r.number, d) for r, d in found] == [(1, math.inf), (2, math.inf)]


def test_few_pages_are_read() -> None:
    """A near query reads a small share of the pages, one far out reads no more than a share either."""
    points = np.random.default_rng(0).normal(size=(20_000, 3))
    names = ("fac", "thickening_min", "ed_rwt_max_mm")
    features = [Feature(name, 0.0, 1.0) for name in names]
    references = [Reference(n, "a", tuple(p)) for n, p in enumerate(points.tolist(), start=1)]
    search = ReferenceSet.in_memory(features, references, GROUPS, Search())
    for query in ([0.1, 0.2, 0.3], [40.0, 40.0, 40.0]):
        before = search._pages._page.cache_info().misses
        found = search.nearest(dict(zip(names, query, strict=True)), 5)
        read = search._pages._page.cache_info().misses - before
        assert [(r.number, d) for r, d in found] == brute_force(features, references, query, 5)
        assert read <= search._pages._count // 8


def test_threads_share_a_table(case_table: CaseTable) -> None:
    asked = [{"fac": 0.1 + 0.001 * k, "ed_rwt_max_mm": 8.0, "ed_dim_mean_mm": 60.0} for k in range(400)]
    alone = [case_table.find_cycle(values, level="mid") for values in asked]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda values: case_table.find_cycle(values, level="mid"), asked)) == alone
