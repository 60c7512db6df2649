"""The locator: the full frame to the LV centre and the two RV insertion points, at any rotation.

A small U-shaped network gives one heat map a point at half the input's resolution; a point is the heat
map's mean position near its peak. It is no part of the patent: it replaces the hand-marked crop that the
patent's input presupposes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lvedge.contract import LOCATOR_POINTS
from lvedge.network.config import LocatorConfig
from lvedge.network.segmentation import convolution


class Locator(nn.Module):
    """Full frame to three points and their confidences."""

    axis: Tensor

    def __init__(self, config: LocatorConfig | None = None) -> None:
        super().__init__()
        self.config = config or LocatorConfig()
        first, *deeper = self.config.channels
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            convolution(first, first),
        )
        self.down = nn.ModuleList()
        channels = first
        for outputs in deeper:
            self.down.append(
                nn.Sequential(nn.MaxPool2d(2), convolution(channels, outputs), convolution(outputs, outputs))
            )
            channels = outputs
        self.context = nn.Sequential(
            convolution(channels, channels, dilation=2), convolution(channels, channels)
        )
        self.up = nn.ModuleList()
        for outputs in reversed([first, *deeper[:-1]]):
            self.up.append(convolution(channels + outputs, outputs))
            channels = outputs
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.maps = nn.Conv2d(channels, len(LOCATOR_POINTS), 1)
        side = self.config.input_px // 2
        # Centre of a heat-map cell in input pixels.
        self.register_buffer("axis", torch.arange(side) * 2.0 + 0.5, persistent=False)

    def heat_maps(self, frame: Tensor) -> Tensor:  # [B, 1, P, P]
        """Logits of each point's heat map."""
        x = self.stem(frame)
        skips = []
        for stage in self.down:
            skips.append(x)
            x = stage(x)
        x = self.context(x)
        for stage, skip in zip(self.up, reversed(skips), strict=True):
            x = stage(torch.cat([self.enlarge(x), skip], dim=1))
        maps: Tensor = self.maps(x)
        return maps  # [B, 3, P/2, P/2]

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:  # [B, 1, P, P]
        return self.points(self.heat_maps(frame))

    def points(self, maps: Tensor) -> tuple[Tensor, Tensor]:  # [B, 3, P/2, P/2] logits
        """Points in input pixels (x, y), [B, 3, 2], and the peak probability of each, [B, 3]."""
        heat = torch.sigmoid(maps)
        weight = heat.square().square()  # the neighbourhood of the peak, since the rest vanishes
        total = weight.sum(dim=(2, 3)) + 1e-6
        x = (weight.sum(dim=2) * self.axis).sum(dim=2) / total
        y = (weight.sum(dim=3) * self.axis).sum(dim=2) / total
        return torch.stack([x, y], dim=2), heat.amax(dim=(2, 3))
