"""Folds: what measures whom, in one process or several, and going on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from data_folder import SPLIT, write_data, write_run
from painted_hearts import PaintReader

from lvedge.contract import Stepper
from lvedge.errors import BundleError, DataError
from lvedge.quality import DEFAULT_QUALITY, FEATURES, QualityModel
from lvedge.training.evaluation import fold
from lvedge.training.evaluation.fold import (
    Fold,
    Task,
    missing_of_split,
    quality_of_run,
    score_all,
)
from lvedge.training.evaluation.store import Scores, Store


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def task_of(root: Path, run: Path, subject: str = "patient003", source: str = "acdc") -> Task:
    return Task(
        Fold(0, run, DEFAULT_QUALITY, missing_of_split(root, SPLIT)), source, subject, root, starts=(0,)
    )


def refuse(_run: Path) -> Stepper:
    raise AssertionError("scored once more")


def paint(_run: Path) -> Stepper:
    return PaintReader()


# --- the quality model -----------------------------------------------------------------------------


def test_the_quality_model_is_the_named_one_then_the_run_s_then_the_unfitted_one(tmp_path: Path) -> None:
    assert quality_of_run(tmp_path) is DEFAULT_QUALITY
    for name, bias in (("quality.json", 1.0), ("other.json", 2.0)):
        model = QualityModel(np.full(len(FEATURES), -0.5), bias, 0.25)
        (tmp_path / name).write_text(json.dumps(model.as_manifest()), encoding="utf-8")
    assert quality_of_run(tmp_path).bias == 1.0
    assert quality_of_run(tmp_path, str(tmp_path / "other.json")).bias == 2.0


@pytest.mark.parametrize("text", ["", "[1]", "{", "null"])
def test_a_file_that_is_no_quality_model_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "quality.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"no quality model can be read from .*quality\.json: "):
        quality_of_run(tmp_path)


def test_a_quality_model_of_other_features_is_refused(tmp_path: Path) -> None:
    entry = {"weights": {"other": 1.0}, "bias": 1.0, "flag_below": 0.5}
    (tmp_path / "quality.json").write_text(json.dumps(entry), encoding="utf-8")
    with pytest.raises(BundleError, match="reads other features"):
        quality_of_run(tmp_path)


# --- scoring ---------------------------------------------------------------------------------------


def test_what_stands_in_comes_from_the_training_subjects_alone(root: Path) -> None:
    missing = missing_of_split(root, SPLIT)
    assert missing.clock.shape == (20,)
    # york's painted beat is drawn with ED at frame 0 and ES at frame 10.
    np.testing.assert_array_equal(missing.clock, np.arange(20) < 10)
    assert np.isfinite(missing.values).all()


def test_worker_processes_score_what_one_process_scores(root: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    tasks = [task_of(root, run), task_of(root, run, "3", "york")]
    alone, together = score_all(tasks), score_all(tasks, jobs=2)
    assert [len(s.cold) for s in together] == [8, 0]
    assert [len(s.beats) for s in together] == [0, 1]
    for one, other in zip(alone, together, strict=True):
        assert [s.as_json() for s in one.cold] == [s.as_json() for s in other.cold]
        assert [s.as_json() for s in one.warm] == [s.as_json() for s in other.warm]
        for a, b in zip(one.beats, other.beats, strict=True):
            for f in fields(a):
                np.testing.assert_array_equal(getattr(a, f.name), getattr(b, f.name))


def test_a_worker_s_error_is_the_user_s_line(root: Path, tmp_path: Path) -> None:
    tasks = [task_of(root, tmp_path / "none", subject) for subject in ("patient003", "patient004")]
    with pytest.raises(DataError, match=r"no checkpoint at .*perception\.pt"):
        score_all(tasks, jobs=2)


# --- going on --------------------------------------------------------------------------------------


@pytest.fixture
def kept(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Task, Store, list[Scores]]:
    """A task that was scored and kept; scoring once more would be seen."""
    run = write_run(tmp_path / "run")
    task, store = task_of(root, run, "3", "york"), Store(tmp_path / "kept")
    monkeypatch.setattr(fold, "stepper_from_run", paint)
    scores = score_all([task], store=store)
    monkeypatch.setattr(fold, "stepper_from_run", refuse)
    return task, store, scores


def test_kept_subjects_are_not_scored_again(kept: tuple[Task, Store, list[Scores]]) -> None:
    task, store, before = kept
    (after,) = score_all([task], store=store)
    assert len(after.beats) == 1
    np.testing.assert_array_equal(after.beats[0].areas_regressed, before[0].beats[0].areas_regressed)


def other_weights(task: Task) -> Task:
    with (task.fold.run / "locator.pt").open("ab") as file:
        file.write(b" ")
    return task


def other_quality(task: Task) -> Task:
    return replace(task, fold=replace(task.fold, quality=replace(DEFAULT_QUALITY, bias=3.0)))


def other_means(task: Task) -> Task:
    missing = replace(task.fold.missing, areas_mm2=task.fold.missing.areas_mm2 + 1)
    return replace(task, fold=replace(task.fold, missing=missing))


def other_starts(task: Task) -> Task:
    return replace(task, starts=(0, 10))


@pytest.mark.parametrize("changed", [other_weights, other_quality, other_means, other_starts])
def test_what_was_made_with_something_else_is_scored_again(
    changed: Callable[[Task], Task], kept: tuple[Task, Store, list[Scores]], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, store, _ = kept
    with pytest.raises(AssertionError, match="scored once more"):
        score_all([changed(task)], store=store)
    monkeypatch.setattr(fold, "stepper_from_run", paint)
    (after,) = score_all([changed(task)], store=store)
    assert len(after.beats) == len(changed(task).starts)


def test_after_an_interruption_only_the_rest_is_scored(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, scored, broken = Store(tmp_path / "kept"), list[str](), {"2"}

    class Noting(fold.Scorer):
        def score(self, task: Task) -> Scores:
            if task.subject in broken:
                raise KeyboardInterrupt
            scored.append(task.subject)
            return Scores()

    monkeypatch.setattr(fold, "Scorer", Noting)
    tasks = [task_of(root, tmp_path, subject, "york") for subject in ("1", "2", "3")]
    with pytest.raises(KeyboardInterrupt):
        score_all(tasks, store=store)
    assert scored == ["1"]
    broken.clear()
    assert score_all(tasks, store=store) == [Scores()] * 3
    assert scored == ["1", "2", "3"]
