"""A frame's whole way, timed stage by stage: what ``lvedge-run`` does, and nothing beside it.

The stream tells its own stages in every result (``latency_ms``). What is added here is timed around it:
opening the source before, the sinks behind, and what the engine says of its copies.

| stage | what |
|---|---|
| source | finding and ordering what the source holds; once a pass, shared by its frames |
| decode | waiting for a frame that is read and decoded ahead, in a thread of its own |
| locate | finding the heart; the first frame of a slice pays for it |
| view | turning and cropping |
| copy in, step, copy out | the network; the copies stand apart where the engine tells them |
| read | walls, septum and presence from the mask |
| replay | the second pass of a closed beat |
| lookup | the case table |
| sinks | writing the result |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.casetable import CaseTable
from lvedge.contract import Stepper
from lvedge.errors import UsageError
from lvedge.frame import Given, Receipt
from lvedge.measurement import Measurement
from lvedge.quality import QualityModel
from lvedge_runtime.bench.agreement import Agreement
from lvedge_runtime.bench.copies import WithCopies
from lvedge_runtime.bench.interval import Ratio, paired_ratio
from lvedge_runtime.bench.timing import Timing
from lvedge_runtime.sinks import Sink
from lvedge_runtime.sources import Source
from lvedge_runtime.sources.ahead import Ahead
from lvedge_runtime.stream import Stream

STAGES = (
    "source", "decode", "locate", "view", "copy in", "step", "copy out", "read", "replay", "lookup", "sinks",
)  # fmt: skip
"""In the order of the way; a stage that a stream adds later comes behind them."""

Played = tuple[Measurement, Mapping[str, float]]
"""A result and the milliseconds of its stages."""

OpenSource = Callable[[], AbstractContextManager[Source]]


@dataclass(frozen=True)
class Rig:
    """What frames are measured with.

    Args:
        engine: runs the graphs.
        quality: the bundle's quality model.
        cases: the case table, or None to look nothing up.
        sink: where results go.
    """

    engine: Stepper
    quality: QualityModel
    cases: CaseTable | None
    sink: Sink


@dataclass
class Way:
    """What passes over a source gave.

    Args:
        live: frame by frame; otherwise whole beats where the source holds them.
        streams: how many played the source at the same time, in turn.
        stages: stage to the milliseconds of each frame; ``source`` has one a pass.
        totals: each frame's sum.
        around: each frame's stages but for step and locator over its step, where it took one.
        seconds: each pass from opening to its last result, without what the bench itself looks at.
        frames_a_pass: over all streams.
        agreement: with the untimed pass.
    """

    live: bool
    streams: int
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    totals: list[float] = field(default_factory=list)
    around: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    frames_a_pass: int = 0
    agreement: Agreement = field(default_factory=Agreement)

    @property
    def rate(self) -> float:
        """Frames a second over all streams, the median of the passes."""
        return self.frames_a_pass / float(np.median(self.seconds))

    @property
    def rest_ms(self) -> float:
        """What no stage accounts for, milliseconds a frame."""
        accounted = sum(self.totals) + sum(self.stages["source"])
        return (1e3 * sum(self.seconds) - accounted) / len(self.totals)

    @property
    def around_over_step(self) -> Ratio:
        """Everything around the step over the step, in the steady state: no locating, no opening.

        What no stage accounts for is spread over the frames evenly.
        """
        around = np.array(self.around) + self.rest_ms / float(np.median(self.stages["step"]))
        return paired_ratio(around, np.ones_like(around))

    def add(self, stages: Mapping[str, float]) -> None:
        """Take in one frame; a stage that it did not go through takes exactly nothing and does not count."""
        for stage, ms in stages.items():
            if ms > 0.0:
                self.stages[stage].append(ms)
        self.totals.append(sum(stages.values()))
        step = stages.get("step", 0.0)
        if step > 0.0:
            self.around.append((self.totals[-1] - step - stages.get("locate", 0.0)) / step)

    def as_json(self) -> dict[str, Any]:
        """The passes as JSON keeps them."""
        order = [stage for stage in (*STAGES, *self.stages) if self.stages.get(stage)]
        return {
            "live": self.live,
            "streams": self.streams,
            "passes": len(self.seconds),
            "frames_a_pass": self.frames_a_pass,
            "frames_per_second": round(self.rate, 3),
            "pass_seconds": [round(s, 4) for s in self.seconds],
            "stages": {stage: Timing.of(self.stages[stage]).as_json() for stage in dict.fromkeys(order)},
            "rest_ms_a_frame": round(self.rest_ms, 4),
            "around_over_step": self.around_over_step.as_json() if self.around else None,
            "total": Timing.of(self.totals).as_json(),
            "state_carry": self.agreement.as_json(),
        }


def back_to_back(open_source: OpenSource, rig: Rig, frames: int, live: bool = False, streams: int = 1) -> Way:
    """Pass after pass over a source, each result as soon as the one before is out.

    Args:
        open_source: the source, anew for each pass.
        rig: what frames are measured with.
        frames: at least so many are timed.
        live: frame by frame, even where the whole beat is at hand.
        streams: so many streams play the source at the same time, one result of each in turn.

    Raises:
        UsageError: if the source gives no frame, or never ends.
    """
    expected = [values_of(m) for m, _ in _one_pass(open_source, rig, live, streams, [])]
    if not expected:
        raise UsageError("the source gives no frame that could be measured: nothing can be timed")
    way = Way(live, streams, frames_a_pass=len(expected))
    while len(way.totals) < frames:
        begin, own = perf_counter(), 0.0
        for place, (measurement, stages) in enumerate(
            _one_pass(open_source, rig, live, streams, way.stages["source"])
        ):
            given = perf_counter()
            way.add(stages)
            way.agreement.check(values_of(measurement), expected[place])
            own += perf_counter() - given
        way.seconds.append(perf_counter() - begin - own)
    return way


def values_of(measurement: Measurement) -> tuple[NDArray[Any], ...]:
    """What two measurements of one frame have to agree in."""
    values = np.zeros(0) if measurement.indices is None else measurement.indices.vector
    systole = np.nan if measurement.p_systole is None else measurement.p_systole
    return values, np.array([systole, measurement.quality])


def _one_pass(
    open_source: OpenSource, rig: Rig, live: bool, streams: int, opening_ms: list[float]
) -> Iterator[Played]:
    """The results of all streams, one of each in turn; what opening the sources takes is noted."""
    with ExitStack() as opened:
        begin = perf_counter()
        sources = [opened.enter_context(open_source()) for _ in range(streams)]
        opening_ms.append(1e3 * (perf_counter() - begin))
        if any(source.live for source in sources):
            raise UsageError("this source never ends, so it cannot be played twice: name files, or demo:")
        readers = [opened.enter_context(Ahead(source)) for source in sources]
        for results in zip(*(played(reader.waiting(), rig, live) for reader in readers), strict=True):
            yield from results


def played(source: Iterable[Given], rig: Rig, live: bool) -> Iterator[Played]:
    """Every measurement of a stream, written to the sinks, with its stages.

    Args:
        source: frames slice by slice.
        rig: what they are measured with.
        live: frame by frame, even where the whole beat is at hand.
    """
    engine, sinks_ms = WithCopies(rig.engine), 0.0
    for item in Stream(source, engine, rig.quality, rig.cases, live):
        if isinstance(item, Receipt):
            continue
        begin = perf_counter()
        rig.sink.write(item)
        sinks_ms += 1e3 * (perf_counter() - begin)
        if isinstance(item, Measurement):
            stages = dict(engine.told_apart(item.latency_ms))
            # What the stream calls its source is the reading of one frame; finding the files came before.
            yield item, {"decode": stages.pop("source"), **stages, "sinks": sinks_ms}
            sinks_ms = 0.0
