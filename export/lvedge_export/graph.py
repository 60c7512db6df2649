"""The three graphs as modules whose ``forward`` is the ONNX signature: what goes in and out, in order."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lvedge.contract import ContractShapes
from lvedge.graph import GRAPHS
from lvedge.network.locator import Locator
from lvedge.network.model import LeftVentricleNetwork
from lvedge.network.recurrent import RecurrentState

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class StepGraph(nn.Module):
    """One frame through all four layers; outputs as in ``lvedge.contract.STEP_OUTPUTS``."""

    def __init__(self, network: LeftVentricleNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, frame: Tensor, h_regression: Tensor, c_regression: Tensor, h_phase: Tensor, c_phase: Tensor
    ) -> tuple[Tensor, ...]:  # [B, 1, S, S], twice [B, H], twice [B, H']
        state = RecurrentState(h_regression, c_regression, h_phase, c_phase)
        seen, out = self.network.step(frame, state)
        phase, mask = torch.softmax(out.phase_logits, dim=1), torch.softmax(seen.mask_logits, dim=1)
        return (out.indices, phase, mask, seen.features, *out.state)


class ReplayGraph(nn.Module):
    """The last two layers alone; outputs as in ``lvedge.contract.REPLAY_OUTPUTS``."""

    def __init__(self, network: LeftVentricleNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, features: Tensor, h_regression: Tensor, c_regression: Tensor, h_phase: Tensor, c_phase: Tensor
    ) -> tuple[Tensor, ...]:  # [B, F], twice [B, H], twice [B, H']
        out = self.network.recur(features, RecurrentState(h_regression, c_regression, h_phase, c_phase))
        return (out.indices, torch.softmax(out.phase_logits, dim=1), *out.state)


class LocatorGraph(nn.Module):
    """The full frame to three points; outputs as in ``lvedge.contract.LOCATOR_OUTPUTS``."""

    def __init__(self, locator: Locator) -> None:
        super().__init__()
        self.locator = locator

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:  # [B, 1, P, P]
        points, confidence = self.locator(frame)
        return points, confidence  # [B, 3, 2], [B, 3]


def graphs_of(network: LeftVentricleNetwork, locator: Locator) -> dict[str, nn.Module]:
    """The bundle's three graphs by name, in evaluation mode; they share their weights with what is given."""
    graphs: dict[str, nn.Module] = {
        "step": StepGraph(network),
        "replay": ReplayGraph(network),
        "locator": LocatorGraph(locator),
    }
    return {name: graphs[name].eval() for name in GRAPHS}


def example_inputs(name: str, shapes: ContractShapes, batch: int = 2) -> tuple[Tensor, ...]:
    """Inputs of a graph, in order: numbers between 0 and 1, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    inputs = []
    for tensor in GRAPHS[name][0]:
        is_locator_frame = name == "locator" and tensor == "frame"
        shape = shapes.locator_shape if is_locator_frame else shapes.tensor_shape(tensor)
        inputs.append(torch.rand((batch, *shape), generator=generator))
    return tuple(inputs)


def folded(module: AnyModule) -> AnyModule:
    """A copy whose batch normalisations are folded into the convolutions before them."""
    copied = copy.deepcopy(module).eval()
    for part in list(copied.modules()):
        if isinstance(part, nn.Sequential):
            _fold(part)
    return copied


def _fold(layers: nn.Sequential) -> None:
    for k in range(len(layers) - 1):
        before, after = layers[k], layers[k + 1]
        if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            layers[k], layers[k + 1] = fuse_conv_bn_eval(before, after), nn.Identity()
