"""Every TensorRT name that the code uses exists in the real bindings of each version it is written for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from trt_names import module_of
from trt_places import LIBRARIES, NO_WHEEL, ROOT, VERSIONS, Python

CHECKER = Path(__file__).with_name("trt_names.py")
SOURCES = sorted(path for room in ("runtime", "export") for path in (ROOT / room).rglob("*.py"))
BUILDER = ROOT / "runtime/lvedge_runtime/engines/trt_build.py"

REMOVED = "what 10 has and 11 has no more"

WRONG = {
    "a class": ("trt.OnnxParser(network", "trt.OnxParser(network", "trt.OnxParser does not exist"),
    "a member": ("BuilderFlag.TF32", "BuilderFlag.FP64", "trt.BuilderFlag.FP64 does not exist"),
    "a method": (
        "builder.create_builder_config()",
        "builder.create_config()",
        "Builder.create_config does not exist",
    ),
    "a method of what a method gives": (
        ".get_engine_information(",
        ".get_engine_info(",
        "EngineInspector.get_engine_info does not exist",
    ),
    "a property": ("network.num_inputs", "network.inputs", "INetworkDefinition.inputs does not exist"),
    "a property that is set": (
        "config.DLA_core =",
        "config.dla_core =",
        "IBuilderConfig.dla_core is nothing that can be set",
    ),
    "an argument too few": (
        "config.create_timing_cache(known), False)",
        "config.create_timing_cache(known))",
        "IBuilderConfig.set_timing_cache takes other arguments",
    ),
    "an override": (
        "def phase_finish(",
        "def phase_finished(",
        "trt.IProgressMonitor has no phase_finished to be overridden",
    ),
    "an override's arguments": (
        "def phase_finish(self, phase_name: str)",
        "def phase_finish(self)",
        "trt.IProgressMonitor.phase_finish takes other arguments",
    ),
    "a type that is hidden": (
        "config: trt.IBuilderConfig) -> Iterator",
        "config: Any) -> Iterator",
        "what set_timing_cache is used on is not known: annotate it",
    ),
    REMOVED: (
        "config.clear_flag(trt.BuilderFlag.TF32)",
        "config.set_flag(trt.BuilderFlag.FP16)",
        "trt.BuilderFlag.FP16 does not exist",
    ),
}
"""What was there, what is put in its place, what has to be said of it."""


IMPORTED = "from tensorrt import Builder\n"


@cache
def files_with(module: str) -> list[Path]:
    return [path for path in SOURCES if module_of(path.read_text("utf-8")) == module]


@pytest.fixture(scope="module")
def wrong_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The builder with one thing wrong in each, and a file that imports names."""
    folder = tmp_path_factory.mktemp("wrong")
    source = BUILDER.read_text("utf-8")
    files = {what: folder / f"wrong_{k}.py" for k, what in enumerate([*WRONG, "imported"])}
    for what, (was, wrong, _) in WRONG.items():
        assert source.count(was) >= 1, f"the builder has no {was!r} any more: change the test"
        files[what].write_text(source.replace(was, wrong), "utf-8")
    files["imported"].write_text(IMPORTED, "utf-8")
    return files


@pytest.fixture(scope="module", params=VERSIONS)
def told(
    request: pytest.FixtureRequest,
    wheels: Path,
    compiled: Callable[[str, str], Path],
    python: Python,
    wrong_files: dict[str, Path],
) -> dict[str, Any]:
    """What the checker says with the real bindings of a version, of our files and of the wrong ones."""
    version = request.param
    if (version, sys.version_info[:2]) in NO_WHEEL:
        pytest.skip(f"TensorRT {version} has no wheel for this Python")
    major = version.partition(".")[0]
    libraries = [compiled("stub_nvinfer.c", f"lib{name}.so.{major}") for name in LIBRARIES]
    files = [*files_with("tensorrt"), *wrong_files.values()]
    done = python([CHECKER, "tensorrt_bindings", *files], [wheels / version], libraries)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["version"] == version
    return found


def test_the_files_are_found() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in files_with("tensorrt")}
    assert {f"runtime/lvedge_runtime/engines/trt_{name}.py" for name in ("build", "module")} <= names
    assert [path.name for path in files_with("tensorrt_rtx")] == ["rtx.py"]


def test_a_file_that_is_given_the_module_is_found_too() -> None:
    assert module_of("def build(trt): return trt.Builder()") == "tensorrt"
    assert module_of("def load():\n    from tensorrt import Builder") == "tensorrt"
    assert module_of("text = 'tensorrt'") is None


@pytest.mark.tensorrt
def test_every_name_exists(told: dict[str, Any]) -> None:
    assert {path.name: told["faults"][str(path)] for path in files_with("tensorrt")} == {
        path.name: [] for path in files_with("tensorrt")
    }
    assert {
        "Builder.build_serialized_network",
        "OnnxParser.parse",
        "ParserError.node_name",
        "IBuilderConfig.set_timing_cache",
        "IOptimizationProfile.set_shape",
        "EngineInspector.get_engine_information",
        "IProgressMonitor.step_complete",
        "ILogger.log",
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    } <= set(told["used"])


@pytest.mark.tensorrt
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_name_is_caught(told: dict[str, Any], wrong_files: dict[str, Path], what: str) -> None:
    faults = told["faults"][str(wrong_files[what])]
    expected = WRONG[what][2]
    if what == REMOVED and told["version"] < "11":
        assert faults == []
    else:
        assert [fault.partition(": ")[2] for fault in faults][:1] == [expected]


@pytest.mark.tensorrt
def test_names_that_are_imported_are_refused(told: dict[str, Any], wrong_files: dict[str, Path]) -> None:
    assert told["faults"][str(wrong_files["imported"])] == [
        "1: names are imported from tensorrt: import the module as trt"
    ]
