"""Who is measured by what: each fold's subjects by its own networks, quality model, means and clock."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track

import lvedge
from lvedge.contract import Stepper
from lvedge.errors import DataError
from lvedge.quality import DEFAULT_QUALITY, QualityModel
from lvedge.training.data import Split, read_acdc, read_sunnybrook, read_york
from lvedge.training.evaluation.beat import score_york
from lvedge.training.evaluation.other import score_frames
from lvedge.training.evaluation.refusal import score_refusals
from lvedge.training.evaluation.retest import score_retest
from lvedge.training.evaluation.standin import Drawn, StandIn, drawn_of, stand_in
from lvedge.training.evaluation.still import score_acdc, score_hand_made
from lvedge.training.evaluation.store import Scores, Store
from lvedge.training.evaluation.volume import score_volumes
from lvedge.training.evaluation.warm import score_warm
from lvedge.training.pictures import MEASURED_SEEDS, phantom_pictures, pictures_of
from lvedge.training.stepper import checkpoints_of_run, stepper_from_run


@dataclass(frozen=True)
class Fold:
    """What measures a fold's subjects.

    Args:
        number: the fold that was left out.
        run: folder of the training run that left it out.
        quality: fitted with that run.
        missing: from that run's training subjects.
    """

    number: int
    run: Path
    quality: QualityModel
    missing: StandIn


@dataclass(frozen=True)
class Task:
    """One subject to be measured.

    Args:
        fold: by what.
        source: data set.
        subject: within it.
        root: folder of the data sets.
        starts: stored frames that york's clips are begun with.
    """

    fold: Fold
    source: str
    subject: str
    root: Path
    starts: tuple[int, ...]

    @property
    def name(self) -> str:
        """Unique within an evaluation."""
        return f"fold{self.fold.number}-{self.source}-{self.subject}"


@dataclass
class Scorer:
    """Scores tasks; holds the networks of the runs that it has met.

    Args:
        steppers: by run folder.
    """

    steppers: dict[Path, Stepper] = field(default_factory=dict)

    def score(self, task: Task) -> Scores:
        """Everything that is scored of a subject."""
        fold = task.fold
        if fold.run not in self.steppers:
            self.steppers[fold.run] = stepper_from_run(fold.run)
        stepper, quality, missing = self.steppers[fold.run], fold.quality, fold.missing
        if task.source == "york":
            beats = score_york(
                stepper, quality, list(read_york(task.root, task.subject)), task.starts, missing
            )
            return Scores(beats=tuple(beats))
        if task.source == "sunnybrook":
            frames = score_frames(stepper, quality, list(read_sunnybrook(task.root, task.subject)))
            return Scores(frames=tuple(frames))
        if task.source == "phantom":
            pictures = phantom_pictures(MEASURED_SEEDS)
            return Scores(refusals=tuple(score_refusals(stepper, quality, pictures)))
        samples = list(read_acdc(task.root, task.subject))
        cold = score_acdc(stepper, quality, samples, missing.values)
        volumes = score_volumes(samples, cold)
        return Scores(
            cold=tuple(cold),
            warm=tuple(score_warm(stepper, quality, samples, missing.values)),
            hand_made=tuple(score_hand_made(stepper, quality, samples, missing.values)),
            retests=tuple(score_retest(stepper, quality, samples, missing.values)),
            volumes=() if volumes is None else (volumes,),
            refusals=tuple(score_refusals(stepper, quality, pictures_of(samples))),
        )


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


def check_run(run: Path) -> None:
    """Whether a run can be measured with: said before the data are read, not after an hour of scoring.

    Raises:
        DataError: if a checkpoint is missing, damaged or of something else.
    """
    stepper_from_run(run)


def missing_of_split(root: Path, split: Split) -> StandIn:
    """What is scored where nothing is returned: from the split's training subjects of each source.

    Of a source that nothing was trained on, it is what was drawn in the subjects that are measured.

    Raises:
        DataError: if a subject cannot be read.
    """
    console = Console(stderr=True)
    stills, beats = (
        [
            _drawn(root, source, subject)
            for subject in track(
                split.subjects(source, "train") or split.subjects(source, "test"),
                f"what was drawn: {source}",
                console=console,
                transient=True,
                disable=not console.is_terminal,
            )
        ]
        for source in ("acdc", "york")
    )
    return stand_in(stills, beats)


@cache
def _drawn(root: Path, source: str, subject: str) -> Drawn:
    """A subject's drawings in short; most subjects train in most folds."""
    read = {"acdc": read_acdc, "york": read_york}[source]
    return drawn_of(list(read(root, subject)))


def score_all(tasks: Sequence[Task], jobs: int = 1, store: Store | None = None) -> list[Scores]:
    """The scores of all tasks, in their order; progress goes to the terminal on standard error.

    Args:
        tasks: what to score.
        jobs: worker processes, each with one torch thread; 1 scores in this process.
        store: where scores are kept and, made with the same, taken from.

    Raises:
        DataError: if a checkpoint or a subject cannot be read.
    """
    made_with: list[str] = []
    done: dict[int, Scores] = {}
    if store is not None:
        code = _digest_of(sorted(Path(lvedge.__file__).parent.rglob("*.py")))
        runs = {run: _digest_of(checkpoints_of_run(run)) for run in {task.fold.run for task in tasks}}
        made_with = [_made_with(task, code, runs[task.fold.run]) for task in tasks]
        kept = [store.read(task.name, made) for task, made in zip(tasks, made_with, strict=True)]
        done = {k: scores for k, scores in enumerate(kept) if scores is not None}
    left = [k for k in range(len(tasks)) if k not in done]
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns,
        TextColumn("{task.fields[last]}"),
        console=console,
        disable=not console.is_terminal,
        refresh_per_second=1,
    ) as progress:
        bar = progress.add_task("subjects", total=len(tasks), completed=len(done), last="")
        for k, scores in _scored([tasks[k] for k in left], jobs):
            if store is not None:
                store.write(tasks[left[k]].name, made_with[left[k]], scores)
            done[left[k]] = scores
            progress.update(bar, advance=1, last=tasks[left[k]].name)
    return [done[k] for k in range(len(tasks))]


def _scored(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[int, Scores]]:
    """Number and scores of each task, as they are done."""
    if jobs == 1 or len(tasks) < 2:
        scorer = Scorer()
        yield from ((k, scorer.score(task)) for k, task in enumerate(tasks))
        return
    with ProcessPoolExecutor(min(jobs, len(tasks)), get_context("spawn"), _begin_worker) as pool:
        waiting = {pool.submit(_score_in_worker, task): k for k, task in enumerate(tasks)}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_worker = Scorer()
"""A worker process's own; the networks of a run are read once a process."""


def _begin_worker() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _score_in_worker(task: Task) -> Scores:
    return _worker.score(task)


def _made_with(task: Task, code: str, run: str) -> str:
    """A digest of all that a task's scores depend on.

    Args:
        task: what is scored, with its quality model and stand-ins.
        code: digest of the package's source.
        run: digest of the run's checkpoints.
    """
    missing = task.fold.missing
    said = {
        "code": code,
        "run": run,
        "quality": task.fold.quality.as_manifest(),
        "missing": [missing.values.tolist(), missing.areas_mm2.tolist(), missing.clock.tolist()],
        "starts": task.starts,
        "versions": [sys.version, torch.__version__, cv2.__version__],
    }
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _digest_of(paths: Iterable[Path]) -> str:
    """Digest of the files that are there."""
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()
