"""The step alone: every engine, number of threads and batch size, pass by pass in turn on the same clip.

Taken in turn, what else the machine does slows all alike, so that their ratios hold. Each of the B streams of
a batch plays the clip from another place; every output is compared with the clip played alone, untimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.aim import view_input
from lvedge.bundle import Bundle
from lvedge.contract import Floats, State, Stepper, StepResult
from lvedge.errors import EngineError
from lvedge.measurement import Measurement
from lvedge_runtime.bench.agreement import Agreement
from lvedge_runtime.bench.copies import copies_of, split_step
from lvedge_runtime.bench.interval import Ratio, paired_ratio
from lvedge_runtime.bench.timing import Timing
from lvedge_runtime.engines import open_engine

LONGEST_CLIP = 30
BASELINE = "onnxruntime-cpu"

Row = tuple[NDArray[Any], ...]
"""One stream's part of what a step gives."""


@dataclass
class StepCase:
    """One engine with one number of threads at one batch size.

    Args:
        name: the engine's name.
        engine: runs the graphs.
        threads: that one call may use.
        batch: B, streams that go as one call.
        clip: [n, 1, S, S] views.
        expected: what each frame of the clip gives, played alone.
        calls: stage to the milliseconds of each call.
        pass_ms: the mean call of each pass.
        agreement: with the untimed clip.
        state: after the last call, carried on from pass to pass.
        at: calls so far.
    """

    name: str
    engine: Stepper
    threads: int
    batch: int
    clip: Floats
    expected: Sequence[Row]
    calls: dict[str, list[float]] = field(default_factory=dict)
    pass_ms: list[float] = field(default_factory=list)
    agreement: Agreement = field(default_factory=Agreement)
    state: State | None = None
    at: int = 0

    @property
    def place(self) -> tuple[str, int, int]:
        """What sets it apart from the other cases."""
        return self.name, self.threads, self.batch

    @property
    def offsets(self) -> NDArray[np.intp]:
        """Where in the clip each stream begins, [B]."""
        return np.arange(self.batch) * len(self.clip) // self.batch

    @property
    def total_ms(self) -> NDArray[np.float64]:
        """Each call with its copies, milliseconds."""
        return np.asarray(np.sum(list(self.calls.values()), axis=0), dtype=np.float64)

    def play(self) -> None:
        """The clip once more with each call timed; a stream's state is reset where the clip begins."""
        spent = []
        for _ in range(len(self.clip)):
            places = (self.offsets + self.at) % len(self.clip)
            state = self._state_at(places)
            frames = np.ascontiguousarray(self.clip[places])
            begin = perf_counter()
            result = self.engine.step(frames, state)
            ms = 1e3 * (perf_counter() - begin)
            spent.append(ms)
            for stage, part in split_step({"step": ms}, copies_of(self.engine)).items():
                self.calls.setdefault(stage, []).append(part)
            self._check(result, places)
            self.state, self.at = result.state, self.at + 1
        self.pass_ms.append(float(np.mean(spent)))

    def as_json(self) -> dict[str, Any]:
        """The case as JSON keeps it."""
        total = self.total_ms
        return {
            "engine": self.name,
            "threads": self.threads,
            "batch": self.batch,
            "stages": {stage: Timing.of(ms).as_json(samples=False) for stage, ms in self.calls.items()},
            "total": Timing(total).as_json(),
            "frames_per_second": round(1e3 * self.batch / float(np.median(total)), 3),
            "state_carry": self.agreement.as_json(),
        }

    def _state_at(self, places: NDArray[np.intp]) -> State:
        """The state that goes in: zero for the streams that begin anew."""
        if self.state is None:
            return State.zeros(self.engine.shapes, self.batch)
        if places.all():
            return self.state
        parts = self.state.as_inputs().values()
        return State(*(np.where(places[:, None] > 0, part, np.float32(0)) for part in parts))

    def _check(self, result: StepResult, places: NDArray[np.intp]) -> None:
        """Compare each stream, once it has come to the clip's beginning."""
        for stream, place in enumerate(places):
            if place <= self.at:
                self.agreement.check(_row(result, stream), self.expected[place])


