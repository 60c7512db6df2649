"""CSV files: every bad line is named, and a table written back gives the same table."""

# ruff: noqa: E501 - the tables below hold one case a line

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lvedge.casetable import CaseTable
from lvedge.casetable.content import Content, merged
from lvedge.casetable.csvfile import read_references, read_rules, text_from_references, text_from_rules
from lvedge.errors import CaseTableError

from .conftest import REFERENCES, RULES

Changed = Callable[[str, str, str], Path]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3,Guide 1", "high,Guide 1", ", line 4, column severity: 'high' is no whole number: write for example 18, or leave it empty"),
        ("3,Guide 1", ",Guide 1", ", line 4, column severity: is empty: give 0 none, 1 note, 2 abnormal or 3 marked"),
        ("rwt_max_mm >= 15", "rwt_max_mm => 15", ", line 4, column conditions: 'rwt_max_mm => 15' is no interval: write '13 <= ed_rwt_max_mm < 15' or 'fac < 0.4'"),
        ("2,frame,any,F", "2,frame,any,W", ", line 5, column sex: 'W' is not one of any, F, M"),
        ("2,frame,any,F", "1,frame,any,F", ", line 5, column rule: 1 stands in line 4 already: give each rule its own number"),
        ("2,frame", "2,picture", ", line 5, column scope: 'picture' is not one of frame, cycle"),
        ("1,Guide 3", "2,Guide 3", ", line 6, column severity: an echo limit is information on MR: give it severity 0 or 1"),
        ("Study 6", "EF limit", ", line 9, column source: compares fac with a limit of the ejection fraction: the FAC of one slice is no EF, take a limit that was measured as FAC"),
        ("Guide 2,", 'Guide 2,a,b', ", line 5: has 15 cells for 14 columns: put text that holds a comma into double quotes"),
        ("Guide 2", '"Guide 2', ", line 5: is no CSV (unexpected end of data): check the double quotes"),
        (",severity,", ",gravity,", ", line 3: column 'severity' is missing: add it"),
        (",caveat\n", ",caveats\n", ": unknown column 'caveats'; did you mean 'caveat'? Known: rule, scope, phase, sex, min_age, max_age, level, modality, conditions, case, label, severity, source, caveat"),
        (",caveat\n", ",source\n", ", line 3: column 'source' is unnamed or stands twice"),
        (RULES, "# title: none\n", ", line 2: column 'scope' is missing: add it"),
        (RULES[RULES.index("1,frame"):], "", ": holds no rules: write one a line below the names of the columns"),
        (RULES, "rule;scope;conditions\n", ", line 1: is separated by ';': save it separated by commas"),
    ],
)  # fmt: skip
def test_bad_rules(changed: Changed, old: str, new: str, message: str) -> None:
    path = changed(RULES, old, new)
    with pytest.raises(CaseTableError) as caught:
        read_rules(path)
    assert str(caught.value) == f"{path}{message}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.62,9", "?,9", ", line 8, column fac: '?' is no number: write for example 7.25"),
        ("0.62,9", "nan,9", ", line 8, column reference: 2 has a value that is not finite: leave the row out"),
        ("2,NOR,,", "2,NOR,normal,", ", line 8, column label: differs from the first row of case 'NOR': repeat it, or leave it empty"),
        ("NOR,NOR,0", "NOR,NOR,", ", line 7, column severity: is empty in the first row of case 'NOR': give 0, 1, 2 or 3"),
        ("NOR,NOR,0", "NOR,,0", ", line 7, column label: is empty: every result names its case, its words and its source"),
        ("3,NOR", "2,NOR", ", line 9, column reference: 2 stands in line 8 already: give each its own number"),
        (",fac,", ",ed_frac,", None),
        ("# neighbours: 3", "# neighbours: 0", ": neighbours: 0 neighbours cannot vote: give 1 or more"),
        ("# neighbours: 3", "# neighbours: few", ": neighbours, distance_limit and weights are numbers (invalid literal for int() with base 10: 'few')"),
        ("# neighbours: 3", "# weight fak: 2", ": a weight is given for 'fak', which is no column: take it out"),
    ],
)  # fmt: skip
def test_bad_references(changed: Changed, old: str, new: str, message: str | None) -> None:
    path = changed(REFERENCES, old, new)
    with pytest.raises(CaseTableError) as caught:
        read_references(path)
    if message is None:
        assert str(caught.value).startswith(f"{path}: unknown value 'ed_frac'")
    else:
        assert str(caught.value) == f"{path}{message}"


def test_a_column_of_one_value_is_refused(changed: Changed) -> None:
    path = changed(REFERENCES.replace(",9\n", ",8\n"), ",7\n", ",8\n")
    with pytest.raises(CaseTableError) as caught:
        read_references(path)
    assert str(caught.value) == (
        f"{path}, column ed_rwt_max_mm: has the same value in every reference case: leave the column out"
    )


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("scope,caveat\nframe,für".encode("latin-1"))
    with pytest.raises(CaseTableError, match=r"latin\.csv: is no UTF-8 text .*: save it as UTF-8"):
        read_rules(path)


def test_a_spreadsheets_habits_are_fine(tmp_path: Path, rules_csv: Path) -> None:
    path = tmp_path / "excel.csv"
    text = RULES.replace("# title: Rules of the tests\n", "# title: Rules of the tests,,,,,,,,,,,,,\n")
    path.write_bytes(("﻿" + text.replace("\n", "\r\n") + ",,,,,,,,,,,,,\r\n").encode())
    assert read_rules(path) == read_rules(rules_csv)


def test_rows_without_a_number_are_numbered_on(tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text(
        "scope,conditions,case,label,severity,source\n"
        "cycle,fac < 0.4,weak,consistent with weak,2,s\n"
        "cycle,fac > 0.8,strong,consistent with strong,1,s\n",
        encoding="utf-8",
    )
    assert [rule.number for rule in read_rules(path, first_number=10).rules] == [10, 11]


def test_a_table_written_back_gives_the_same_table(tmp_path: Path, case_table: CaseTable) -> None:
    rules, references = tmp_path / "r.csv", tmp_path / "f.csv"
    rules.write_text(text_from_rules(case_table.content), encoding="utf-8")
    references.write_text(text_from_references(case_table.content), encoding="utf-8")
    again = merged(merged(Content(), read_rules(rules)), read_references(references))
    meta = {key: value for key, value in case_table.meta.items() if "." in key}
    assert (again.rules, again.references, again.groups, again.features, again.search, again.meta) == (
        case_table.content.rules,
        case_table.content.references,
        case_table.content.groups,
        case_table.content.features,
        case_table.content.search,
        meta,
    )


def test_weights_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "weighted.csv"
    path.write_text(REFERENCES.replace("# level: mid", "# weight fac: 2.5"), encoding="utf-8")
    content = read_references(path)
    assert [(feature.name, feature.weight) for feature in content.features] == [
        ("fac", 2.5),
        ("ed_rwt_max_mm", 1.0),
    ]
    path.write_text(text_from_references(content), encoding="utf-8")
    assert read_references(path) == content
