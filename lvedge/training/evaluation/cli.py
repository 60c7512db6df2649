"""The command ``lvedge-eval``: held-out subjects measured as a user gets them; JSON, Markdown, plots."""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import torch

from lvedge import __version__
from lvedge.errors import DataError, LvedgeError
from lvedge.training.argument import whole_number
from lvedge.training.clips import BEAT_FRAMES
from lvedge.training.data import ALL, BUT_FOLD, FOLDS, TRAINING, data_root, read_split
from lvedge.training.data.lvquan18 import read_lvquan18
from lvedge.training.evaluation.beat_figure import york_figures
from lvedge.training.evaluation.fold import (
    Fold,
    Task,
    check_run,
    missing_of_split,
    quality_of_run,
    score_all,
)
from lvedge.training.evaluation.lvquan import (
    LVQUAN_PROTOCOL,
    lvquan_figures,
    lvquan_markdown,
    score_lvquan18,
)
from lvedge.training.evaluation.other import other_source_figures
from lvedge.training.evaluation.plot import plot_agreement, plot_risk_coverage
from lvedge.training.evaluation.quality_figure import quality_figures
from lvedge.training.evaluation.refusal import refusal_figures
from lvedge.training.evaluation.retrieval import retrieval_figures
from lvedge.training.evaluation.still_figure import acdc_figures
from lvedge.training.evaluation.store import Scores, Store, pooled
from lvedge.training.evaluation.table import extent, markdown, report
from lvedge.training.evaluation.volume import volume_figures
from lvedge.training.references import read_beats
from lvedge.training.stepper import stepper_from_run

SUNNYBROOK_SUBJECTS = ("SCD0000101", "SCD0000201")

ACDC_MID_SLICES = 1041
YORK_SUBJECTS = 25
"""What a cross-validation over all folds has to score."""

HOLD_OUT, CROSS_VALIDATION, OTHER_SOURCE = "hold-out", "cross-validation", "other source"
PARTS = {
    HOLD_OUT: "hold-out by subject (split.json)",
    CROSS_VALIDATION: "5-fold by subject (split.json), each subject measured by the network, locator and "
    "quality model of the fold that left it out, then pooled; sunnybrook by all of them",
    OTHER_SOURCE: "every subject of the source that the run was not trained on",
}

PROTOCOL = (
    "acdc: every slice at ED and ES as a one-frame clip (cold) and within a synthetic closed beat of 12 "
    "frames (warm), through the located view, mid slices as k/(n-1) in [0.2, 0.8] with RV, myocardium and "
    "cavity drawn; york: complete slices, closed mode and the second beat of live mode, nominal 1.3 mm/px; "
    "sunnybrook: annotated frames as one-frame clips; where no LV is returned the training set's mean "
    "values, Dice 0 and a Hausdorff distance of the drawn extent are scored and a phase counts as wrong; "
    "headline = mean over subjects of the subject's mean, 95 % interval by subject bootstrap (2000 draws), "
    "pooled beside it"
)


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="lvedge-eval",
        description="Measures held-out subjects as a user gets them and scores the results: one run's "
        "hold-out, or all subjects in a cross-validation over the runs of five folds.",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="with acdc/ and york/ (default: $LVEDGE_DATA, else ../shared/data)"
    )
    measured_by = parser.add_mutually_exclusive_group()
    measured_by.add_argument("--run", metavar="DIR", default="runs/default", help="folder of a training run")
    measured_by.add_argument(
        "--folds",
        metavar="DIR",
        help="cross-validation: folder of the runs fold0 .. fold4, each made by lvedge-train --fold K",
    )
    parser.add_argument(
        "--only",
        type=whole_number(0, FOLDS - 1),
        nargs="+",
        metavar="K",
        help="with --folds: these folds alone; the result says that it is partial",
    )
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
    parser.add_argument(
        "--training",
        choices=[which for which in TRAINING if which != ALL],
        default=BUT_FOLD,
        help="who the run was trained on: all but the fold (default), or one source, of which it is measured "
        "on the whole other",
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
        "--limit", type=whole_number(1), metavar="N", help="only the first N subjects of each set and fold"
    )
    parser.add_argument(
        "--lvquan18",
        metavar="MAT",
        help="measure LVQuan18's file by its own protocol instead of acdc and york",
    )
    parser.add_argument("--out", metavar="JSON", help="where the figures go")
    parser.add_argument("--markdown", metavar="MD", help="where the whole report goes")
    parser.add_argument("--plots", metavar="DIR", help="where scatter and Bland-Altman plots go, as PNG")
    parser.add_argument("--slices", metavar="JSONL", help="where every scored acdc slice goes, one a line")
    parser.add_argument(
        "--keep",
        metavar="DIR",
        help="keep every subject's scores here, and take from here what was made with the same code and run",
    )
    parser.add_argument(
        "--jobs",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="worker processes with one torch thread each (default: 1, in this process)",
    )
    parser.add_argument(
        "--threads", type=whole_number(0), default=0, metavar="N", help="of torch (default: its own choice)"
    )
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    parser = build_parser()
    options = parser.parse_args(args)
    alone = options.part != "test" or options.fold or options.quality or options.training != BUT_FOLD
    if options.folds and alone:
        parser.error(
            "--folds measures every fold's test part with its own quality model: "
            "leave out --part, --fold, --quality and --training"
        )
    if options.only and not options.folds:
        parser.error("--only chooses among the folds of --folds")
    try:
        return _run(options, list(args) if args is not None else sys.argv[1:])
    except LvedgeError as error:
        sys.stderr.write(f"lvedge-eval: error: {error}\n")
        return 2


