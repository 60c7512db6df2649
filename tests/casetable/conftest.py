"""A small case table of its own for every test, made the way a user makes one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lvedge.casetable import CaseTable, open_case_table
from lvedge.casetable.cli import main

RULES = """\
# title: Rules of the tests
# licence: CC0-1.0
rule,scope,phase,sex,min_age,max_age,level,modality,conditions,case,label,severity,source,caveat
1,frame,diastole,any,18,,mid,MR,rwt_max_mm >= 15,HCM,consistent with HCM,3,Guide 1,At end diastole.
2,frame,any,F,18,,any,MR,dim_mean_mm > 52,large,consistent with a large cavity of women,2,Guide 2,
3,frame,any,any,18,,any,echo,dim_mean_mm > 58,large,consistent with a large cavity,1,Guide 3,
4,frame,,,0,17,,,rwt_max_mm > 10,thick,consistent with a thick wall of the young,2,Guide 4,
5,frame,,,,,,,4 <= rwt_mean_mm <= 8,normal wall,consistent with a normal wall,0,Guide 5,
6,cycle,,any,,,mid,MR,fac < 0.4 and ed_dim_mean_mm > 55,weak,consistent with a weak and large LV,2,Study 6,
7,cycle,,any,,,any,MR,0.4 <= fac <= 0.8,normal,consistent with normal contraction,0,Study 7,
"""

REFERENCES = """\
# title: References of the tests
# licence: CC-BY-4.0
# neighbours: 3
# distance_limit: 1.5
# level: mid
reference,case,label,severity,source,caveat,fac,ed_rwt_max_mm
1,NOR,NOR,0,Study 8,Few cases.,0.6,8
2,NOR,,,,,0.62,9
3,NOR,,,,,0.58,7
4,DCM,DCM,2,Study 8,Few cases.,0.2,8
5,DCM,,,,,0.15,9
6,DCM,,,,,0.22,7
"""


@pytest.fixture
def rules_csv(tmp_path: Path) -> Path:
    path = tmp_path / "rules.csv"
    path.write_text(RULES, encoding="utf-8")
    return path


@pytest.fixture
def references_csv(tmp_path: Path) -> Path:
    path = tmp_path / "references.csv"
    path.write_text(REFERENCES, encoding="utf-8")
    return path


@pytest.fixture
def case_file(
    tmp_path: Path, rules_csv: Path, references_csv: Path, capsys: pytest.CaptureFixture[str]
) -> Path:
    path = tmp_path / "cases.sqlite"
    code = main(["make", str(path), "--rules", str(rules_csv), "--references", str(references_csv)])
    assert (code, capsys.readouterr().err) == (0, "")
    return path


@pytest.fixture
def case_table(case_file: Path) -> Iterator[CaseTable]:
    with open_case_table(case_file) as table:
        yield table


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """Writes a CSV with one piece of text exchanged."""

    def write(text: str, old: str, new: str) -> Path:
        assert old in text
        path = tmp_path / "changed.csv"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return path

    return write
