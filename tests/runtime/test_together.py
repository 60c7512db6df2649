"""Streams whose steps go as one batch: the numbers of each alone, nobody held up, everybody served."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from threading import Event, Timer, active_count

import numpy as np
import pytest
from discs import BEAT, DiscStepper, disc_frame
from engines_here import EXACT, engines

from lvedge.bundle import Bundle
from lvedge.contract import Floats, State, StepResult
from lvedge.errors import EngineError, SourceError, UsageError
from lvedge.frame import Frame, NotYet, Rejected
from lvedge.measurement import Measurement
from lvedge.phantom import HEARTS, Phantom, Placement
from lvedge.quality import DEFAULT_QUALITY, QualityModel
from lvedge_runtime.engines import open_engine
from lvedge_runtime.sources.ahead import Ahead
from lvedge_runtime.stream import Item, Stream
from lvedge_runtime.together import Bell, Together

WAIT_MS = 5.0


@dataclass
class Discs(DiscStepper):
    """Discs by the batch.

    Args:
        bell: a step takes 20 ms of its clock for each stream.
        sizes: of the batches, in order.
        most: streams that a batch may hold.
    """

    bell: Wound | None = None
    sizes: list[int] = field(default_factory=list)
    most: int = 8

    def step(self, frame: Floats, state: State) -> StepResult:
        if len(frame) > self.most:
            raise EngineError(f"built for at most {self.most} streams")
        self.sizes.append(len(frame))
        if self.bell is not None:
            self.bell.time_s += 0.020 * len(frame)
        rows = [super(Discs, self).step(frame[k : k + 1], state.of_stream(k)) for k in range(len(frame))]
        arrays = (
            np.concatenate([getattr(row, name) for row in rows])
            for name in ("indices", "phase", "mask", "features")
        )
        return StepResult(*arrays, State.joined([row.state for row in rows]))


@dataclass
class Wound(Bell):
    """A bell whose clock stands still but while somebody waits.

    Args:
        time_s: what it shows.
        waited_s: how long each waiting took.
    """

    time_s: float = 0.0
    waited_s: list[float] = field(default_factory=list)

    def wait(self, seconds: float | None) -> None:
        assert seconds is not None, "everybody waits for nothing"
        self.waited_s.append(seconds)
        self.time_s += seconds

    def now(self) -> float:
        return self.time_s


def cine(radii: Iterable[float] = BEAT, turns: int = 1, series: str = "a") -> list[Frame]:
    """A live cine: the beat over and over."""
    return [disc_frame(r, k, 0, None, series) for k, r in enumerate([*radii] * turns)]


def stream_of(source: Iterable[Frame | NotYet], stepper: DiscStepper, live: bool = True) -> Stream:
    return Stream(source, stepper, DEFAULT_QUALITY, None, live)


def by_stream(items: Iterable[tuple[int, Item]], streams: int) -> list[list[Item]]:
    found: list[list[Item]] = [[] for _ in range(streams)]
    for number, item in items:
        found[number].append(item)
    return found


def told(items: Iterable[Item]) -> list[object]:
    """Every item but for what the clock and the arrays in it say, and every number of the measurements."""
    return [
        (
            m.frame.series,
            m.frame.slice_index,
            m.frame.frame_index,
            m.measured,
            None if m.indices is None else m.indices.vector.tolist(),
            m.p_systole,
            m.quality,
            m.phase_settled,
        )
        if isinstance(m, Measurement)
        else type(m)
        for m in items
    ]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("most", [None, 1, 2])
def test_each_stream_gives_what_it_gives_alone(live: bool, most: int | None) -> None:
    sources = [
        [disc_frame(r, k, s, len(BEAT), name) for s in range(slices) for k, r in enumerate(radii)]
        for name, radii, slices in (
            ("a", BEAT, 2),
            ("b", BEAT[::-1], 1),
            ("c", [r - 3 for r in BEAT], 3),
            ("none", [0.0] * len(BEAT), 1),
        )
    ]
    stepper = Discs()
    alone = [list(stream_of(source, DiscStepper(), live)) for source in sources]
    together = Together([stream_of(source, stepper, live) for source in sources], stepper, most=most)
    assert [told(items) for items in by_stream(together, 4)] == [told(items) for items in alone]
    assert together.batches == {size: stepper.sizes.count(size) for size in set(stepper.sizes)}
    assert max(stepper.sizes) == (most or 3)  # a picture without a heart takes no step
    assert told(alone[0]) != told(alone[2])  # or mixing them up could not be seen


def test_frames_that_are_there_go_as_one_batch() -> None:
    stepper, bell = Discs(), Wound()
    streams = [stream_of(cine(series=name), stepper) for name in "abcd"]
    together = Together(streams, stepper, bell)
    assert sum(isinstance(item, Measurement) for _, item in together) == 4 * len(BEAT)
    assert set(together.batches) == {4}
    assert not bell.waited_s


def pausing(frames: Iterable[Frame], pause: int, until: Callable[[], bool]) -> Iterator[Frame | NotYet]:
    """A source that has nothing behind so many frames, until something has happened."""
    for k, frame in enumerate(frames):
        while k == pause and not until():
            yield NotYet()
        yield frame


def test_a_stream_without_a_frame_is_waited_for_once_and_not_long() -> None:
    bell = Wound()
    stepper = Discs(bell=bell)
    others: list[Item] = []
    sources = [pausing(cine(series="p"), 3, lambda: len(others) == 20), cine(turns=5, series="q")]
    order = []
    for number, item in Together([stream_of(s, stepper) for s in sources], stepper, bell, WAIT_MS):
        if isinstance(item, Measurement):
            order.append(number)
            others += [item] * number
    assert bell.waited_s == [pytest.approx(WAIT_MS / 1e3)]
    assert order.count(0) == len(BEAT)
    # Its frames behind the pause come in batches again.
    assert stepper.sizes[-1] == 1
    assert 2 in stepper.sizes[stepper.sizes.index(1) :]


def test_without_waiting_batches_hold_what_is_there() -> None:
    bell = Wound()
    stepper = Discs(bell=bell)
    sources = [pausing(cine(series="p"), 2, lambda: len(stepper.sizes) > 15), cine(turns=3, series="q")]
    assert list(Together([stream_of(s, stepper) for s in sources], stepper, bell, wait_ms=0.0))
    assert not bell.waited_s


def test_where_a_batch_does_not_hold_all_they_take_turns() -> None:
    bell = Wound()
    stepper = Discs(bell=bell, most=2)
    seen: list[list[float]] = [[] for _ in range(5)]
    streams = [stream_of(cine(turns=3, series=name), stepper) for name in "abcde"]
    for number, item in Together(streams, stepper, bell, most=2):
        if isinstance(item, Measurement):
            seen[number].append(bell.now())
        counts = [len(times) for times in seen]
        assert max(counts) - min(counts) <= 2
    # Nobody's next result takes longer than the others' steps before it: 5 streams, 2 a batch, 40 ms each.
    assert max(np.diff(times).max() for times in seen) <= 3 * 0.040 + 1e-9


def test_a_source_that_blocks_holds_nobody_up() -> None:
    """One stream's source gives its frames only once the other stream is through."""
    bell, stepper, is_through = Bell(), Discs(), Event()
    sources = [Blocking(cine(series="slow"), is_through), Blocking(cine(turns=4, series="quick"))]
    order = []
    with Ahead(sources[0], bell.ring) as slow, Ahead(sources[1], bell.ring) as quick:
        for number, item in Together([stream_of(s, stepper) for s in (slow, quick)], stepper, bell):
            if isinstance(item, Measurement):
                order.append(number)
                if item.frame.frame_index == 4 * len(BEAT) - 1:
                    is_through.set()
    assert order == [1] * 4 * len(BEAT) + [0] * len(BEAT)