def step_cases(
    bundle: Bundle,
    engines: Sequence[str],
    threads: Sequence[int],
    batches: Sequence[int],
    clip: Floats,
    frames: int,
) -> tuple[list[StepCase], dict[str, str]]:
    """Time the steps of all combinations in turn.

    Args:
        bundle: what to run.
        engines: names in the registry, or "auto".
        threads: numbers of threads.
        batches: batch sizes.
        clip: [n, 1, S, S] views.
        frames: at least so many calls of each.

    Returns:
        The cases, and for each engine or batch that cannot be had here why.
    """
    absent: dict[str, str] = {}
    cases: list[StepCase] = []
    with ExitStack() as opened:
        for name in engines:
            for count in threads:
                try:
                    engine = opened.enter_context(open_engine(bundle, name, count, max(batches)))
                    expected = _played_alone(engine, clip)
                except EngineError as err:
                    absent[name] = str(err)
                    break
                for batch in batches:
                    case = StepCase(engine.name, engine, count, batch, clip, expected)
                    try:
                        _warm_up(case)
                    except EngineError as err:
                        absent[f"{engine.name}, batch {batch}"] = str(err)
                        continue
                    cases.append(case)
        while cases and len(cases[0].calls.get("step", ())) < frames:
            for case in cases:
                case.play()
    return cases, absent


def ratios(cases: Sequence[StepCase]) -> list[dict[str, Any]]:
    """Each case against one that every machine has, frame for frame: over 1 is faster."""
    first = next((case for case in cases if case.name == BASELINE), cases[0])
    return [
        {
            "engine": case.name,
            "threads": case.threads,
            "batch": case.batch,
            "against": dict(zip(("engine", "threads", "batch"), first.place, strict=True)),
            "frames_per_second": _faster(case, first).as_json(),
        }
        for case in cases
        if case is not first
    ]


def batch_gain(cases: Sequence[StepCase]) -> list[dict[str, Any]]:
    """Streams as one batch against the same streams one after another, on the same engine."""
    alone = {(case.name, case.threads): case for case in cases if case.batch == 1}
    return [
        {
            "engine": case.name,
            "threads": case.threads,
            "streams": case.batch,
            "batched_over_sequential": _faster(case, alone[case.name, case.threads]).as_json(),
            "last_result_batched_ms": Timing(case.total_ms).as_json(samples=False),
            "last_result_sequential_ms": round(
                case.batch * Timing(alone[case.name, case.threads].total_ms).median, 4
            ),
        }
        for case in cases
        if case.batch > 1 and (case.name, case.threads) in alone
    ]


def clip_of(measurements: Sequence[Measurement]) -> Floats:
    """The views that measurements were made through, as the step takes them, [n, 1, S, S]."""
    views = [view_input(m.frame, m.view) for m in measurements if m.view is not None]
    return np.concatenate(views[:LONGEST_CLIP])


def _faster(case: StepCase, than: StepCase) -> Ratio:
    per_frame = np.array(case.pass_ms) / case.batch
    return paired_ratio(np.array(than.pass_ms) / than.batch, per_frame, block=2)


def _played_alone(engine: Stepper, clip: Floats) -> list[Row]:
    state, rows = State.zeros(engine.shapes), []
    for view in clip:
        result = engine.step(view[None], state)
        rows.append(_row(result, 0))  # now: a state that lies on a device does not stay there
        state = result.state
    return rows


def _warm_up(case: StepCase) -> None:
    """The clip untimed at the case's own batch size: memory is laid out, threads are started."""
    frames = np.ascontiguousarray(case.clip[case.offsets])
    for _ in range(5):
        case.engine.step(frames, State.zeros(case.engine.shapes, case.batch))


def _row(result: StepResult, stream: int) -> Row:
    return (
        result.indices[stream],
        result.phase[stream],
        result.mask[stream],
        result.features[stream],
        *(part[stream] for part in result.state.as_inputs().values()),
    )
