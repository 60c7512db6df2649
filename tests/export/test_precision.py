"""FP16 and INT8: types in the graph, what they round, what is kept in FP32 and why, how far they stray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxslim")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from small_run import STEM, clips, scaled_stem  # noqa: E402

from lvedge.bundle import Bundle  # noqa: E402
from lvedge.contract import State  # noqa: E402
from lvedge.graph import GRAPHS  # noqa: E402
from lvedge.training.stepper import TorchStepper  # noqa: E402
from lvedge_export import precision  # noqa: E402
from lvedge_export.clip import phantom_clips, sample_of_clips  # noqa: E402
from lvedge_export.drift import Drift, drift_of, plot_drift  # noqa: E402
from lvedge_export.engine import Exported  # noqa: E402
from lvedge_export.finish import content_sha256, layer_of, metadata, part_of  # noqa: E402
from lvedge_export.half import (  # noqa: E402
    LARGEST,
    emulated_from_half,
    emulated_in_bfloat16,
    half_from_onnx,
    is_kept,
)
from lvedge_export.int8 import PARTS, emulated_from_int8, int8_from_onnx  # noqa: E402
from lvedge_export.lint import faults  # noqa: E402
from lvedge_export.parity import compare  # noqa: E402
from lvedge_export.precision import asked_precision, change, choose_precision, overflows  # noqa: E402
from lvedge_export.reach import MARGIN, beyond_half, reach_of_nodes  # noqa: E402
from lvedge_runtime.engines.onnxruntime_base import session_from_bytes  # noqa: E402

KEPT = ["polar", "recurrent", "glue"]


@pytest.fixture(scope="module")
def half(exported: Exported) -> bytes:
    """The small step graph in FP16, but for what reads and remembers."""
    return half_from_onnx(exported, "step", KEPT)


@pytest.fixture(scope="module")
def int8(exported: Exported) -> bytes:
    return int8_from_onnx(exported, "step", clips(exported.shapes))


def types_of(graph: bytes) -> dict[str, int]:
    """Tensor to its element type, weights' included."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph), strict_mode=True)
    typed = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    found = {value.name: value.type.tensor_type.elem_type for value in typed}
    return found | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def chain(operators: Sequence[tuple[str, float]], element: int) -> bytes:
    """A graph x → operator with a constant → … → y, computed in one type between two casts."""
    nodes, constants, last = [helper.make_node("Cast", ["x"], ["t0"], to=element)], [], "t0"
    for k, (operator, constant) in enumerate(operators):
        kind = helper.tensor_dtype_to_np_dtype(element)
        constants.append(numpy_helper.from_array(np.array(constant, kind), f"c{k}"))
        nodes.append(helper.make_node(operator, [last, f"c{k}"], [f"t{k + 1}"]))
        last = f"t{k + 1}"
    nodes.append(helper.make_node("Cast", [last], ["y"], to=TensorProto.FLOAT))
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B"]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", sides[:1], sides[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


def test_a_graph_says_what_it_is(exported: Exported, half: bytes, run_folder: Any) -> None:
    said = metadata(half)
    assert set(said) == {"version", "contract", "graph", "precision", "checkpoint", "fp32_parts", "sha256"}
    assert (said["contract"], said["graph"], said["precision"]) == ("1", "step", "fp16")
    assert said["fp32_parts"] == '["polar", "recurrent", "glue"]'
    assert said["checkpoint"] == metadata(exported.graphs["step"])["checkpoint"]
    model = onnx.load_from_string(half)
    assert said["sha256"] == content_sha256(model)
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    assert said["sha256"] != content_sha256(model)
    assert metadata(chain([("Add", 1.0)], TensorProto.FLOAT)) == {}


def test_nodes_are_named_by_the_layer_that_they_come_from(exported: Exported) -> None:
    parts = {
        name: {part_of(node.name) for node in onnx.load_from_string(graph).graph.node}
        for name, graph in exported.graphs.items()
    }
    recurrence = {"recurrent", "classification", "glue"}
    assert parts["step"] == recurrence | {"segmentation", "convolution", "shared", "polar"}
    assert parts["replay"] == recurrence
    assert parts["locator"] == {"stem", "down", "context", "presence", "up", "enlarge", "maps", "glue"}
    assert layer_of(STEM) == "segmentation.stem.0"
    assert is_kept(STEM, ["segmentation.stem"])
    assert is_kept(STEM, [STEM])
    assert not is_kept(STEM, ["segmentation.st", "polar"])


def test_fp16_is_typed_and_the_kept_parts_are_not(exported: Exported, half: bytes) -> None:
    types = types_of(half)
    assert faults(half, "step", exported.shapes) == []
    assert {types[name] for side in GRAPHS["step"] for name in side} == {TensorProto.FLOAT}
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
    seen = set()
    for node in onnx.load_from_string(half).graph.node:
        if node.op_type == "Cast":
            continue
        wanted = TensorProto.FLOAT if is_kept(node.name, KEPT) else TensorProto.FLOAT16
        operands = (
            [*node.input[:1], *node.output] if node.op_type == "Resize" else [*node.input, *node.output]
        )
        found = {types[tensor] for tensor in operands if tensor} & floats
        assert found <= {wanted}, node.name
        seen |= found
    assert seen == floats


def test_no_result_of_a_kept_part_is_rounded_on_its_way_to_another(half: bytes) -> None:
    """ONNX Runtime's converter rounds between any two kept nodes, unless what it leaves is cleaned up."""
    nodes = onnx.load_from_string(half).graph.node
    makers = {output: node for node in nodes for output in node.output}
    readers = [(makers[tensor], node) for node in nodes for tensor in node.input if tensor in makers]
    assert [(a.name, b.name) for a, b in readers if a.op_type == b.op_type == "Cast"] == []


def test_emulation_rounds_and_overflows_as_fp16_does() -> None:
    """What numpy's own FP16 gives, bit for bit; ONNX Runtime by itself gives another result."""
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 3, 50), [1e-7, 6e4, -6e4]]).astype(np.float32)
    operators = [("Mul", 1.1), ("Add", 300.3), ("Sub", 300.3), ("Mul", 1.7), ("Div", 7.0)]
    expected = x.astype(np.float16)
    with np.errstate(over="ignore"):
        for operator, constant in operators:
            apply = {"Mul": np.multiply, "Add": np.add, "Sub": np.subtract, "Div": np.divide}[operator]
            expected = apply(expected, np.float16(constant))
    graph = chain(operators, TensorProto.FLOAT16)
    found, loose = (
        session_from_bytes(data, "chain").run(None, {"x": x})[0]
        for data in (emulated_from_half(graph), graph)
    )
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    assert np.isinf(found).sum() == 2
    assert not np.array_equal(found, loose)


