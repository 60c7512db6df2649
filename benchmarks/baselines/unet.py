"""MONAI's residual U-Net, trained on lvedge's slices and read with lvedge's geometry.

The design of Kerfoot et al. (STACOM 2018, doi 10.1007/978-3-030-12029-0_40), second of the LV quantification
challenge: 16 to 256 channels, four halvings, two residual units a level.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from lvedge.errors import MissingExtraError
from lvedge.indices import Label
from lvedge.network.config import NetworkConfig
from lvedge.training.augment import AugmentConfig
from lvedge.training.checkpoint import of_this_version, read_checkpoint
from lvedge.training.loop import LoopConfig, Losses, train
from lvedge.training.losses import LossWeights, cross_entropy, soft_dice_loss
from lvedge.training.perception import SliceBatch, SliceSampler, mean_dice
from lvedge.training.slices import PreparedSlice

NAME = "unet"
CHANNELS = (16, 32, 64, 128, 256)
STRIDES = (2, 2, 2, 2)
RESIDUAL_UNITS = 2
VIEW = NetworkConfig()

ABOUT = (
    "MONAI's residual U-Net (channels 16 to 256, two residual units a level), cross-entropy and soft Dice "
    "on the same slices, sampler, augmentation, schedule and averaging as lvedge's perception stage, "
    "trained for the same core-seconds; its mask read by lvedge's geometry through the view that lvedge's "
    "locator and this mask place; the phase of a beat from the curve of its own cavity areas"
)


def residual_unet(channels: tuple[int, ...] = CHANNELS) -> nn.Module:
    """The untrained network: pictures [B, 1, S, S] to mask logits [B, 4, S, S], S divisible by 16.

    Raises:
        MissingExtraError: without MONAI.
    """
    try:
        from monai.networks.nets import UNet
    except ImportError as err:
        raise MissingExtraError("monai", "baselines", "the residual U-Net") from err
    network: nn.Module = UNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=len(Label),
        channels=channels,
        strides=STRIDES,
        num_res_units=RESIDUAL_UNITS,
    )
    return network


def train_unet(
    slices: list[PreparedSlice],
    watched: list[PreparedSlice],
    folder: Path,
    loop: LoopConfig,
    channels: tuple[int, ...] = CHANNELS,
) -> nn.Module:
    """Train on single slices; arguments as for ``train_perception``, gives the averaged network."""
    torch.manual_seed(loop.seed)
    network = residual_unet(channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sampler, augment, weights = SliceSampler.of_training(slices), AugmentConfig(), LossWeights()

    def losses_of_step(step: int) -> Losses:
        batch = sampler.batch(loop.batch, VIEW, augment, np.random.default_rng((loop.seed, step)))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=loop.bfloat16):
            logits = network(batch.pictures.to(memory_format=torch.channels_last))
        logits = logits.float()
        return {
            "cross_entropy": weights.cross_entropy * cross_entropy(logits, batch.maps, batch.has_rv),
            "dice": weights.dice * soft_dice_loss(logits, batch.maps, batch.has_rv),
        }

    fixed = SliceBatch.as_they_are(watched, VIEW) if watched else None
    header = {"unet_channels": list(channels)}
    return train(network, losses_of_step, lambda m: _watch(m, fixed), loop, folder, NAME, header)


@torch.no_grad()
def _watch(network: nn.Module, batch: SliceBatch | None) -> dict[str, float]:
    """Dice of the averaged network on watched slices, through the hand-made view."""
    if batch is None:
        return {}
    return mean_dice(network(batch.pictures), batch.maps)


def read_unet(checkpoint: Path) -> nn.Module:
    """The averaged network of a checkpoint, in evaluation mode.

    Raises:
        DataError: if the file is missing, damaged or of something else.
    """
    content = read_checkpoint(checkpoint)
    with of_this_version(checkpoint):
        network = residual_unet(tuple(content["unet_channels"]))
        network.load_state_dict(content["weights"])
        return network.eval()
