"""A training run small enough to be exported in seconds, and clips of noise to try it on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from lvedge.network.config import LocatorConfig, NetworkConfig
from lvedge.network.locator import Locator
from lvedge.network.model import LeftVentricleNetwork
from lvedge.training.checkpoint import config_as_dict, write_checkpoint
from lvedge_export.clip import Clip
from lvedge_export.engine import Exported

NETWORK = NetworkConfig(
    view_px=32,
    stem=4,
    growth=(4, 4, 4, 4),
    expansion=(2, 2, 2, 2),
    down=(8, 8, 8, 8),
    up=(8, 8, 8, 8),
    last_squeeze=8,
    hidden=(4, 4, 4, 4, 4),
    shared=8,
    rays=12,
    radii=20,
    regression_state=8,
    phase_state=4,
)
LOCATOR = LocatorConfig(input_px=32, channels=(4, 4, 4, 4))
STEPS = 12
STEM = "segmentation.stem.0/Conv_0"
"""The network's first convolution, as the step graph names it."""


def shaken(module: Any) -> Any:
    """Weights and statistics off their initial values, so that nothing is equal by being zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.2, generator=generator)
                layer.running_var.uniform_(0.5, 2.0, generator=generator)
    return module.eval()


def write_run(folder: Path) -> Path:
    """The folder with the checkpoints of a run."""
    torch.manual_seed(0)
    network, locator = shaken(LeftVentricleNetwork(NETWORK)), shaken(Locator(LOCATOR))
    write_checkpoint(
        folder / "perception.pt",
        {"network_config": config_as_dict(NETWORK), "weights": network.state_dict()},
    )
    write_checkpoint(
        folder / "locator.pt", {"locator_config": config_as_dict(LOCATOR), "weights": locator.state_dict()}
    )
    return folder


def clips(shapes: Any, count: int = 2) -> list[Clip]:
    """Clips of noise that drifts, so that frames of one clip resemble each other."""
    rng = np.random.default_rng(5)
    found = []
    for k in range(count):
        parts = []
        for shape in (shapes.tensor_shape("frame"), shapes.locator_shape):
            base, change = rng.random((2, 1, *shape), dtype=np.float32)
            parts.append(base + change * np.linspace(0, 1, STEPS, dtype=np.float32).reshape(-1, 1, 1, 1))
        found.append(Clip(f"noise {k}", *(np.ascontiguousarray(part) for part in parts)))
    return found


def scaled_stem(exported: Exported, factor: float) -> Exported:
    """The same graphs with a first convolution that gives so many times as much."""
    model = onnx.load_from_string(exported.graphs["step"])
    (stem,) = (node for node in model.graph.node if node.name == STEM)
    for tensor in model.graph.initializer:
        if tensor.name in stem.input:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name)
            )
    return replace(exported, graphs={**exported.graphs, "step": model.SerializeToString()})
