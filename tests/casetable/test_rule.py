"""Rules: what can stand, and what is refused with which words."""

# ruff: noqa: E501 - the tables below hold one case a line

from __future__ import annotations

import math
from typing import Any

import pytest

from lvedge.casetable.rule import Condition, FieldError, Rule, Scope, conditions_from_text, fallback_rule

GOOD: dict[str, Any] = {
    "number": 1,
    "scope": Scope.CYCLE,
    "conditions": (Condition("fac", upper=0.4, upper_inclusive=False),),
    "case": "weak",
    "label": "consistent with weak contraction",
    "severity": 2,
    "source": "Study 1",
}


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("fac < 0.4", (Condition("fac", upper=0.4, upper_inclusive=False),)),
        ("fac<=.4", (Condition("fac", upper=0.4),)),
        ("fac > 4e-1", (Condition("fac", lower=0.4, lower_inclusive=False),)),
        ("fac >= -1", (Condition("fac", lower=-1.0),)),
        ("0.1 < fac", (Condition("fac", lower=0.1, lower_inclusive=False),)),
        ("13 <= ed_rwt_max_mm < 15", (Condition("ed_rwt_max_mm", 13.0, 15.0, True, False),)),
        ("fac < 1 and ed_dim_IS-AL_mm >= 50", (Condition("fac", -math.inf, 1.0, True, False), Condition("ed_dim_IS-AL_mm", 50.0))),
        ("fac < 1; thickening_min > 0", (Condition("fac", -math.inf, 1.0, True, False), Condition("thickening_min", 0.0, math.inf, False))),
        ("  ", ()),
    ],
)  # fmt: skip
def test_conditions_are_read_and_written_back(text: str, conditions: tuple[Condition, ...]) -> None:
    assert conditions_from_text(text) == conditions
    assert conditions_from_text(" and ".join(map(str, conditions))) == conditions


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fac", "'fac' is no interval: write '13 <= ed_rwt_max_mm < 15' or 'fac < 0.4'"),
        ("fac = 0.4", "'fac = 0.4' is no interval: write '13 <= ed_rwt_max_mm < 15' or 'fac < 0.4'"),
        ("fac < nan", "'fac < nan' is no interval: write '13 <= ed_rwt_max_mm < 15' or 'fac < 0.4'"),
        ("1 < fac > 2", "'1 < fac > 2' points both ways: write '13 <= value < 15'"),
        ("2 <= fac < 1", "no number satisfies '2 <= fac < 1': exchange or widen the bounds"),
        ("1 < fac <= 1", "no number satisfies '1 < fac <= 1': exchange or widen the bounds"),
        ("fac < 1e999", "fac has no bound: write for example 'fac >= 15'"),
    ],
)
def test_conditions_that_cannot_stand(text: str, reason: str) -> None:
    with pytest.raises(FieldError) as caught:
        conditions_from_text(text)
    assert (caught.value.field, caught.value.reason) == ("conditions", reason)


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"number": 0}, "rule", "0 is no rule's number: count from 1"),
        ({"source": " "}, "source", "is empty: every result names its case, its words and its source"),
        ({"sex": "f"}, "sex", "'f' is not one of any, F, M"),
        ({"severity": 4}, "severity", "4 is not one of 0, 1, 2, 3"),
        ({"phase": "systole"}, "phase", "a cycle rule has no phase: leave it empty, or use ed_ and es_ values"),
        ({"modality": "echo"}, "severity", "an echo limit is information on MR: give it severity 0 or 1"),
        ({"min_age": -1}, "min_age", "-1 is no age in years: give 0 to 130, or leave it empty"),
        ({"min_age": 20, "max_age": 10}, "max_age", "10 is below min_age 20: exchange them"),
        ({"label": "weak"}, "label", "has to say 'consistent with ...': a result is never a diagnosis"),
        (
            {"conditions": conditions_from_text("fac > 0 and fac < 1")},
            "conditions",
            "'fac' stands twice: write one interval for it",
        ),
    ],
)  # fmt: skip
def test_rules_that_cannot_stand(change: dict[str, Any], field: str, reason: str) -> None:
    Rule(**GOOD)
    with pytest.raises(FieldError) as caught:
        Rule(**{**GOOD, **change})
    assert (caught.value.field, caught.value.reason) == (field, reason)


@pytest.mark.parametrize(
    "change",
    [
        {"source": "AHA 2022: HFrEF, EF <= 40 %"},
        {"label": "consistent with a reduced ejection fraction"},
        {"label": "consistent with LVEF below 40 %"},
        {"case": "HFmrEF"},
        {"source": "limit of the Ejection_Fraction"},
    ],
)
def test_no_rule_compares_fac_with_a_limit_of_the_ejection_fraction(change: dict[str, Any]) -> None:
    with pytest.raises(FieldError, match="the FAC of one slice is no EF"):
        Rule(**{**GOOD, **change})
    Rule(**{**GOOD, **change, "conditions": (Condition("ed_dim_mean_mm", lower=50.0),)})


def test_words_that_only_look_like_the_ejection_fraction_are_fine() -> None:
    Rule(**{**GOOD, "source": "Reference values, brief report by Lefevre"})


def test_an_unknown_value_names_the_likely_one_and_all_known_ones() -> None:
    with pytest.raises(FieldError) as caught:
        Rule(**{**GOOD, "scope": Scope.FRAME, "conditions": (Condition("rwt_max", lower=15.0),)})
    assert caught.value.reason == (
        "unknown value 'rwt_max'; did you mean 'rwt_max_mm'? Known: rwt_IS_mm, rwt_I_mm, rwt_IL_mm, rwt_AL_mm, "
        "rwt_A_mm, rwt_AS_mm, dim_IS-AL_mm, dim_I-A_mm, dim_IL-AS_mm, area_cavity_mm2, area_myocardium_mm2, "
        "wall_max_mm, rwt_mean_mm, rwt_max_mm, rwt_min_mm, dim_mean_mm, area_epicardium_mm2, relative_wall_thickness"
    )


def test_a_fallback_holds_for_everybody() -> None:
    rule = fallback_rule(7, Scope.FRAME)
    assert (rule.is_fallback, rule.is_unrestricted, rule.label) == (
        True,
        True,
        "no rule of this table holds for this frame",
    )
