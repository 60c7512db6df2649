"""The budget of a training: as many steps as fit into the core-seconds that lvedge's own stage takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lvedge.errors import DataError
from lvedge.training.checkpoint import of_this_version, read_checkpoint
from lvedge.training.loop import LoopConfig

PILOT_STEPS = 24
"""Steps that tell how long one takes; as many go before them uncounted, while memory is still being found."""


@dataclass(frozen=True)
class Spent:
    """What a training took.

    Args:
        steps: optimiser steps.
        core_seconds: processor time of all threads, from the first step to the last checkpoint.
    """

    steps: int
    core_seconds: float

    def as_json(self) -> dict[str, float]:
        """Plain values."""
        return {"steps": self.steps, "core_seconds": round(self.core_seconds, 1)}


def perception_core_seconds(run: Path) -> float:
    """What the perception stage of a run of lvedge's has taken, by the last line of its log.

    Raises:
        DataError: if there is no log, or it does not say.
    """
    path = run / "perception.jsonl"
    try:
        return float(json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["core_seconds"])
    except (OSError, ValueError, LookupError, TypeError) as err:
        raise DataError(
            f"{path} does not say what lvedge's own training took: name a budget with --core-seconds"
        ) from err


def spent_of(checkpoint: Path) -> Spent:
    """What the training behind a checkpoint took.

    Raises:
        DataError: if there is none, or it does not say.
    """
    content = read_checkpoint(checkpoint)
    with of_this_version(checkpoint):
        return Spent(int(content["step"]), float(content["core_seconds"]))


def is_done(checkpoint: Path, steps: int | None = None) -> bool:
    """Whether a training has come to its end: to so many steps, or to as many as it had planned."""
    if not checkpoint.is_file():
        return False
    content = read_checkpoint(checkpoint)
    with of_this_version(checkpoint):
        return bool(content["step"] >= (steps or content["loop_config"]["steps"]))


def planned_steps(
    train: Callable[[LoopConfig, Path], object], loop: LoopConfig, checkpoint: Path, core_seconds: float
) -> int:
    """How many steps fit into a budget: what an interrupted training had planned, else by a short pilot.

    Args:
        train: trains for a loop's steps in a folder.
        loop: the loop of the real training; its steps do not matter.
        checkpoint: of the real training.
        core_seconds: the budget.
    """
    if checkpoint.is_file():
        content = read_checkpoint(checkpoint)
        with of_this_version(checkpoint):
            return int(content["loop_config"]["steps"])
    with TemporaryDirectory() as folder:
        train(replace(loop, steps=2 * PILOT_STEPS, every=PILOT_STEPS), Path(folder))
        log = (Path(folder) / f"{checkpoint.stem}.jsonl").read_text(encoding="utf-8")
    half, whole = (json.loads(line)["core_seconds"] for line in log.splitlines())
    return steps_within(core_seconds, (whole - half) / PILOT_STEPS)


def steps_within(core_seconds: float, seconds_a_step: float) -> int:
    """Whole steps within a budget, at least one."""
    return max(1, int(core_seconds / seconds_a_step))
