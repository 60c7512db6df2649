"""Reach: how large the numbers become in every node of a graph, against what FP16 can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lvedge.contract import NEXT_SUFFIX, ContractShapes, Floats, State
from lvedge_export.clip import Clip
from lvedge_export.half import LARGEST
from lvedge_runtime.engines.onnxruntime_cpu import session_from_bytes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MARGIN = 8.0
"""How far below FP16's largest number the largest one seen has to stay: other patients, other scanners."""

_REACH = ":reach"


def reach_of_nodes(
    graph: bytes, name: str, clips: Iterable[Clip], shapes: ContractShapes
) -> dict[str, float]:
    """Node to the largest absolute value that it reads or gives over the clips; infinite if no number.

    Args:
        graph: an FP32 graph.
        name: "step" or "locator"; what replay computes is part of step.
        clips: frames in order; the state is carried through each clip.
        shapes: sizes of the tensors.
    """
    model = onnx.load_from_string(graph)
    largest = {
        tensor.name: float(np.abs(values).max())
        for tensor in model.graph.initializer
        if (values := numpy_helper.to_array(tensor)).dtype == np.float32 and values.size
    }
    watched = _watch(model)
    session = session_from_bytes(model.SerializeToString(), name)
    for inputs, outputs in calls(session, name, clips, shapes):
        seen = {tensor: float(outputs[tensor + _REACH]) for tensor in watched}
        seen |= {tensor: float(np.abs(values).max()) for tensor, values in inputs.items()}
        for tensor, value in seen.items():
            largest[tensor] = max(largest.get(tensor, 0.0), value if np.isfinite(value) else np.inf)
    return {
        node.name: max((largest.get(tensor, 0.0) for tensor in (*node.input, *node.output)), default=0.0)
        for node in onnx.load_from_string(graph).graph.node
    }


def beyond_half(reach: Mapping[str, float]) -> list[str]:
    """Nodes whose numbers come nearer to FP16's largest one than the margin allows."""
    return [node for node, largest in reach.items() if not largest * MARGIN <= LARGEST]


def calls(
    session: InferenceSession, name: str, clips: Iterable[Clip], shapes: ContractShapes
) -> Iterator[tuple[dict[str, Floats], dict[str, Floats]]]:
    """Run a graph over clips and give each call's inputs and outputs by name; "step" carries its state.

    Args:
        session: of "step" or "locator"; it may have outputs of its own beside the contract's.
        name: which of both.
        clips: frames in order.
        shapes: sizes of the tensors.
    """
    names = [output.name for output in session.get_outputs()]
    for clip in clips:
        state = State.zeros(shapes).as_inputs() if name == "step" else {}
        for frame in clip.views if name == "step" else clip.frames:
            inputs = {"frame": frame[None], **state}
            outputs = dict(zip(names, session.run(names, inputs), strict=True))
            yield inputs, outputs
            state = {tensor: outputs[tensor + NEXT_SUFFIX] for tensor in state}


def _watch(model: onnx.ModelProto) -> list[str]:
    """Give the model an output for the largest absolute value of every float tensor that a node gives."""
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    floats = {
        value.name
        for value in (*typed.value_info, *typed.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    watched = [output for node in model.graph.node for output in node.output if output in floats]
    for tensor in watched:
        model.graph.node.append(helper.make_node("Abs", [tensor], [tensor + ":abs"]))
        model.graph.node.append(
            helper.make_node("ReduceMax", [tensor + ":abs"], [tensor + _REACH], keepdims=0)
        )
        model.graph.output.append(helper.make_tensor_value_info(tensor + _REACH, TensorProto.FLOAT, []))
    return watched
