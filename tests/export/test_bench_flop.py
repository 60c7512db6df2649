"""The bench's count of FLOP, from ONNX Runtime's profile, against one by onnx's own shape inference."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import shape_inference  # noqa: E402

from lvedge.bundle import Bundle  # noqa: E402
from lvedge.contract import STEP_OUTPUTS, State  # noqa: E402
from lvedge_runtime.bench.graph import nodes_of, work_of  # noqa: E402
from lvedge_runtime.bench.profile import profiled_runs, shapes_of  # noqa: E402


def test_both_counts_of_the_shipped_step_are_equal(bundle: Bundle) -> None:
    graph = bundle.graph("step")
    inputs = {
        "frame": np.zeros((1, *bundle.shapes.tensor_shape("frame")), dtype=np.float32),
        **State.zeros(bundle.shapes).as_inputs(),
    }
    nodes = nodes_of(graph)
    shapes = shapes_of(nodes, profiled_runs(graph, inputs, 1, optimised=False)[0])
    assert work_of(nodes, shapes, STEP_OUTPUTS).flop == counted_by_onnx(onnx.load_from_string(graph))


def counted_by_onnx(model: onnx.ModelProto) -> int:
    for given in model.graph.input:
        given.type.tensor_type.shape.dim[0].dim_value = 1
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    known = [*graph.value_info, *graph.input, *graph.output]
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in known}
    shapes.update({tensor.name: list(tensor.dims) for tensor in graph.initializer})
    flop = 0
    for node in graph.node:
        inputs = [shapes[name] for name in node.input] if node.op_type in ("Conv", "Gemm", "MatMul") else []
        if node.op_type == "Conv":
            flop += 2 * prod(shapes[node.output[0]]) * prod(inputs[1][1:])
        elif node.op_type == "Gemm":
            flop += 2 * prod(inputs[1]) * inputs[0][0]
        elif node.op_type == "MatMul":
            flop += 2 * prod(shapes[node.output[0]]) * inputs[0][-1]
    return flop
