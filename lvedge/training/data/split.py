"""Who trains, who is watched while training, who is only measured: by subject, in one file that all share.

Five folds. Fold k is measured by the networks that never saw it; while these train, some subjects of the
fold after it are watched, and all others are trained on. Fold 0 is the hold-out of the default model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lvedge.errors import DataError
from lvedge.training.data.acdc import acdc_subjects
from lvedge.training.data.york import york_subjects

SPLIT_FILE = Path(__file__).parent / "split.json"
SOURCES = ("acdc", "york")
PARTS = ("train", "watch", "test")
FOLDS = 5
ALL, BUT_FOLD = "all", "fold"
TRAINING = (BUT_FOLD, ALL, *SOURCES)
"""Who is trained on: all but a fold, all there are, or one source's for a measurement on the other's."""

WATCHED_PER_GROUP, WATCHED_OF_YORK = 1, 2


@dataclass(frozen=True)
class Split:
    """Subjects by data set and part.

    Args:
        parts: part ("train", "watch", "test") to data set to subjects.
    """

    parts: dict[str, dict[str, list[str]]]

    def subjects(self, source: str, *parts: str) -> list[str]:
        """Subjects of a data set in the named parts."""
        return [subject for part in parts for subject in self.parts[part].get(source, [])]

    def trained_on(self, which: str) -> Split:
        """The split of a training on other subjects than all but a fold.

        Args:
            which: one of ``TRAINING``. "all" leaves none to measure, and the watched ones are trained on too.
                A source's name trains on it, but for its watched subjects, and leaves the other source whole.

        Raises:
            DataError: if it is no such word.
        """
        if which not in TRAINING:
            raise DataError(f"{which!r} is not one of {', '.join(TRAINING)}")
        if which == BUT_FOLD:
            return self
        everyone = {source: _sorted(self.subjects(source, *PARTS)) for source in SOURCES}
        if which == ALL:
            return Split({"train": everyone, "watch": self.parts["watch"], "test": {}})
        watch = {which: self.subjects(which, "watch")}
        train = {which: [subject for subject in everyone[which] if subject not in watch[which]]}
        test = {source: subjects for source, subjects in everyone.items() if source != which}
        return Split({"train": train, "watch": watch, "test": test})


def read_split(path: Path = SPLIT_FILE, fold: int = 0) -> Split:
    """The split that measures a fold.

    Args:
        path: the file of folds.
        fold: which is measured, 0 .. FOLDS − 1.

    Raises:
        DataError: if the file is damaged or a subject stands twice in it.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["folds"]
        folds = [{source: list(entry[source]) for source in SOURCES} for entry in stored]
        watched = [{source: list(entry["watched"][source]) for source in SOURCES} for entry in stored]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError(f"{path} is not a split file: {err}") from err
    for source in SOURCES:
        subjects = [s for entry in folds for s in entry[source]]
        if len(subjects) != len(set(subjects)):
            raise DataError(f"{path}: a subject of {source} stands in two folds")
    if not 0 <= fold < len(folds):
        raise DataError(f"{path} has the folds 0 to {len(folds) - 1}, not {fold}")
    test, watch = folds[fold], watched[(fold + 1) % len(folds)]
    away = {source: {*test[source], *watch[source]} for source in SOURCES}
    train = {
        source: _sorted(s for entry in folds for s in entry[source] if s not in away[source])
        for source in SOURCES
    }
    return Split({"train": train, "watch": watch, "test": test})


def make_split(root: Path, path: Path, seed: int = 2020) -> list[Split]:
    """Draw the folds, even by acdc's groups, and write them; gives the split of each."""
    rng = np.random.default_rng(seed)
    folds: list[dict[str, list[str]]] = [{source: [] for source in SOURCES} for _ in range(FOLDS)]
    watched: list[dict[str, list[str]]] = [{source: [] for source in SOURCES} for _ in range(FOLDS)]
    groups = acdc_subjects(root)
    for group in sorted(set(groups.values())):
        members = rng.permutation([s for s, g in groups.items() if g == group]).tolist()
        for k, part in enumerate(_evenly(members)):
            folds[k]["acdc"] += part
            watched[k]["acdc"] += part[:WATCHED_PER_GROUP]
    for k, part in enumerate(_evenly(rng.permutation(york_subjects(root)).tolist())):
        folds[k]["york"] += part
        watched[k]["york"] += part[:WATCHED_OF_YORK]
    content = {
        "note": f"drawn by make_split with seed {seed}; a fold's subjects are never trained on nor tuned "
        "on by what measures it; its watched ones are watched while the fold before it is left out",
        "folds": [
            {source: _sorted(fold[source]) for source in SOURCES}
            | {"watched": {source: _sorted(some[source]) for source in SOURCES}}
            for fold, some in zip(folds, watched, strict=True)
        ],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return [read_split(path, fold) for fold in range(FOLDS)]


def _evenly(members: list[str]) -> list[list[str]]:
    """The members in FOLDS consecutive parts, the first ones longer by one where they do not divide."""
    return [part.tolist() for part in np.array_split(np.array(members), FOLDS)]


def _sorted(subjects: Iterable[str]) -> list[str]:
    return sorted(subjects, key=lambda s: (len(s), s))
