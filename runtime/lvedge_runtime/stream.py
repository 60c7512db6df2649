"""The stream: every frame's way from a source to its result.

    source ──Frame──▶ SliceMeasurer (locate, view, step, read) ──Measurement──▶ case table ──▶ sinks

Frames come slice by slice. Where the source holds all phases of a slice, the slice is measured as a closed
beat once they are there; otherwise every frame is measured as it comes. A stack ends with its volumes;
where the source says that a series is over, that is passed on behind them. Provisional frames, of series that
are still arriving, may come from several series and slices by turns. What a stream does between two steps
and the steps are apart (``Stream.things``), so that ``together`` can run those of several streams as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Protocol

from lvedge.aim import Stack
from lvedge.casetable import CaseTable, cycle_features, frame_features, slice_level
from lvedge.contract import StepCall, Stepper
from lvedge.frame import Frame, Given, NotYet, Receipt, Rejected, SeriesEnd
from lvedge.measure import SliceMeasurer
from lvedge.measurement import Cycle, Measurement, Mode
from lvedge.quality import QualityModel
from lvedge.volume import FEWEST_SLICES, SliceAreas, StackVolumes, stack_volumes

Item = Measurement | Cycle | StackVolumes | Rejected | SeriesEnd | Receipt
Thing = Item | StepCall | NotYet
"""What a stream gives: an item, a step that it needs, or that its source has nothing for it yet."""


class Stream:
    """Measurements, cycles, volumes and refusals of a source, in order.

    Args:
        source: frames slice by slice, and what was refused.
        stepper: the engine.
        quality: the bundle's quality model.
        cases: the case table, or None to look nothing up.
        live: frame by frame, even where the whole slice is at hand.
    """

    def __init__(
        self,
        source: Iterable[Given | NotYet],
        stepper: Stepper,
        quality: QualityModel,
        cases: CaseTable | None,
        live: bool = False,
    ) -> None:
        self._source = source
        self._stepper = stepper
        self._quality = quality
        self._lookup = Lookup(cases)
        self._live = live

    def __iter__(self) -> Iterator[Item]:
        for thing in self.things():
            if isinstance(thing, StepCall):
                thing.result = self._stepper.step(thing.frame, thing.state)
            elif not isinstance(thing, NotYet):
                yield thing

    def things(self) -> Iterator[Thing]:
        """The items, and the steps that they take, which are the caller's to run before it goes on."""
        place = -1
        series: _Series | None = None
        current: _Slice | None = None
        arriving: dict[str, _Arriving] = {}
        for item, source_ms in _timed(self._source):
            if isinstance(item, NotYet):
                yield item
                continue
            if isinstance(item, Rejected):
                # A series is told of when it is whole: it may turn out to hold no frames at all.
                arriving.pop(item.series or "", None)
                yield item
                continue
            if isinstance(item, SeriesEnd | Receipt):
                if current is not None and series is not None:
                    yield from current.finish()
                    yield from series.finish()
                series, current = None, None
                yield item
                continue
            if item.provisional:
                known = arriving.setdefault(item.series, _Arriving())
                if item.slice_index not in known.slices:
                    measurer = SliceMeasurer(self._stepper, self._quality, known.stack)
                    known.slices[item.slice_index] = _LiveSlice(measurer, self._lookup)
                yield from known.slices[item.slice_index].add(item, source_ms)
                continue
            # What was open of it needs no summary: the whole series follows.
            arriving.pop(item.series, None)
            if series is None or current is None or (item.series, item.slice_index) != (series.name, place):
                if current is not None:
                    yield from current.finish()
                if series is None or item.series != series.name:
                    if series is not None:
                        yield from series.finish()
                    series = _Series(item.series, item.slice_count or 1)
                place = item.slice_index
                current = self._slice(item, series)
            yield from current.add(item, source_ms)
        if current is not None and series is not None:
            yield from current.finish()
            yield from series.finish()

    def _slice(self, first: Frame, series: _Series) -> _Slice:
        measurer = SliceMeasurer(self._stepper, self._quality, series.stack)
        if self._live or first.cine_length is None:
            return _LiveSlice(measurer, self._lookup)
        return _ClosedSlice(measurer, self._lookup, first.cine_length, series.closed)


@dataclass
class _Series:
    """What the slices of one series have in common.

    Args:
        name: the series.
        slice_count: its slices.
    """

    name: str
    slice_count: int
    stack: Stack = field(default_factory=Stack)
    closed: list[SliceAreas] = field(default_factory=list)

    def finish(self) -> Iterator[Item]:
        """The volumes of a stack; a few slices have none, and neither have slices played live."""
        if self.slice_count >= FEWEST_SLICES and self.closed:
            yield stack_volumes(self.name, self.slice_count, self.closed)


