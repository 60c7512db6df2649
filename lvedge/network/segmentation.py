"""Segmentation layer (claims 2-4, [0041], [0042]): four stages down, four up, skips from the dense blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lvedge.indices import Label
from lvedge.network.config import STAGES, NetworkConfig


def convolution(inputs: int, outputs: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation (folded into it on export), ReLU; the size stays."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class DenseBlock(nn.Module):
    """Each convolution reads all that came before it; the output is everything, concatenated."""

    def __init__(self, inputs: int, growth: int, convolutions: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(convolution(inputs + k * growth, growth) for k in range(convolutions))
        self.outputs = inputs + convolutions * growth

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, H, W]
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x  # [B, inputs + convolutions * growth, H, W]


class ExpansionBlock(nn.Module):
    """Dilated 3 × 3 convolutions, one a rate, read the dense block's output; theirs are concatenated."""

    def __init__(self, inputs: int, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.rates = nn.ModuleList(convolution(inputs, channels, dilation=rate) for rate in dilations)
        self.outputs = channels * len(dilations)

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, H, W]
        return torch.cat([rate(x) for rate in self.rates], dim=1)  # [B, channels * rates, H, W]


class DownStage(nn.Module):
    """Dense block → expansion block → down-sampling block (a convolution, then 2 × 2 max-pool)."""

    def __init__(self, inputs: int, outputs: int, scale: int, config: NetworkConfig) -> None:
        super().__init__()
        self.dense = DenseBlock(inputs, config.growth[scale], config.dense_convolutions)
        self.expansion = ExpansionBlock(self.dense.outputs, config.expansion[scale], config.dilations)
        self.down = nn.Sequential(convolution(self.expansion.outputs, outputs, kernel=1), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # [B, inputs, H, W]
        dense = self.dense(x)
        return self.down(self.expansion(dense)), dense  # [B, outputs, H/2, W/2], the skip [B, ., H, W]


class UpStage(nn.Module):
    """Dense block → up-sampling block (a 1 × 1 convolution, then bilinear doubling)."""

    def __init__(self, inputs: int, outputs: int, scale: int, config: NetworkConfig) -> None:
        super().__init__()
        self.dense = DenseBlock(inputs, config.growth[scale], config.dense_convolutions)
        self.up = nn.Sequential(
            convolution(self.dense.outputs, outputs, kernel=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        )

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, H, W]
        up: Tensor = self.up(self.dense(x))
        return up  # [B, outputs, 2H, 2W]


class SegmentationLayer(nn.Module):
    """The view to a standardised feature map of the same size, and to masks."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.stem = convolution(1, config.stem)
        self.down = nn.ModuleList()
        skips, channels = [], config.stem
        for scale, outputs in enumerate(config.down):
            stage = DownStage(channels, outputs, scale, config)
            self.down.append(stage)
            skips.append(stage.dense.outputs)
            channels = outputs
        self.up = nn.ModuleList()
        for k, outputs in enumerate(config.up):
            self.up.append(UpStage(channels, outputs, STAGES - 1 - k, config))
            channels = outputs + skips[STAGES - 1 - k]
        self.squeeze = convolution(channels, config.last_squeeze, kernel=1)
        self.last = DenseBlock(config.last_squeeze, config.growth[0], config.dense_convolutions)
        self.masks = nn.Conv2d(self.last.outputs, len(Label), 1)
        self.outputs = self.last.outputs

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:  # [B, 1, S, S]
        x = self.stem(frame)  # [B, stem, S, S]
        skips = []
        for stage in self.down:
            x, dense = stage(x)
            skips.append(dense)
        # up1 ++ dense(down4) → up2, up2 ++ dense(down3) → up3, up3 ++ dense(down2) → up4,
        # up4 ++ dense(down1) → last dense block → convolution layer ([0041]).
        for stage, dense in zip(self.up, reversed(skips), strict=True):
            x = torch.cat([stage(x), dense], dim=1)
        x = self.last(self.squeeze(x))  # [B, outputs, S, S]
        return x, self.masks(x)  # feature map, mask logits [B, 4, S, S]
