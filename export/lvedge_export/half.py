"""FP16 typed in the graph, with parts kept in FP32; and the same graph with FP16's rounding on a CPU.

TensorRT from 11 on has no precision flags: types stand in the graph. Inputs and outputs stay float32, so that
the contract is one for every precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.onnx_model import OnnxModel

from lvedge_export.engine import Exported
from lvedge_export.finish import finished, layer_of

LARGEST = 65504.0
"""Largest number of FP16."""


def half_from_onnx(exported: Exported, name: str, kept_fp32: Sequence[str] = ()) -> bytes:
    """The graph in FP16: weights and everything between, but for the parts kept; float32 in and out.

    Args:
        exported: the FP32 graphs.
        name: which of them.
        kept_fp32: layers and their insides, or single nodes by name, that are computed in FP32.

    Raises:
        ExportError: as for ``finished``.
    """
    model = onnx.load_from_string(exported.graphs[name])
    nodes = [node.name for node in model.graph.node]
    kept = [node for node in nodes if is_kept(node, kept_fp32)]
    if len(kept) < len(nodes):
        mixed = OnnxModel(model)
        # The method, not the function of that name: it takes back the roundings between two kept nodes.
        mixed.convert_float_to_float16(
            use_symbolic_shape_infer=False, keep_io_types=True, op_block_list=[], node_block_list=kept
        )
        mixed.topological_sort(is_deterministic=True)
        model = mixed.model
        for node in model.graph.node:
            if node.name not in nodes:
                node.name = ""  # a cast
    return finished(model, name, exported.shapes, "fp16", exported.checkpoint, kept_fp32)


def is_kept(node_name: str, kept_fp32: Sequence[str]) -> bool:
    """Whether a node is named itself, or lies in a layer that is."""
    layer = layer_of(node_name)
    return any(kept in (node_name, layer) or layer.startswith(f"{kept}.") for kept in kept_fp32)


def emulated_from_half(graph: bytes) -> bytes:
    """A float32 graph that rounds to FP16 wherever the FP16 graph does: what ONNX Runtime can execute truly.

    ONNX Runtime has no FP16 kernels on a CPU. It computes an FP16 graph in float32 from cast to cast, neither
    rounding nor overflowing in between, and so shows none of FP16's faults. Here every result that is FP16 is
    rounded at once. Inside a node sums stay float32, as they are on tensor cores.

    Args:
        graph: an FP16 graph, possibly mixed.
    """
    model = onnx.load_from_string(graph)
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    half = {v.name for v in typed.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT16}
    for weights in model.graph.initializer:
        if weights.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(weights).astype(np.float32)
            weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in half:
            nodes.append(helper.make_node("Identity", node.input, node.output))
            continue
        if node.op_type == "Cast" and node.output[0] in half:
            node.op_type = "Identity"
            del node.attribute[:]
        rounded = [output for output in node.output if output in half]
        for k, output in enumerate(node.output):
            if output in half:
                node.output[k] = f"{output}:exact"
        nodes.append(node)
        for output in rounded:
            nodes.append(
                helper.make_node("Cast", [f"{output}:exact"], [f"{output}:half"], to=TensorProto.FLOAT16)
            )
            nodes.append(helper.make_node("Cast", [f"{output}:half"], [output], to=TensorProto.FLOAT))
    emulated = onnx.ModelProto()
    emulated.CopyFrom(model)
    del emulated.graph.node[:]
    emulated.graph.node.extend(nodes)
    data: bytes = emulated.SerializeToString(deterministic=True)
    return data
