"""The network itself as a stepper: evaluation walks the same way as the runtime, without an export."""

from __future__ import annotations

from pathlib import Path

import torch

from lvedge.contract import ContractShapes, Floats, ReplayResult, State, StepResult
from lvedge.network.config import contract_shapes
from lvedge.network.locator import Locator
from lvedge.network.model import LeftVentricleNetwork
from lvedge.network.recurrent import RecurrentState
from lvedge.training.checkpoint import read_locator, read_network


class TorchStepper:
    """Executes the three graphs in torch.

    Args:
        network: in evaluation mode.
        locator: in evaluation mode.
    """

    def __init__(self, network: LeftVentricleNetwork, locator: Locator) -> None:
        self._network = network.eval()
        self._locator = locator.eval()
        self._shapes = contract_shapes(network.config, network.features, locator.config)

    @property
    def shapes(self) -> ContractShapes:
        return self._shapes

    @torch.no_grad()
    def step(self, frame: Floats, state: State) -> StepResult:
        seen, out = self._network.step(torch.from_numpy(frame), _to_torch(state))
        return StepResult(
            indices=out.indices.numpy(),
            phase=torch.softmax(out.phase_logits, dim=1).numpy(),
            mask=torch.softmax(seen.mask_logits, dim=1).numpy(),
            features=seen.features.numpy(),
            state=_from_torch(out.state),
        )

    @torch.no_grad()
    def replay(self, features: Floats, state: State) -> ReplayResult:
        out = self._network.recur(torch.from_numpy(features), _to_torch(state))
        return ReplayResult(
            indices=out.indices.numpy(),
            phase=torch.softmax(out.phase_logits, dim=1).numpy(),
            state=_from_torch(out.state),
        )

    @torch.no_grad()
    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        points, confidence = self._locator(torch.from_numpy(frame))
        return points.numpy(), confidence.numpy()


def stepper_from_run(folder: Path) -> TorchStepper:
    """The stepper of a training run: its last stage for the network, and its locator.

    Raises:
        DataError: if a checkpoint is missing, damaged or of something else.
    """
    network, locator = checkpoints_of_run(folder)
    return TorchStepper(read_network(network), read_locator(locator))


def checkpoints_of_run(folder: Path) -> tuple[Path, Path]:
    """The checkpoints that a run is measured by: its last stage's network, and its locator; there or not."""
    stages = [folder / f"{stage}.pt" for stage in ("recurrence", "perception")]
    return next((path for path in stages if path.is_file()), stages[-1]), folder / "locator.pt"


def _to_torch(state: State) -> RecurrentState:
    return RecurrentState(*(torch.from_numpy(array) for array in state.as_inputs().values()))


def _from_torch(state: RecurrentState) -> State:
    return State(*(tensor.numpy() for tensor in state))
