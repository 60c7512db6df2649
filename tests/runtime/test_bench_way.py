"""The way of a frame under the bench: stages, streams, pace, and a leaking state that cannot hide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lvedge.bundle import Bundle, open_bundle
from lvedge.contract import State, Stepper, StepResult
from lvedge.errors import UsageError
from lvedge.frame import Frame, Rejected
from lvedge.measurement import Measurement
from lvedge.quality import DEFAULT_QUALITY
from lvedge_runtime.bench.agreement import Agreement
from lvedge_runtime.bench.arrival import paced_way
from lvedge_runtime.bench.copies import WithCopies
from lvedge_runtime.bench.step import StepCase, batch_gain, clip_of, ratios, step_cases
from lvedge_runtime.bench.together import WARM_UP, together_of
from lvedge_runtime.bench.way import Rig, back_to_back, played
from lvedge_runtime.demo import demo_phantoms
from lvedge_runtime.engines import ENGINES, Engine, open_engine
from lvedge_runtime.sinks import BaseSink, Item

RNG = np.random.default_rng(6)
FRAMES = 5


class Kept(BaseSink):
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def write(self, item: Item) -> None:
        self.items.append(item)


class Few:
    """A source of a few frames that can be played again, or not."""

    live = False

    def __init__(self, items: list[Frame | Rejected], plays: int = 1000) -> None:
        self.items, self.plays = items, plays

    def __iter__(self) -> Iterator[Frame | Rejected]:
        self.plays -= 1
        return iter(self.items if self.plays >= 0 else [])

    def stop(self) -> bool:
        return False


class Through:
    """An engine behind another's public methods."""

    def __init__(self, engine: Stepper) -> None:
        self.engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self.engine, name)


class Leaking(Through):
    """Keeps the state to itself from one slice to the next, as a recurrent engine that hides it would."""

    def __init__(self, engine: Stepper) -> None:
        super().__init__(engine)
        self.hidden: State | None = None

    def step(self, frame, state: State) -> StepResult:
        result = self.engine.step(frame, self.hidden or state)
        self.hidden = result.state
        return result


class Mixing(Through):
    """Gives each stream of a batch its neighbour's state."""

    def step(self, frame, state: State) -> StepResult:
        result = self.engine.step(frame, state)
        parts = (np.roll(part, 1, axis=0) for part in result.state.as_inputs().values())
        return replace(result, state=State(*parts))