def test_emulation_rounds_as_bfloat16_does() -> None:
    """What torch's own bfloat16 gives, bit for bit."""
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 3, 50), [1e-30, 6e4, -1e30]]).astype(np.float32)
    operators = [("Mul", 1.1), ("Add", 300.3), ("Sub", 300.3), ("Mul", 1.7), ("Div", 7.0)]
    expected = torch.from_numpy(x).bfloat16().float()
    for operator, constant in operators:
        apply = {"Mul": torch.mul, "Add": torch.add, "Sub": torch.sub, "Div": torch.div}[operator]
        expected = apply(expected, torch.tensor(constant).bfloat16().float()).bfloat16().float()
    graph = chain(operators, TensorProto.FLOAT)
    found = session_from_bytes(emulated_in_bfloat16(graph), "chain").run(None, {"x": x})[0]
    np.testing.assert_array_equal(found, expected.numpy())


def test_emulation_of_a_step_stays_near_the_network(
    exported: Exported, half: bytes, reference: TorchStepper
) -> None:
    """Equal to no more than FP16's three digits, and not to float32's seven."""
    with exported.engine(step=emulated_from_half(half)) as engine:
        worst = compare(reference, engine, clips(exported.shapes, 1)).worst[1].relative
    assert 1e-5 < worst < 0.05


