"""The graphs that a bundle holds: their inputs and outputs, and what of a graph is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvedge.contract import (
    LOCATOR_INPUTS,
    LOCATOR_OUTPUTS,
    REPLAY_INPUTS,
    REPLAY_OUTPUTS,
    STEP_INPUTS,
    STEP_OUTPUTS,
    ContractShapes,
)
from lvedge.errors import BundleError
from lvedge.onnxscan import FLOAT, GraphScan, GraphTensor, scan_graph

GRAPHS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "step": (STEP_INPUTS, STEP_OUTPUTS),
    "replay": (REPLAY_INPUTS, REPLAY_OUTPUTS),
    "locator": (LOCATOR_INPUTS, LOCATOR_OUTPUTS),
}
"""Name of a graph to its inputs and outputs."""

PRECISIONS = ("fp32", "fp16")
"""What a bundle's graphs may be typed in inside; inputs and outputs are float32 in every precision."""

STANDARD_DOMAINS = frozenset(("", "ai.onnx"))
NEWEST_OPSET, NEWEST_IR = 18, 10
"""What TensorRT 10.1 and ONNX Runtime 1.20 still take."""


def graph_file(name: str, precision: str = "fp32") -> str:
    """A graph's file, in a bundle or a folder: "step.onnx", in lower precisions "step.fp16.onnx"."""
    return f"{name}.onnx" if precision == "fp32" else f"{name}.{precision}.onnx"


def check_graph(name: str, data: bytes, shapes: ContractShapes) -> None:
    """Refuse a graph that reads other files, needs other operators, or has other inputs and outputs.

    Raises:
        BundleError: naming what the bundle holds; it begins with "holds a ... graph".
    """
    scan = check_standing_alone(name, data)
    inputs, outputs = GRAPHS[name]
    for what, stated, expected in (("takes", scan.inputs, inputs), ("gives", scan.outputs, outputs)):
        _check_tensors(name, what, stated, _expected(name, expected, shapes))


def check_standing_alone(name: str, data: bytes) -> GraphScan:
    """Refuse a graph that reads other files, needs other operators or newer versions; gives what it holds.

    Raises:
        BundleError: naming what was found; it begins with "holds a ... graph".
    """
    try:
        scan = scan_graph(data)
    except BundleError as err:
        raise BundleError(f"holds a {name} graph that {err}") from err
    if scan.external:
        raise BundleError(f"holds a {name} graph whose weights lie in another file: refused")
    foreign = sorted((scan.domains | set(scan.opsets)) - STANDARD_DOMAINS)
    if foreign or scan.functions:
        named = ", ".join(map(repr, foreign)) or "functions of its own"
        raise BundleError(f"holds a {name} graph with operators from outside the ONNX standard ({named})")
    opset = max(scan.opsets.values(), default=0)
    if not 0 < opset <= NEWEST_OPSET or not 0 < scan.ir_version <= NEWEST_IR:
        raise BundleError(
            f"holds a {name} graph of opset {opset} and IR {scan.ir_version},"
            f" newer than {NEWEST_OPSET} and {NEWEST_IR}"
        )
    return scan


def _expected(graph: str, names: Sequence[str], shapes: ContractShapes) -> dict[str, tuple[int, ...]]:
    """Tensor to shape without its batch dimension; the locator's ``frame`` is another than the step's."""
    found = {name: shapes.tensor_shape(name) for name in names}
    if graph == "locator" and "frame" in found:
        found["frame"] = shapes.locator_shape
    return found


def _check_tensors(
    graph: str, what: str, stated: Sequence[GraphTensor], expected: Mapping[str, tuple[int, ...]]
) -> None:
    if [tensor.name for tensor in stated] != list(expected):
        named = ", ".join(repr(tensor.name[:40]) for tensor in stated[:12])
        raise BundleError(f"holds a {graph} graph that {what} {named} and not {', '.join(expected)}")
    for tensor in stated:
        batch, *rest = tensor.shape or (0,)
        if tensor.element != FLOAT or not isinstance(batch, str) or tuple(rest) != expected[tensor.name]:
            raise BundleError(f"holds a {graph} graph that {what} {tensor.name} in another shape or type")