@dataclass
class _Arriving:
    """The slices of a series that is still arriving, all open at once.

    Args:
        slices: by the order in which they began.
    """

    stack: Stack = field(default_factory=Stack)
    slices: dict[int, _LiveSlice] = field(default_factory=dict)


class Lookup:
    """Adds to a measurement or a cycle what the case table says of it.

    Args:
        cases: the case table, or None to add nothing.
    """

    def __init__(self, cases: CaseTable | None) -> None:
        self._cases = cases

    def frame(self, measurement: Measurement, source_ms: float) -> Measurement:
        """The measurement with its finding and the time spent in source and look-up."""
        latency = {"source": source_ms, **measurement.latency_ms}
        if self._cases is None or measurement.indices is None:
            return replace(measurement, latency_ms=latency)
        started = perf_counter()
        frame = measurement.frame
        findings = self._cases.find_frame(
            frame_features(measurement.indices, measurement.wall_max_mm),
            measurement.phase if measurement.phase_settled else None,
            frame.subject,
            slice_level(frame.slice_index, frame.slice_count),
        )
        latency["lookup"] = 1e3 * (perf_counter() - started)
        return replace(measurement, latency_ms=latency, finding=findings[0])

    def cycle(self, cycle: Cycle, measurements: Sequence[Measurement]) -> Cycle:
        """The cycle with its findings.

        Args:
            cycle: the beat.
            measurements: frames that hold its end diastole and end systole.
        """
        if self._cases is None or cycle.ed is None or cycle.es is None:
            return cycle
        at = {m.frame.frame_index: m for m in measurements}
        ed, es = at[cycle.ed_frame or 0], at[cycle.es_frame or 0]
        findings = self._cases.find_cycle(
            cycle_features(cycle.ed, cycle.es, ed.wall_max_mm, es.wall_max_mm),
            ed.frame.subject,
            slice_level(cycle.slice_index, cycle.slice_count),
        )
        return replace(cycle, finding=findings[0], findings=findings)


class _Slice(Protocol):
    """Takes in the frames of one slice and gives results as soon as it can."""

    def add(self, frame: Frame, source_ms: float) -> Iterator[Item | StepCall]:
        """Take in the next frame."""

    def finish(self) -> Iterator[Item | StepCall]:
        """No more frames come."""


class _ClosedSlice:
    """Waits for all phases of a slice; a phase that was refused is not waited for beyond the slice's end."""

    def __init__(
        self, measurer: SliceMeasurer, lookup: Lookup, expected: int, closed: list[SliceAreas]
    ) -> None:
        self._measurer = measurer
        self._lookup = lookup
        self._expected = expected
        self._closed = closed
        self._frames: list[Frame] = []
        self._source_ms: list[float] = []

    def add(self, frame: Frame, source_ms: float) -> Iterator[Item | StepCall]:
        self._frames.append(frame)
        self._source_ms.append(source_ms)
        if len(self._frames) == self._expected:
            yield from self.finish()

    def finish(self) -> Iterator[Item | StepCall]:
        if not self._frames:
            return
        results = []
        measurements = yield from self._measurer.closed_calls(self._frames)
        for source_ms, measurement in zip(self._source_ms, measurements, strict=True):
            results.append(self._lookup.frame(measurement, source_ms))
            yield results[-1]
        self._frames, self._source_ms = [], []
        self._closed.append(SliceAreas.of(results))
        yield self._lookup.cycle(self._measurer.cycle(results), results)


@dataclass
class _LiveSlice:
    """Measures every frame as it comes; a beat is summed up when the next one begins."""

    measurer: SliceMeasurer
    lookup: Lookup
    frames: int = 0
    measured: int = 0
    beats: int = 0
    last: Measurement | None = None

    def add(self, frame: Frame, source_ms: float) -> Iterator[Item | StepCall]:
        measurement, beat = yield from self.measurer.live_calls(frame)
        self.last = self.lookup.frame(measurement, source_ms)
        self.frames += 1
        self.measured += measurement.measured
        yield self.last
        if beat is not None:
            self.beats += 1
            yield self.lookup.cycle(beat.cycle, beat.measurements)

    def finish(self) -> Iterator[Item]:
        if self.beats or self.last is None:
            return
        frame = self.last.frame
        yield Cycle(
            series=frame.series,
            slice_index=frame.slice_index,
            mode=Mode.LIVE,
            frames=self.frames,
            measured=self.measured,
            slice_count=frame.slice_count,
            reason="no whole beat passed while the slice was played live",
        )


def _timed(source: Iterable[Given | NotYet]) -> Iterator[tuple[Given | NotYet, float]]:
    """Each item with the milliseconds that the source took for it: finding, reading, decoding."""
    items = iter(source)
    while True:
        started = perf_counter()
        try:
            item = next(items)
        except StopIteration:
            return
        yield item, 1e3 * (perf_counter() - started)
