"""The look-up of rules: boundaries, who they hold for, and the arrays against the plain definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvedge.casetable import CaseTable, frame_names
from lvedge.casetable.content import Content, write_content
from lvedge.casetable.rule import Condition, FieldError, Rule, Scope
from lvedge.casetable.ruleset import LEVELS, RuleSet
from lvedge.casetable.schema import open_in_memory
from lvedge.frame import Subject
from lvedge.indices import IndexLayout, Phase
from lvedge.measurement import Finding

ADULT = Subject(sex="M", age_years=40)


def rows(found: tuple[Finding, ...]) -> list[str]:
    return [finding.row for finding in found]


def rule(number: int, *conditions: Condition, **changes: object) -> Rule:
    fields: dict[str, object] = {
        "case": "c",
        "label": "consistent with c",
        "severity": 1,
        "source": "s",
        **changes,
    }
    return Rule(number=number, scope=Scope.FRAME, conditions=conditions, **fields)  # type: ignore[arg-type]


MEMORY = open_in_memory()


def rule_set(rules: list[Rule]) -> RuleSet:
    """The rules as a table holds them; until the next ones are asked for."""
    write_content(MEMORY, Content(tuple(rules)))
    return RuleSet(MEMORY, Scope.FRAME, IndexLayout())


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (math.nextafter(1.0, 0.0), ["rule 9"]),
        (1.0, ["rule 1"]),
        (math.nextafter(1.0, 2.0), ["rule 1", "rule 2"]),
        (math.nextafter(2.0, 1.0), ["rule 1", "rule 2"]),
        (2.0, ["rule 1"]),
        (math.nextafter(2.0, 3.0), ["rule 9"]),
        (math.nan, ["rule 9"]),
        (math.inf, ["rule 9"]),
    ],
)
def test_inclusive_and_exclusive_bounds_to_the_last_place(value: float, held: list[str]) -> None:
    rules = rule_set(
        [
            rule(1, Condition("rwt_mean_mm", 1.0, 2.0)),
            rule(2, Condition("rwt_mean_mm", 1.0, 2.0, False, False)),
            rule(9),
        ]
    )
    assert rows(rules.find({"rwt_mean_mm": value}, None, Subject(), "mid")) == held


def test_a_finding_in_whole(case_table: CaseTable) -> None:
    found = case_table.find_frame({"rwt_max_mm": 16.0, "rwt_mean_mm": 9.0}, Phase.DIASTOLE, ADULT, "mid")
    assert found == (
        Finding(
            case="HCM",
            label="consistent with HCM",
            source="Guide 1",
            caveat="Not a diagnosis. At end diastole.",
            row="rule 1",
            severity=3,
        ),
    )


def test_the_phase_restricts(case_table: CaseTable) -> None:
    values = {"rwt_max_mm": 16.0}
    assert rows(case_table.find_frame(values, Phase.SYSTOLE, ADULT, "mid")) == ["rule 8"]
    assert rows(case_table.find_frame(values, None, ADULT, "mid")) == ["rule 8"]


def test_most_severe_first_and_echo_as_information(case_table: CaseTable) -> None:
    found = case_table.find_frame(
        {"dim_mean_mm": 60.0, "rwt_mean_mm": 6.0}, Phase.SYSTOLE, Subject("F", 50.0), "mid"
    )
    assert [(f.row, f.severity, f.caveat) for f in found] == [
        ("rule 2", 2, "Not a diagnosis."),
        ("rule 3", 1, "Not a diagnosis. An echocardiographic limit, shown as information only."),
        ("rule 5", 0, "Not a diagnosis."),
    ]


def test_without_a_sex_only_rules_for_both_hold_and_the_fallback_says_so(case_table: CaseTable) -> None:
    unknown = Subject(age_years=50.0)
    assert rows(case_table.find_frame({"dim_mean_mm": 60.0}, None, unknown, "mid")) == ["rule 3"]
    assert rows(case_table.find_frame({"dim_mean_mm": 60.0}, None, ADULT, "mid")) == ["rule 3"]
    (fallback,) = case_table.find_frame({"dim_mean_mm": 55.0}, None, unknown, "mid")
    assert fallback == Finding(
        case="none",
        label="no rule of this table holds for this frame",
        source="this case table",
        caveat="Not a diagnosis. That no rule holds does not mean that the heart is normal. "
        "The sex is unknown: rules for women or for men were left out.",
        row="rule 8",
    )


@pytest.mark.parametrize(
    ("age", "held", "note"),
    [
        (None, ["rule 3"], " Limits of adults; the age is unknown."),
        (17.9, ["rule 4", "rule 3"], " Limits of adults; this person is under 18."),
        (18.0, ["rule 3"], ""),
    ],
)
def test_ages(case_table: CaseTable, age: float | None, held: list[str], note: str) -> None:
    found = case_table.find_frame({"dim_mean_mm": 60.0, "rwt_max_mm": 11.0}, None, Subject(None, age), "mid")
    assert rows(found) == held
    assert (
        found[-1].caveat == "Not a diagnosis. An echocardiographic limit, shown as information only." + note
    )


def test_levels(case_table: CaseTable) -> None:
    values = {"rwt_max_mm": 16.0}
    assert rows(case_table.find_frame(values, Phase.DIASTOLE, ADULT, "basal_or_apical")) == ["rule 8"]
    (found,) = case_table.find_frame(values, Phase.DIASTOLE, ADULT, "unknown")
    assert found.caveat == (
        "Not a diagnosis. At end diastole. "
        "Holds for mid-ventricular slices; the level of this slice is unknown."
    )
    with pytest.raises(ValueError, match="level 'apex'"):
        case_table.find_frame(values, Phase.DIASTOLE, ADULT, "apex")


def test_a_closed_table_answers_no_more(case_table: CaseTable) -> None:
    case_table.close()
    with pytest.raises(ValueError, match="closed"):
        case_table.find_frame({})


NAMES = frame_names()[:4]
BOUND = st.integers(-3, 3).map(float)


@st.composite
def conditions(draw: st.DrawFn) -> tuple[Condition, ...]:
    chosen = []
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)):
        lower = draw(BOUND | st.just(-math.inf))
        upper = draw(BOUND | st.just(math.inf))
        try:
            chosen.append(Condition(name, lower, upper, draw(st.booleans()), draw(st.booleans())))
        except FieldError:
            continue
    return tuple(chosen)


@st.composite
def rule_lists(draw: st.DrawFn) -> list[Rule]:
    made = []
    for number, held in enumerate(draw(st.lists(conditions(), max_size=12)), start=1):
        low, high = draw(
            st.sampled_from([(None, None), (18, None), (0, 17), (None, 40), (65, None), (18, 64)])
        )
        made.append(
            rule(
                number,
                *held,
                severity=draw(st.integers(0, 1)),
                phase=draw(st.sampled_from(["any", "systole", "diastole"])),
                sex=draw(st.sampled_from(["any", "F", "M"])),
                level=draw(st.sampled_from(["any", "mid"])),
                modality=draw(st.sampled_from(["any", "MR", "echo"])),
                min_age=low,
                max_age=high,
            )
        )
    return made


def plainly(
    rules: list[Rule], values: dict[str, float], phase: Phase | None, who: Subject, level: str
) -> list[str]:
    """The definition, one rule and one condition at a time."""

    def inside(condition: Condition) -> bool:
        value = values.get(condition.value, math.nan)
        low = value >= condition.lower if condition.lower_inclusive else value > condition.lower
        high = value <= condition.upper if condition.upper_inclusive else value < condition.upper
        return math.isfinite(value) and low and high

    def age_fits(rule: Rule) -> bool:
        if rule.is_for_adults or (rule.min_age is None and rule.max_age is None):
            return True
        if who.age_years is None:
            return False
        years = math.floor(who.age_years)
        return (rule.min_age is None or years >= rule.min_age) and (
            rule.max_age is None or years <= rule.max_age
        )

    def applies(rule: Rule) -> bool:
        return (
            rule.phase in ("any", None if phase is None else phase.value)
            and rule.sex in ("any", who.sex)
            and (rule.level == "any" or level != "basal_or_apical")
            and age_fits(rule)
        )

    held = [r for r in rules if not r.is_fallback and applies(r) and all(map(inside, r.conditions))]
    held.sort(key=lambda r: (-r.severity, r.modality == "echo", r.sex == "any", r.number))
    if not held:
        fallbacks = [r for r in rules if r.is_fallback and applies(r)]
        held = sorted(fallbacks, key=lambda r: (r.is_unrestricted, r.number))[:1]
    return [f"rule {r.number}" for r in held]


@given(
    rules=rule_lists(),
    values=st.dictionaries(
        st.sampled_from(NAMES), BOUND | st.floats(-4, 4) | st.sampled_from([math.nan, math.inf, -math.inf])
    ),
    phase=st.sampled_from([None, *Phase]),
    who=st.builds(
        Subject,
        sex=st.sampled_from([None, "F", "M", "O"]),
        age_years=st.sampled_from([None, 3.0, 17.99, 18.0, 40.5, 80.0]),
    ),
    level=st.sampled_from(LEVELS),
)  # fmt: skip
def test_the_arrays_say_what_the_definition_says(
    rules: list[Rule], values: dict[str, float], phase: Phase | None, who: Subject, level: str
) -> None:
    assert rows(rule_set(rules).find(values, phase, who, level)) == plainly(rules, values, phase, who, level)
