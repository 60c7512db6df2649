"""The command ``lvedge-cases``, run as a user runs it."""

# ruff: noqa: E501 - the tables below hold one case a line

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from lvedge.casetable import open_case_table
from lvedge.casetable.cli import main

from .conftest import REFERENCES, RULES

Capture = pytest.CaptureFixture[str]
INDICES = {"rwt_mm": [8.0] * 6, "dims_mm": [60.0] * 3, "areas_mm2": [2800.0, 1700.0]}


def test_make_says_what_it_made(tmp_path: Path, rules_csv: Path, capsys: Capture) -> None:
    out = tmp_path / "own.sqlite"
    assert main(["make", str(out), "--rules", str(rules_csv), "--title", "Ours"]) == 0
    assert capsys.readouterr().out == f"{out}: 9 rules, 0 reference cases of 0 cases\n"
    with open_case_table(out) as table:
        assert table.meta == {
            "title": "Ours",
            "licence": "CC0-1.0",
            "version": "1",
            "rules.title": "Rules of the tests",
            "rules.licence": "CC0-1.0",
        }


def test_the_same_input_makes_the_same_bytes(
    tmp_path: Path, case_file: Path, rules_csv: Path, references_csv: Path
) -> None:
    again = tmp_path / "again" / "cases.sqlite"
    again.parent.mkdir()
    assert main(["make", str(again), "--rules", str(rules_csv), "--references", str(references_csv)]) == 0
    assert again.read_bytes() == case_file.read_bytes()


def test_append_numbers_on_and_standardises_anew(tmp_path: Path, case_file: Path, capsys: Capture) -> None:
    rules = tmp_path / "more.csv"
    rules.write_text(
        "scope,conditions,case,label,severity,source\ncycle,fac > 0.8,x,consistent with x,1,s\n",
        encoding="utf-8",
    )
    references = tmp_path / "more_references.csv"
    references.write_text(
        "case,label,severity,source,fac,ed_rwt_max_mm\nHCM,HCM,2,s,0.7,16\nHCM,,,,0.8,17\n", encoding="utf-8"
    )
    assert (
        main(["make", str(case_file), "--append", "--rules", str(rules), "--references", str(references)])
        == 0
    )
    with open_case_table(case_file) as table:
        assert [rule.number for rule in table.content.rules] == list(range(1, 11))
        assert [(r.number, r.case) for r in table.content.references][-2:] == [(7, "HCM"), (8, "HCM")]
        assert table.content.features[1].mean == pytest.approx((8 + 9 + 7 + 8 + 9 + 7 + 16 + 17) / 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["make", "FILE", "--rules", "RULES"], "FILE: exists: add --append to add to it, or --replace to write it anew"),
        (["make", "NEW", "--append"], "NEW: does not exist: leave --append out to make it"),
        (["make", "NEW"], "nothing to make a table of: give --rules rules.csv, --references references.csv, or both"),
        (["make", "FILE", "--append", "--rules", "RULES"], "rule 1 stands twice: give each its own number, or leave the column empty"),
        (["make", "FILE", "--append", "--sectors", "8"], "--sectors and --diameters belong to the table: leave them out with --append"),
        (["make", "NEW", "--rules", "RULES", "--sectors", "5"], "--sectors, --diameters: the number of sectors must be even and at least 2, not 5"),
        (["make", "NEW", "--rules", "NEW"], "NEW: cannot be read (No such file or directory): give the path of a CSV file"),
        (["check", "RULES"], "RULES: is no SQLite database: make a case table from CSV files with lvedge-cases make"),
        (["query", "FILE", "--values", "fac"], "--values: 'fac' is no NAME=NUMBER: write for example fac=0.55"),
        (["query", "FILE", "--values", "fac=0.5", "rwt_max_mm=9"], "--values: values of a frame and of a cycle do not go together: ask twice"),
        (["query", "FILE", "--values", "fac=0.5", "--age", "200"], "--age: 200 is no age in years: give 0 to 130"),
        (["query", "FILE", "--jsonl", "RULES"], None),
    ],
)  # fmt: skip
def test_one_clear_line_each(
    case_file: Path, rules_csv: Path, capsys: Capture, arguments: list[str], message: str | None
) -> None:
    before, folder = case_file.read_bytes(), case_file.parent
    places = {"FILE": str(case_file), "RULES": str(rules_csv), "NEW": str(folder / "new.sqlite")}
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    if message is None:
        assert lines[-1] == (
            f"lvedge-cases: {rules_csv}: no cycle object could be looked up: give the file that jsonl: wrote"
        )
    else:
        for name, place in places.items():
            message = message.replace(name, place)
        assert lines == [f"lvedge-cases: {message}"]
    assert case_file.read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["cases.sqlite", "references.csv", "rules.csv"]


def test_a_bad_line_leaves_the_old_table(tmp_path: Path, case_file: Path, capsys: Capture) -> None:
    before = case_file.read_bytes()
    bad = tmp_path / "bad.csv"
    bad.write_text(RULES.replace("0.4 <= fac", "4 <= fac"), encoding="utf-8")
    assert main(["make", str(case_file), "--replace", "--rules", str(bad)]) == 2
    assert capsys.readouterr().err == (
        f"lvedge-cases: {bad}, line 10, column conditions: "
        "no number satisfies '4 <= fac <= 0.8': exchange or widen the bounds\n"
    )
    assert case_file.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def test_other_values_cannot_be_appended(tmp_path: Path, case_file: Path, capsys: Capture) -> None:
    other = tmp_path / "other.csv"
    other.write_text(REFERENCES.replace("ed_rwt_max_mm", "thickening_min"), encoding="utf-8")
    assert main(["make", str(case_file), "--append", "--references", str(other)]) == 2
    assert capsys.readouterr().err == (
        "lvedge-cases: the table's reference cases have the values fac, ed_rwt_max_mm: give the same columns\n"
    )