class Copying(Through):
    """Tells its copies, as an engine on a device does."""

    copies_ms = (0.001, 0.002)


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Engine]:
    with open_engine(bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def heart() -> list[Frame]:
    (phantom,) = demo_phantoms(slices=1, phases=FRAMES)
    return [replace(frame, cine_length=FRAMES) for frame in phantom.frames()]


@pytest.fixture
def rig(engine: Engine) -> Rig:
    return Rig(engine, DEFAULT_QUALITY, None, Kept())


def opened(items: list[Frame | Rejected], plays: int = 1000) -> Callable[[], object]:
    return lambda: nullcontext(Few(items, plays))


def test_stages_of_a_closed_beat(rig: Rig, heart: list[Frame]) -> None:
    refused = Rejected("7.dcm", "truncated: copy the file again", None)
    way = back_to_back(opened([refused, *heart]), rig, frames=FRAMES + 1)
    told = way.as_json()
    assert (told["passes"], told["frames_a_pass"], told["total"]["n"]) == (2, FRAMES, 2 * FRAMES)
    assert list(told["stages"]) == ["source", "decode", "locate", "view", "step", "read", "replay", "sinks"]
    assert {name: stage["n"] for name, stage in told["stages"].items() if name != "decode"} == {
        "source": 2, "locate": 2, "view": 10, "step": 10, "read": 10, "replay": 10, "sinks": 10,
    }  # fmt: skip
    assert told["state_carry"]["agrees"]
    assert told["state_carry"]["identical"]
    assert told["state_carry"]["frames_checked"] == 2 * FRAMES
    # The stages, what opening takes and the rest are the passes' whole time, no more and no less.
    stages = sum(sum(stage["ms"]) for stage in told["stages"].values())
    whole = 1e3 * sum(told["pass_seconds"])
    assert stages + 2 * FRAMES * told["rest_ms_a_frame"] == pytest.approx(whole, abs=1.0)
    assert told["rest_ms_a_frame"] >= 0


def test_a_stream_is_measured_as_it_is_run(rig: Rig, heart: list[Frame]) -> None:
    measured = [measurement for measurement, _ in played(Few(heart), rig, live=False)]
    assert [m.frame.frame_index for m in measured] == list(range(FRAMES))
    assert all(m.measured for m in measured)
    assert len(rig.sink.items) == FRAMES + 1  # the beat's summary behind its frames


def test_streams_that_play_at_the_same_time_do_not_touch_each_other(rig: Rig, heart: list[Frame]) -> None:
    way = back_to_back(opened(heart), rig, frames=2 * FRAMES, live=True, streams=2)
    assert (way.frames_a_pass, len(way.seconds)) == (2 * FRAMES, 1)
    assert way.agreement.holds
    assert way.agreement.identical


@pytest.mark.parametrize("live", [False, True])
def test_a_state_that_leaks_is_found(rig: Rig, heart: list[Frame], live: bool) -> None:
    way = back_to_back(opened(heart), replace(rig, engine=Leaking(rig.engine)), frames=FRAMES, live=live)
    assert not way.agreement.holds
    assert way.agreement.first_apart is not None


def test_streams_together_are_timed_beside_the_same_one_by_one(rig: Rig, heart: list[Frame]) -> None:
    told = together_of(heart, rig, streams=3, frames=7)
    assert (told["streams"], told["rounds"]) == (3, 3)
    assert told["batches"]["3"] >= 3 + WARM_UP  # one a round, and those that aimed at the hearts
    assert [told["latency"][how]["n"] for how in ("sequential", "batched")] == [9, 9]
    assert told["state_carry"]["frames_checked"] == 3 * (3 + WARM_UP)
    assert told["state_carry"]["agrees"]
    # Every result of both ways went to the sink, the summaries of beats between them.
    assert sum(isinstance(item, Measurement) for item in rig.sink.items) == 2 * 3 * (3 + WARM_UP)


def test_states_that_change_streams_in_a_batch_are_found(rig: Rig, heart: list[Frame]) -> None:
    told = together_of(heart, replace(rig, engine=Mixing(rig.engine)), streams=2, frames=4)
    assert not told["state_carry"]["agrees"]


def test_copies_stand_apart_where_an_engine_tells_them(rig: Rig, heart: list[Frame]) -> None:
    way = back_to_back(opened(heart), replace(rig, engine=Copying(rig.engine)), frames=1)
    assert way.stages["copy in"] == [0.001] * FRAMES
    assert way.stages["copy out"] == [0.002] * FRAMES
    assert min(way.stages["step"]) > 0


def test_each_step_has_its_own_copies(engine: Engine) -> None:
    counting = Copying(engine)
    steps = WithCopies(counting)
    view = RNG.random((1, *engine.shapes.tensor_shape("frame")), dtype=np.float32)
    for number in range(3):
        counting.copies_ms = (float(number), 0.5)
        steps.step(view, engine.zero_state())
    assert steps.told_apart({"view": 1.0}) == {"view": 1.0}  # a frame without a step
    assert [steps.told_apart({"step": 10.0})["step"] for _ in range(3)] == [9.5, 8.5, 7.5]


def test_a_source_without_frames_is_refused(rig: Rig) -> None:
    nothing = [Rejected("7.dcm", "holds no picture", None)]
    with pytest.raises(UsageError, match="gives no frame"):
        back_to_back(opened(nothing), rig, frames=1)
    with pytest.raises(UsageError, match="played a second time"):
        paced_way(opened(nothing), rig, rate=1e4, frames=1)


def test_a_source_that_never_ends_is_refused(rig: Rig, heart: list[Frame]) -> None:
    source = Few(heart)
    source.live = True
    for measure in (
        lambda: back_to_back(lambda: nullcontext(source), rig, frames=1),
        lambda: paced_way(lambda: nullcontext(source), rig, rate=1e4, frames=1),
    ):
        with pytest.raises(UsageError, match="never ends"):
            measure()


def test_paced_streams_go_on_and_on_with_the_results_of_the_untimed_pass(
    rig: Rig, heart: list[Frame]
) -> None:
    run, agreement = paced_way(opened(heart), rig, rate=1e4, frames=3 * FRAMES, streams=2)
    assert len(run.served) == 3 * FRAMES
    assert run.missed == 3 * FRAMES  # nobody measures a frame in a tenth of a millisecond
    assert (agreement.holds, agreement.identical, agreement.checked) == (True, True, 3 * FRAMES)


def test_a_state_that_leaks_is_found_when_paced(rig: Rig, heart: list[Frame]) -> None:
    _, agreement = paced_way(opened(heart), replace(rig, engine=Leaking(rig.engine)), rate=1e4, frames=FRAMES)
    assert not agreement.holds


def test_a_source_that_cannot_be_played_again_is_refused_when_paced(rig: Rig, heart: list[Frame]) -> None:
    with pytest.raises(UsageError, match="played a second time"):
        paced_way(opened(heart, plays=2), rig, rate=1e4, frames=3 * FRAMES)


def test_steps_of_all_engines_threads_and_batches(
    bundle: Bundle, engine: Engine, rig: Rig, heart: list[Frame]
) -> None:
    clip = clip_of([measurement for measurement, _ in played(Few(heart), rig, live=True)])
    assert clip.shape == (FRAMES, *engine.shapes.tensor_shape("frame"))
    cases, absent = step_cases(bundle, list(ENGINES), [1], [1, 3], clip, frames=2 * FRAMES)
    assert {case.name for case in cases} | set(absent) == set(ENGINES)
    assert {("onnxruntime-cpu", 1, 1), ("onnxruntime-cpu", 1, 3)} <= {case.place for case in cases}
    for case in cases:
        told = case.as_json()
        assert told["total"]["n"] == 2 * FRAMES
        assert told["state_carry"]["agrees"]
        # A stream of the batch is compared from the clip's beginning on: at 0, after 4 and after 2 steps.
        assert told["state_carry"]["frames_checked"] == (10 if case.batch == 1 else 10 + 6 + 8)
    on_cpu = [case for case in cases if case.place[0] == "onnxruntime-cpu"]
    (ratio, *_), (gain, *_) = ratios(on_cpu), batch_gain(on_cpu)
    assert ratio["against"] == {"engine": "onnxruntime-cpu", "threads": 1, "batch": 1}
    assert (gain["streams"], gain["batched_over_sequential"]) == (3, ratio["frames_per_second"])


def test_an_engine_that_is_not_here_is_told_and_left_out(tiny_bundle_file: Path, monkeypatch) -> None:
    monkeypatch.setattr("lvedge_runtime.engines.ENGINES", {**ENGINES, "elsewhere": f"{__name__}:Elsewhere"})
    bundle = open_bundle(tiny_bundle_file)
    clip = RNG.random((4, *bundle.shapes.tensor_shape("frame")), dtype=np.float32)
    cases, absent = step_cases(bundle, ["onnxruntime-cpu", "elsewhere"], [1, 2], [1], clip, frames=4)
    assert [case.place for case in cases] == [("onnxruntime-cpu", 1, 1), ("onnxruntime-cpu", 2, 1)]
    assert absent == {"elsewhere": "an engine needs at least 1 thread, not 0"}


class Elsewhere(Engine):
    """An engine that this machine does not have."""

    def __init__(self, bundle: Bundle, _threads: int, _streams: int) -> None:
        super().__init__(bundle, 0)


@pytest.fixture
def case(tiny_bundle_file: Path) -> Iterator[StepCase]:
    bundle = open_bundle(tiny_bundle_file)
    clip = RNG.random((4, *bundle.shapes.tensor_shape("frame")), dtype=np.float32)
    with open_engine(bundle) as opened:
        (expected, *_), _ = step_cases(bundle, ["onnxruntime-cpu"], [1], [2], clip, frames=1)
        yield replace(expected, engine=opened, calls={}, pass_ms=[], agreement=Agreement(), state=None, at=0)


def test_a_batch_that_carries_its_streams_well_agrees(case: StepCase) -> None:
    for _ in range(3):
        case.play()
    assert case.agreement.holds


def test_a_batch_that_mixes_its_streams_is_found(case: StepCase) -> None:
    class Mixing(Through):
        def step(self, frame, state: State) -> StepResult:
            result = self.engine.step(frame, state)
            swapped = State(*(part[::-1].copy() for part in result.state.as_inputs().values()))
            return replace(result, state=swapped)

    case.engine = Mixing(case.engine)
    case.play()
    assert not case.agreement.holds


def test_what_differs_within_the_tolerance_agrees_but_is_not_identical() -> None:
    agreement = Agreement()
    agreement.check([np.array([1000.0])], [np.array([1000.5])])
    assert agreement.as_json() == {
        "frames_checked": 1, "agrees": True, "identical": False, "largest_share_of_tolerance": 0.494805,
        "first_apart": None,
    }  # fmt: skip
    agreement.check([np.array([np.nan])], [np.array([np.nan])])
    agreement.check([np.array([np.nan])], [np.array([1.0])])
    assert (agreement.holds, agreement.first_apart, agreement.checked) == (False, 2, 3)


def test_nothing_that_was_compared_is_no_agreement() -> None:
    assert not Agreement().holds
