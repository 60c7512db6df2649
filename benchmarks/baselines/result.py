"""What a method reached, by subject: the lines of the comparison, and the one JSON file a method has.

Subjects have no names here: they stand in the order in which a fold's test subjects stand in the split.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lvedge.errors import DataError
from lvedge.indices import DEFAULT_LAYOUT
from lvedge.training.data import Split
from lvedge.training.evaluation.beat import ScoredBeat
from lvedge.training.evaluation.figure import by_subject
from lvedge.training.evaluation.still import ScoredSlice

PROTOCOL = (
    "each fold's test subjects (lvedge/training/data/split.json), which nothing that is trained here for "
    "the fold has seen; acdc: every slice at ED and ES as a one-frame clip, values and Dice on mid slices, "
    "the centre on all slices with an LV; york: complete slices as closed beats; where no LV is returned "
    "the training set's mean values and Dice 0 are scored, a phase counts as wrong and an end of the beat "
    "as half a beat off; a figure is the mean over subjects of the subject's mean with its 95 % "
    "subject-bootstrap interval"
)
CENTRE_MM, SEPTUM_DEG = 5.0, 15.0

Means = dict[str, float | None]


class Place(NamedTuple):
    """A subject without a name."""

    source: str
    fold: int
    row: int


@dataclass(frozen=True)
class Line:
    """A line of the comparison.

    Args:
        key: its name in JSON.
        title: its name in tables, with the unit.
        source: data set whose subjects it is a mean over.
        better: which way is better.
        factor: from the stored figure to the shown one.
        digits: shown behind the point.
    """

    key: str
    title: str
    source: str
    better: Literal["lower", "higher"]
    factor: float = 1.0
    digits: int = 2


LINES = (
    Line("coverage", "coverage of mid slices, %", "acdc", "higher", 100.0, 1),
    Line("rwt_mm", "wall thickness, mm", "acdc", "lower", digits=3),
    Line("dims_mm", "diameters, mm", "acdc", "lower", digits=3),
    Line("areas_mm2", "areas, mm²", "acdc", "lower", digits=1),
    Line("dice_cavity", "Dice cavity", "acdc", "higher", digits=4),
    Line("dice_myocardium", "Dice myocardium", "acdc", "higher", digits=4),
    Line("centre_within_5mm", "LV centre within 5 mm, %", "acdc", "higher", 100.0, 1),
    Line("septum_within_15deg", "mid-septum within 15°, %", "acdc", "higher", 100.0, 1),
    Line("york_coverage", "york: coverage, %", "york", "higher", 100.0, 1),
    Line("phase_error_stored", "york: phase error, clips as stored, %", "york", "lower", 100.0, 1),
    Line("phase_error_random", "york: phase error, random start, %", "york", "lower", 100.0, 1),
    Line("ed_off_frames", "york: end diastole off by, frames", "york", "lower"),
    Line("es_off_frames", "york: end systole off by, frames", "york", "lower"),
    Line("cavity_relative", "york: cavity area, % of its mean", "york", "lower", 100.0, 1),
    Line("myocardium_relative", "york: myocardium area, % of its mean", "york", "lower", 100.0, 1),
)


def acdc_means(scored: Sequence[ScoredSlice]) -> dict[str, Means]:
    """Subject to its means of acdc's lines; None where none of its slices has the figure."""
    mid, with_lv = [s for s in scored if s.mid], [s for s in scored if s.has_lv]

    def error(where: slice) -> Callable[[ScoredSlice], float]:
        return lambda s: float(np.abs(s.regressed - s.truth)[where].mean())

    figures: dict[str, tuple[Sequence[ScoredSlice], Callable[[ScoredSlice], float]]] = {
        "coverage": (mid, lambda s: float(s.found)),
        "rwt_mm": (mid, error(DEFAULT_LAYOUT.rwt)),
        "dims_mm": (mid, error(DEFAULT_LAYOUT.dims)),
        "areas_mm2": (mid, error(DEFAULT_LAYOUT.areas)),
        "dice_cavity": (mid, lambda s: s.dice[0]),
        "dice_myocardium": (mid, lambda s: s.dice[1]),
        "centre_within_5mm": (with_lv, lambda s: float(s.centre_mm <= CENTRE_MM)),
        "septum_within_15deg": (mid, lambda s: float(s.septum_deg <= SEPTUM_DEG)),
    }
    return _means(scored, figures)


