"""How engines are built: what the builder is told, what is said where it cannot be; on stand-ins."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from doubles import trt_types
from trt_places import HERE, LIBRARIES, NO_WHEEL, VERSIONS, Python

from lvedge.bundle import DEFAULT_PATH, Bundle, open_bundle
from lvedge.errors import EngineError
from lvedge.graph import GRAPHS
from lvedge_runtime.engines import trt_build
from lvedge_runtime.engines.trt_build import BuildOptions, build_engine, engine_from_graph
from lvedge_runtime.engines.trt_module import tensorrt_module

FAKE = HERE / "fake"
COMMAND = "import sys; from lvedge_export.cli import main; sys.exit(main(sys.argv[1:]))"
BUILD = "from lvedge_runtime.engines.trt_build import build_engine; build_engine(b'no graph')"


def fake_tensorrt() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tensorrt", FAKE / "tensorrt.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trt() -> ModuleType:
    """The stand-in for ``tensorrt``."""
    return fake_tensorrt()


@pytest.fixture
def graph(bundle: Bundle) -> bytes:
    return bundle.graph("replay")


def built(trt: Any, graph: bytes, *, cache: Path | None = None, **options: Any) -> dict[str, Any]:
    """What the builder was told."""
    around = partial(trt_build._timed_by, cache)
    told: dict[str, Any] = json.loads(engine_from_graph(trt, graph, BuildOptions(**options), around))
    return told


def test_the_builder_is_told_what_was_asked(trt: ModuleType, graph: bytes) -> None:
    told = built(trt, graph, workspace_mb=5, max_batch=4)
    assert told["pools"] == {"WORKSPACE": 5 << 20}
    assert told["flags"] == []
    assert (told["verbosity"], told["hardware"], told["device"]) == ("DETAILED", "NONE", ["GPU", -1])
    assert set(told["profile"]) == set(GRAPHS["replay"][0])
    for least, best, most in told["profile"].values():
        assert (least[0], best[0], most[0]) == (1, 4, 4)
        assert least[1:] == best[1:] == most[1:]


def test_engines_for_others(trt: ModuleType, graph: bytes) -> None:
    told = built(trt, graph, version_compatible=True, hardware_compatible=True)
    assert (told["flags"], told["hardware"]) == (["VERSION_COMPATIBLE"], "AMPERE_PLUS")


def test_a_dla_takes_one_batch_and_leaves_the_rest_to_the_gpu(trt: ModuleType, graph: bytes) -> None:
    told = built(trt, graph, dla_core=1, max_batch=2)
    assert (told["flags"], told["device"]) == (["GPU_FALLBACK"], ["DLA", 1])
    assert {shape[0] for shapes in told["profile"].values() for shape in shapes} == {2}
    with pytest.raises(EngineError, match=r"^there is no DLA core 2: it has 0 to 1$"):
        built(trt, graph, dla_core=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workspace_mb": 0}, "at least 1 MiB of workspace and 1 stream, not 0 and 1"),
        ({"max_batch": 0}, "at least 1 MiB of workspace and 1 stream, not 256 and 0"),
        ({"dla_core": -1}, "there is no DLA core -1"),
        ({"dla_core": 0, "version_compatible": True}, "a DLA is for this device and this TensorRT only"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        BuildOptions(**options)


def test_measured_times_are_kept(trt: ModuleType, graph: bytes, tmp_path: Path) -> None:
    cache = tmp_path / "times"
    for times in (b"+", b"++"):
        built(trt, graph, cache=cache)
        assert cache.read_bytes() == times
    cache.write_bytes(trt.FOREIGN)
    built(trt, graph, cache=cache)
    assert cache.read_bytes() == b"+"
    with pytest.raises(
        EngineError, match=r"^the timing cache \S+ cannot be kept: No such file or directory$"
    ):
        built(trt, graph, cache=tmp_path / "nowhere" / "times")


def test_why_no_engine_is_built(trt: ModuleType, graph: bytes) -> None:
    said = r"^TensorRT 10\.3\.0 builds no engine within 1 MiB: Error Code 10: no implementation for any node$"
    with pytest.raises(EngineError, match=said):
        built(trt, graph, workspace_mb=1)


def test_the_first_error_of_the_parser_is_told(trt: ModuleType) -> None:
    said = r"^TensorRT 10\.3\.0 does not take the graph: MODEL_DESERIALIZE_FAILED: .* \(and 1 more\)$"
    with pytest.raises(EngineError, match=said):
        built(trt, b"no graph")


def test_what_the_inspector_tells(trt: ModuleType, graph: bytes) -> None:
    around = partial(trt_build._timed_by, None)
    engine = engine_from_graph(trt, graph, BuildOptions(version_compatible=True), around)
    assert trt_build._inspected(trt, engine) == {"Layers": [{"Name": f"of {len(engine)} bytes"}]}
    said = r"^TensorRT 10\.3\.0 does not take the engine: Error Code 1: .*\(magic tag does not match\)$"
    with pytest.raises(EngineError, match=said):
        trt_build._inspected(trt, b"no engine")


def test_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"^TensorRT's Python package cannot be imported .* with JetPack"):
        build_engine(b"")


def test_an_old_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    module = fake_tensorrt()
    monkeypatch.setattr(module, "__version__", "8.6.2.3")
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    with pytest.raises(EngineError, match=r"^TensorRT 8\.6\.2\.3 is too old: JetPack 6\.1 has 10\.3"):
        tensorrt_module()


def test_a_driver_that_does_not_start(python: Python, compiled: Callable[[str, str], Path]) -> None:
    """In a process of its own: a driver that is loaded stays."""
    catch = f"from lvedge.errors import EngineError\ntry:\n {BUILD}\nexcept EngineError as err:\n print(err)"
    libraries = [compiled("broken_libcuda.c", "libcuda.so.1")]
    done = python(["-c", catch], [FAKE], libraries)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the NVIDIA driver does not start (cuInit says 999): ")


@pytest.mark.skipif(not DEFAULT_PATH.is_file(), reason="this build ships no weights")
def test_the_command_builds_on_the_device(
    python: Python, compiled: Callable[[str, str], Path], tmp_path: Path
) -> None:
    libraries = [compiled("libcuda.c", "libcuda.so.1")]
    out, layers, cache = tmp_path / "out", tmp_path / "layers.json", tmp_path / "kept" / "times"
    words = ["engine", "--bundle", DEFAULT_PATH, "--out", out, "--max-batch", 3, "--workspace", 9]
    more = ["--version-compatible", "--timing-cache", cache, "--layers", layers]
    done = python(["-c", COMMAND, *words, *more], [FAKE], libraries)
    assert (done.returncode, done.stderr) == (0, "")
    precision = open_bundle().precisions[-1]
    assert f"replay.{precision}.engine (0.0 MB)" in done.stdout
    assert done.stdout.endswith("; by TensorRT 10.3.0 for 1 to 3 streams\n")
    told = json.loads((out / "engines.json").read_text("utf-8"))
    files = [f"{name}.{precision}.engine" for name in GRAPHS]
    assert list(told["files"]) == files
    assert told["builder"] == {"name": "TensorRT", "version": "10.3.0"}
    assert told["options"] == asdict(BuildOptions(9, 3, None, True))
    for file in files:
        engine = json.loads((out / file).read_text("utf-8"))
        assert engine["graph"] == told["files"][file]["graph_sha256"]
    assert list(json.loads(layers.read_text("utf-8"))["files"]) == files
    assert cache.read_bytes() == b"+++"


@pytest.mark.skipif(not DEFAULT_PATH.is_file(), reason="this build ships no weights")
def test_without_a_driver_the_command_says_so(python: Python, tmp_path: Path) -> None:
    words = ["engine", "--bundle", DEFAULT_PATH, "--out", tmp_path / "out"]
    done = python(["-c", COMMAND, *words], [FAKE])
    if done.returncode == 0:
        pytest.skip("a driver is here")
    assert done.returncode == 2
    assert done.stderr.startswith("lvedge-export: no NVIDIA driver answers here (libcuda.so.1: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.tensorrt
@pytest.mark.parametrize("version", VERSIONS)
def test_a_tensorrt_that_gives_nothing(
    version: str, wheels: Path, python: Python, compiled: Callable[[str, str], Path], tmp_path: Path
) -> None:
    """The real bindings, over libraries that give no builder, on a driver that starts: one line, no crash."""
    if (version, sys.version_info[:2]) in NO_WHEEL:
        pytest.skip(f"TensorRT {version} has no wheel for this Python")
    (tmp_path / "tensorrt.py").write_text(
        "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n", "utf-8"
    )
    names = [f"lib{name}.so.{version.partition('.')[0]}" for name in LIBRARIES]
    libraries = [compiled("stub_nvinfer.c", name) for name in names]
    catch = f"from lvedge.errors import EngineError\ntry:\n {BUILD}\nexcept EngineError as err:\n print(err)"
    modules = [tmp_path, wheels / version]
    without = python(["-c", catch], modules, libraries)
    assert without.stdout.startswith("no NVIDIA driver answers here")
    done = python(["-c", catch], modules, [*libraries, compiled("libcuda.c", "libcuda.so.1")])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"TensorRT {version} does not start here: it does not say why\n"


@pytest.mark.tensorrt
@pytest.mark.parametrize("version", VERSIONS)
def test_the_stand_in_has_no_names_of_its_own(
    version: str, wheels: Path, python: Python, compiled: Callable[[str, str], Path]
) -> None:
    if (version, sys.version_info[:2]) in NO_WHEEL:
        pytest.skip(f"TensorRT {version} has no wheel for this Python")
    fake = fake_tensorrt()
    classes = [
        value
        for value in vars(fake).values()
        if isinstance(value, type) and value.__module__ in ("tensorrt", trt_types.__name__)
    ]
    names = [f"{kind.__name__}.{name}" for kind in classes for name in vars(kind) if not name.startswith("_")]
    config = [f"IBuilderConfig.{name}" for name in vars(fake.IBuilderConfig()) if not name.startswith("_")]
    libraries = [compiled("stub_nvinfer.c", f"lib{n}.so.{version.partition('.')[0]}") for n in LIBRARIES]
    code = (
        "import sys, operator, tensorrt_bindings as trt\n"
        "for name in sys.argv[1:]:\n"
        " try: operator.attrgetter(name)(trt)\n"
        " except AttributeError: print(name)"
    )
    done = python(["-c", code, *names, *config], [wheels / version], libraries)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(names) > 40