def _run(options: argparse.Namespace, words: list[str]) -> int:
    cv2.setNumThreads(1)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.lvquan18:
        _measure_lvquan18(options, words)
        return 0
    root = data_root(options.data)
    folds = [(k, _run_of(options, k)) for k in _numbers(options)]
    tasks, subjects = _tasks(options, root, folds)
    scores = pooled(score_all(tasks, options.jobs, Store(Path(options.keep)) if options.keep else None))
    partial = bool(options.limit) or (bool(options.folds) and len(folds) < FOLDS)
    if options.folds and not partial:
        check_complete(scores)
    form = CROSS_VALIDATION if options.folds else HOLD_OUT if options.training == BUT_FOLD else OTHER_SOURCE
    figures = {
        "protocol": f"{PARTS[form]}; {PROTOCOL}",
        "command": command_line(words),
        "form": form,
        "part": options.part,
        "training": options.training,
        # By number only: the figures travel in the bundle, where no subject is named.
        "folds": [k for k, _ in folds],
        "partial": partial,
        "subjects": {**subjects, "named_in": "lvedge/training/data/split.json"},
        "versions": _versions(),
        "acdc": acdc_figures(scores.cold, scores.warm, scores.hand_made, scores.retests),
        "quality": {"cold": quality_figures(scores.cold), "warm": quality_figures(scores.warm)},
        "retrieval": _retrieval(options, root, folds, scores),
        "refusals": refusal_figures(scores.refusals),
        "volumes": volume_figures(scores.volumes),
        "york": york_figures(scores.beats),
        "sunnybrook": other_source_figures(scores.frames),
    }
    sys.stdout.write(f"{extent(figures)}\n\n{markdown(figures)}")
    _write_json(options.out, figures)
    _write(options.markdown, report(figures))
    _write(options.slices, "".join(json.dumps(s.as_json()) + "\n" for s in scores.cold))
    if options.plots:
        plot_agreement([s for s in scores.cold if s.mid], Path(options.plots))
        plot_risk_coverage(figures["quality"], Path(options.plots))
    return 0


def _retrieval(
    options: argparse.Namespace, root: Path, folds: Sequence[tuple[int, Path]], scores: Scores
) -> dict[str, Any]:
    """Figures of the case table; none where the subjects in question are those of the table."""
    if options.part != "test" or options.training != BUT_FOLD:
        return {"subjects": 0}
    left_out = [read_split(fold=k).subjects("acdc", "test") for k, _ in folds]
    return retrieval_figures(scores.warm, read_beats(root), left_out)