def test_reach_is_the_largest_number_of_a_node(exported: Exported) -> None:
    """Found out by running the graph with every tensor as an output."""
    some = clips(exported.shapes, 1)
    reach = reach_of_nodes(exported.graphs["locator"], "locator", some, exported.shapes)
    model = onnx.load_from_string(exported.graphs["locator"])
    names = [node.name for node in model.graph.node]
    assert list(reach) == names
    first = model.graph.node[0]
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    model.graph.output.append(helper.make_tensor_value_info(first.output[0], TensorProto.FLOAT, None))
    session = session_from_bytes(model.SerializeToString(), "locator")
    given = [session.run([first.output[0]], {"frame": frame[None]})[0] for frame in some[0].frames]
    expected = max(
        float(np.abs(v).max()) for v in (*given, some[0].frames, *(weights[n] for n in first.input[1:]))
    )
    assert reach[names[0]] == pytest.approx(expected)


def test_a_layer_that_fp16_cannot_hold_is_named(exported: Exported) -> None:
    """The step graph with a stem that gives a million times as much: caught, or kept in FP32."""
    some = clips(exported.shapes, 1)
    broken = scaled_stem(exported, 1e6)
    caught = overflows(asked_precision(broken, some, ["locator.glue"]))
    assert any(phrase.startswith(f"step's {STEM} reaches ") for phrase in caught)
    assert all(phrase.endswith(f"over 1/{MARGIN:g} of {LARGEST:g}") for phrase in caught)
    assert overflows(asked_precision(exported, some, ())) == []
    reach = reach_of_nodes(broken.graphs["step"], "step", some, broken.shapes)
    assert STEM in beyond_half(reach)
    kept = half_from_onnx(broken, "step", [*beyond_half(reach), *KEPT])
    views = some[0].views
    with broken.engine() as full, broken.engine(step=emulated_from_half(kept)) as engine:
        state = State.zeros(broken.shapes)
        assert np.isfinite(engine.step(views[:1], state).mask).all()
        assert np.isfinite(full.step(views[:1], state).mask).all()
    plain = half_from_onnx(broken, "step", KEPT)
    with broken.engine(step=emulated_from_half(plain)) as engine:
        assert not np.isfinite(engine.step(views[:1], State.zeros(broken.shapes)).mask).all()


