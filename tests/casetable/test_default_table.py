"""The table that ships: made from its CSV files, cited, and without what it must not say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lvedge.casetable
from lvedge.casetable import DEFAULT_PATH, CaseTable, cycle_features, open_case_table
from lvedge.casetable.cli import main
from lvedge.frame import Subject
from lvedge.indices import Indices

RULES = Path(lvedge.casetable.__file__).parent / "data" / "rules.csv"

pytestmark = pytest.mark.skipif(not DEFAULT_PATH.exists(), reason="this build ships no case table")


def heart(wall_mm: float, diameter_mm: float) -> Indices:
    inner = np.pi / 4 * diameter_mm**2
    outer = np.pi / 4 * (diameter_mm + 2 * wall_mm) ** 2
    return Indices(np.array([wall_mm] * 6 + [diameter_mm] * 3 + [inner, outer - inner]))


@pytest.fixture(scope="module")
def shipped() -> CaseTable:
    return open_case_table()


def test_it_is_what_its_csv_files_make(tmp_path: Path, shipped: CaseTable) -> None:
    out = tmp_path / "cases.sqlite"
    references = DEFAULT_PATH.with_name("references.csv")
    title = "lvedge default case table"
    assert (
        main(["make", str(out), "--rules", str(RULES), "--references", str(references), "--title", title])
        == 0
    )
    with open_case_table(out) as table:
        assert table.content == shipped.content


def test_every_row_is_cited_and_echo_is_information(shipped: CaseTable) -> None:
    for rule in shipped.content.rules:
        assert rule.is_fallback or any(
            year in rule.source for year in ("2005", "2009", "2012", "2015", "2018", "2023")
        )
        assert rule.modality != "echo" or rule.severity <= 1
    assert (
        shipped.meta["references.held out"] == "20 subjects, the split's test part, are not among these cases"
    )
    assert len(shipped.content.references) == 80
    assert "cannot be seen from the LV" in shipped.content.groups["RV"].label


@pytest.mark.parametrize(
    ("ed", "es", "case"),
    [
        (heart(7.0, 46.0), heart(12.0, 29.0), {"NOR", "RV"}),
        (heart(16.0, 45.0), heart(24.0, 22.0), {"HCM"}),
        (heart(8.0, 66.0), heart(9.0, 61.0), {"DCM"}),
    ],
)
def test_plain_hearts_find_their_group(shipped: CaseTable, ed: Indices, es: Indices, case: set[str]) -> None:
    found = shipped.find_cycle(cycle_features(ed, es), Subject(), "mid")
    nearest = [finding for finding in found if finding.row.startswith("reference ")]
    assert [finding.case in case for finding in nearest] == [True]
    assert all(finding.caveat.startswith("Not a diagnosis.") for finding in found)


def test_a_thick_wall_is_reported_by_its_criterion(shipped: CaseTable) -> None:
    found = shipped.find_cycle(
        cycle_features(heart(16.0, 45.0), heart(24.0, 22.0)), Subject("M", 50.0), "mid"
    )
    assert (found[0].row, found[0].case, found[0].severity) == ("rule 1", "HCM", 3)
