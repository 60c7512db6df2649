"""The loop that every stage shares: schedule, averaging of weights, log, progress, checkpoints, resume."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from lvedge.training.checkpoint import of_this_version, read_checkpoint, write_checkpoint
from lvedge.training.optimiser import Group, Optimiser

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast.

    Args:
        steps: optimiser steps.
        batch: samples a step.
        learning_rate: peak of the cosine schedule.
        warm_up: steps of linear warm-up.
        cycle: steps after which warm-up and cosine begin again; 0 for one cycle over all steps.
        weight_decay: decoupled.
        muon: kernels are stepped by Muon, all else by AdamW, as everything is where this is not set.
        average: decay of the averaged weights.
        ends: the stage ends with the mean of the averaged weights at the ends of so many cycles, the last.
            What the network began from counts as one.
        slower: start of a parameter's name to the factor by which it learns slower than the others.
        every: steps between log lines and checkpoints.
        seed: of everything random.
        threads: torch threads, 0 for torch's own choice.
        bfloat16: multiply in bfloat16 what a stage lets be; weights and sums stay in float32.
    """

    steps: int
    batch: int = 16
    learning_rate: float = 2e-3
    warm_up: int = 100
    cycle: int = 0
    weight_decay: float = 1e-3
    muon: bool = False
    average: float = 0.995
    ends: int = 1
    slower: Mapping[str, float] = field(default_factory=dict)
    every: int = 50
    seed: int = 0
    threads: int = 0
    bfloat16: bool = False


def rate_at(step: int, config: LoopConfig) -> float:
    """Learning rate: linear warm-up, then half a cosine down to nothing, in every cycle."""
    length = config.cycle or config.steps
    if config.cycle:
        step %= length
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    share = (step - config.warm_up) / max(length - config.warm_up, 1)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


@torch.no_grad()
def average_into(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged weights a step towards the model's; counters are copied."""
    for mean, value in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1.0 - decay)
        else:
            mean.copy_(value)


def mean_of(ends: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several networks' weights (stochastic weight averaging, arXiv:1803.05407).

    Args:
        ends: state dictionaries of one architecture; counters are the last one's.
    """
    return {
        key: torch.stack([end[key] for end in ends]).mean(dim=0) if last.dtype.is_floating_point else last
        for key, last in ends[-1].items()
    }


def _parameter_groups(model: nn.Module, config: LoopConfig) -> list[Group]:
    """Groups for the optimiser, each with its share of the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factors = [factor for start, factor in config.slower.items() if name.startswith(start)]
            groups.setdefault(1.0 / factors[0] if factors else 1.0, []).append(parameter)
    return [{"params": parameters, "share": share} for share, parameters in groups.items()]


def train(
    model: nn.Module,
    losses_of_step: Callable[[int], Losses],
    watch: Callable[[nn.Module], dict[str, float]],
    config: LoopConfig,
    folder: Path,
    name: str,
    header: dict[str, Any],
    first: nn.Module | None = None,
) -> nn.Module:
    """Train until ``config.steps``, going on from the last checkpoint in the folder if there is one.

    Args:
        model: what is trained; its own parameters that require gradients.
        losses_of_step: step number to named losses; their sum is minimised. Everything random in it
            depends on the step number alone, so that a resumed run sees what an undisturbed one sees.
        watch: figures of the averaged model on watched subjects, for the log.
        config: how long and how fast.
        folder: where checkpoint and log go. Once all steps are done, the checkpoint holds the weights alone.
        name: of the stage; the checkpoint is ``<name>.pt``, the log ``<name>.jsonl``.
        header: what a checkpoint has to say of itself (configurations).
        first: what the model begins from, where that was trained: the end of a cycle before the first one.

    Returns:
        The averaged model.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = Optimiser(
        _parameter_groups(model, config), config.learning_rate, config.weight_decay, config.muon
    )
    averaged = copy.deepcopy(model).eval()
    path, log = folder / f"{name}.pt", folder / f"{name}.jsonl"
    start, spent_s, spent_core_s = 0, 0.0, 0.0
    ended = [] if first is None else [_copied(first)]
    if path.is_file():
        content = read_checkpoint(path)
        with of_this_version(path):
            averaged.load_state_dict(content["weights"])
            # A stage that was done kept its weights alone: more steps begin from these.
            model.load_state_dict(content.get("model", content["weights"]))
            if "optimiser" in content:
                optimiser.load_state_dict(content["optimiser"])
            start, spent_s = content["step"], content["seconds"]
            ended = content.get("ended", ended)
            # A checkpoint of before this was counted does not say.
            spent_core_s = content.get("core_seconds", 0.0)
    folder.mkdir(parents=True, exist_ok=True)
    began, began_core = time.monotonic() - spent_s, time.process_time() - spent_core_s
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[loss]}"), refresh_per_second=1) as progress:
        bar = progress.add_task(name, total=config.steps, completed=start, loss="")
        running: dict[str, float] = {}
        for step in range(start, config.steps):
            for group in optimiser.groups:
                group["lr"] = group["share"] * rate_at(step, config)
            model.train()
            losses = losses_of_step(step)
            total = torch.stack(list(losses.values())).sum()
            optimiser.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimiser.step()
            average_into(averaged, model, min(config.average, (step + 1) / (step + 10)))
            for key, loss in losses.items():
                running[key] = 0.9 * running.get(key, float(loss.detach())) + 0.1 * float(loss.detach())
            progress.update(bar, advance=1, loss=f"loss {sum(running.values()):.3f}")
            done = step + 1
            if done == config.steps or (config.cycle and done % config.cycle == 0):
                ended = [*ended, _copied(averaged)][-config.ends :]
            if done == config.steps:
                averaged.load_state_dict(mean_of(ended))
            if done % config.every == 0 or done == config.steps:
                seconds = time.monotonic() - began
                core_seconds = time.process_time() - began_core
                line = {"step": done, "seconds": round(seconds, 1), "core_seconds": round(core_seconds, 1)}
                _write_line(log, {**line, "rate": rate_at(step, config)}, running, watch(averaged))
                content = {
                    **header,
                    "loop_config": asdict(config),
                    "step": done,
                    "seconds": seconds,
                    "core_seconds": core_seconds,
                    "weights": averaged.state_dict(),
                }
                if done < config.steps:
                    content |= {
                        "model": model.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "ended": ended,
                    }
                write_checkpoint(path, content)
    return averaged


def _write_line(log: Path, line: dict[str, float], losses: dict[str, float], seen: dict[str, float]) -> None:
    """Add a line to the log: where it stands, losses, figures of watched subjects."""
    line |= {f"loss_{key}": round(value, 5) for key, value in losses.items()}
    line |= {key: round(value, 4) for key, value in seen.items()}
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}
