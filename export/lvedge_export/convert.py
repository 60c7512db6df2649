"""From a graph in torch to the bytes of an ONNX model, the same ones every time."""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import onnx
import onnxslim
import torch
from torch import nn

from lvedge.contract import ContractShapes
from lvedge.graph import GRAPHS, NEWEST_OPSET
from lvedge_export.finish import ExportError, finished
from lvedge_export.graph import example_inputs, folded

BATCH = "B"
"""Name of the dynamic dimension: so many streams go as one batch."""

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Under which key torch notes the modules that a node comes from, outermost first, then the operation."""


def onnx_from_graph(
    graph: nn.Module, name: str, shapes: ContractShapes, checkpoint: Mapping[str, str]
) -> bytes:
    """A graph as ONNX: opset 18, IR 10, operators that TensorRT takes, weights inside, dynamic batch.

    Args:
        graph: one of ``lvedge_export.graph``'s modules, in evaluation mode.
        name: "step", "replay" or "locator".
        shapes: sizes of its tensors.
        checkpoint: file name to SHA-256 of what the weights come from; goes into the graph's metadata.

    Raises:
        ExportError: if a batch normalisation is left, the model is no valid ONNX, or no device would take it.
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
    model = program.model_proto  # made afresh at every call
    _name_by_layer(model)
    return finished(onnxslim.slim(model), name, shapes, "fp32", checkpoint)


def _name_by_layer(model: onnx.ModelProto) -> None:
    """Name the nodes "layer/operator", the layer as the network's own attribute path."""
    for k, node in enumerate(model.graph.node):
        scopes = next((ast.literal_eval(p.value) for p in node.metadata_props if p.key == _SCOPES), [""])
        layer = scopes[-2] if len(scopes) > 1 else ""
        node.name = f"{layer.partition('.')[2]}/{k}"


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
