"""The page on engines against the checks that exist: each of them is on it, in the column that it earns."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.gpu_checks import CHECKS, RESULTS, filled

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "engines.md"
HERE, DOUBLE, DEVICE = "really run here", "run on a double", "only a device can show"

FILES = {
    "onnxruntime-cpu": ("tests/runtime/test_engine.py",),
    "tensorrt": (
        "tests/runtime/test_tensorrt.py",
        "tests/runtime/test_cuda_device.py",
        "tests/runtime/test_engine_cache.py",
        "tests/export/test_tensorrt_offline.py",
    ),
    "openvino": ("tests/export/test_openvino.py",),
    "lvedge-export engine": (
        "tests/trt/test_rtx.py",
        "tests/trt/test_trt_names.py",
        "tests/trt/test_trt_build.py",
        "tests/export/test_engine_command.py",
    ),
}
"""Engine to the files of its checks."""

ON_DOUBLES = {"driver", "fake", "provider", "device", "make", "start"}
"""Fixtures that bring a double."""


def checks_in(files: Sequence[str]) -> dict[str, str]:
    """Test to the column that it belongs to."""
    found = {}
    for file in files:
        for function in ast.parse((ROOT / file).read_text("utf-8")).body:
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                wanted = {argument.arg for argument in function.args.args}
                found[function.name] = DOUBLE if wanted & ON_DOUBLES else HERE
    return found


def columns(engine: str) -> dict[str, list[str]]:
    """Column of an engine's table to what its cells name."""
    section = PAGE.read_text("utf-8").split(f"\n### {engine}\n")[1].partition("\n#")[0]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line[:1] == "|"
    ]
    return {
        title: [name for row in rows for name in re.findall(r"`(\w+)`", row[k])]
        for k, title in enumerate(head)
        if k
    }


@pytest.mark.parametrize("engine", FILES)
def test_every_check_is_on_the_page_once(engine: str) -> None:
    named = Counter(name for title, names in columns(engine).items() if title != DEVICE for name in names)
    shared = set(columns("onnxruntime-cpu")[HERE]) & set(named) if engine != "onnxruntime-cpu" else set()
    assert sorted(set(named) - shared) == sorted(checks_in(FILES[engine]))
    assert max(named.values()) == 1


def test_tensorrt_passes_the_contract_s_checks_on_doubles() -> None:
    """Those of ``test_engine.py`` that run for each engine."""
    tree = ast.parse((ROOT / FILES["onnxruntime-cpu"][0]).read_text("utf-8"))
    for_each = {
        function.name
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        and function.name.startswith("test_")
        and (
            "engine" in {argument.arg for argument in function.args.args}
            or any("WITH_DOUBLES" in ast.unparse(mark) for mark in function.decorator_list)
        )
    }
    assert for_each == set(columns("tensorrt")[DOUBLE]) & set(checks_in(FILES["onnxruntime-cpu"]))
    assert for_each


def test_what_runs_on_a_double_says_so() -> None:
    found = checks_in(FILES["tensorrt"])
    for title in (HERE, DOUBLE):
        named = [name for name in columns("tensorrt")[title] if name in found]
        assert [name for name in named if found[name] != title] == []


def test_every_check_for_a_device_is_on_the_page_with_its_result() -> None:
    assert sorted(columns("tensorrt")[DEVICE]) == sorted(CHECKS)
    text = PAGE.read_text("utf-8")
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"results": {}}
    assert filled(text, results) == text


def test_a_result_is_filled_in() -> None:
    found = {"speed": {"passed": True}, "memory": {"passed": False}}
    text = filled(
        "| `speed`: not run yet | `memory`: passed, x; `batch`: passed, y |",
        {"gpu": "Orin", "tensorrt": "10.3.0", "results": found},
    )
    on = "Orin, TensorRT 10.3.0"
    assert text == f"| `speed`: passed, {on} | `memory`: FAILED, {on}; `batch`: not run yet |"
