"""Several sources on one engine: each read ahead and a stream of its own, none disturbed by another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from lvedge.errors import SourceError
from lvedge.frame import Given, NotYet
from lvedge.measurement import Measurement
from lvedge_runtime.engines.base import Engine
from lvedge_runtime.sources.ahead import Ahead
from lvedge_runtime.sources.source import Source
from lvedge_runtime.stream import Item, Stream, Thing
from lvedge_runtime.together import Bell, Together

StreamOf = Callable[[Iterable[Given | NotYet], bool], Stream]
"""Makes the stream of a source, told whether that is live."""


class Part:
    """A stream among others: it ends at its limit, and where its source fails, by itself.

    Args:
        stream: gives its items as far as there are any.
        limit: so many frames at most; None for all.
        failed: is told what the source said when it failed.
    """

    def __init__(self, stream: Stream, limit: int | None, failed: Callable[[SourceError], None]) -> None:
        self._stream = stream
        self._limit = limit
        self._failed = failed

    def things(self) -> Iterator[Thing]:
        """What the stream gives; another error than the source's ends all."""
        frames = 0
        try:
            for thing in self._stream.things():
                yield thing
                frames += isinstance(thing, Measurement)
                if frames == self._limit:
                    return
        except SourceError as err:
            self._failed(err)


@contextmanager
def several(
    sources: Mapping[int, Source],
    stream_of: StreamOf,
    engine: Engine,
    limit: int | None,
    failed: Callable[[int, SourceError], None],
) -> Iterator[Iterable[tuple[int, Item]]]:
    """The items of several streams as they come, their steps batched, each with its stream's number.

    Args:
        sources: open; by number.
        stream_of: makes a source's stream, on this engine.
        engine: open; runs the steps.
        limit: frames of each at most; None for all.
        failed: is told which source failed, and its words; the others go on.
    """
    bell, numbers = Bell(), tuple(sources)
    with ExitStack() as readers:
        parts = []
        for number, source in sources.items():
            ahead = readers.enter_context(Ahead(source, bell.ring))
            parts.append(Part(stream_of(ahead, source.live), limit, partial(failed, number)))
        together = Together(parts, engine, bell, most=engine.most)
        yield ((numbers[place], item) for place, item in together)