def test_what_cannot_be_meant_is_refused() -> None:
    stepper = Discs()
    with pytest.raises(UsageError, match="at least one stream"):
        Together([], stepper)
    with pytest.raises(UsageError, match="a batch of at least 1"):
        Together([stream_of([], stepper)], stepper, most=0)


def test_an_engine_that_takes_fewer_streams_says_so() -> None:
    stepper = Discs(most=1)
    streams = [stream_of(cine(series=name), stepper) for name in "ab"]
    with pytest.raises(EngineError, match="at most 1"):
        list(Together(streams, stepper))


# --- reading ahead ---------------------------------------------------------------------------------


class Blocking:
    """A source whose frames come once something has happened; what was read of it is counted."""

    live = False

    def __init__(
        self, frames: Iterable[Frame | Rejected], go: Event | None = None, fault: Exception | None = None
    ) -> None:
        self.frames, self.go, self.fault, self.read = frames, go, fault, 0

    def __iter__(self) -> Iterator[Frame | Rejected]:
        if self.go is not None:
            assert self.go.wait(30)
        for frame in self.frames:
            self.read += 1
            yield frame
        if self.fault is not None:
            raise self.fault

    def stop(self) -> bool:
        if self.go is not None:
            self.go.set()
        return True


def taken(ahead: Ahead, bell: Bell) -> Iterator[Frame | Rejected]:
    """All that comes, waiting where there is nothing."""
    for item in ahead:
        if isinstance(item, NotYet):
            bell.wait(30)
        else:
            yield item


