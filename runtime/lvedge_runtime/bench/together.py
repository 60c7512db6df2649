"""Streams as one batch against the same streams one after another, the whole way, round by round in turn.

A round is one frame of each stream, all there at its beginning: a frame's latency is from then to its written
result. Each stream plays the clip live from another place, so that a state that went to the wrong stream
shows; every result of the batch is compared with the one that the stream gave by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np

from lvedge.frame import Frame, NotYet, Receipt
from lvedge.measurement import Measurement
from lvedge_runtime.bench.agreement import Agreement
from lvedge_runtime.bench.interval import paired_ratio, percentile_ratio
from lvedge_runtime.bench.timing import Timing
from lvedge_runtime.bench.way import Rig, values_of
from lvedge_runtime.stream import Item, Stream
from lvedge_runtime.together import Together

WARM_UP = 2
"""Rounds that do not count: the first one locates the hearts."""

TAIL = 99.0


@dataclass
class Rounds:
    """What one of the two ways took.

    Args:
        round_ms: each round, until its last result was written.
        latency_ms: each frame.
    """

    round_ms: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)

    def play(self, results: Iterator[tuple[int, Item]], rig: Rig, streams: int) -> dict[int, Measurement]:
        """One round: what the streams give until each has had its frame measured, by stream."""
        found: dict[int, Measurement] = {}
        begin = perf_counter()
        while len(found) < streams:
            number, item = next(results)
            if isinstance(item, Receipt):
                continue
            rig.sink.write(item)
            if isinstance(item, Measurement):
                found[number] = item
                self.latency_ms.append(1e3 * (perf_counter() - begin))
        self.round_ms.append(1e3 * (perf_counter() - begin))
        return found


@dataclass
class Played:
    """The frames of one stream, endless, and no more of them than rounds have begun.

    Args:
        clip: frames of one slice.
        offset: which of them comes first.
        series: the stream's own name.
        rounds: that have begun.
    """

    clip: Sequence[Frame]
    offset: int
    series: str
    rounds: int = 0

    def __iter__(self) -> Iterator[Frame | NotYet]:
        for number in count():
            while number >= self.rounds:
                yield NotYet()
            frame = self.clip[(self.offset + number) % len(self.clip)]
            yield replace(frame, series=self.series, frame_index=number, cine_length=None)


def together_of(clip: Sequence[Frame], rig: Rig, streams: int, frames: int) -> dict[str, Any]:
    """Both ways, a round of each in turn, as JSON keeps it.

    Args:
        clip: frames of one slice; where it shows no LV, every frame is located afresh.
        rig: what they are measured with.
        streams: B.
        frames: at least so many are timed on each way.

    Raises:
        EngineError: if the engine does not take so many streams.
    """
    sources = [[_played(clip, k, streams) for k in range(streams)] for _ in range(2)]
    alone, batched = (
        [Stream(source, rig.engine, rig.quality, rig.cases, live=True) for source in group]
        for group in sources
    )
    together = Together(batched, rig.engine)
    ways = (Rounds(), Rounds())
    results = (_one_by_one([iter(stream) for stream in alone]), iter(together))
    agreement = Agreement()
    for _ in range(WARM_UP + -(-frames // streams)):
        found = []
        for way, group, given in zip(ways, sources, results, strict=True):
            for source in group:
                source.rounds += 1
            found.append(way.play(given, rig, streams))
        for number, expected in found[0].items():
            agreement.check(values_of(found[1][number]), values_of(expected))
    sequential, batch = (Rounds(way.round_ms[WARM_UP:], way.latency_ms[WARM_UP * streams :]) for way in ways)
    times = {"sequential": sequential, "batched": batch}
    return {
        "streams": streams,
        "rounds": len(batch.round_ms),
        "frames_per_second": {
            name: round(1e3 * streams / float(np.median(way.round_ms)), 3) for name, way in times.items()
        },
        "batched_over_sequential": paired_ratio(
            np.array(sequential.round_ms), np.array(batch.round_ms)
        ).as_json(),
        "latency": {name: Timing.of(way.latency_ms).as_json() for name, way in times.items()},
        "p99_batched_over_sequential": percentile_ratio(
            np.array(batch.latency_ms), np.array(sequential.latency_ms), TAIL, block=5 * streams
        ).as_json(),
        "batches": {str(size): steps for size, steps in sorted(together.batches.items())},
        "state_carry": agreement.as_json(),
    }


def _played(clip: Sequence[Frame], stream: int, streams: int) -> Played:
    return Played(clip, stream * len(clip) // streams, f"stream {stream}")


def _one_by_one(streams: Sequence[Iterator[Item]]) -> Iterator[tuple[int, Item]]:
    """What the streams give, one measurement of each in turn."""
    while True:
        for number, stream in enumerate(streams):
            for item in stream:
                yield number, item
                if isinstance(item, Measurement):
                    break
