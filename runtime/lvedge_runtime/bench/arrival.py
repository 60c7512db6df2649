"""Frames that come at a rate: a source played over and over as if a scanner went on and on.

Each pass is a series of its own, so that a stream locates the heart anew and starts from the zero state, and
its results are those of the untimed pass, at any point of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import count

from lvedge.errors import UsageError
from lvedge.frame import Frame, Given
from lvedge_runtime.bench.agreement import Agreement
from lvedge_runtime.bench.queue import Clock, Paced, paced
from lvedge_runtime.bench.way import OpenSource, Played, Rig, played, values_of
from lvedge_runtime.sources import Source


def paced_way(
    open_source: OpenSource,
    rig: Rig,
    rate: float,
    frames: int,
    streams: int = 1,
    deadline_ms: float | None = None,
    clock: Clock | None = None,
) -> tuple[Paced, Agreement]:
    """A paced run through the whole way, live, and whether its results are those of an untimed pass.

    Args:
        open_source: the source, for each stream its own.
        rig: what frames are measured with.
        rate: frames a second of each stream.
        frames: how many in all.
        streams: how many streams.
        deadline_ms: a result is late that comes after this long; by default with the stream's next frame.
        clock: tells the time; the machine's by default.

    Raises:
        UsageError: if the source gives no frame, never ends, or cannot be played again.
    """
    agreement = Agreement()
    with ExitStack() as opened:
        sources = [opened.enter_context(open_source()) for _ in range(streams)]
        if any(source.live for source in sources):
            raise UsageError("this source never ends, so it cannot be played twice: name files, or demo:")
        expected = [values_of(measurement) for measurement, _ in played(sources[0], rig, live=True)]
        players = [played(_over_and_over(source, len(expected)), rig, live=True) for source in sources]
        places = [count() for _ in range(streams)]

        def check(stream: int, result: Played) -> None:
            agreement.check(values_of(result[0]), expected[next(places[stream]) % len(expected)])

        run = paced(lambda stream: next(players[stream]), rate, frames, streams, deadline_ms, clock, check)
    return run, agreement


def _over_and_over(source: Source, length: int) -> Iterator[Given]:
    """The source's frames again and again, each pass under a name of its own."""
    for number in count():
        frames = 0
        for item in source:
            frames += isinstance(item, Frame)
            yield replace(item, series=f"{item.series} {number}") if isinstance(item, Frame) else item
        if frames < length or not length:
            raise UsageError("the source cannot be played a second time: name files of pictures, or demo:")
