"""Recurrent layer (claims 5-7, [0044], [0045]): two LSTMs over the frames, both reading one feature vector.

Written with ``nn.LSTMCell``, so that a step exports as plain operators.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lvedge.network.config import NetworkConfig


class RecurrentState(NamedTuple):
    """What both LSTMs keep between frames; a value, in the contract's order."""

    h_regression: Tensor  # [B, H]
    c_regression: Tensor  # [B, H]
    h_phase: Tensor  # [B, H']
    c_phase: Tensor  # [B, H']


class RecurrentLayer(nn.Module):
    """First sub-network: regression of the L values. Second: what the phase is classified from.

    The regression's output layer reads the hidden state and adds to the polar reading that came in with
    the features, so that the LSTM has to learn only what the drawn geometry gets wrong.

    A cell whose gates stay open adds up for as long as frames come. At ``cell_limit`` it stops, so that no
    stream is so long that FP16 cannot count any more.
    """

    def __init__(self, features: int, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.regression = nn.LSTMCell(features, config.regression_state)
        self.values = nn.Linear(config.regression_state, config.layout.size)
        self.phase = nn.LSTMCell(features, config.phase_state)
        nn.init.zeros_(self.values.weight)
        nn.init.zeros_(self.values.bias)

    def zero_state(self, batch: int, like: Tensor) -> RecurrentState:
        """The state before the first frame."""
        wide = torch.zeros(batch, self.config.regression_state, dtype=like.dtype, device=like.device)
        narrow = torch.zeros(batch, self.config.phase_state, dtype=like.dtype, device=like.device)
        return RecurrentState(wide, wide, narrow, narrow)

    def forward(
        self, features: Tensor, drawn: Tensor, state: RecurrentState
    ) -> tuple[Tensor, Tensor, RecurrentState]:  # [B, F], [B, L] in units of the scale
        h, c = self.regression(features, (state.h_regression, state.c_regression))
        hp, cp = self.phase(features, (state.h_phase, state.c_phase))
        limit = self.config.cell_limit
        c, cp = c.clamp(-limit, limit), cp.clamp(-limit, limit)
        return drawn + self.values(h), hp, RecurrentState(h, c, hp, cp)  # [B, L], [B, H']
