"""Rules through their trees: equal to the definition for any bounds; a tree that does not fit is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lvedge.casetable import frame_names, open_case_table, schema
from lvedge.casetable.cli import main
from lvedge.casetable.rule import Condition, FieldError, Rule
from lvedge.errors import CaseTableError
from lvedge.frame import Subject

from .test_ruleset import plainly, rows, rule, rule_set
from .test_schema import alter, message

NAMES = frame_names()[:7]
# Single precision cannot tell these from their neighbours.
CLOSE = [
    near
    for number in (0.1, 1.0, 16777217.0, 1e-40, -1e30, 1.7e308)
    for near in (math.nextafter(number, -math.inf), number, math.nextafter(number, math.inf))
]
NUMBER = st.sampled_from(CLOSE) | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def any_rules(draw: st.DrawFn) -> list[Rule]:
    made = []
    for number in range(1, draw(st.integers(1, 6)) + 1):
        conditions = []
        for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=7, unique=True)):
            bounds = sorted((draw(NUMBER), draw(NUMBER)))
            lower = bounds[0] if draw(st.booleans()) else -math.inf
            upper = bounds[1] if draw(st.booleans()) else math.inf
            try:
                conditions.append(Condition(name, lower, upper, draw(st.booleans()), draw(st.booleans())))
            except FieldError:
                continue
        made.append(rule(number, *conditions))
    return made


@st.composite
def rules_and_values(draw: st.DrawFn) -> tuple[list[Rule], dict[str, float]]:
    """Rules, and values that often are one of their bounds or next to it."""
    rules = draw(any_rules())
    bounds = [b for r in rules for c in r.conditions for b in (c.lower, c.upper) if math.isfinite(b)]
    near = [n for b in bounds for n in (math.nextafter(b, -math.inf), b, math.nextafter(b, math.inf))]
    value = NUMBER | st.sampled_from([math.nan, math.inf, -math.inf, *near])
    return rules, draw(st.dictionaries(st.sampled_from(NAMES), value, min_size=1))


@given(rules_and_values())
@example(([rule(1, Condition("rwt_IS_mm", 0.1, 0.1))], {"rwt_IS_mm": 0.1}))
@example(([rule(1, *(Condition(n, 16777217.0) for n in NAMES))], dict.fromkeys(NAMES, 16777217.0)))
@example(([rule(1, Condition("rwt_IS_mm", 0.0, 1e-60))], {"rwt_IS_mm": 1e-60}))
@example(([rule(k, Condition("rwt_IS_mm", 0.0, b)) for k, b in ((1, 1e-60), (2, 1.0))], {"rwt_IS_mm": 1e-60}))
def test_a_tree_leaves_no_rule_out_and_adds_none(drawn: tuple[list[Rule], dict[str, float]]) -> None:
    rules, values = drawn
    who = Subject()
    assert rows(rule_set(rules).find(values, None, who, "mid")) == plainly(rules, values, None, who, "mid")


def test_more_than_five_values_are_looked_up_by_the_most_selective_and_judged_by_all() -> None:
    wide, narrow = NAMES[0], NAMES[1:7]
    members = [
        rule(k, Condition(wide, 0.0, 100.0), *(Condition(name, k, k + 1.0) for name in narrow))
        for k in range(1, 30)
    ]
    found = rule_set(members)
    inside = {wide: 50.0, **dict.fromkeys(narrow, 7.5)}
    ((_, axes),) = found._trees._statements
    assert {axis.value for axis in axes} < set(narrow)
    assert rows(found.find(inside, None, Subject(), "mid")) == ["rule 7"]
    for name in (wide, *narrow):
        for value in (-1.0, math.nan):
            assert found.find({**inside, name: value}, None, Subject(), "mid") == ()
        assert found.find({n: v for n, v in inside.items() if n != name}, None, Subject(), "mid") == ()


def test_more_sets_of_values_than_one_statement_takes() -> None:
    names = frame_names()
    pairs = [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    assert len(pairs) > 100
    rules = [rule(k, Condition(a, 1.0, 2.0), Condition(b, 1.0, 2.0)) for k, (a, b) in enumerate(pairs, 1)]
    found = rule_set(rules).find({names[-2]: 1.5, names[-1]: 1.5}, None, Subject(), "mid")
    assert rows(found) == [f"rule {len(pairs)}"]
    assert len(rule_set(rules).find(dict.fromkeys(names, 2.0), None, Subject(), "mid")) == len(pairs)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "UPDATE condition SET upper = 0.9 WHERE rule = 7",
            "rule 7 does not fit the tree",
        ),
        ("DELETE FROM rule_tree_1", "rule 6 does not fit"),
        ("DELETE FROM rule_fallback WHERE rule = 9", "rule 9 does not fit"),
        ("UPDATE rule_set SET sex_specific = 0", "rule 2 does not fit"),
        ("DELETE FROM rule_entry WHERE rule = 7", "rule 7 does not fit the entry"),
        ("UPDATE rule_entry SET checksum = 0 WHERE rule = 7", "rule 7 does not fit the entry"),
        ("UPDATE rule SET label = 'consistent with luck' WHERE number = 7", "rule 7 does not fit the entry"),
        (
            "INSERT INTO rule_entry SELECT 77, checksum, entry FROM rule_entry WHERE rule = 7",
            "rule 77 does not fit the entry",
        ),
        ("DROP TABLE rule_tree_2", "table 'rule_tree_2' is missing or was altered"),
        (
            "UPDATE reference_value SET value = 0.21 WHERE value = 0.2",
            "page 1 of the reference cases",
        ),
        ("DELETE FROM reference_page", "the pages of the reference cases do not fit them"),
        ("DELETE FROM reference_tree", "page 1 of the reference cases"),
        ("UPDATE reference_direction SET share = 2.0", "table 'reference_direction' was altered"),
    ],
)
def test_a_tree_that_does_not_fit_its_rows_is_refused_and_mended(
    case_file: Path, statement: str, reason: str
) -> None:
    alter(case_file, statement)
    said = message(case_file)
    assert said.startswith(reason)
    if "--append" in said:
        assert main(["make", str(case_file), "--append"]) == 0
        with open_case_table(case_file) as table:
            assert table.find_cycle({"fac": 0.85})[0].row == ("rule 7" if "0.9" in statement else "rule 9")


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table is as one that is too large to be checked whole when it is opened."""
    monkeypatch.setattr(schema, "CHECKED_AT_OPENING_BYTES", 0)


