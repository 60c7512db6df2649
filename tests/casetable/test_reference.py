"""Reference cases: the search, the vote, and when it abstains."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lvedge.casetable import CaseTable
from lvedge.casetable.reference import (
    Feature,
    Reference,
    ReferenceGroup,
    ReferenceSet,
    Search,
    features_from_references,
)
from lvedge.casetable.rule import FieldError
from lvedge.measurement import Finding

GROUPS = {"a": ReferenceGroup("a", "A", 1, "s"), "b": ReferenceGroup("b", "B", 2, "s")}
NAMES = ("fac", "ed_rwt_max_mm", "ed_area_cavity_mm2")


def test_a_finding_in_whole(case_table: CaseTable) -> None:
    found = case_table.find_cycle({"fac": 0.6, "ed_rwt_max_mm": 8.2}, level="mid")
    sd_mm = math.sqrt(2 / 3)
    assert found == (
        Finding(
            case="NOR",
            label="consistent with NOR (nearest reference cases: 3 of 3)",
            source="Study 8",
            caveat="Not a diagnosis. Few cases.",
            row="reference 1",
            severity=0,
            distance=pytest.approx(0.2 / sd_mm / math.sqrt(2)),
        ),
        Finding(
            case="normal",
            label="consistent with normal contraction",
            source="Study 7",
            caveat="Not a diagnosis.",
            row="rule 7",
        ),
    )


def test_the_more_severe_comes_first_and_a_fallback_last(case_table: CaseTable) -> None:
    weak = {"fac": 0.2, "ed_rwt_max_mm": 8.0, "ed_dim_mean_mm": 60.0}
    assert [f.row for f in case_table.find_cycle(weak, level="mid")] == ["reference 4", "rule 6"]
    assert [f.row for f in case_table.find_cycle({**weak, "ed_dim_mean_mm": 50.0}, level="mid")] == [
        "reference 4",
        "rule 9",
    ]


@pytest.mark.parametrize(
    ("values", "level", "label", "distance"),
    [
        (
            {"fac": 0.6},
            "mid",
            "no comparison with reference cases: ed_rwt_max_mm not measured",
            None,
        ),
        (
            {"fac": 0.6, "ed_rwt_max_mm": math.inf},
            "mid",
            "no comparison with reference cases: ed_rwt_max_mm not measured",
            None,
        ),
        (
            {"fac": 0.6, "ed_rwt_max_mm": 8.0},
            "basal_or_apical",
            "no comparison with reference cases: the reference cases are mid-ventricular slices, "
            "this one is basal or apical",
            None,
        ),
        (
            {"fac": 0.62, "ed_rwt_max_mm": 9.0 + 2.0 * math.sqrt(2) * math.sqrt(2 / 3)},
            "mid",
            "no comparison with reference cases: the nearest one is 2.00 SD away, the limit is 1.5 SD",
            2.0,
        ),
    ],
)
def test_it_abstains_and_says_why(
    case_table: CaseTable, values: dict[str, float], level: str, label: str, distance: float | None
) -> None:
    assert case_table.find_cycle(values, level=level)[-1] == Finding(
        case="none",
        label=label,
        source="the reference cases of this case table",
        caveat="Not a diagnosis.",
        row="references",
        distance=None if distance is None else pytest.approx(distance),
    )


def test_an_unknown_level_is_said(case_table: CaseTable) -> None:
    found = case_table.find_cycle({"fac": 0.6, "ed_rwt_max_mm": 8.0})
    assert found[0].caveat == (
        "Not a diagnosis. Few cases. Holds for mid-ventricular slices; the level of this slice is unknown."
    )


def test_one_near_case_outvotes_two_far_ones() -> None:
    references = [Reference(1, "a", (0.0,)), Reference(2, "b", (3.0,)), Reference(3, "b", (-3.0,))]
    search = ReferenceSet.in_memory([Feature("fac", 0.0, 1.0)], references, GROUPS, Search(3, 9.0))
    assert search.find({"fac": 0.5}, "mid").row == "reference 1"
    assert search.find({"fac": 2.0}, "mid").row == "reference 2"


def test_the_weights_count() -> None:
    features = [Feature("fac", 0.0, 1.0, weight=3.0), Feature("thickening_min", 0.0, 1.0, weight=1.0)]
    search = ReferenceSet.in_memory(features, [Reference(1, "a", (0.0, 0.0))], GROUPS, Search())
    ((_, distance),) = search.nearest({"fac": 2.0, "thickening_min": 2.0}, 5)
    assert distance == pytest.approx(2.0)
    ((_, distance),) = search.nearest({"fac": 2.0, "thickening_min": 0.0}, 5)
    assert distance == pytest.approx(2.0 * math.sqrt(3 / 4))


def test_a_value_that_never_differs_cannot_be_standardised() -> None:
    with pytest.raises(FieldError, match="has the same value in every reference case: leave the column out"):
        features_from_references(("fac",), [Reference(1, "a", (0.5,)), Reference(2, "a", (0.5,))], {})


@given(
    points=arrays.arrays(np.float64, st.tuples(st.integers(2, 30), st.just(3)), elements=st.integers(-4, 4)),
    query=arrays.arrays(np.float64, 3, elements=st.integers(-4, 4)),
    count=st.integers(1, 8),
)
def test_neighbours_are_those_of_brute_force(points: np.ndarray, query: np.ndarray, count: int) -> None:
    features = [Feature(name, 1.0, 2.0, weight) for name, weight in zip(NAMES, (1.0, 2.0, 0.5), strict=True)]
    references = [Reference(k, "a", tuple(map(float, point))) for k, point in enumerate(points, start=1)]
    search = ReferenceSet.in_memory(features, references[::-1], GROUPS, Search())
    found = search.nearest(dict(zip(NAMES, query.tolist(), strict=True)), count)

    def distance(reference: Reference) -> float:
        squares = [
            f.weight * ((value - at) / f.sd) ** 2
            for f, value, at in zip(features, reference.values, query, strict=True)
        ]
        return math.sqrt(sum(squares) / sum(f.weight for f in features))

    nearest = sorted(references, key=lambda reference: (round(distance(reference), 9), reference.number))
    assert [d for _, d in found] == pytest.approx([distance(reference) for reference in nearest[:count]])
    farthest = distance(nearest[min(count, len(nearest)) - 1]) + 1e-9
    assert {r.number for r, _ in found} <= {r.number for r in references if distance(r) <= farthest}
