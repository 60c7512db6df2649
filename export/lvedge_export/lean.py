"""A step graph written the way ONNX Runtime computes it fastest on a CPU; the values stay the same.

Three changes, found by its profiler; ``benchmarks/README.md`` has what each gave, and what else was tried.

- A dilated 3 × 3 convolution to 8 channels keeps half of the multipliers busy: the kernels hold up to four
  blocks of 8 output channels at a time. It becomes a 3 × 1 convolution to 24 channels, one block for each tap
  of a row, and a 1 × 3 convolution of zeros and ones that adds up what belongs together.
- A softmax across the channels of a picture reorders it twice. Written out it does not.
- Adding a point (x, y) to every point of a grid goes two numbers at a time. As a product it is one call.

Graphs for devices (``lvedge-export onnx``) stay as they are: TensorRT fuses all three by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from lvedge.contract import ContractShapes
from lvedge_export.finish import finished, layer_of

BLOCK = 8
"""Channels that ONNX Runtime computes together on a processor with AVX2; with AVX-512 it is 16."""

TAPS = 3


def lean_graph(graph: bytes, name: str, shapes: ContractShapes, checkpoint: Mapping[str, str]) -> bytes:
    """A graph as it goes into a bundle.

    Args:
        graph: in FP32, from ``onnx_from_graph``; where there is nothing to change it comes back as it was.
        name: "step", "replay" or "locator".
        shapes: sizes of its tensors.
        checkpoint: as for ``onnx_from_graph``.

    Raises:
        ExportError: if the result is no valid ONNX, or no device would take it.
    """
    model = onnx.load_from_string(graph)
    return finished(rewritten(model), name, shapes, "fp32", checkpoint)


def rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, changed in place; its nodes are named "layer/anything"."""
    return _Rewriting(model).done()


