"""The command ``lvedge-eval``: the held-out subjects measured as a user gets them, as JSON and Markdown."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch

from lvedge import __version__
from lvedge.errors import DataError, LvedgeError
from lvedge.quality import DEFAULT_QUALITY, QualityModel
from lvedge.training.argument import whole_number
from lvedge.training.clips import BEAT_FRAMES
from lvedge.training.data import (
    FOLDS,
    Sample,
    data_root,
    read_acdc,
    read_split,
    read_sunnybrook,
    read_york,
)
from lvedge.training.evaluation import acdc_figures, markdown, other_source_figures, york_figures
from lvedge.training.scoring import (
    clock_of,
    mean_areas_of,
    mean_values_of,
    score_acdc,
    score_frames,
    score_york,
)
from lvedge.training.stepper import stepper_from_run

SUNNYBROOK_SUBJECTS = ("SCD0000101", "SCD0000201")

PROTOCOL = (
    "hold-out by subject (split.json); acdc: every slice at ED and ES as a one-frame clip through the "
    "located view, mid slices as k/(n-1) in [0.2, 0.8] with RV, myocardium and cavity drawn; york: complete "
    "slices, closed mode, nominal 1.3 mm/px; sunnybrook: annotated frames as one-frame clips; where no LV "
    "is returned the training set's mean values and Dice 0 are scored and a phase counts as wrong; headline "
    "= mean over subjects of the subject's mean, 95 % interval by subject bootstrap (2000 draws), pooled "
    "beside it"
)


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="lvedge-eval",
        description="Measures held-out subjects as a user gets them and scores the results.",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="with acdc/ and york/ (default: $LVEDGE_DATA, else ../shared/data)"
    )
    parser.add_argument("--run", metavar="DIR", default="runs/default", help="folder of a training run")
    parser.add_argument(
        "--part", choices=("test", "watch", "train"), default="test", help="part of the split to score"
    )
    parser.add_argument(
        "--fold",
        type=whole_number(0, FOLDS - 1),
        default=0,
        metavar="K",
        help="the fold that the run left out (default: 0, the hold-out)",
    )
    parser.add_argument("--quality", metavar="JSON", help="a quality model (default: the run's quality.json)")
    parser.add_argument(
        "--starts",
        type=whole_number(1, BEAT_FRAMES),
        default=5,
        metavar="N",
        help="first frames tried per york clip",
    )
    parser.add_argument(
        "--limit", type=whole_number(1), metavar="N", help="only the first N subjects of each set"
    )
    parser.add_argument("--out", metavar="JSON", help="where the figures go")
    parser.add_argument("--slices", metavar="JSONL", help="where every scored acdc slice goes, one a line")
    parser.add_argument(
        "--threads", type=whole_number(0), default=0, metavar="N", help="of torch (default: its own choice)"
    )
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    options = build_parser().parse_args(args)
    try:
        return _run(options, list(args) if args is not None else sys.argv[1:])
    except LvedgeError as error:
        sys.stderr.write(f"lvedge-eval: error: {error}\n")
        return 2


def quality_of_run(folder: Path, named: str | None = None) -> QualityModel:
    """The quality model that was fitted for a run, or the unfitted one.

    Raises:
        DataError: if the named file is missing, or the file is no quality model.
        BundleError: if it was fitted on other features.
    """
    path = Path(named) if named else folder / "quality.json"
    if not named and not path.is_file():
        return DEFAULT_QUALITY
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise DataError(f"no quality model can be read from {path}: {err}") from err
    if not isinstance(entry, dict):
        raise DataError(f"no quality model can be read from {path}: it holds no object")
    return QualityModel.from_manifest(entry)


def _run(options: argparse.Namespace, words: list[str]) -> int:
    cv2.setNumThreads(1)
    if options.threads:
        torch.set_num_threads(options.threads)
    root, split = data_root(options.data), read_split(fold=options.fold)
    stepper = stepper_from_run(Path(options.run))
    quality = quality_of_run(Path(options.run), options.quality)
    acdc = split.subjects("acdc", options.part)[: options.limit]
    york = split.subjects("york", options.part)[: options.limit]
    trained: list[Sample] = [s for u in split.subjects("acdc", "train") for s in read_acdc(root, u)]
    timed: list[Sample] = [s for u in split.subjects("york", "train") for s in read_york(root, u)]
    means, clock = mean_values_of(trained), clock_of(timed)
    slices = score_acdc(stepper, quality, [s for u in acdc for s in read_acdc(root, u)], means)
    step = BEAT_FRAMES // options.starts
    starts = range(0, step * options.starts, step)
    shown = [s for u in york for s in read_york(root, u)]
    beats = score_york(stepper, quality, shown, starts, clock, mean_areas_of(timed))
    other = [s for u in SUNNYBROOK_SUBJECTS for s in read_sunnybrook(root, u)]
    figures = {
        "protocol": PROTOCOL,
        "command": "lvedge-eval " + " ".join(words),
        "part": options.part,
        # By number only: the figures travel in the bundle, where no subject is named.
        "fold": options.fold,
        "subjects": {"acdc": len(acdc), "york": len(york), "named_in": "lvedge/training/data/split.json"},
        "versions": {"lvedge": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "acdc": acdc_figures(slices),
        "york": york_figures(beats),
        "sunnybrook": other_source_figures(score_frames(stepper, quality, other)),
    }
    sys.stdout.write(markdown(figures))
    if options.out:
        Path(options.out).parent.mkdir(parents=True, exist_ok=True)
        Path(options.out).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if options.slices:
        lines = [json.dumps(s.as_json()) for s in slices]
        Path(options.slices).parent.mkdir(parents=True, exist_ok=True)
        Path(options.slices).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
