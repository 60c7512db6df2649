"""The stage ``quality``: the models of quality and presence of a run, or of all runs of a cross-validation.

A network is surer of subjects that it was trained on than of others, so that a model fitted on these takes
too much for good. Over the runs of all folds, every frame can be judged as a network gave it that had never
seen the subject; a fold's own subjects are then left out of what its model is fitted on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from lvedge.indices import FloatArray
from lvedge.quality import QualityModel
from lvedge.training.data import FOLDS, Split, read_acdc, read_split
from lvedge.training.judging import JudgedFrames, auroc, fit_heart, fit_presence, fit_quality, judged_frames
from lvedge.training.pictures import FITTED_SEEDS, phantom_pictures, pictures_of
from lvedge.training.stepper import stepper_from_run

JUDGED_SUBJECTS = 60
"""Training subjects that one run's model is fitted on, besides the watched ones."""

Fitted = dict[str, Any]


def fit_run(folder: Path, root: Path, split: Split) -> Fitted:
    """Fit a run's model on its own training and watched subjects and write it beside its checkpoints.

    Args:
        folder: of the run; ``quality.json`` is written there.
        root: folder of the data sets.
        split: that the run was trained by.

    Returns:
        What it was fitted on.
    """
    subjects = split.subjects("acdc", "train")[:JUDGED_SUBJECTS] + split.subjects("acdc", "watch")
    return write_model(folder, _judged(folder, root, subjects), "its own training and watched subjects")


def fit_folds(folder: Path, root: Path) -> list[Fitted]:
    """Fit the models of the runs ``fold0`` .. ``fold4`` of a folder, each on what the others left out.

    Args:
        folder: of the runs. Each gets its ``quality.json``, and the folder itself one that is fitted on all
            folds, for networks that are trained on every subject.
        root: folder of the data sets.

    Returns:
        What each was fitted on, that of all folds last.
    """
    runs = [folder / f"fold{number}" for number in range(FOLDS)]
    frames = [
        _judged(run, root, read_split(fold=number).subjects("acdc", "test"))
        for number, run in enumerate(runs)
    ]
    fitted = []
    for number, run in enumerate(runs):
        others = together([part for k, part in enumerate(frames) if k != number])
        fitted.append(write_model(run, others, f"the test subjects of all folds but {number}"))
    return [*fitted, write_model(folder, together(frames), "the test subjects of all folds")]


def _judged(run: Path, root: Path, subjects: Sequence[str]) -> JudgedFrames:
    samples = [s for u in subjects for s in read_acdc(root, u)]
    pictures = chain(pictures_of(samples), phantom_pictures(FITTED_SEEDS))
    return judged_frames(stepper_from_run(run), samples, (frame for _, frame in pictures))


def together(frames: Sequence[JudgedFrames]) -> JudgedFrames:
    """The frames of several runs as one."""
    return JudgedFrames(*(np.concatenate(parts) for parts in zip(*frames, strict=True)))


def write_model(folder: Path, frames: JudgedFrames, of: str) -> Fitted:
    """Fit all three models to judged frames and write them as a folder's ``quality.json``.

    Args:
        folder: where it goes.
        frames: at least one.
        of: whose frames these are.

    Raises:
        DataError: if there is no frame.
    """
    features, gross = frames.features[frames.judged], frames.gross[frames.judged]
    quality = fit_quality(features, gross, frames.as_is[frames.judged])
    model = replace(quality, presence=fit_presence(frames), heart=fit_heart(frames))
    said = np.array([model.quality(row) for row in features])
    parted = auroc(said, gross)
    fitted = {
        "subjects": of,
        "frames": len(gross),
        "gross": int(gross.sum()),
        "auroc": round(parted, 4) if np.isfinite(parted) else None,
        **_given_up("without_lv", model, frames.features[frames.heart & ~frames.is_lv]),
        **_given_up("no_heart", model, frames.features[~frames.heart]),
    }
    _write(folder / "quality.json", model, fitted)
    return fitted


def _write(path: Path, model: QualityModel, fitted: Fitted) -> None:
    entry = {**model.as_manifest(), "fitted_on": fitted}
    path.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")


def _given_up(kind: str, model: QualityModel, features: FloatArray) -> Fitted:
    """How many pictures of a kind an LV was found in, and how many of these are given up."""
    given_up = sum(model.objection(row) is not None for row in features)
    return {kind: len(features), f"{kind}_given_up": given_up}