def york_means(beats: Sequence[ScoredBeat]) -> dict[str, Means]:
    """Subject to its means of york's lines."""
    stored = [b for b in beats if b.start == 0]

    def wrong(beat: ScoredBeat) -> float:
        return float((beat.systole_said != beat.systole_true).mean())

    def relative(beat: ScoredBeat, area: int) -> float:
        error = np.abs(beat.areas_regressed - beat.areas_true)[:, area].mean()
        return float(error / beat.areas_true[:, area].mean())

    figures: dict[str, tuple[Sequence[ScoredBeat], Callable[[ScoredBeat], float]]] = {
        "york_coverage": (stored, lambda b: float(b.found.mean())),
        "phase_error_stored": (stored, wrong),
        "phase_error_random": (beats, wrong),
        "ed_off_frames": (stored, lambda b: b.ed_off),
        "es_off_frames": (stored, lambda b: b.es_off),
        "cavity_relative": (stored, lambda b: relative(b, 0)),
        "myocardium_relative": (stored, lambda b: relative(b, 1)),
    }
    return _means(beats, figures)


def in_split_order(means: dict[str, Means], subjects: Sequence[str]) -> list[Means]:
    """A fold's means without names, in the order of its test subjects."""
    return [means.get(subject, {}) for subject in subjects]


def write_fold(
    path: Path,
    method: str,
    about: str,
    fold: int,
    split: Split,
    slices: Sequence[ScoredSlice],
    beats: Sequence[ScoredBeat],
    entry: dict[str, Any],
) -> dict[str, Any]:
    """Set a fold in the method's file, beside those in it already; its figures are worked out afresh.

    Args:
        path: the file.
        method: its name.
        about: what it is, in words.
        fold: which fold was measured.
        split: of that fold.
        slices: scored slices of acdc.
        beats: scored beats of york.
        entry: what else is to be kept of this fold: command, versions, training.

    Returns:
        What the file now holds.
    """
    folds: dict[str, Any] = read_result(path)["folds"] if path.is_file() else {}
    subjects = {
        source: in_split_order(means, split.subjects(source, "test"))
        for source, means in (("acdc", acdc_means(slices)), ("york", york_means(beats)))
        if means
    }
    folds[str(fold)] = {**entry, "mid_slices": sum(s.mid for s in slices), "subjects": subjects}
    content = {
        "method": method,
        "about": about,
        "protocol": PROTOCOL,
        "figures": {},
        "folds": dict(sorted(folds.items())),
    }
    places = means_by_place(content)
    content["figures"] = {
        line.key: by_subject(*_listed((place, means.get(line.key)) for place, means in places.items()))
        for line in LINES
        if any(place.source == line.source for place in places)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return content


def read_result(path: Path) -> dict[str, Any]:
    """The file of a method.

    Raises:
        DataError: if it is missing or no such file.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        means_by_place(content)
        str(content["method"])
    except FileNotFoundError as err:
        raise DataError(f"no results at {path}: measure the method first") from err
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise DataError(f"{path} does not hold a method's results: {type(err).__name__}: {err}") from err
    return content


def means_by_place(content: dict[str, Any]) -> dict[Place, Means]:
    """Every measured subject of a method's file."""
    return {
        Place(source, int(fold), row): means
        for fold, entry in content["folds"].items()
        for source, subjects in entry["subjects"].items()
        for row, means in enumerate(subjects)
        if means
    }


def _listed(values: Iterable[tuple[Place, float | None]]) -> tuple[list[str], np.ndarray]:
    known = [(str(place), value) for place, value in values if value is not None]
    return [name for name, _ in known], np.array([value for _, value in known])


def _means(
    scored: Sequence[Any], figures: dict[str, tuple[Sequence[Any], Callable[[Any], float]]]
) -> dict[str, Means]:
    means: dict[str, Means] = {s.subject: {} for s in scored}
    for key, (members, figure) in figures.items():
        values: dict[str, list[float]] = defaultdict(list)
        for member in members:
            values[member.subject].append(figure(member))
        for subject, of_subject in means.items():
            known = [v for v in values[subject] if np.isfinite(v)]
            of_subject[key] = round(float(np.mean(known)), 6) if known else None
    return means
