"""The figures of how the case table scales are those of the code as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "casetable_scale.json"
ROOM = ("lvedge/casetable", "benchmarks/casetable_scale.py")


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("git") is None or git("rev-parse").returncode != 0, reason="no git here")
def test_the_figures_are_no_older_than_the_room_they_measure() -> None:
    measured = json.loads(RESULT.read_text(encoding="utf-8"))["commit"]
    if git("cat-file", "-e", f"{measured}^{{commit}}").returncode != 0:
        pytest.skip("the commit that was measured is not in this clone")
    changed = git("log", "--format=%h %s", f"{measured}..HEAD", "--", *ROOM).stdout
    assert changed == "", "changed since it was measured: run make long"
