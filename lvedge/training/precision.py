"""Multiplying in bfloat16 where it may be done: the first two layers, but not what is summed over pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from lvedge.network.config import NetworkConfig
from lvedge.network.model import FrameOutput, LeftVentricleNetwork


def perceive(network: LeftVentricleNetwork, frames: Tensor, bfloat16: bool) -> FrameOutput:
    """Frames [B, 1, S, S] through the segmentation and the convolution layer.

    Args:
        network: whose ``perceive`` this is.
        frames: pictures in the view.
        bfloat16: multiply in bfloat16; lengths and areas are sums over many pixels and stay in float32.
    """
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        feature_map, mask_logits = network.segmentation(frames)
        vector = network.convolution(feature_map)
    return network.read(mask_logits.float(), vector.float())


class InBfloat16:
    """A network that perceives clips in bfloat16: about twice as fast where the processor has it.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: LeftVentricleNetwork) -> None:
        self._network = network

    @property
    def config(self) -> NetworkConfig:
        return self._network.config

    def perceive(self, frame: Tensor) -> FrameOutput:
        return perceive(self._network, frame, bfloat16=True)
