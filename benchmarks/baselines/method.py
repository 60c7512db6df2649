"""The methods that walk as lvedge walks: each trained within its budget, then ready as a stepper."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.baselines import regression, unet
from benchmarks.baselines.budget import is_done, perception_core_seconds, planned_steps, spent_of
from benchmarks.baselines.stepper import MaskStepper, RegressionStepper
from lvedge.contract import Stepper
from lvedge.errors import DataError
from lvedge.quality import DEFAULT_QUALITY, QualityModel
from lvedge.training.checkpoint import read_locator, read_network
from lvedge.training.cli import ACDC_VERSIONS, CLIP_AUGMENT, DEFAULT_STEPS, YORK_VERSIONS
from lvedge.training.clips import acdc_clips, york_clips
from lvedge.training.data import Sample, Split, read_acdc, read_york
from lvedge.training.loop import LoopConfig
from lvedge.training.slices import PreparedSlice, prepare
from lvedge.training.stepper import checkpoints_of_run, stepper_from_run

UNET, REGRESSION, OWN = unet.NAME, "regression", "lvedge"
OWN_ABOUT = "lvedge itself, its regressed values, measured by the same code as the baselines"
CLIP_STEPS = DEFAULT_STEPS["recurrence"]

Samples = dict[str, list[Sample]]
TrainSlices = Callable[[list[PreparedSlice], list[PreparedSlice], Path, LoopConfig], nn.Module]


@dataclass(frozen=True)
class Plan:
    """What is trained, where, and how long.

    Args:
        run: lvedge's training run of the fold.
        checkpoints: of the baseline.
        seed: of everything random.
        threads: of torch.
        core_seconds: budget of what learns from slices; what lvedge's own run took where None.
        steps: so many steps of it instead, or None.
        clip_steps: steps of what learns from clips.
        bfloat16: multiply in bfloat16 while learning from slices.
    """

    run: Path
    checkpoints: Path
    seed: int
    threads: int
    core_seconds: float | None
    steps: int | None
    clip_steps: int
    bfloat16: bool = False

    @classmethod
    def of(cls, options: argparse.Namespace) -> Plan:
        """From the command's arguments; a method that trains nothing has none of the last ones."""
        said = vars(options)
        folder = said.get("checkpoints") or f"runs/{said['method']}-{said['fold']}"
        return cls(
            run=Path(said["run"]),
            checkpoints=Path(folder),
            seed=said.get("seed", 0),
            threads=said["threads"],
            core_seconds=said.get("core_seconds"),
            steps=said.get("steps"),
            clip_steps=said.get("clip_steps", CLIP_STEPS),
            bfloat16=said.get("bfloat16", False),
        )


@dataclass(frozen=True)
class Method:
    """A method that is ready to be measured.

    Args:
        about: what it is, in words.
        stepper: executes it.
        quality: judges its values.
        training: what was spent on it, plain values.
    """

    about: str
    stepper: Stepper
    quality: QualityModel
    training: dict[str, Any]


def samples_of(root: Path, split: Split, part: str) -> Samples:
    """Every annotated slice of a part of the split, by data set."""
    return {
        "acdc": [s for subject in split.subjects("acdc", part) for s in read_acdc(root, subject)],
        "york": [s for subject in split.subjects("york", part) for s in read_york(root, subject)],
    }


def unet_method(plan: Plan, root: Path, split: Split, trained: Samples) -> Method:
    """The residual U-Net of a fold: trained unless it is, read geometrically."""
    locator = read_locator(plan.run / "locator.pt")  # before hours of training, not after
    spent = _train_slices(plan, unet.NAME, unet.train_unet, trained, samples_of(root, split, "watch"))
    network = unet.read_unet(plan.checkpoints / f"{unet.NAME}.pt")
    training = {"parameters": _parameters(network), "slices": spent}
    stepper = MaskStepper(network, locator, unet.VIEW)
    return Method(unet.ABOUT, stepper, DEFAULT_QUALITY, training)


def regression_method(plan: Plan, root: Path, split: Split, trained: Samples) -> Method:
    """The CNN and its LSTMs of a fold: trained unless they are, in lvedge's own view."""
    own, perception = stepper_from_run(plan.run), read_network(checkpoints_of_run(plan.run)[0])
    watched = samples_of(root, split, "watch")
    stills = _train_slices(plan, regression.STILLS, regression.train_stills, trained, watched)
    path = plan.checkpoints / f"{regression.CLIPS}.pt"
    if not is_done(path, plan.clip_steps):
        network = regression.read_regression(plan.checkpoints / f"{regression.STILLS}.pt")
        perceiver = regression.SeptumAndFeatures(network, perception)
        clips = [
            *york_clips(perceiver, trained["york"], YORK_VERSIONS, CLIP_AUGMENT, plan.seed),
            *acdc_clips(perceiver, trained["acdc"], ACDC_VERSIONS, CLIP_AUGMENT, plan.seed),
        ]
        loop = LoopConfig(
            steps=plan.clip_steps,
            batch=48,
            learning_rate=5e-3,
            weight_decay=1e-2,
            slower={"regression": 5.0, "values": 5.0},  # these have learned from stills already
            every=100,
            seed=plan.seed,
            threads=plan.threads,
        )
        regression.train_clips(network, clips, plan.checkpoints, loop)
    network = regression.read_regression(path)
    spent = {"slices": stills, "clips": spent_of(path).as_json()}
    training = {"parameters": _parameters(network), **spent}
    return Method(regression.ABOUT, RegressionStepper(network, own), DEFAULT_QUALITY, training)


def own_method(plan: Plan, *_: object) -> Method:
    """lvedge's run of a fold, with the quality model that was fitted for it."""
    path = plan.run / "quality.json"
    try:
        quality = QualityModel.from_manifest(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as err:
        raise DataError(f"no quality model can be read from {path}: train the run's quality stage") from err
    return Method(OWN_ABOUT, stepper_from_run(plan.run), quality, {})


STEPPED: dict[str, Callable[[Plan, Path, Split, Samples], Method]] = {
    UNET: unet_method,
    REGRESSION: regression_method,
    OWN: own_method,
}


def _train_slices(
    plan: Plan, name: str, train: TrainSlices, trained: Samples, watched: Samples
) -> dict[str, float]:
    """Train what learns from slices, as far as the budget goes; gives what was spent."""
    path = plan.checkpoints / f"{name}.pt"
    budget: dict[str, float] = {}
    if not plan.steps:
        asked = perception_core_seconds(plan.run) if plan.core_seconds is None else plan.core_seconds
        budget["budget_core_seconds"] = asked
    if not is_done(path, plan.steps):
        slices = prepare([*trained["acdc"], *trained["york"]])
        mid = [p for p in prepare(watched["acdc"]) if p.sample.is_mid_slice]
        loop = LoopConfig(
            steps=1, muon=True, every=100, seed=plan.seed, threads=plan.threads, bfloat16=plan.bfloat16
        )
        steps = plan.steps or planned_steps(
            lambda pilot, folder: train(slices, [], folder, pilot), loop, path, *budget.values()
        )
        train(slices, mid, plan.checkpoints, replace(loop, steps=steps))
    return {**budget, **spent_of(path).as_json()}


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
