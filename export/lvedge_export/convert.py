"""From a graph in torch to the bytes of an ONNX model, the same ones every time."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnxslim
import torch
from torch import nn

from lvedge.bundle import GRAPHS, NEWEST_IR, NEWEST_OPSET
from lvedge.contract import CONTRACT_VERSION, ContractShapes
from lvedge.errors import LvedgeError
from lvedge_export.graph import example_inputs, folded

BATCH = "B"
"""Name of the dynamic dimension: so many streams go as one batch."""


class ExportError(LvedgeError):
    """A network that cannot be exported, or whose export is not equal to it."""


def onnx_from_graph(graph: nn.Module, name: str, shapes: ContractShapes) -> bytes:
    """A graph as ONNX: opset 18, IR 10, standard operators, weights inside, dynamic batch.

    Args:
        graph: one of ``lvedge_export.graph``'s modules, in evaluation mode.
        name: "step", "replay" or "locator".
        shapes: sizes of its tensors.

    Raises:
        ExportError: if a batch normalisation is left, or the model is no valid ONNX.
    """
    inputs, outputs = GRAPHS[name]
    batch = torch.export.Dim(BATCH)
    with _expected_noise(), torch.no_grad():
        program = torch.onnx.export(
            folded(graph),
            example_inputs(name, shapes),
            dynamo=True,
            opset_version=NEWEST_OPSET,
            external_data=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes={tensor: {0: batch} for tensor in inputs},
            verbose=False,
        )
    if program is None:
        raise ExportError(f"torch gave no program for the {name} graph")
    model = onnxslim.slim(program.model_proto)
    return _finished(model, name)


def _finished(model: onnx.ModelProto, name: str) -> bytes:
    """The model without what varies between machines, checked."""
    model.ir_version = NEWEST_IR
    model.producer_name, model.producer_version = "lvedge", str(CONTRACT_VERSION)
    model.graph.name = name
    model.doc_string = ""
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input):
        part.doc_string = ""
        del part.metadata_props[:]  # traces of the exporting machine
    for output in model.graph.output:
        output.doc_string = ""
        del output.metadata_props[:]
    del model.graph.value_info[:]
    _rename_nodes(model)
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        raise ExportError(
            f"a batch normalisation of the {name} graph was not folded: put it behind its convolution"
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as err:
        raise ExportError(f"the {name} graph is no valid ONNX: {str(err).splitlines()[0]}") from err
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _rename_nodes(model: onnx.ModelProto) -> None:
    """Number the nodes by operator: the exporter's names depend on what was exported before."""
    for k, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{k}"


@contextmanager
def _expected_noise() -> Iterator[None]:
    """Silence what the exporter says of itself, and nothing else."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)  # tells that torchvision is not there
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning
            )
            warnings.filterwarnings(
                "ignore", message=r"# The axis name: B will not be used", category=UserWarning
            )
            yield
    finally:
        registry.setLevel(level)
