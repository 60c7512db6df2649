"""TensorRT-RTX really parses the network that ships and builds engines of it, on a machine without a GPU."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("onnxslim")

from onnx import numpy_helper  # noqa: E402

from lvedge.bundle import Bundle  # noqa: E402
from lvedge.errors import EngineError, UsageError  # noqa: E402
from lvedge.graph import GRAPHS  # noqa: E402
from lvedge_export.cli import main  # noqa: E402
from lvedge_export.clip import phantom_clips, sample_of_clips  # noqa: E402
from lvedge_export.engine import Exported  # noqa: E402
from lvedge_export.int8 import PARTS, int8_from_onnx  # noqa: E402
from lvedge_export.precision import halves  # noqa: E402
from lvedge_export.rtx import rtx_engine, targets_from_text  # noqa: E402
from lvedge_runtime.engines import trt_build  # noqa: E402
from lvedge_runtime.engines.trt_build import BuildOptions  # noqa: E402

pytestmark = pytest.mark.tensorrt

RTX = "1.7.1.116"
TARGETS = ("SM86", "SM89")
STREAMS = BuildOptions(max_batch=4)
KEPT = {"step": ("polar", "recurrent", "glue"), "locator": ("glue",)}


@pytest.fixture(scope="module")
def trt(wheels: Path) -> Iterator[Any]:
    """The module ``tensorrt_rtx``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(wheels / RTX)
        yield import_module("tensorrt_rtx")


@pytest.fixture(scope="module")
def exported(bundle: Bundle) -> Exported:
    """The graphs that ship."""
    checkpoint: Mapping[str, str] = bundle.manifest["checkpoint"]
    return Exported(bundle.shapes, checkpoint, {name: bundle.graph(name) for name in GRAPHS})


@pytest.fixture(scope="module")
def half(exported: Exported) -> dict[str, bytes]:
    """The same typed FP16, parts of it in FP32 as the export keeps some."""
    return halves(exported, KEPT)


@pytest.fixture(scope="module")
def int8(exported: Exported) -> dict[str, bytes]:
    """The same with Q/DQ, ranges taken from the phantom."""
    clips = sample_of_clips(phantom_clips(exported.shapes), 2, 3)
    return {name: int8_from_onnx(exported, name, clips) for name in PARTS}


