"""The locator: the full frame to the LV centre and the two RV insertion points, at any rotation.

A small U-shaped network spreads the probability of each point over a grid at half the input's resolution;
a point is the mean position of what is likely. It is no part of the patent: it replaces the hand-marked
crop that the patent's input presupposes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lvedge.contract import LOCATOR_POINTS
from lvedge.network.config import LocatorConfig
from lvedge.network.segmentation import convolution

NEARBY_PX = 6.0
"""Spread of what counts as near a point when its confidence is judged, input pixels (16 mm)."""


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
            convolution(channels, channels, dilation=2), convolution(channels, channels, dilation=3)
        )
        self.presence = nn.Linear(channels, len(LOCATOR_POINTS))
        self.up = nn.ModuleList()
        for outputs in reversed([first, *deeper[:-1]]):
            self.up.append(
                nn.Sequential(convolution(channels + outputs, outputs), convolution(outputs, outputs))
            )
            channels = outputs
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.maps = nn.Conv2d(channels, len(LOCATOR_POINTS), 1)
        side = self.config.input_px // 2
        # Centre of a grid cell in input pixels.
        self.register_buffer("axis", torch.arange(side) * 2.0 + 0.5, persistent=False)

    def heat_maps(self, frame: Tensor) -> tuple[Tensor, Tensor]:  # [B, 1, P, P]
        """Logits of where each point is, [B, 3, P/2, P/2], and of whether it is there at all, [B, 3]."""
        x = self.stem(frame)
        skips = []
        for stage in self.down:
            skips.append(x)
            x = stage(x)
        x = self.context(x)
        presence = self.presence(x.mean(dim=(2, 3)))
        for stage, skip in zip(self.up, reversed(skips), strict=True):
            x = stage(torch.cat([self.enlarge(x), skip], dim=1))
        return self.maps(x), presence

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:  # [B, 1, P, P]
        return self.points(*self.heat_maps(frame))

    def points(self, maps: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
        """Points in input pixels (x, y), [B, 3, 2], and the confidence in each, [B, 3].

        The confidence is the probability that the point is there, times the share of its map that lies
        nearby: two likely places make both doubtful.
        """
        across, down = self.shares(maps)  # [B, 3, P/2] each
        x, y = (across * self.axis).sum(dim=2), (down * self.axis).sum(dim=2)
        near_x = torch.exp(-((self.axis - x[..., None]) ** 2) / (2 * NEARBY_PX**2))
        near_y = torch.exp(-((self.axis - y[..., None]) ** 2) / (2 * NEARBY_PX**2))
        nearby = (across * near_x).sum(dim=2) * (down * near_y).sum(dim=2)
        return torch.stack([x, y], dim=2), torch.sigmoid(presence) * nearby

    @staticmethod
    def shares(maps: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of each column and of each row, [B, 3, P/2] each; sharpened: the peak decides."""
        flat = torch.softmax(2.0 * maps.flatten(2), dim=2).view(maps.shape)
        return flat.sum(dim=2), flat.sum(dim=3)
