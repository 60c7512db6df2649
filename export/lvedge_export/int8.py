"""INT8 with explicit Q/DQ: what TensorRT builds from and ONNX Runtime fuses, made by ONNX Runtime's tool."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from lvedge.contract import Floats
from lvedge.graph import graph_file
from lvedge_export.clip import Clip
from lvedge_export.engine import Exported
from lvedge_export.finish import finished, part_of
from lvedge_export.reach import calls
from lvedge_runtime.engines.onnxruntime_base import session_from_bytes

PARTS = {"step": ("segmentation", "convolution"), "locator": ("stem", "down", "context", "up", "maps")}
"""Where the convolutions are. What reads the mask, remembers and classifies stays in FP32."""


def int8_from_onnx(exported: Exported, name: str, clips: Iterable[Clip]) -> bytes:
    """The graph with its convolutions in INT8: symmetric, weights by channel, biases float, all else FP32.

    Args:
        exported: the FP32 graphs.
        name: "step" or "locator"; replay has nothing to quantise.
        clips: frames that the ranges are taken from; they should be like those of the training.

    Raises:
        ExportError: as for ``finished``.
    """
    model = onnx.load_from_string(exported.graphs[name])
    nodes = {node.name: part_of(node.name) for node in model.graph.node}
    with TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / graph_file(name)
        quantize_static(
            model,
            path,
            _Frames(exported, name, clips),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=[node for node, part in nodes.items() if part in PARTS[name]],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
        quantised = onnx.load(path)
    for node in quantised.graph.node:
        if node.name not in nodes:
            node.name = ""  # a quantiser or its inverse
    kept = sorted(set(nodes.values()) - set(PARTS[name]))
    return finished(quantised, name, exported.shapes, "int8", exported.checkpoint, kept)


def emulated_from_int8(graph: bytes) -> bytes:
    """A float32 graph that rounds and clips as the INT8 graph says, where a CPU's own INT8 kernels do not.

    Without VNNI ONNX Runtime's fused kernels add products in 16 bits, which saturate; TensorRT's sums do not.

    Args:
        graph: an INT8 graph of ``int8_from_onnx``.
    """
    model = onnx.load_from_string(graph)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    quantisers = {n.output[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    nodes, weights = [], {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            continue
        if node.op_type != "DequantizeLinear":
            nodes.append(node)
            continue
        source, scale = node.input[0], node.input[1]
        output = node.output[0]
        if source in constants:
            weights[output] = _dequantised(constants[source], constants[scale], node)
            continue
        steps = [f"{output}:{what}" for what in ("parts", "whole", "clipped")]
        nodes += [
            helper.make_node("Div", [quantisers[source].input[0], scale], steps[:1]),
            helper.make_node("Round", steps[:1], steps[1:2]),
            helper.make_node("Clip", [steps[1], "int8:low", "int8:high"], steps[2:]),
            helper.make_node("Mul", [steps[2], scale], [output]),
        ]
    weights |= {"int8:low": np.float32(-128), "int8:high": np.float32(127)}
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values), name) for name, values in weights.items()
    )
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _dequantised(values: np.ndarray, scale: np.ndarray, node: onnx.NodeProto) -> np.ndarray:
    """Weights as float32; a scale for each channel lies along the axis that the node names."""
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    shape = [1] * values.ndim
    if scale.ndim:
        shape[axis] = -1
    product: np.ndarray = values.astype(np.float32) * scale.reshape(shape)
    return product


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    """Inputs of a graph, call by call, as the FP32 graph meets them on its way through the clips."""

    def __init__(self, exported: Exported, name: str, clips: Iterable[Clip]) -> None:
        session = session_from_bytes(exported.graphs[name], name)
        self._inputs: Iterator[dict[str, Floats]] = (
            inputs for inputs, _ in calls(session, name, clips, exported.shapes)
        )

    def get_next(self) -> dict[str, Floats] | None:
        return next(self._inputs, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the advice to optimise the graph first: it is as slim as it gets."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