def test_the_costliest_parts_stay_in_fp32(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    some = clips(exported.shapes, 1)
    sample = sample_of_clips(some, 1, 2)
    monkeypatch.setattr(precision, "NETWORKS", {"locator": ("locator",)})
    monkeypatch.setattr(precision, "POINT_MM", 1e9)
    free = choose_precision(exported, some, sample)
    assert free.kept == {"locator": []}
    assert set(free.cost) == {f"locator.{part_of(node)}" for node in free.reach["locator"]}
    monkeypatch.setattr(precision, "POINT_MM", 1e-9)
    strict = choose_precision(exported, some, sample)
    costs = [strict.cost[f"locator.{part}"] for part in strict.kept["locator"]]
    assert costs == sorted(strict.cost.values(), reverse=True)[: len(costs)] != []
    assert "glue" in strict.kept["locator"][:2]
    assert strict.why["locator.glue"].startswith("alone costs ")
    assert set(strict.as_json()["kept_fp32"]) == {f"locator.{part}" for part in strict.kept["locator"]}


def test_changes_are_told_in_millimetres(exported: Exported, reference: TorchStepper) -> None:
    class Shifted:
        """A stepper whose values are a pixel and whose points are two pixels off."""

        shapes = reference.shapes

        def step(self, frame: Any, state: State) -> Any:
            found = reference.step(frame, state)
            return replace(found, indices=found.indices + 1)

        def replay(self, features: Any, state: State) -> Any:
            return reference.replay(features, state)

        def locate(self, frame: Any) -> Any:
            points, confidence = reference.locate(frame)
            return points + 2, confidence

    shapes = reference.shapes
    found = change(compare(reference, Shifted(), clips(shapes, 1)), shapes)
    assert found["thickness_mm"] == pytest.approx(shapes.view_mm_per_px, rel=1e-4)
    assert found["area_mm2"] == pytest.approx(shapes.view_mm_per_px**2, rel=1e-3)
    assert found["point_mm"] == pytest.approx(2 * shapes.locator_mm_per_px, rel=1e-4)


def test_int8_is_explicit_symmetric_and_in_the_convolutions_alone(exported: Exported, int8: bytes) -> None:
    model = onnx.load_from_string(int8)
    assert faults(int8, "step", exported.shapes) == []
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        assert part_of(node.name) in PARTS["step"]
        data, weights = (makers[tensor] for tensor in node.input[:2])
        assert (data.op_type, weights.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert constants[weights.input[0]].dtype == np.int8
        assert constants[weights.input[1]].shape == constants[weights.input[0]].shape[:1]
        assert constants[node.input[2]].dtype == np.float32
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[2]].dtype == np.int8
            assert not constants[node.input[2]].any()
    assert metadata(int8)["precision"] == "int8"


def test_int8_emulated_is_the_graph_as_it_is_written(exported: Exported, int8: bytes) -> None:
    """Equal to ONNX Runtime where it is told to compute Q and DQ one by one."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    plain = ort.InferenceSession(int8, options, providers=["CPUExecutionProvider"])
    emulated = session_from_bytes(emulated_from_int8(int8), "step")
    full = session_from_bytes(exported.graphs["step"], "step")
    inputs = {"frame": clips(exported.shapes, 1)[0].views[:1], **State.zeros(exported.shapes).as_inputs()}
    sessions = {"emulated": emulated, "written": plain, "fp32": full}
    mask, indices = (
        {name: session.run([output], inputs)[0] for name, session in sessions.items()}
        for output in ("mask", "indices")
    )
    for found in (mask, indices):
        span = float(np.ptp(found["fp32"]))
        assert np.abs(found["emulated"] - found["written"]).max() < 1e-3 * span
    assert np.abs(mask["fp32"] - mask["written"]).max() > 1e-3 * float(np.ptp(mask["fp32"]))


def test_drift_is_walked_with_carried_state(
    exported: Exported, reference: TorchStepper, tmp_path: Any
) -> None:
    clip = clips(exported.shapes, 1)[0]
    with exported.engine() as engine:
        drift = drift_of(reference, {"fp32": engine}, clip, steps=40)["fp32"]
    assert drift.is_bounded
    assert {kind: values.shape for kind, values in drift.by_kind.items()} == dict.fromkeys(
        drift.by_kind, (40,)
    )
    assert drift.largest["thickness_mm"] < 1e-3

    class Forgetful:
        """A stepper that begins anew with every frame."""

        shapes = reference.shapes

        def step(self, frame: Any, _state: State) -> Any:
            return reference.step(frame, State.zeros(reference.shapes))

    lost = drift_of(reference, {"lost": Forgetful()}, clip, steps=40)["lost"].by_kind["state"]
    assert lost[0] < 1e-6
    assert lost[1:].min() > 1e-3
    plot_drift({"fp32": drift}, tmp_path / "drift.png")
    assert (tmp_path / "drift.png").read_bytes()[:4] == b"\x89PNG"


def test_drift_that_grows_is_told() -> None:
    growing, level = np.linspace(0.0, 1.0, 100), np.full(100, 0.5)
    kinds = ("thickness_mm", "area_mm2", "phase", "state")
    assert Drift(dict.fromkeys(kinds, level)).is_bounded
    assert Drift(dict.fromkeys(kinds, level)).as_json()["state"]["last_100"] == 0.5
    assert not Drift({**dict.fromkeys(kinds, level), "state": growing**2}).is_bounded
    assert not Drift({**dict.fromkeys(kinds, level), "phase": np.append(level[:-1], np.nan)}).is_bounded


def test_the_bundle_that_ships_can_go_to_a_device(bundle: Bundle) -> None:
    """Nothing that TensorRT lacks, and no number near FP16's end on the phantom."""
    exported = Exported(bundle.shapes, {}, {name: bundle.graph(name) for name in GRAPHS})
    some = sample_of_clips(phantom_clips(bundle.shapes), 3, 2)
    for name in GRAPHS:
        assert faults(bundle.graph(name), name, bundle.shapes) == []
    for name in ("step", "locator"):
        assert beyond_half(reach_of_nodes(exported.graphs[name], name, some, bundle.shapes)) == []
