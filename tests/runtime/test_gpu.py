"""What only a device can show: the checks of ``benchmarks/gpu_checks.py``, in a process without doubles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_checks import CHECKS, NO_GPU

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def results() -> Any:
    """Every check's result, from one run of the script."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_checks"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path)},
    )
    if done.returncode == NO_GPU:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.stdout, done.stderr
    return json.loads(done.stdout)["results"]


@pytest.mark.parametrize("check", CHECKS)
def test_on_a_device(results: Any, check: str) -> None:
    assert results[check]["passed"], results[check]
