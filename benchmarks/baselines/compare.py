"""lvedge against the baselines on the same subjects: ahead, level or behind, line by line.

    python -m benchmarks.baselines.compare --ours SLICES.jsonl --baseline UNET.json REGRESSION.json

"Ahead" where the 95 % subject-bootstrap interval of the paired difference excludes 0, else "level".
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines.result import (
    LINES,
    PROTOCOL,
    Line,
    Means,
    Place,
    acdc_means,
    means_by_place,
    read_result,
)
from lvedge.errors import DataError, LvedgeError
from lvedge.training.data import FOLDS, read_split
from lvedge.training.evaluation.figure import Figure, by_subject
from lvedge.training.evaluation.still import ScoredSlice

RESULTS = Path("benchmarks/results/baselines")
PAIRED = (
    "paired by subject: lvedge minus the baseline, mean and 95 % interval by subject bootstrap (2000 "
    "draws); ahead or behind where the interval excludes 0, else level"
)


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.baselines.compare",
        description="Sets lvedge's results against the baselines', subject by subject.",
    )
    parser.add_argument(
        "--ours",
        metavar="FILE",
        nargs="+",
        type=Path,
        required=True,
        help="the scored slices of the test subjects, as lvedge-eval --slices writes them (.jsonl), one "
        "file a fold or one for all: acdc only; or lvedge measured like a baseline (.json): york as well",
    )
    parser.add_argument(
        "--baseline",
        metavar="JSON",
        nargs="+",
        type=Path,
        required=True,
        help="files of the methods it is compared with",
    )
    parser.add_argument(
        "--out",
        metavar="JSON",
        type=Path,
        default=RESULTS / "compare.json",
        help="where the figures go; the table stands beside it as .md (default: %(default)s)",
    )
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    options = build_parser().parse_args(args)
    words = list(args) if args is not None else sys.argv[1:]
    try:
        ours = means_of_ours(options.ours)
        methods = {c["method"]: compare(ours, c) for c in map(read_result, options.baseline)}
    except LvedgeError as error:
        sys.stderr.write(f"benchmarks.baselines.compare: error: {error}\n")
        return 2
    content = {
        "command": "python -m benchmarks.baselines.compare " + " ".join(words),
        "protocol": f"{PROTOCOL}; {PAIRED}",
        "methods": methods,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    table = markdown(methods, options.out.as_posix())
    options.out.with_suffix(".md").write_text(table, encoding="utf-8")
    sys.stdout.write(table)
    return 0


def means_of_ours(paths: Sequence[Path]) -> dict[Place, Means]:
    """lvedge's own means by subject, from files of either kind.

    Raises:
        DataError: if a file is missing or damaged, or a subject stands in no fold.
    """
    slices = [s for path in paths if path.suffix == ".jsonl" for s in read_slices(path)]
    places = {
        subject: Place("acdc", fold, index)
        for fold in range(FOLDS)
        for index, subject in enumerate(read_split(fold=fold).subjects("acdc", "test"))
    }
    found: dict[Place, Means] = {}
    for path in paths:
        if path.suffix != ".jsonl":
            found |= means_by_place(read_result(path))
    for subject, means in acdc_means(slices).items():
        if subject not in places:
            raise DataError(f"a subject of the scored slices stands in no fold: {subject}")
        found[places[subject]] = means
    return found


def read_slices(path: Path) -> list[ScoredSlice]:
    """Scored slices, one a line, as ``ScoredSlice.as_json`` gives them.

    Raises:
        DataError: if the file is missing or a line is no scored slice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as err:
        raise DataError(f"no scored slices can be read from {path}: {err.strerror}") from err
    slices = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            slices.append(ScoredSlice(**{f.name: _value(entry[f.name]) for f in fields(ScoredSlice)}))
        except (ValueError, KeyError, TypeError) as err:
            raise DataError(f"{path}: line {number} is no scored slice: {type(err).__name__}: {err}") from err
    return slices