@pytest.fixture(scope="module")
def delivered(trt: Any, half: Mapping[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The FP16 engines as the command writes them."""
    graphs, out = tmp_path_factory.mktemp("graphs"), tmp_path_factory.mktemp("engines")
    for name, graph in half.items():
        (graphs / f"{name}.fp16.onnx").write_bytes(graph)
    words = ["engine", "--onnx", graphs, "--out", out, "--rtx", "--target", "sm86,sm89", "--max-batch", 4]
    assert main([str(word) for word in words]) == 0
    return out


@pytest.fixture(scope="module")
def engines(
    trt: Any, exported: Exported, int8: Mapping[str, bytes], delivered: Path
) -> dict[tuple[str, str], bytes]:
    """Precision and graph to the engine for both targets."""
    made = {
        (precision, name): rtx_engine(trt, graph, TARGETS, STREAMS)
        for precision, graphs in (("fp32", exported.graphs), ("int8", int8))
        for name, graph in graphs.items()
    }
    return made | {("fp16", name): (delivered / f"{name}.fp16.rtx.engine").read_bytes() for name in GRAPHS}


def changed(graph: bytes, operator: str, **change: Any) -> bytes:
    """A graph whose first operator of a kind is another, or has first weights of another type."""
    model = onnx.load_from_string(graph)
    node = next(node for node in model.graph.node if node.op_type == operator)
    if "op_type" in change:
        node.op_type = change["op_type"]
    for tensor in model.graph.initializer:
        if "dtype" in change and tensor.name == node.input[1]:
            values = numpy_helper.to_array(tensor).astype(change["dtype"])
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    data: bytes = model.SerializeToString()
    return data


def test_all_precisions_become_engines(engines: dict[tuple[str, str], bytes]) -> None:
    built = {(precision, name) for precision in ("fp32", "fp16") for name in GRAPHS}
    assert set(engines) == built | {("int8", name) for name in PARTS}


def test_the_parser_reads_the_types_that_stand_in_the_graph(
    trt: Any, exported: Exported, half: Mapping[str, bytes], int8: Mapping[str, bytes]
) -> None:
    def parsed(graph: bytes) -> tuple[set[str], int]:
        """Types that convolutions give, and how many layers quantise."""
        logger = trt_build.journal_of(trt).logger
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        assert trt.OnnxParser(network, logger).parse(graph)
        layers = [network.get_layer(k) for k in range(network.num_layers)]
        types = {n.get_output(0).dtype.name for n in layers if n.type == trt.LayerType.CONVOLUTION}
        return types, sum(n.type == trt.LayerType.QUANTIZE for n in layers)

    for name in PARTS:
        assert parsed(exported.graphs[name]) == ({"FLOAT"}, 0)
        assert parsed(half[name]) == ({"HALF"}, 0)
        types, quantisers = parsed(int8[name])
        assert types == {"FLOAT"}
        assert quantisers > 10


def test_lower_precisions_make_smaller_engines(engines: dict[tuple[str, str], bytes]) -> None:
    size = {key: len(engine) for key, engine in engines.items()}
    for name in PARTS:
        assert size["fp16", name] < size["fp32", name] - 1_000_000


def test_an_engine_is_for_its_targets(
    trt: Any, exported: Exported, engines: dict[tuple[str, str], bytes]
) -> None:
    alone = {rtx_engine(trt, exported.graphs["replay"], [target], STREAMS) for target in TARGETS}
    assert len(alone | {engines["fp32", "replay"]}) == 3


def test_mixed_types_are_refused(trt: Any, half: Mapping[str, bytes]) -> None:
    broken = changed(half["step"], "Conv", dtype="float32")
    said = r"^TensorRT-RTX \S+ does not take the graph: Conv '.*must be of same type"
    with pytest.raises(EngineError, match=said):
        rtx_engine(trt, broken, TARGETS, STREAMS)


def test_an_operator_that_it_lacks_is_refused(trt: Any, exported: Exported) -> None:
    broken = changed(exported.graphs["locator"], "Relu", op_type="Det")
    said = r"does not take the graph: Det 'stem\.\S+/Relu_0': UNSUPPORTED_NODE"
    with pytest.raises(EngineError, match=said):
        rtx_engine(trt, broken, TARGETS, STREAMS)


def test_a_missing_profile_is_refused(trt: Any, exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt_build, "_profile", lambda builder, *_: builder.create_optimization_profile())
    said = r"builds no engine .*Dynamic input tensor features is missing dimensions in profile 0"
    with pytest.raises(EngineError, match=said):
        rtx_engine(trt, exported.graphs["replay"], TARGETS, STREAMS)


def test_a_picture_of_any_size_is_refused(trt: Any, exported: Exported) -> None:
    model = onnx.load_from_string(exported.graphs["locator"])
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(EngineError, match=r"frame of shape \[-1, 1, -1, \d+\]: only its first dimension"):
        rtx_engine(trt, model.SerializeToString(), TARGETS, STREAMS)


def test_what_is_no_graph_is_refused(trt: Any) -> None:
    with pytest.raises(EngineError, match="does not take the graph: MODEL_DESERIALIZE_FAILED") as refused:
        rtx_engine(trt, b"no graph", TARGETS, STREAMS)
    assert "\n" not in str(refused.value)


class Watcher:
    """Keeps what it is told, and does something at the tenth step."""

    def __init__(self, at_ten: Any = None) -> None:
        self.phases: list[tuple[str, str | None, int]] = []
        self.open: list[str] = []
        self.steps = 0
        self.at_ten = at_ten

    def started(self, phase: str, parent: str | None, steps: int) -> None:
        assert parent is None or parent in self.open
        self.phases.append((phase, parent, steps))
        self.open.append(phase)

    def stepped(self, phase: str, step: int) -> None:
        assert phase in self.open
        assert step >= 0
        self.steps += 1
        if self.steps == 10 and self.at_ten:
            self.at_ten()

    def finished(self, phase: str) -> None:
        self.open.remove(phase)


def test_a_build_tells_how_far_it_is(trt: Any, exported: Exported) -> None:
    watcher = Watcher()
    rtx_engine(trt, exported.graphs["replay"], TARGETS, STREAMS, watcher)
    (whole,) = (phase for phase in watcher.phases if phase[1] is None)
    assert len(watcher.phases) > 5
    assert watcher.steps > whole[2]
    assert watcher.open == []


def test_who_watches_and_fails_ends_the_build(trt: Any, exported: Exported) -> None:
    def fail() -> None:
        raise OSError("the terminal is gone")

    watcher = Watcher(fail)
    with pytest.raises(OSError, match="the terminal is gone"):
        rtx_engine(trt, exported.graphs["replay"], TARGETS, STREAMS, watcher)
    assert watcher.steps == 10


@pytest.fixture
def heeded() -> Iterator[None]:
    """Ctrl-C means what it does on a terminal; a job in the background is started deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_an_interrupt_ends_the_build(trt: Any, exported: Exported) -> None:
    watcher = Watcher(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        rtx_engine(trt, exported.graphs["replay"], TARGETS, STREAMS, watcher)
    assert watcher.steps == 10
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_options_reach_the_builder(trt: Any) -> None:
    builder = trt.Builder(trt_build.journal_of(trt).logger)
    plain = trt_build._configured(trt, builder, BuildOptions(workspace_mb=7))
    assert plain.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 7 << 20
    flags = (trt.BuilderFlag.TF32, trt.BuilderFlag.VERSION_COMPATIBLE, trt.BuilderFlag.GPU_FALLBACK)
    assert [plain.get_flag(flag) for flag in flags] == [False, False, False]
    compatible = trt_build._configured(trt, builder, BuildOptions(version_compatible=True))
    assert compatible.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    with pytest.raises(EngineError, match="no DLA core 0: TensorRT sees none here"):
        trt_build._configured(trt, builder, BuildOptions(dla_core=0))


def test_targets(trt: Any) -> None:
    assert targets_from_text(trt, "sm86, SM89,sm86") == TARGETS
    with pytest.raises(UsageError, match="builds nothing for 'SM87': name some of sm75, "):
        targets_from_text(trt, "sm86,sm87")


def test_the_command_says_what_the_engines_are(trt: Any, half: Mapping[str, bytes], delivered: Path) -> None:
    told = json.loads((delivered / "engines.json").read_text("utf-8"))
    assert told["builder"] == {"name": "TensorRT-RTX", "version": trt.__version__}
    assert (told["targets"], told["options"]["max_batch"]) == (list(TARGETS), 4)
    assert list(told["files"]) == [f"{name}.fp16.rtx.engine" for name in GRAPHS]
    assert {path.name for path in delivered.iterdir()} == {"engines.json", *told["files"]}
    for name in GRAPHS:
        about, engine = told["files"][f"{name}.fp16.rtx.engine"], delivered / f"{name}.fp16.rtx.engine"
        assert about["bytes"] == engine.stat().st_size
        assert about["sha256"] == sha256(engine.read_bytes()).hexdigest()
        assert about["graph_sha256"] == sha256(half[name]).hexdigest()
