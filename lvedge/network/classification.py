"""Classification layer ([0046]): the second LSTM's output to the probabilities of diastole and systole."""

from __future__ import annotations

from torch import Tensor, nn

from lvedge.indices import PHASES
from lvedge.network.config import NetworkConfig


class ClassificationLayer(nn.Module):
    """A linear layer; the softmax that makes probabilities of its logits belongs to the step."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.phase_state, len(PHASES))

    def forward(self, hidden: Tensor) -> Tensor:  # [B, H']
        logits: Tensor = self.linear(hidden)
        return logits  # [B, 2]: diastole, systole
