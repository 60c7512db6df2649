"""What a graph asks of a machine: its nodes as they are shipped, their FLOP, and the bytes that they move.

ONNX Runtime's own profiler tells every node's shapes when the graph is run as it is, unoptimised; the names
of its tensors are read off its bytes. FLOP are those of Conv, ConvTranspose, Gemm and MatMul, two to a
multiply-add; all else is counted in bytes alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from lvedge.onnxscan import wire_fields

Shape = tuple[int, ...]

FLOAT_BYTES = 4
DEPTH = 4
"""A layer is a module of the network down to this depth: ``segmentation.down.0.dense``."""

UNNAMED = "(unnamed)"

_GRAPH, _NODE = 7, 1
_INPUT, _OUTPUT, _NAME, _OPERATOR = 1, 2, 3, 4


@dataclass(frozen=True)
class Node:
    """A node of a graph as it is shipped.

    Args:
        name: path of its module, a slash, its operator and number.
        operator: its type.
        inputs: names of tensors; empty where one is left out.
        outputs: names of tensors.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def layer(self) -> str:
        """The module that it belongs to."""
        return ".".join(self.name.split("/")[0].split(".")[:DEPTH]) or UNNAMED


@dataclass(frozen=True)
class Work:
    """What something asks of a machine.

    Args:
        flop: floating-point operations of its matrix products.
        bytes_by_node: read and written, if every node went through memory.
        bytes_least: read and written, if nothing inside went through memory: inputs, weights, outputs.
    """

    flop: int
    bytes_by_node: int
    bytes_least: int


def nodes_of(model: bytes) -> list[Node]:
    """The nodes of a model's outermost graph, in its order.

    Args:
        model: a serialised ``ModelProto``, checked before.
    """
    return [
        _node(model, start, end)
        for graph_start, graph_end in _parts(model, 0, len(model), _GRAPH)
        for start, end in _parts(model, graph_start, graph_end, _NODE)
    ]


def flop_of(operator: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Floating-point operations of a matrix product or convolution; 0 for every other operator.

    Args:
        operator: its ONNX type, or ONNX Runtime's name for the same work.
        inputs: shapes of data and weights, in the operator's order.
        outputs: shapes of its results.
    """
    if operator in ("Conv", "FusedConv"):
        return 2 * prod(outputs[0]) * prod(inputs[1][1:])
    if operator == "ConvTranspose":
        return 2 * prod(inputs[0]) * prod(inputs[1][1:])
    if operator in ("Gemm", "FusedGemm"):
        return 2 * prod(outputs[0]) * prod(inputs[0]) // outputs[0][0]
    if operator in ("MatMul", "FusedMatMul"):
        return 2 * prod(outputs[0]) * inputs[0][-1]
    return 0


def work_by_layer(
    nodes: Sequence[Node], shapes: Mapping[str, Shape], outputs: Sequence[str]
) -> dict[str, Work]:
    """What each layer asks, in the graph's order.

    Args:
        nodes: of the graph.
        shapes: tensor to shape, for all that the nodes read and write.
        outputs: the graph's own outputs.
    """
    layers: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        layers[node.layer].append(node)
    return {layer: _work(members, nodes, shapes, outputs) for layer, members in layers.items()}


def work_of(nodes: Sequence[Node], shapes: Mapping[str, Shape], outputs: Sequence[str]) -> Work:
    """What the whole graph asks; arguments as ``work_by_layer``."""
    return _work(nodes, nodes, shapes, outputs)


def _work(
    members: Sequence[Node], nodes: Sequence[Node], shapes: Mapping[str, Shape], outputs: Sequence[str]
) -> Work:
    inside = set(map(id, members))
    made = {name for node in members for name in node.outputs}
    read = {name for node in members for name in node.inputs if name}
    wanted = {name for node in nodes if id(node) not in inside for name in node.inputs} | set(outputs)
    return Work(
        flop=sum(
            flop_of(node.operator, _known(node.inputs, shapes), _known(node.outputs, shapes))
            for node in members
        ),
        bytes_by_node=sum(_bytes([*node.inputs, *node.outputs], shapes) for node in members),
        bytes_least=_bytes((read - made) | (made & wanted), shapes),
    )


def _known(names: Sequence[str], shapes: Mapping[str, Shape]) -> list[Shape]:
    return [shapes.get(name, ()) for name in names]


def _bytes(names: Sequence[str] | set[str], shapes: Mapping[str, Shape]) -> int:
    return FLOAT_BYTES * sum(prod(shapes[name]) for name in names if name in shapes)


def _node(model: bytes, start: int, end: int) -> Node:
    texts: dict[int, list[str]] = defaultdict(list)
    for number, _, begin, stop in wire_fields(model, start, end):
        if number in (_INPUT, _OUTPUT, _NAME, _OPERATOR):
            texts[number].append(model[begin:stop].decode())
    return Node(
        name="".join(texts[_NAME]),
        operator="".join(texts[_OPERATOR]),
        inputs=tuple(texts[_INPUT]),
        outputs=tuple(texts[_OUTPUT]),
    )


def _parts(model: bytes, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    return ((begin, stop) for number, _, begin, stop in wire_fields(model, start, end) if number == wanted)
