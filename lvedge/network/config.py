"""Every size of the network in one place."""

from __future__ import annotations

from dataclasses import dataclass

from lvedge.contract import ContractShapes
from lvedge.indices import DEFAULT_LAYOUT, IndexLayout

STAGES = 4
"""Down stages, and as many up stages ([0041])."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the four layers and of the view they read.

    Args:
        layout: M wall thicknesses and N diameters.
        view_px: side of the view; divisible by 2^4 for the four down stages.
        view_mm_per_px: size of a view pixel.
        stem: channels of the first convolution.
        growth: channels that each convolution of a dense block adds, by scale from fine to coarse; the
            up stages use the same numbers from coarse to fine, the last dense block the finest.
        dense_convolutions: convolutions in a dense block.
        dilations: rates of an expansion block ([0041]: 1, 3, 5).
        expansion: channels of each dilation rate, by scale.
        down: output channels of the four down-sampling blocks.
        up: output channels of the four up-sampling blocks.
        last_squeeze: channels after the 1 × 1 convolution that precedes the last dense block.
        hidden: channels of the convolution layer's five hidden layers ([0043]).
        shared: width of the layer that both LSTMs share.
        rays: directions in which the polar reading measures the walls.
        radii: radial samples of the polar reading, half a pixel apart.
        regression_state: width of the regression LSTM.
        phase_state: width of the phase LSTM.
        cell_limit: how far from 0 a cell of either LSTM may go. A frame moves it by less than 1, so that no
            clip of up to so many frames, and none in training, notices.
    """

    layout: IndexLayout = DEFAULT_LAYOUT
    view_px: int = 80
    view_mm_per_px: float = 1.5
    stem: int = 16
    growth: tuple[int, ...] = (16, 16, 32, 32)
    dense_convolutions: int = 2
    dilations: tuple[int, ...] = (1, 3, 5)
    expansion: tuple[int, ...] = (8, 16, 16, 16)
    down: tuple[int, ...] = (32, 48, 64, 96)
    up: tuple[int, ...] = (96, 64, 48, 32)
    last_squeeze: int = 32
    hidden: tuple[int, ...] = (16, 32, 48, 64, 64)
    shared: int = 64
    rays: int = 72
    radii: int = 76
    regression_state: int = 64
    phase_state: int = 64
    cell_limit: float = 80.0

    def __post_init__(self) -> None:
        if self.view_px % 2**STAGES:
            raise ValueError(f"the view's side must be divisible by {2**STAGES}, not {self.view_px}")
        for name in ("growth", "expansion", "down", "up"):
            if len(getattr(self, name)) != STAGES:
                raise ValueError(f"{name} needs {STAGES} numbers, one a stage, not {getattr(self, name)}")
        if self.rays % self.layout.sectors:
            raise ValueError(f"{self.rays} rays do not divide among {self.layout.sectors} sectors")


@dataclass(frozen=True)
class LocatorConfig:
    """Sizes of the locator.

    Args:
        input_px: side of its square input, divisible by 16.
        mm_per_px: size of its pixels; 128 × 2.75 mm cover 352 mm.
        channels: channels at the four scales; the first is at half the input's resolution.
    """

    input_px: int = 128
    mm_per_px: float = 2.75
    channels: tuple[int, ...] = (16, 32, 64, 96)


def contract_shapes(network: NetworkConfig, features: int, locator: LocatorConfig) -> ContractShapes:
    """What the exported graphs promise, from the configurations.

    Args:
        network: the network's sizes.
        features: length of its feature vector.
        locator: the locator's sizes.
    """
    return ContractShapes(
        view_px=network.view_px,
        view_mm_per_px=network.view_mm_per_px,
        regression_state=network.regression_state,
        phase_state=network.phase_state,
        features=features,
        locator_px=locator.input_px,
        locator_mm_per_px=locator.mm_per_px,
        layout=network.layout,
    )