def test_check_and_list(case_file: Path, capsys: Capture) -> None:
    assert main(["check", str(case_file)]) == 0
    assert capsys.readouterr().out == f"{case_file}: sound; 9 rules, 6 reference cases of 2 cases\n"
    assert main(["list", str(case_file), "--rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "rule 1: frame (18+ years, diastole, mid): rwt_max_mm >= 15: HCM, severity 3: consistent with HCM [Guide 1]"
    )
    assert lines[3] == (
        "rule 4: frame (0-17 years): rwt_max_mm > 10: thick, severity 2: "
        "consistent with a thick wall of the young [Guide 4]"
    )
    assert main(["list", str(case_file), "--references"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "feature fac: 0.395 ± 0.2064, weight 1",
        "feature ed_rwt_max_mm: 8 ± 0.8165, weight 1",
        "reference 1: NOR: fac=0.6 ed_rwt_max_mm=8",
    ]
    assert main(["list", str(case_file)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "licence: CC0-1.0 AND CC-BY-4.0"


def test_query_values(case_file: Path, capsys: Capture) -> None:
    arguments = ["query", str(case_file), "--values", "rwt_max_mm=16", "--phase", "diastole", "--age", "40"]
    assert main([*arguments, "--level", "mid"]) == 0
    assert capsys.readouterr().out == (
        "consistent with HCM\n    rule 1, severity 3, Guide 1\n    Not a diagnosis. At end diastole.\n"
    )
    assert main([*arguments, "--level", "mid", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "of": "",
        "findings": [
            {
                "case": "HCM",
                "label": "consistent with HCM",
                "source": "Guide 1",
                "caveat": "Not a diagnosis. At end diastole.",
                "row": "rule 1",
                "severity": 3,
                "distance": None,
            }
        ],
    }


def test_query_the_cycles_of_a_run(
    tmp_path: Path, case_file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    es = {"rwt_mm": [9.0] * 6, "dims_mm": [52.0] * 3, "areas_mm2": [2240.0, 1700.0]}
    lines = [
        json.dumps({"series": "s", "slice": 3, "frame": 0, "measured": True}),
        json.dumps({"cycle": {"series": "s", "slice": 3, "ed": INDICES, "es": es}}),
    ]
    run = tmp_path / "run.jsonl"
    run.write_text("\n".join(lines), encoding="utf-8")
    assert main(["query", str(case_file), "--jsonl", str(run), "--level", "mid"]) == 0
    assert capsys.readouterr().out.splitlines()[:5] == [
        "line 2: s slice 3",
        "consistent with DCM (nearest reference cases: 3 of 3)",
        "    reference 4, severity 2, Study 8",
        "    Not a diagnosis. Few cases.",
        "consistent with a weak and large LV",
    ]
    lines += [
        json.dumps({"cycle": {"series": "s", "slice": 0, "ed": None, "es": None, "reason": "no LV"}}),
        json.dumps({"cycle": {"series": "s", "slice": 1, "ed": INDICES, "es": {"rwt_mm": [1]}}}),
        "{",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    assert main(["query", str(case_file), "--jsonl", "-"]) == 3
    assert capsys.readouterr().err.splitlines() == [
        "lvedge-cases: line 3: s slice 0: no LV",
        "lvedge-cases: line 4: s slice 1: has no rwt_mm, dims_mm, areas_mm2 of 11 numbers at ed and es ('dims_mm')",
        "lvedge-cases: line 5: is no JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)): "
        "give the file that jsonl: wrote",
    ]


def test_export_and_make_again(tmp_path: Path, case_file: Path, capsys: Capture) -> None:
    rules, references, again = (tmp_path / name for name in ("r.csv", "f.csv", "again.sqlite"))
    assert main(["export", str(case_file), "--rules", str(rules), "--references", str(references)]) == 0
    arguments = [
        "make",
        str(again),
        "--rules",
        str(rules),
        "--references",
        str(references),
        "--title",
        "cases",
    ]
    assert main(arguments) == 0
    assert again.read_bytes() == case_file.read_bytes()
    capsys.readouterr()
    assert main(["export", str(case_file)]) == 0
    assert capsys.readouterr().out == rules.read_text(encoding="utf-8")


def test_other_numbers_of_sectors_and_diameters(tmp_path: Path) -> None:
    rules, out = tmp_path / "rules.csv", tmp_path / "eight.sqlite"
    rules.write_text(
        "scope,conditions,case,label,severity,source\nframe,rwt_S8_mm > 15,x,consistent with x,1,s\n",
        encoding="utf-8",
    )
    assert main(["make", str(out), "--rules", str(rules), "--sectors", "8", "--diameters", "4"]) == 0
    with open_case_table(out) as table:
        assert [finding.row for finding in table.find_frame({"rwt_S8_mm": 16.0})] == ["rule 1"]
