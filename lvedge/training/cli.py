"""The command ``lvedge-train``: the stages of training, each resumable, and the curves of their logs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from lvedge.errors import LvedgeError
from lvedge.training.argument import whole_number
from lvedge.training.augment import AugmentConfig
from lvedge.training.checkpoint import read_network
from lvedge.training.clips import acdc_clips, york_clips
from lvedge.training.data import (
    BUT_FOLD,
    FOLDS,
    TRAINING,
    Sample,
    Split,
    data_root,
    read_acdc,
    read_split,
    read_york,
)
from lvedge.training.fitting import fit_folds, fit_run
from lvedge.training.locating import train_locator
from lvedge.training.loop import LoopConfig
from lvedge.training.perception import train_perception
from lvedge.training.plot import plot_logs
from lvedge.training.precision import InBfloat16
from lvedge.training.recurrence import train_recurrence
from lvedge.training.slices import prepare

STAGES = ("perception", "locator", "recurrence", "quality")
DEFAULT_STEPS = {"perception": 4500, "locator": 2000, "recurrence": 3000}
PERCEPTION_CYCLE, PERCEPTION_ENDS = 1500, 2
CLIP_AUGMENT = AugmentConfig(
    turn_deg=6.0, shift_mm=2.5, wide_share=0.05, emptied_share=0.0, contrast=0.06, gamma=0.18, bias=0.12
)
"""How clips are augmented: hearts empty on their way to ES as it is."""
YORK_VERSIONS, ACDC_VERSIONS = 8, 2


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="lvedge-train",
        description="Trains the network and the locator on acdc and york. A stage that was interrupted "
        "goes on from its last checkpoint.",
    )
    parser.add_argument(
        "stage", choices=(*STAGES, "all", "plot"), help="what to train, or plot the logs as PNG"
    )
    parser.add_argument(
        "--data", metavar="DIR", help="with acdc/ and york/ (default: $LVEDGE_DATA, else ../shared/data)"
    )
    parser.add_argument("--run", metavar="DIR", default="runs/default", help="folder of checkpoints and logs")
    parser.add_argument(
        "--fold",
        type=whole_number(0, FOLDS - 1),
        default=0,
        metavar="K",
        help="which fold is left out (default: 0, the hold-out)",
    )
    parser.add_argument(
        "--training",
        choices=TRAINING,
        default=BUT_FOLD,
        help="who is trained on: all but the fold (default), all there are, for a bundle that ships, or one "
        "source, to be measured on the other",
    )
    parser.add_argument("--steps", type=whole_number(1), metavar="N", help="optimiser steps of the stage")
    parser.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help="of everything random")
    parser.add_argument(
        "--threads", type=whole_number(0), default=0, metavar="N", help="of torch (default: its own choice)"
    )
    parser.add_argument(
        "--folds",
        metavar="DIR",
        help="quality stage: fit the models of the runs fold0 .. fold4 there, each on the subjects that the "
        "others left out, and one for networks trained on all (default: on --run's own subjects)",
    )
    parser.add_argument(
        "--start",
        metavar="FILE",
        help="checkpoint of a network that the perception stage begins from, and that counts as the end of a "
        "cycle when ends are averaged (default: from nothing); give another --seed as well, so that it sees "
        "other augmentations",
    )
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="let perception, the locator and what perceives clips multiply in bfloat16, faster where the "
        "processor has it",
    )
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    options = build_parser().parse_args(args)
    try:
        for stage in STAGES if options.stage == "all" else (options.stage,):
            _run_stage(stage, options)
    except LvedgeError as error:
        sys.stderr.write(f"lvedge-train: error: {error}\n")
        return 2
    return 0


def _run_stage(stage: str, options: argparse.Namespace) -> None:
    cv2.setNumThreads(1)  # OpenCV's threads and torch's would fight over the cores
    folder = Path(options.run)
    if stage == "plot":
        plot_logs(folder)
        return
    root = data_root(options.data)
    split = read_split(fold=options.fold).trained_on(options.training)
    if stage == "quality":
        across = fit_folds(Path(options.folds), root) if options.folds else [fit_run(folder, root, split)]
        for fitted in across:
            sys.stdout.write(f"quality fitted: {fitted}\n")
        return
    steps = options.steps or DEFAULT_STEPS[stage]
    trained, watched = _samples(root, split, "train"), _samples(root, split, "watch")
    if stage == "perception":
        loop = LoopConfig(
            steps=steps,
            cycle=min(PERCEPTION_CYCLE, steps),
            ends=PERCEPTION_ENDS,
            muon=True,
            every=100,
            seed=options.seed,
            threads=options.threads,
            bfloat16=options.bfloat16,
        )
        mid = [p for p in prepare(watched) if p.sample.source == "acdc" and p.sample.is_mid_slice]
        start = read_network(Path(options.start)) if options.start else None
        train_perception(prepare(trained), mid, folder, loop, start=start)
    elif stage == "locator":
        loop = LoopConfig(
            steps=steps, every=100, seed=options.seed, threads=options.threads, bfloat16=options.bfloat16
        )
        some = [p for p in prepare(watched) if p.sample.source == "acdc" or p.sample.frame_index % 7 == 0]
        train_locator(prepare(trained), some, folder, loop)
    else:
        loop = LoopConfig(
            steps=steps,
            batch=48,
            learning_rate=5e-3,
            weight_decay=1e-2,
            # The values are nearly right already; the phase begins from nothing.
            slower={"recurrent.regression": 20.0, "recurrent.values": 20.0},
            every=100,
            seed=options.seed,
            threads=options.threads,
        )
        network = read_network(folder / "perception.pt")
        perceiver = InBfloat16(network) if options.bfloat16 else network
        clips = [
            *york_clips(perceiver, _of(trained, "york"), YORK_VERSIONS, CLIP_AUGMENT, options.seed),
            *acdc_clips(perceiver, _of(trained, "acdc"), ACDC_VERSIONS, CLIP_AUGMENT, options.seed),
        ]
        plain = [
            *york_clips(network, _of(watched, "york"), 1, None, options.seed),
            *acdc_clips(network, _of(watched, "acdc"), 1, None, options.seed),
        ]
        train_recurrence(network, clips, plain, folder, loop)


def _samples(root: Path, split: Split, part: str) -> list[Sample]:
    return [
        *(s for subject in split.subjects("acdc", part) for s in read_acdc(root, subject)),
        *(s for subject in split.subjects("york", part) for s in read_york(root, subject)),
    ]


def _of(samples: list[Sample], source: str) -> list[Sample]:
    return [sample for sample in samples if sample.source == source]


if __name__ == "__main__":
    raise SystemExit(main())