@pytest.mark.usefixtures("unchecked")
def test_a_large_table_is_read_where_it_is_asked(case_file: Path) -> None:
    values = {"fac": 0.6, "ed_rwt_max_mm": 8.2}
    with open_case_table(case_file) as table:
        assert [f.row for f in table.find_cycle(values, level="mid")] == ["reference 1", "rule 7"]
        assert "content" not in vars(table)
        table.check()
    alter(case_file, "UPDATE rule SET label = 'it is normal' WHERE number = 7")
    refused = f"{case_file}: rule 7, label: has to say 'consistent with ...': a result is never a diagnosis"
    with open_case_table(case_file) as table:
        assert table.find_cycle(values)[-1].label == "consistent with normal contraction"
        for ask in (table.check, lambda: table.content):
            with pytest.raises(CaseTableError) as caught:
                ask()
            assert str(caught.value) == refused


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rule_entry SET entry = CAST(replace(CAST(entry AS TEXT), '0.8', '0.9') AS BLOB)",
        "UPDATE rule_entry SET entry = x''",
        "UPDATE rule_entry SET checksum = checksum + 1",
        "DELETE FROM rule_entry",
    ],
)
def test_an_entry_that_is_not_as_it_was_written_is_refused_when_it_is_asked(
    case_file: Path, statement: str
) -> None:
    alter(case_file, f"{statement} WHERE rule = 7")
    with open_case_table(case_file) as table:
        assert table.find_cycle({"fac": 0.3, "ed_dim_mean_mm": 60.0})[0].row == "rule 6"
        with pytest.raises(CaseTableError) as caught:
            table.find_cycle({"fac": 0.6})
    assert str(caught.value) == (
        f"{case_file}: rule 7 does not fit the entry that is looked up: "
        "make the trees anew from the rows with lvedge-cases make --append"
    )


@pytest.mark.usefixtures("unchecked")
def test_a_large_table_that_is_cut_off_is_refused(case_file: Path) -> None:
    whole = case_file.read_bytes()
    case_file.write_bytes(whole[: len(whole) // 2])
    assert message(case_file).endswith("make it again from its CSV files, or restore a copy")