def compare(ours: dict[Place, Means], baseline: dict[str, Any]) -> dict[str, Any]:
    """Every line that both sides have, by key: both means, the paired difference, the verdict.

    Args:
        ours: lvedge's means by subject.
        baseline: content of a method's file.

    Raises:
        DataError: if lvedge lacks a subject that the baseline measured, in a data set where it has others.
    """
    theirs = means_by_place(baseline)
    sources = {place.source for place in ours}
    missing = [place for place in theirs if place.source in sources and place not in ours]
    if missing:
        folds = ", ".join(str(fold) for fold in sorted({place.fold for place in missing}))
        raise DataError(
            f"lvedge's side lacks {len(missing)} subjects that {baseline['method']} measured (fold {folds}): "
            "name its files of these folds with --ours"
        )
    found = {}
    for line in LINES:
        pairs = [
            (place, own, other)
            for place, means in theirs.items()
            if place.source == line.source
            and (own := ours.get(place, {}).get(line.key)) is not None
            and (other := means.get(line.key)) is not None
        ]
        if pairs:
            difference = by_subject(
                [str(place) for place, _, _ in pairs], np.array([a - b for _, a, b in pairs])
            )
            found[line.key] = {
                "lvedge": round(float(np.mean([own for _, own, _ in pairs])), 4),
                "baseline": round(float(np.mean([other for _, _, other in pairs])), 4),
                "difference": difference["mean"],
                "interval_95": difference["interval_95"],
                "subjects": difference["subjects"],
                "verdict": verdict(difference, line),
            }
    return found


def verdict(difference: Figure, line: Line) -> str:
    """ "ahead", "level" or "behind", from the paired difference lvedge minus baseline."""
    interval, subjects = difference["interval_95"], difference["subjects"]
    if not isinstance(interval, list) or not isinstance(subjects, int):
        raise TypeError("a figure has a pair as its interval and a number of subjects")
    if subjects < 2:
        return "level"  # one subject has no spread, and proves nothing
    low, high = interval if line.better == "higher" else (-interval[1], -interval[0])
    if low > 0.0:
        return "ahead"
    return "behind" if high < 0.0 else "level"


def markdown(methods: dict[str, Any], source: str) -> str:
    """One table a method.

    Args:
        methods: name to what ``compare`` gave.
        source: the JSON file that the tables are checked against.
    """
    parts = [
        "# lvedge against the baselines",
        "",
        f"{PROTOCOL[0].upper()}{PROTOCOL[1:]}. {PAIRED[0].upper()}{PAIRED[1:]}.",
        "",
        f"{PAIRED}.".capitalize(),
    ]
    for name, found in methods.items():
        parts += ["", f"## {name}", "", f"<!-- figures: {source} -->"]
        parts += [
            f"| figure | lvedge | {name} | difference | 95 % interval | subjects | lvedge is |",
            "|---|---|---|---|---|---|---|",
        ]
        for line in LINES:
            if line.key in found:
                parts.append(_row(line, found[line.key]))
    return "\n".join(parts) + "\n"


def _row(line: Line, figure: dict[str, Any]) -> str:
    def shown(value: float) -> str:
        return f"{line.factor * value:.{line.digits}f}"

    low, high = figure["interval_95"]
    cells = [shown(figure["lvedge"]), shown(figure["baseline"]), shown(figure["difference"])]
    cells += [f"[{shown(low)}, {shown(high)}]", str(figure["subjects"]), figure["verdict"]]
    return f"| {line.title} | {' | '.join(cells)} |"


def _value(value: Any) -> Any:
    """A value as it was before ``as_json``: lists of 11 are arrays, None is NaN."""
    if value is None:
        return float("nan")
    if isinstance(value, list):
        numbers = [float("nan") if v is None else float(v) for v in value]
        return tuple(numbers) if len(numbers) == 2 else np.array(numbers)
    return value


if __name__ == "__main__":
    raise SystemExit(main())
