"""ONNX Runtime's profiler: every node's shapes, and the milliseconds that it takes when it is optimised."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from lvedge.contract import Floats
from lvedge_runtime.bench.graph import Node, Shape
from lvedge_runtime.bench.session import session_of

LAYOUT = "(layout)"
"""Where the time of nodes goes that ONNX Runtime put in between, to change the order of data in memory."""

_KERNEL = "_kernel_time"
_BLOCKED = "_nchwc"
_CONVOLUTIONS = ("Conv", "FusedConv")


@dataclass(frozen=True)
class NodeRun:
    """One node of one run.

    Args:
        name: as ONNX Runtime calls it.
        index: its place in the graph, while the graph is not optimised.
        operator: its type.
        inputs: shapes, without inputs that are left out.
        outputs: shapes.
        ms: time in its kernel.
    """

    name: str
    index: int
    operator: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    ms: float


def profiled_runs(
    model: bytes, inputs: Mapping[str, Floats], runs: int, threads: int = 1, optimised: bool = True
) -> list[list[NodeRun]]:
    """All nodes of each run on the CPU, after one run that does not count.

    Args:
        model: the graph.
        inputs: tensor to array.
        runs: how many.
        threads: of one run.
        optimised: as an engine runs it; otherwise node for node as the graph is shipped.
    """
    with TemporaryDirectory(prefix="lvedge-profile-") as folder:
        session = session_of(model, threads, optimised, profile=Path(folder) / "run")
        for _ in range(1 + runs):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    found: list[list[NodeRun]] = [[]]
    for event in sorted(events, key=lambda event: event["ts"] + event["dur"]):
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            found[-1].append(_node_run(event))
        elif event["name"] == "model_run":  # ends behind its nodes
            found.append([])
    return found[1 : 1 + runs]


def shapes_of(nodes: list[Node], run: list[NodeRun]) -> dict[str, Shape]:
    """Tensor to shape, from an unoptimised run of the graph.

    Args:
        nodes: of the graph.
        run: the same nodes as they ran, in whatever order.
    """
    by_index = {node_run.index: node_run for node_run in run}
    shapes: dict[str, Shape] = {}
    for index, node in enumerate(nodes):
        ran = by_index.get(index)
        if ran is not None:  # constants are taken out of the graph in any case
            shapes.update(zip((name for name in node.inputs if name), ran.inputs, strict=False))
            shapes.update(zip(node.outputs, ran.outputs, strict=False))
    return shapes


def ms_by_layer(nodes: list[Node], runs: list[list[NodeRun]]) -> dict[str, float]:
    """The median milliseconds of each layer over optimised runs."""
    found = _by_name(nodes)
    taken: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(runs))
    for number, run in enumerate(runs):
        for node_run in run:
            taken[_layer(node_run, found)][number] += node_run.ms
    return {layer: median(ms) for layer, ms in taken.items()}


def _by_name(nodes: list[Node]) -> dict[str, Node]:
    """Nodes by their names, and by those of the tensors that they make."""
    found = {}
    for node in nodes:
        found.update(dict.fromkeys((node.name, *node.outputs), node))
    return found


def _layer(node_run: NodeRun, found: Mapping[str, Node]) -> str:
    """Where an optimised node belongs: a blocked convolution is named for what it makes, ``relu_7_nchwc``,
    a fused product ``fused NAME``, others ``NAME/...Fusion``.

    A convolution that took in what follows it has the name of the last: it belongs where its product does.
    """
    name = node_run.name
    for known in (name, name.removesuffix(_BLOCKED), name.removeprefix("fused "), name.rsplit("/", 1)[0]):
        if known in found:
            node = found[known]
            return (_product_before(node, found) if node_run.operator in _CONVOLUTIONS else node).layer
    return LAYOUT


def _product_before(node: Node, found: Mapping[str, Node]) -> Node:
    """The convolution that a fused node ends; the node itself where there is none."""
    last = node
    while last.operator not in _CONVOLUTIONS:
        before = [found[name] for name in last.inputs if name in found]
        convolutions = [maker for maker in before if maker.operator in _CONVOLUTIONS]
        if len(before) != 1 and len(convolutions) != 1:
            return node  # a sum of two: it cannot be told which of them took it in
        last = (convolutions or before)[0]
    return last


def _node_run(event: Mapping[str, Any]) -> NodeRun:
    args = event["args"]
    return NodeRun(
        name=event["name"].removesuffix(_KERNEL),
        index=int(args["node_index"]),
        operator=args["op_name"],
        inputs=_shapes(args["input_type_shape"]),
        outputs=_shapes(args["output_type_shape"]),
        ms=event["dur"] / 1e3,
    )


def _shapes(told: list[Mapping[str, list[int]]]) -> tuple[Shape, ...]:
    """Each tensor is told as its type and its shape."""
    return tuple(tuple(shape) for tensor in told for shape in tensor.values())
