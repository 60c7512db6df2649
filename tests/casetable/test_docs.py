"""The examples of docs/case-table.md do what they show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from lvedge.casetable import cycle_names, frame_names
from lvedge.casetable.cli import main
from lvedge.casetable.csvfile import RULE_COLUMNS
from lvedge.indices import Indices

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "case-table.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in zip(("rules.csv", "references.csv", "bad.csv"), blocks("csv"), strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_commands_say_what_the_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks("console"):
        for command, expected in re.findall(
            r"^\$ lvedge-cases (.*)\n((?:(?!\$ ).*\n)*)", block, flags=re.MULTILINE
        ):
            main(shlex.split(command))
            said = capsys.readouterr()
            assert said.out + said.err == expected


def test_the_python_example_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["make", "site.sqlite", "--rules", "rules.csv"])
    capsys.readouterr()
    (example,) = blocks("python")
    indices = Indices(np.array([14.0] * 6 + [40.0] * 3 + [1250.0, 2370.0]))
    exec(compile(example, "docs/case-table.md", "exec"), {"indices": indices})
    assert capsys.readouterr().out == "consistent with a borderline wall rule 4\n"


def test_every_column_and_every_value_is_explained() -> None:
    for name in (*RULE_COLUMNS, *frame_names()[6:], *cycle_names()[-11:-6]):
        assert f"`{name}`" in PAGE, name
