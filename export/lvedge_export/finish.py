"""The last steps of every graph: without the exporting machine's traces, named, stamped, checked, linted."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence

import onnx

from lvedge import __version__
from lvedge.contract import CONTRACT_VERSION, ContractShapes
from lvedge.errors import LvedgeError
from lvedge.graph import NEWEST_IR
from lvedge_export.lint import faults

GLUE = "glue"
"""Layer of the nodes that belong to no module of their own: scaling, softmax, concatenation, casts."""

PREFIX = "lvedge."
"""Begins the keys of a graph's metadata."""


class ExportError(LvedgeError):
    """A network that cannot be exported, or whose export is not equal to it."""


def finished(
    model: onnx.ModelProto,
    name: str,
    shapes: ContractShapes,
    precision: str,
    checkpoint: Mapping[str, str],
    kept_fp32: Sequence[str] = (),
) -> bytes:
    """The model's bytes, the same ones on every machine.

    Args:
        model: a graph whose nodes are named "layer/anything"; it is changed.
        name: "step", "replay" or "locator".
        shapes: sizes of its tensors.
        precision: "fp32", "fp16" or "int8".
        checkpoint: file name to SHA-256 of what the weights come from.
        kept_fp32: parts of a lower precision's graph that are computed in FP32.

    Raises:
        ExportError: if the model is no valid ONNX, breaks the contract, or holds what TensorRT lacks.
    """
    model.ir_version = NEWEST_IR
    model.producer_name, model.producer_version = "lvedge", str(CONTRACT_VERSION)
    model.graph.name = name
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]  # traces of the exporting machine
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    del model.graph.value_info[:]
    _rename_nodes(model)
    _check(model, name)
    _stamp(model, name, precision, checkpoint, kept_fp32)
    data: bytes = model.SerializeToString(deterministic=True)
    found = faults(data, name, shapes)
    if found:
        raise ExportError(f"the {precision} {name} graph cannot go to a device: it {'; it '.join(found)}")
    return data


def metadata(graph: bytes) -> dict[str, str]:
    """What a graph says of itself: version, contract, graph, precision, checkpoint, fp32_parts, sha256.

    Args:
        graph: the ONNX bytes.

    Returns:
        The values without their prefix; empty for a graph of another maker.
    """
    model = onnx.load_from_string(graph)
    return {p.key.removeprefix(PREFIX): p.value for p in model.metadata_props if p.key.startswith(PREFIX)}


def checkpoint_line(checkpoint: Mapping[str, str]) -> str:
    """The checkpoints as they stand in a graph's metadata."""
    return json.dumps(dict(sorted(checkpoint.items())))


def content_sha256(model: onnx.ModelProto) -> str:
    """SHA-256 of the model without its metadata: the same for the same weights and operators."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def layer_of(node_name: str) -> str:
    """The layer that a node belongs to, as the network's attribute path."""
    return node_name.rpartition("/")[0] or GLUE


def part_of(node_name: str) -> str:
    """The outermost part of the network that a node belongs to."""
    return layer_of(node_name).partition(".")[0]


def _stamp(
    model: onnx.ModelProto,
    name: str,
    precision: str,
    checkpoint: Mapping[str, str],
    kept_fp32: Sequence[str],
) -> None:
    """Write what the graph is and where it comes from into its metadata, the content's hash last."""
    stated = {
        "version": __version__,
        "contract": str(CONTRACT_VERSION),
        "graph": name,
        "precision": precision,
        "checkpoint": checkpoint_line(checkpoint),
        "fp32_parts": json.dumps(list(kept_fp32)),
        "sha256": content_sha256(model),
    }
    onnx.helper.set_model_props(model, {PREFIX + key: value for key, value in stated.items()})


def _check(model: onnx.ModelProto, name: str) -> None:
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        raise ExportError(
            f"a batch normalisation of the {name} graph was not folded: put it behind its convolution"
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as err:
        raise ExportError(f"the {name} graph is no valid ONNX: {str(err).splitlines()[0]}") from err


def _rename_nodes(model: onnx.ModelProto) -> None:
    """Number the nodes by layer and operator: the exporter's names depend on what was exported before."""
    counts: Counter[str] = Counter()
    for node in model.graph.node:
        plain = f"{layer_of(node.name)}/{node.op_type}"
        node.name = f"{plain}_{counts[plain]}"
        counts[plain] += 1