class _Rewriting:
    """One pass over the nodes; what is replaced keeps the name of its output and its place."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        typed = onnx.shape_inference.infer_shapes(model).graph
        self._rank = {
            value.name: len(value.type.tensor_type.shape.dim)
            for value in (*typed.value_info, *typed.input, *typed.output)
        }
        self._weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
        self._made_by = {output: node for node in model.graph.node for output in node.output}

    def done(self) -> onnx.ModelProto:
        """The model, changed; weights that nothing reads any more are gone."""
        graph = self._model.graph
        nodes = [new for node in graph.node for new in self._instead_of(node)]
        del graph.node[:]
        graph.node.extend(_without_idle(nodes, {output.name for output in graph.output}))
        read = {name for node in graph.node for name in node.input}
        kept = [w for w in graph.initializer if w.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        return self._model

    def _instead_of(self, node: NodeProto) -> list[NodeProto]:
        if node.op_type == "Conv" and self._is_narrow(node):
            return self._in_two(node)
        if node.op_type == "Softmax" and _attributes(node) == {"axis": 1} and self._rank[node.input[0]] == 4:
            return self._written_out(node)
        if node.op_type == "GridSample":
            return [*self._grid(node), node]
        return [node]

    def _is_narrow(self, node: NodeProto) -> bool:
        weights, attributes = self._weights[node.input[1]], _attributes(node)
        return (
            weights.shape[0] == BLOCK
            and weights.shape[1] > BLOCK
            and weights.shape[2:] == (TAPS, TAPS)
            and attributes["strides"] == [1, 1]
            and attributes["group"] == 1
        )

    def _in_two(self, node: NodeProto) -> list[NodeProto]:
        weights, attributes = self._weights[node.input[1]], _attributes(node)
        outputs, inputs = weights.shape[:2]
        # [outputs, inputs, 3, 3] → the taps of a row to the front: [3 · outputs, inputs, 3, 1]
        columns = weights.transpose(3, 0, 1, 2).reshape(TAPS * outputs, inputs, TAPS, 1)
        adding = np.zeros((outputs, TAPS * outputs, 1, TAPS), dtype=np.float32)
        for tap in range(TAPS):
            adding[np.arange(outputs), tap * outputs + np.arange(outputs), 0, tap] = 1.0
        (dilation_y, dilation_x), (top, left, bottom, right) = attributes["dilations"], attributes["pads"]
        layer, between = layer_of(node.name), f"{node.output[0]}_columns"
        return [
            helper.make_node(
                "Conv",
                [node.input[0], self._constant(f"{node.input[1]}_columns", columns)],
                [between],
                f"{layer}/columns",
                kernel_shape=[TAPS, 1],
                dilations=[dilation_y, 1],
                pads=[top, 0, bottom, 0],
            ),
            helper.make_node(
                "Conv",
                [between, self._constant(f"{node.input[1]}_adding", adding), *node.input[2:]],
                node.output,
                f"{layer}/adding",
                kernel_shape=[1, TAPS],
                dilations=[1, dilation_x],
                pads=[0, left, 0, right],
            ),
        ]

    def _written_out(self, node: NodeProto) -> list[NodeProto]:
        channels = self._constant("channels", np.array([1], dtype=np.int64))
        x, y = node.input[0], node.output[0]

        def made(operator: str, inputs: list[str], output: str) -> NodeProto:
            return helper.make_node(operator, inputs, [output], f"{layer_of(node.name)}/softmax")

        return [
            made("ReduceMax", [x, channels], f"{y}_largest"),
            made("Sub", [x, f"{y}_largest"], f"{y}_below"),
            made("Exp", [f"{y}_below"], f"{y}_parts"),
            made("ReduceSum", [f"{y}_parts", channels], f"{y}_whole"),
            made("Div", [f"{y}_parts", f"{y}_whole"], y),
        ]

    def _grid(self, node: NodeProto) -> list[NodeProto]:
        """(points + grid) · scale as one product, where that is how a picture's sampling points are made."""
        scaled = self._made_by.get(node.input[1])
        if scaled is None or scaled.op_type != "Mul" or scaled.input[1] not in self._weights:
            return []
        added = self._made_by.get(scaled.input[0])
        if added is None or added.op_type != "Add":
            return []
        known = [name for name in added.input if name in self._weights]
        points = [self._made_by.get(name) for name in added.input if name not in self._weights]
        if len(known) != 1 or points[0] is None or points[0].op_type != "Unsqueeze":
            return []
        scale, grid = self._weights[scaled.input[1]], self._weights[known[0]]
        if scale.size != 1 or grid.ndim != 3 or grid.shape[-1] != 2 or self._rank[points[0].input[0]] != 2:
            return []
        layer, made, rows = layer_of(node.name), f"{node.input[1]}_points", grid.shape[0] * grid.shape[1]
        spread = np.tile(np.eye(2, dtype=np.float32) * scale.reshape(()), (1, rows))  # [2, 2 · rows]
        inputs = [
            points[0].input[0],
            self._constant(f"{made}_spread", spread),
            self._constant(f"{made}_grid", (grid * scale.reshape(())).reshape(-1).astype(np.float32)),
        ]
        shape = self._constant(f"{made}_shape", np.array([-1, *grid.shape], dtype=np.int64))
        new = f"{made}_all"
        node.input[1] = new
        return [
            helper.make_node("Gemm", inputs, [made], f"{layer}/points"),
            helper.make_node("Reshape", [made, shape], [new], f"{layer}/points"),
        ]

    def _constant(self, name: str, values: NDArray[np.generic]) -> str:
        if name not in self._weights:
            self._weights[name] = values
            self._model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def _without_idle(nodes: list[NodeProto], outputs: set[str]) -> list[NodeProto]:
    """The nodes that somebody reads, in their order."""
    kept: list[NodeProto] = []
    read = set(outputs)
    for node in reversed(nodes):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
    return kept[::-1]


def _attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes, those of a convolution with their defaults."""
    stated = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type != "Conv":
        return stated
    usual = {"strides": [1, 1], "group": 1, "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    return {**usual, **stated}
