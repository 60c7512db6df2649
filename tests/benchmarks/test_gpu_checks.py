"""The checks for a device, tried on the doubles: none of them has to be mended once a device is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doubles.fake_tensorrt import Fake

from benchmarks import gpu_checks
from lvedge.bundle import Bundle
from lvedge_runtime.engines.cache import EngineCache


@pytest.mark.parametrize("check", gpu_checks.CHECKS)
def test_it_passes_on_the_doubles(
    check: str, fake: Fake, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cuda.bindings.driver")
    for name, value in {"FRAMES": 10, "BEAT": 8, "TIMED": 6, "STARTS": 2}.items():
        monkeypatch.setattr(gpu_checks, name, value)
    found = gpu_checks.CHECKS[check](gpu_checks.Bench(bundle, EngineCache(tmp_path / "engines")))
    assert found["passed"], found


def test_a_wrong_number_is_seen(
    fake: Fake, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cuda.bindings.driver")
    monkeypatch.setattr(gpu_checks, "FRAMES", 3)
    right = gpu_checks.walk

    def wrong(stepper: Any, frames: Any) -> Any:
        found, state = right(stepper, frames)
        if stepper.name == "tensorrt":
            found["indices"][-1, 0, 0] += 5.0
        return found, state

    monkeypatch.setattr(gpu_checks, "walk", wrong)
    assert not gpu_checks.carried_state(gpu_checks.Bench(bundle, EngineCache(tmp_path / "engines")))["passed"]
