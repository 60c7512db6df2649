"""FP16 typed in the graph, with parts kept in FP32; and what FP16 and bfloat16 round, emulated on a CPU.

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
        nodes += _rounded_at_once(node, half, TensorProto.FLOAT16)
    return _with_nodes(model, nodes)


def emulated_in_bfloat16(graph: bytes) -> bytes:
    """A float32 graph that rounds every weight and every result to bfloat16, sums inside an operator in FP32.

    What an engine that is asked for bfloat16 does at most: it may keep some of its results in FP32.

    Args:
        graph: an FP32 graph.
    """
    model = onnx.load_from_string(graph)
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*typed.value_info, *typed.output)
    rounded = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    nodes = []
    for weights in model.graph.initializer:
        if weights.data_type == TensorProto.FLOAT:
            name, weights.name = weights.name, f"{weights.name}:exact"
            nodes += _rounding(name, TensorProto.BFLOAT16)
    for node in model.graph.node:
        nodes += _rounded_at_once(node, rounded, TensorProto.BFLOAT16)
    return _with_nodes(model, nodes)


def _rounded_at_once(node: onnx.NodeProto, names: set[str], to: int) -> list[onnx.NodeProto]:
    """The node, and what rounds those of its results that are named."""
    nodes = [node]
    for k, output in enumerate(node.output):
        if output in names:
            node.output[k] = f"{output}:exact"
            nodes += _rounding(output, to)
    return nodes


def _rounding(name: str, to: int) -> list[onnx.NodeProto]:
    """From ``name:exact`` to ``name`` through a lower precision."""
    return [
        helper.make_node("Cast", [f"{name}:exact"], [f"{name}:lower"], to=to),
        helper.make_node("Cast", [f"{name}:lower"], [name], to=TensorProto.FLOAT),
    ]


def _with_nodes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> bytes:
    """The model's bytes with other nodes."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    del other.graph.node[:]
    other.graph.node.extend(nodes)
    data: bytes = other.SerializeToString(deterministic=True)
    return data
