"""What a graph asks of a machine, counted on graphs whose every number can be said in advance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import SHAPES, field, graph, model, node, tensor, value

from lvedge.bundle import Bundle, open_bundle
from lvedge.contract import STEP_OUTPUTS, State
from lvedge_runtime.bench.bound import bound_ms, bound_of
from lvedge_runtime.bench.graph import Node, Work, flop_of, nodes_of, work_by_layer, work_of
from lvedge_runtime.bench.matmul import matmul_calls, matmul_model
from lvedge_runtime.bench.profile import LAYOUT, NodeRun, ms_by_layer, profiled_runs, shapes_of
from lvedge_runtime.bench.session import session_of

RNG = np.random.default_rng(5)
SIDE = 16


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "flop"),
    [
        ("Conv", [(1, 3, 8, 8), (5, 3, 3, 3), (5,)], (1, 5, 8, 8), 2 * 5 * 64 * 27),
        ("Conv", [(2, 4, 8, 8), (4, 1, 3, 3)], (2, 4, 8, 8), 2 * 2 * 4 * 64 * 9),  # one group a channel
        ("ConvTranspose", [(1, 6, 4, 4), (6, 3, 2, 2)], (1, 3, 8, 8), 2 * 6 * 16 * 12),
        ("Gemm", [(2, 7), (5, 7), (5,)], (2, 5), 2 * 2 * 5 * 7),
        ("Gemm", [(7, 2), (7, 5)], (2, 5), 2 * 2 * 5 * 7),  # the data transposed
        ("MatMul", [(3, 4, 6), (6, 5)], (3, 4, 5), 2 * 3 * 4 * 5 * 6),
        ("Relu", [(1, 3, 8, 8)], (1, 3, 8, 8), 0),
    ],
)
def test_flop_of_an_operator(
    operator: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], flop: int
) -> None:
    assert flop_of(operator, inputs, [output]) == flop


def named(name: str, message: bytes) -> bytes:
    return message + field(3, name)


@pytest.fixture(scope="module")
def two_layers() -> bytes:
    """x [1, 2, 16, 16] → Conv 3 → Relu in ``net.a``, → Conv 4 in ``net.b``."""
    return model(
        graph(
            [
                named("net.a.0/Conv_0", node("Conv", ["x", "w1"], ["h1"], pads=[1, 1, 1, 1])),
                named("net.a.1/Relu_0", node("Relu", ["h1"], ["h2"])),
                named("other/Conv_1", node("Conv", ["h2", "w2"], ["y"], pads=[1, 1, 1, 1])),
            ],
            [
                tensor("w1", RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)),
                tensor("w2", RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)),
            ],
            [value("x", ["B", 2, SIDE, SIDE])],
            [value("y", ["B", 4, SIDE, SIDE])],
        )
    )


def test_work_is_counted_on_the_graph_as_it_is_shipped(two_layers: bytes) -> None:
    nodes = nodes_of(two_layers)
    assert nodes[0] == Node("net.a.0/Conv_0", "Conv", ("x", "w1"), ("h1",))
    assert [n.layer for n in nodes] == ["net.a.0", "net.a.1", "other"]
    inputs = {"x": RNG.random((1, 2, SIDE, SIDE), dtype=np.float32)}
    shapes = shapes_of(nodes, profiled_runs(two_layers, inputs, 1, optimised=False)[0])
    pixels = SIDE * SIDE
    assert shapes == {
        "x": (1, 2, SIDE, SIDE), "w1": (3, 2, 3, 3), "h1": (1, 3, SIDE, SIDE), "h2": (1, 3, SIDE, SIDE),
        "w2": (4, 3, 3, 3), "y": (1, 4, SIDE, SIDE),
    }  # fmt: skip
    w1, w2 = 54, 108
    first, second = 2 * 3 * pixels * 18, 2 * 4 * pixels * 27
    assert work_by_layer(nodes, shapes, ["y"]) == {
        "net.a.0": Work(first, 4 * (5 * pixels + w1), 4 * (5 * pixels + w1)),
        "net.a.1": Work(0, 4 * 6 * pixels, 4 * 6 * pixels),
        "other": Work(second, 4 * (7 * pixels + w2), 4 * (7 * pixels + w2)),
    }
    whole = work_of(nodes, shapes, ["y"])
    assert whole == Work(first + second, 4 * (18 * pixels + w1 + w2), 4 * (6 * pixels + w1 + w2))


def test_every_optimised_millisecond_belongs_to_a_layer(two_layers: bytes) -> None:
    runs = profiled_runs(two_layers, {"x": RNG.random((1, 2, SIDE, SIDE), dtype=np.float32)}, runs=3)
    assert len(runs) == 3
    layers = ms_by_layer(nodes_of(two_layers), runs)
    assert set(layers) <= {"net.a.0", "net.a.1", "other", LAYOUT}
    assert "other" in layers
    assert sum(layers.values()) > 0


def test_names_that_onnx_runtime_gives_lead_back_to_the_layer() -> None:
    nodes = [
        Node("net.a.0.conv.deep.er/Conv_0", "Conv", ("x", "w"), ("conv2d",)),
        Node("net.a.0.conv.relu/Relu_0", "Relu", ("conv2d",), ("relu_7",)),
        Node("head/Gemm_0", "Gemm", ("relu_7",), ("y",)),
    ]
    runs = [
        [
            NodeRun("relu_7_nchwc", 1, "Conv", (), (), ms),
            NodeRun("fused head/Gemm_0", 2, "FusedGemm", (), (), 0.5),
            NodeRun("head/Gemm_0/MatMulAddFusion", 3, "Gemm", (), (), 0.25),
            NodeRun("ReorderOutput_token_1", 4, "ReorderOutput", (), (), 0.125),
        ]
        for ms in (1.0, 3.0, 2.0)
    ]
    assert ms_by_layer(nodes, runs) == {"net.a.0.conv": 2.0, "head": 0.75, LAYOUT: 0.125}


def test_a_convolution_that_took_in_what_follows_it_counts_where_it_stands() -> None:
    nodes = [
        Node("net.conv.1/Conv_0", "Conv", ("x", "w"), ("conv",)),
        Node("net.norm.1/Add_0", "Add", ("conv", "skip"), ("sum",)),
        Node("net.relu.1/Relu_0", "Relu", ("sum",), ("relu",)),
        Node("net.conv.2/Conv_0", "Conv", ("relu", "v"), ("one",)),
        Node("net.conv.3/Conv_0", "Conv", ("relu", "u"), ("other",)),
        Node("net.sum.1/Add_0", "Add", ("one", "other"), ("both",)),
    ]
    run = [
        NodeRun("relu_nchwc", 0, "Conv", (), (), 4.0),
        NodeRun("net.relu.1/Relu_0", 1, "Relu", (), (), 2.0),  # by itself it stays where it is
        NodeRun("both_nchwc", 2, "Conv", (), (), 1.0),  # one of two took it in, and nobody knows which
    ]
    expected = {"net.conv.1": 4.0, "net.relu.1": 2.0, "net.sum.1": 1.0}
    assert ms_by_layer(nodes, [run]) == expected


def test_the_product_that_is_measured_is_the_product() -> None:
    b = RNG.random((7, 5), dtype=np.float32)
    a = RNG.random((3, 7), dtype=np.float32)
    (y,) = session_of(matmul_model(b), threads=1).run(["y"], {"a": a})
    np.testing.assert_allclose(y, a @ b, rtol=1e-5)
    calls = matmul_calls(64, threads=1)
    (by_onnx,) = calls["onnxruntime"]()
    np.testing.assert_allclose(by_onnx, calls["numpy"](), rtol=1e-4)


def test_the_bound_is_the_slower_of_the_two() -> None:
    work = Work(flop=2_000_000, bytes_by_node=9_000_000, bytes_least=3_000_000)
    assert bound_ms(work, flop_per_s=1e9, bytes_per_s=1e10) == 2.0
    assert bound_ms(work, flop_per_s=1e10, bytes_per_s=1e9) == 3.0


def test_the_shipped_step_asks_what_its_documents_say(bundle: Bundle) -> None:
    view = RNG.random((1, *bundle.shapes.tensor_shape("frame")), dtype=np.float32)
    graph_bytes = bundle.graph("step")
    nodes = nodes_of(graph_bytes)
    inputs = {"frame": view, **State.zeros(bundle.shapes).as_inputs()}
    shapes = shapes_of(nodes, profiled_runs(graph_bytes, inputs, 1, optimised=False)[0])
    for name in STEP_OUTPUTS:
        assert shapes[name] == (1, *bundle.shapes.tensor_shape(name))
    layers = work_by_layer(nodes, shapes, STEP_OUTPUTS)
    whole = work_of(nodes, shapes, STEP_OUTPUTS)
    assert 0.9e9 < whole.flop < 1.5e9  # DESIGN: about as much a frame at 80 x 80
    assert sum(work.flop for work in layers.values()) == whole.flop
    assert whole.bytes_least < len(graph_bytes) + 2**20 < whole.bytes_by_node


def test_the_bound_of_a_bundle_is_told_with_its_layers(tiny_bundle_file: Path) -> None:
    view = RNG.random((1, *SHAPES.tensor_shape("frame")), dtype=np.float32)
    told = bound_of(open_bundle(tiny_bundle_file), view, threads=1, rounds=3)
    assert told["rounds"] == 3
    assert set(told["matmul_gflop_per_s"]) == {
        f"{who} {side}" for who in ("onnxruntime", "numpy") for side in (256, 512, 1024)
    }
    assert told["matmul_gflop_per_s"][told["best_matmul"]] == max(told["matmul_gflop_per_s"].values())
    assert sum(row["flop"] for row in told["layers"]) == told["step"]["flop"] > 0
    # 20 FLOP and a kilobyte: what bounds it is memory, and it takes far longer than it would have to.
    assert told["bound_by"] == "copies"
    assert told["step_over_bound"]["ratio"] < 0.5
