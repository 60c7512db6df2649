"""Convolution layer ([0043]): five hidden layers, each convolution, non-linearity and pooling."""

from __future__ import annotations

from torch import Tensor, nn

from lvedge.network.config import NetworkConfig
from lvedge.network.segmentation import convolution


class ConvolutionLayer(nn.Module):
    """The segmentation layer's feature map to one feature vector a frame."""

    def __init__(self, inputs: int, config: NetworkConfig) -> None:
        super().__init__()
        layers, channels, size = [], inputs, config.view_px
        for outputs in config.hidden:
            layers += [convolution(channels, outputs), nn.MaxPool2d(2)]
            channels, size = outputs, size // 2
        self.hidden = nn.Sequential(*layers)
        self.outputs = channels * size * size

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, S, S]
        features: Tensor = self.hidden(x).flatten(1)
        return features  # [B, outputs]: 80 → 40 → 20 → 10 → 5 → 2 pixels a side
