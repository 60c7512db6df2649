"""Trains and measures one method on one fold.

    python -m benchmarks.baselines unet --fold 0 --run runs/default
    python -m benchmarks.baselines regression --fold 0 --run runs/default
    python -m benchmarks.baselines myopari --fold 0
    python -m benchmarks.baselines lvedge --fold 0 --run runs/default

A training that was interrupted goes on from its last checkpoint; one that is done is only measured. Each
method has one JSON file; a fold that is measured again replaces what the file held of it.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import torch

from benchmarks.baselines import myopari
from benchmarks.baselines.compare import RESULTS
from benchmarks.baselines.method import CLIP_STEPS, OWN, REGRESSION, STEPPED, UNET, Plan, samples_of
from benchmarks.baselines.result import LINES, write_fold
from lvedge import __version__
from lvedge.errors import LvedgeError
from lvedge.training.argument import whole_number
from lvedge.training.clips import BEAT_FRAMES
from lvedge.training.data import FOLDS, Split, data_root, read_split
from lvedge.training.evaluation.beat import ScoredBeat, score_york
from lvedge.training.evaluation.standin import drawn_of, stand_in
from lvedge.training.evaluation.still import ScoredSlice, score_acdc


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.baselines", description="Trains and measures one method on one fold."
    )
    methods = parser.add_subparsers(dest="method", required=True, metavar="METHOD")
    for name, what in (
        (UNET, "MONAI's residual U-Net, read geometrically"),
        (REGRESSION, "a plain CNN regression with LSTMs"),
        (myopari.NAME, "myopari's shipped network as it is (acdc only)"),
        (OWN, "lvedge itself, measured by the same code"),
    ):
        method = methods.add_parser(name, help=what, description=what)
        _add_measuring(method, name)
        if name != myopari.NAME:
            method.add_argument(
                "--run", metavar="DIR", required=True, help="lvedge's training run of this fold"
            )
            method.add_argument(
                "--starts",
                type=whole_number(1, BEAT_FRAMES),
                default=5,
                metavar="N",
                help="first frames tried per york clip",
            )
        if name in (UNET, REGRESSION):
            _add_training(method, name)
    return parser


def _add_measuring(method: argparse.ArgumentParser, name: str) -> None:
    method.add_argument(
        "--data", metavar="DIR", help="with acdc/ and york/ (default: $LVEDGE_DATA, else ../shared/data)"
    )
    method.add_argument(
        "--fold",
        type=whole_number(0, FOLDS - 1),
        required=True,
        metavar="K",
        help="the fold that is measured",
    )
    method.add_argument(
        "--limit", type=whole_number(1), metavar="N", help="only the first N subjects of each part and set"
    )
    method.add_argument(
        "--threads", type=whole_number(1), default=1, metavar="N", help="of torch (default: %(default)s)"
    )
    method.add_argument(
        "--out",
        metavar="JSON",
        type=Path,
        default=RESULTS / f"{name}.json",
        help="where the fold's results go (default: %(default)s)",
    )


def _add_training(method: argparse.ArgumentParser, name: str) -> None:
    method.add_argument(
        "--checkpoints", metavar="DIR", help=f"of this training (default: runs/{name}-K for fold K)"
    )
    method.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help="of everything random")
    budget = method.add_mutually_exclusive_group()
    budget.add_argument(
        "--core-seconds",
        type=whole_number(1),
        metavar="S",
        help="budget of what learns from slices; a short pilot says how many steps that is (default: what "
        "the perception stage of lvedge's run took)",
    )
    budget.add_argument("--steps", type=whole_number(1), metavar="N", help="so many steps instead")
    method.add_argument(
        "--bfloat16", action="store_true", help="learn from slices as lvedge-train does with this option"
    )
    if name == REGRESSION:
        method.add_argument(
            "--clip-steps",
            type=whole_number(1),
            default=CLIP_STEPS,
            metavar="N",
            help="steps of what learns from clips (default: %(default)s, as lvedge's recurrence stage)",
        )


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    options = build_parser().parse_args(args)
    words = list(args) if args is not None else sys.argv[1:]
    try:
        content = _run(options, "python -m benchmarks.baselines " + " ".join(words))
    except LvedgeError as error:
        sys.stderr.write(f"benchmarks.baselines: error: {error}\n")
        return 2
    for line in LINES:
        if line.key in content["figures"]:
            sys.stdout.write(f"{line.title}: {content['figures'][line.key]}\n")
    return 0


def _run(options: argparse.Namespace, command: str) -> dict[str, Any]:
    cv2.setNumThreads(1)
    torch.set_num_threads(options.threads)
    root, split = data_root(options.data), _limited(read_split(fold=options.fold), options.limit)
    trained, tested = samples_of(root, split, "train"), samples_of(root, split, "test")
    missing = stand_in([drawn_of(trained["acdc"])], [drawn_of(trained["york"])])
    slices: list[ScoredSlice]
    beats: list[ScoredBeat] = []
    if options.method == myopari.NAME:
        network, about = myopari.Myopari(), myopari.ABOUT
        slices = myopari.score_myopari(network, tested["acdc"], missing.values)
        training = network.as_json()
    else:
        method = STEPPED[options.method](Plan.of(options), root, split, trained)
        about, training = method.about, method.training
        slices = score_acdc(method.stepper, method.quality, tested["acdc"], missing.values)
        step = BEAT_FRAMES // options.starts
        starts = range(0, step * options.starts, step)
        beats = score_york(method.stepper, method.quality, tested["york"], starts, missing)
    entry = {
        "command": command,
        "versions": {"lvedge": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "training": training,
    }
    return write_fold(options.out, options.method, about, options.fold, split, slices, beats, entry)


def _limited(split: Split, limit: int | None) -> Split:
    """The split with only the first subjects of each part and data set."""
    return Split(
        {part: {source: who[:limit] for source, who in sets.items()} for part, sets in split.parts.items()}
    )


if __name__ == "__main__":
    raise SystemExit(main())
