"""Losses: masks with and without a drawn RV, values with unknown entries, the direction of mid-septum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvedge.indices import IndexLayout, Label


@dataclass(frozen=True)
class LossWeights:
    """Weight of each part of the perception loss.

    Args:
        cross_entropy: pixelwise cross-entropy.
        dice: 1 − soft Dice, mean over RV, myocardium and cavity.
        values: smooth L1 of the regressed values in units of ``tolerance``.
        drawn: the same of the polar reading.
        septum: 1 − cosine of the angle to the drawn mid-septum.
    """

    cross_entropy: float = 1.0
    dice: float = 1.0
    values: float = 4.0
    drawn: float = 2.0
    septum: float = 0.5


def tolerances(layout: IndexLayout, mm_per_px: float) -> Tensor:
    """What counts as one unit of error, [L] view pixels: 6 mm of wall, 20 mm of diameter, 900 mm² of area."""
    tolerance = torch.ones(layout.size)
    tolerance[layout.rwt] = 6.0 / mm_per_px
    tolerance[layout.dims] = 20.0 / mm_per_px
    tolerance[layout.areas] = 900.0 / mm_per_px**2
    return tolerance


def cross_entropy(logits: Tensor, maps: Tensor, has_rv: Tensor) -> Tensor:
    """Cross-entropy against memberships; where no RV was drawn, RV and background count as one class.

    Args:
        logits: [B, 4, S, S].
        maps: [B, 3, S, S] membership of RV, myocardium, cavity.
        has_rv: [B] bool.
    """
    log_p = torch.log_softmax(logits, dim=1)
    outside = torch.logaddexp(log_p[:, Label.BACKGROUND], log_p[:, Label.RV])
    background = (1.0 - maps.sum(dim=1)).clamp(min=0.0)
    drawn_rv = has_rv[:, None, None]
    background_term = background * torch.where(drawn_rv, log_p[:, Label.BACKGROUND], outside)
    return -(background_term + (maps * log_p[:, 1:]).sum(dim=1)).mean()


def soft_dice_loss(logits: Tensor, maps: Tensor, has_rv: Tensor) -> Tensor:
    """1 − Dice over the batch, mean over the labels; the RV only where it was drawn."""
    p = torch.softmax(logits, dim=1)[:, 1:]
    weight = torch.ones_like(maps[:, :, 0, 0])
    weight[:, 0] = has_rv.to(weight.dtype)
    weight = weight[:, :, None, None]
    both = (p * maps * weight).sum(dim=(0, 2, 3))
    sizes = ((p + maps) * weight).sum(dim=(0, 2, 3))
    return 1.0 - ((2 * both + 1.0) / (sizes + 1.0)).mean()


def value_loss(values: Tensor, truth: Tensor, tolerance: Tensor) -> Tensor:
    """Smooth L1 in units of the tolerance over the known entries.

    Args:
        values: [..., L] view pixels.
        truth: [..., L], NaN where unknown.
        tolerance: [L].
    """
    known = torch.isfinite(truth)
    error = torch.where(known, values - torch.nan_to_num(truth), torch.zeros_like(values)) / tolerance
    loss = torch.nn.functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1, reduction="none")
    return loss.sum() / known.sum().clamp(min=1)


def septum_loss(direction: Tensor, truth: Tensor) -> Tensor:
    """1 − cosine of the angle to the truth, over the slices where it is known.

    Args:
        direction: [B, 2] unit vectors.
        truth: [B, 2] unit vectors, NaN where unknown.
    """
    known = torch.isfinite(truth[:, 0])
    cosine = (direction * torch.nan_to_num(truth)).sum(dim=1)
    return ((1.0 - cosine) * known).sum() / known.sum().clamp(min=1)