def check_complete(scores: Scores) -> None:
    """Whether a cross-validation scored every mid slice of acdc and every subject of york, each once.

    Raises:
        DataError: if one is missing or stands twice.
    """
    for name in ("cold", "warm", "hand_made"):
        mid = [(s.subject, s.slice_index, s.phase) for s in getattr(scores, name) if s.mid]
        if len(set(mid)) != len(mid) or len(mid) != ACDC_MID_SLICES:
            raise DataError(
                f"{len(set(mid))} different mid slices of acdc were scored {name.replace('_', '-')}, "
                f"{len(mid)} in all, not {ACDC_MID_SLICES}: the data set or the split is not whole"
            )
    york = {beat.subject for beat in scores.beats}
    if len(york) != YORK_SUBJECTS:
        raise DataError(
            f"{len(york)} subjects of york were scored, not {YORK_SUBJECTS}: the data set or the split is "
            "not whole"
        )


def command_line(words: Sequence[str]) -> str:
    """The command as it was given, without the folders of absolute paths."""
    return "lvedge-eval " + " ".join(re.sub(r"(^|=)/(?:[^/]*/)*", r"\1", word) for word in words)


def _numbers(options: argparse.Namespace) -> list[int]:
    if not options.folds:
        return [options.fold]
    return sorted(set(options.only)) if options.only else list(range(FOLDS))


def _run_of(options: argparse.Namespace, number: int) -> Path:
    return Path(options.folds) / f"fold{number}" if options.folds else Path(options.run)


def _tasks(
    options: argparse.Namespace, root: Path, folds: Sequence[tuple[int, Path]]
) -> tuple[list[Task], dict[str, int]]:
    """Every subject to be measured, and how many there are of each set."""
    if absent := [str(run) for _, run in folds if not run.is_dir()]:
        raise DataError(f"no run at {', '.join(absent)}: train it with lvedge-train --fold K --run DIR")
    for _, run in folds:
        check_run(run)
    step = BEAT_FRAMES // options.starts
    starts = tuple(range(0, step * options.starts, step))
    tasks, count = [], {"acdc": 0, "york": 0}
    for number, run in folds:
        split = read_split(fold=number).trained_on(options.training)
        fold = Fold(number, run, quality_of_run(run, options.quality), missing_of_split(root, split))
        for source in count:
            chosen = split.subjects(source, options.part)[: options.limit]
            tasks += [Task(fold, source, subject, root, starts) for subject in chosen]
            count[source] += len(chosen)
        tasks += [Task(fold, "sunnybrook", subject, root, starts) for subject in SUNNYBROOK_SUBJECTS]
        tasks.append(Task(fold, "phantom", "without an LV", root, starts))
    return tasks, count


def _measure_lvquan18(options: argparse.Namespace, words: Sequence[str]) -> None:
    def measures(number: int) -> tuple[Any, Any]:
        run = _run_of(options, number)
        return stepper_from_run(run), quality_of_run(run, options.quality)

    figures: dict[str, Any] = {
        "protocol": LVQUAN_PROTOCOL,
        "command": command_line(words),
        "versions": _versions(),
        "lvquan18": lvquan_figures(score_lvquan18(read_lvquan18(Path(options.lvquan18)), measures)),
    }
    text = lvquan_markdown(figures["lvquan18"])
    sys.stdout.write(text)
    _write_json(options.out, figures)
    _write(options.markdown, f"# LVQuan18\n\nProtocol: {LVQUAN_PROTOCOL}.\n\n{text}")


def _versions() -> dict[str, str]:
    return {"lvedge": __version__, "torch": torch.__version__, "python": platform.python_version()}


def _write_json(path: str | None, figures: dict[str, Any]) -> None:
    _write(path, json.dumps(figures, indent=1) + "\n")


def _write(path: str | None, text: str) -> None:
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