def test_ahead_gives_the_source_s_items_in_order_and_then_its_error() -> None:
    frames, bell = [*cine(turns=6), Rejected("x", "damaged")], Bell()
    found = []
    with (
        Ahead(Blocking(frames, fault=SourceError("torn off")), bell.ring) as ahead,
        pytest.raises(SourceError, match="torn off"),
    ):
        found.extend(taken(ahead, bell))
    assert found == frames


def test_ahead_says_when_there_is_nothing() -> None:
    go = Event()
    with Ahead(Blocking(cine(), go)) as ahead:
        assert next(iter(ahead)) == NotYet()


def test_ahead_waits_for_a_source_that_takes_its_time_and_raises_what_it_raises() -> None:
    go, frames = Event(), cine(turns=6)
    with Ahead(Blocking(frames, go, fault=SourceError("torn off")), most=2) as ahead:
        items = ahead.waiting()
        Timer(0.05, go.set).start()
        assert [next(items) for _ in frames] == frames
        with pytest.raises(SourceError, match="torn off"):
            next(items)


def test_ahead_reads_on_once_half_of_what_may_wait_is_taken() -> None:
    source, read = Blocking(cine(turns=20)), []
    with Ahead(source, most=4) as ahead:
        items = ahead.waiting()
        for _ in range(12):
            next(items)
            read.append(source.read)
        # What was taken, what waits, and the one that is held until there is room.
        assert all(was <= place + 1 + 4 + 1 for place, was in enumerate(read))


def test_ahead_reads_no_further_than_it_may_and_ends_when_it_is_left() -> None:
    before, bell = active_count(), Bell()
    source = Blocking(cine(turns=20))
    with Ahead(source, bell.ring, most=3) as ahead:
        assert next(taken(ahead, bell)).frame_index == 0
        # One was taken, three wait, one is held until there is room.
        assert source.read <= 5
    assert active_count() == before
    assert source.read <= 5


# --- with the bundle that ships --------------------------------------------------------------------


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", engines(EXACT))
def test_the_bundle_s_streams_together_are_those_alone(bundle: Bundle, name: str, live: bool) -> None:
    """Against each alone: to 0.01 mm and 0.1 mm², as between engines; three hearts, each its own state."""
    quality = QualityModel.from_manifest(bundle.quality) if bundle.quality else DEFAULT_QUALITY
    sources = []
    for k, heart in enumerate(("healthy", "dilated", "hypertrophic")):
        grid = Placement(rows=130, columns=130, spacing_mm=(2.0, 2.0), rotation_deg=9.0 * k)
        beat = replace(HEARTS[heart], frames=5 + k)
        sources.append(list(Phantom(heart=beat, placement=grid, seed=k, series=heart).frames()))
    with open_engine(bundle, name) as engine:
        alone = [list(Stream(source, engine, quality, None, live)) for source in sources]
        streams = [Stream(source, engine, quality, None, live) for source in sources]
        together = Together(streams, engine)
        found = by_stream(together, 3)
    assert together.batches[3] > 3
    for items, expected in zip(found, alone, strict=True):
        assert len(items) == len(expected)
        for one, right in zip(items, expected, strict=True):
            if not isinstance(one, Measurement) or not isinstance(right, Measurement):
                assert type(one) is type(right)
                continue
            assert (one.frame.frame_index, one.measured, one.phase) == (
                right.frame.frame_index,
                right.measured,
                right.phase,
            )
            assert one.indices is not None
            assert right.indices is not None
            np.testing.assert_allclose(one.indices.rwt_mm, right.indices.rwt_mm, rtol=0, atol=0.01)
            np.testing.assert_allclose(one.indices.dims_mm, right.indices.dims_mm, rtol=0, atol=0.01)
            np.testing.assert_allclose(one.indices.areas_mm2, right.indices.areas_mm2, rtol=0, atol=0.1)
