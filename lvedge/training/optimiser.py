"""The optimiser: AdamW, and for kernels Muon where a stage asks for it.

Muon (K. Jordan et al., 2024; ``torch.optim.Muon``) steps along the momentum with all its singular values set
to one, scaled to the size of AdamW's steps (J. Liu et al., arXiv:2502.16982), so that one learning rate and
one weight decay serve both. ``benchmarks/results/ablations.json`` says what it is worth here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

SMALLEST = 8
"""Kernels with no more outputs or inputs than this are AdamW's, as are biases and normalisations."""

Group = dict[str, Any]


class _Kernel(NamedTuple):
    """A kernel and the matrix that shares its memory: Muon takes no other shape.

    Args:
        weight: [outputs, ...].
        matrix: [outputs, inputs].
        is_channels_last: how the weight lies in memory, and with it the order of the inputs.
    """

    weight: nn.Parameter
    matrix: nn.Parameter
    is_channels_last: bool

    @classmethod
    def of(cls, weight: nn.Parameter) -> _Kernel:
        is_last = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
        data = weight.detach()
        rows = (data.permute(0, 2, 3, 1) if is_last else data).view(weight.shape[0], -1)
        return cls(weight, nn.Parameter(rows), is_last)

    def take_gradient(self) -> None:
        """Give the weight's gradient to the matrix."""
        gradient = self.weight.grad
        if gradient is not None and self.is_channels_last:
            gradient = gradient.permute(0, 2, 3, 1)
        self.matrix.grad = None if gradient is None else gradient.reshape(self.matrix.shape)


class Optimiser:
    """Steps a module's parameters.

    Args:
        groups: parameters, as "params", each with what else its group has to say.
        learning_rate: of all, until it is set.
        weight_decay: decoupled.
        muon: kernels are stepped by Muon.
    """

    def __init__(self, groups: list[Group], learning_rate: float, weight_decay: float, muon: bool) -> None:
        self._kernels: list[_Kernel] = []
        plain: list[Group] = []
        matrices: list[Group] = []
        for group in groups:
            kernels = [_Kernel.of(p) for p in group["params"] if muon and _is_kernel(p)]
            self._kernels += kernels
            rest = [p for p in group["params"] if not (muon and _is_kernel(p))]
            plain += [{**group, "params": rest}] if rest else []
            matrices += [{**group, "params": [kernel.matrix for kernel in kernels]}] if kernels else []
        self._parts: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW(plain, lr=learning_rate, weight_decay=weight_decay)
        }
        if matrices:
            self._parts["muon"] = torch.optim.Muon(
                matrices, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )

    @property
    def groups(self) -> list[Group]:
        """All groups; a change of "lr" in one is what it learns by."""
        return [group for part in self._parts.values() for group in part.param_groups]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self._parts.values():
            part.zero_grad(set_to_none=True)
        for kernel in self._kernels:
            kernel.weight.grad = None

    def step(self) -> None:
        """Move every parameter along its gradient."""
        for kernel in self._kernels:
            kernel.take_gradient()
        for part in self._parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` goes on from."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from another's state."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


def _is_kernel(parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and min(parameter.shape[0], parameter[0].numel()) > SMALLEST
