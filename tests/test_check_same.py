"""The gate that compares runs on two machines: it passes what is the same, and is seen red otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

GATE = Path(__file__).resolve().parent.parent / ".ci" / "check_same.py"
LINE = {
    "frame": 0,
    "measured": True,
    "rwt_mm": [9.0, 8.5],
    "phase": "systole",
    "result": None,
    "latency_ms": {"step": 1},
}


def compared(folder: Path, *changes: dict[str, object]) -> subprocess.CompletedProcess[str]:
    for name, change in zip(("one", "other"), ({}, *changes), strict=False):
        (folder / name).write_text(json.dumps({**LINE, **change}) + "\n")
    command = [
        sys.executable,
        str(GATE),
        str(folder / "one"),
        str(folder / "other"),
        "--frames=1",
        "--within=1e-4",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_runs_that_differ_in_the_last_digits_and_in_time_are_the_same(tmp_path: Path):
    done = compared(tmp_path, {"rwt_mm": [9.0015, 8.501], "latency_ms": {"step": 900}})
    assert (done.returncode, done.stdout) == (0, "1 frames, 6 values compared, worst 5.5e-05\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rwt_mm": [9.01, 8.5]}, ".rwt_mm[0]: 9.0 and 9.01"),
        ({"rwt_mm": [9.0]}, ".rwt_mm: [9.0, 8.5] and [9.0]"),
        ({"rwt_mm": [float("nan"), 8.5]}, ".rwt_mm[0]: 9.0 and nan"),
        ({"phase": "diastole"}, ".phase: systole and diastole"),
        ({"extra": 1}, "and {"),
        ({"measured": False}, "0 measured frames instead of 1"),
    ],
)
def test_runs_that_differ_are_told(tmp_path: Path, change: dict[str, object], words: str):
    done = compared(tmp_path, change)
    assert done.returncode == 1
    assert words in done.stderr
