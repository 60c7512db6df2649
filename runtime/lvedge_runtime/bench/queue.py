"""Frames that arrive whether or not we are ready: a queue with one server, on a clock that tests can wind.

Frames of all streams wait in one line and are served in the order in which they were due. Back to back, the
next frame is due when the last one is done: that hides what a queue shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from lvedge_runtime.bench.timing import Timing

Result = TypeVar("Result")

STEP = 1.05
"""The highest rate is found to within this factor."""


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Seconds."""

    def wait_until(self, due: float) -> None:
        """Return when ``now`` is at least ``due``."""


class WallClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.perf_counter()

    def wait_until(self, due: float) -> None:
        while (left := due - time.perf_counter()) > 0:
            time.sleep(left)


@dataclass(frozen=True)
class Served:
    """A frame that went through the queue; times in seconds from the first one's arrival.

    Args:
        stream: whose frame.
        due: when it arrived.
        started: when it was taken up.
        done: when its result was out.
    """

    stream: int
    due: float
    started: float
    done: float


@dataclass(frozen=True)
class Paced:
    """What a paced run gave.

    Args:
        rate: frames a second of each stream.
        streams: how many streams.
        deadline_ms: a result is late that comes after this long.
        served: all frames, in order.
    """

    rate: float
    streams: int
    deadline_ms: float
    served: Sequence[Served]

    @property
    def latency(self) -> Timing:
        """From a frame's arrival to its result."""
        return Timing.of(1e3 * (frame.done - frame.due) for frame in self.served)

    @property
    def waiting(self) -> Timing:
        """From a frame's arrival until it is taken up."""
        return Timing.of(1e3 * (frame.started - frame.due) for frame in self.served)

    @property
    def missed(self) -> int:
        """Results that came late."""
        return int((self.latency.ms > self.deadline_ms).sum())

    @property
    def longest_queue(self) -> int:
        """The most frames that waited while another was served."""
        due = np.array([frame.due for frame in self.served])
        done = np.array([frame.done for frame in self.served])
        arrived = np.searchsorted(due, done, side="left")  # before each result was out
        return int((arrived - np.arange(1, due.size + 1)).max(initial=0))

    def holds(self, percent: float = 99.0) -> bool | None:
        """Whether so many percent of the results come in time, by the early-stopping estimate.

        None where there are too few frames to say so.
        """
        at_most = self.latency.at_most(percent)
        return None if at_most is None else at_most <= self.deadline_ms

    def as_json(self, samples: bool = True) -> dict[str, Any]:
        """The run as JSON keeps it."""
        return {
            "rate": round(self.rate, 3),
            "streams": self.streams,
            "deadline_ms": round(self.deadline_ms, 3),
            "frames": len(self.served),
            "missed": self.missed,
            "longest_queue": self.longest_queue,
            "holds_p99": self.holds(),
            "latency": self.latency.as_json(samples),
            "waiting": self.waiting.as_json(samples=False),
            "latency_by_stream": [
                Timing.of(1e3 * (f.done - f.due) for f in self.served if f.stream == stream).as_json(False)
                for stream in range(self.streams)
            ],
        }


def arrivals(rate: float, streams: int, frames: int) -> Iterator[tuple[float, int]]:
    """When frames come, seconds, and of which stream: each stream evenly, the streams between each other.

    Args:
        rate: frames a second of each stream.
        streams: how many.
        frames: how many in all.
    """
    for number in range(frames):
        yield number / (rate * streams), number % streams


def paced(
    serve: Callable[[int], Result],
    rate: float,
    frames: int,
    streams: int = 1,
    deadline_ms: float | None = None,
    clock: Clock | None = None,
    check: Callable[[int, Result], None] | None = None,
) -> Paced:
    """Serve frames as they come.

    Args:
        serve: takes a stream's next frame to its result.
        rate: frames a second of each stream.
        frames: how many in all.
        streams: how many streams.
        deadline_ms: a result is late that comes after this long; by default with the stream's next frame.
        clock: tells the time; the machine's by default.
        check: looks at a stream's result, once its time has been taken.
    """
    clock = clock or WallClock()
    served = []
    begin = clock.now()
    for due, stream in arrivals(rate, streams, frames):
        clock.wait_until(begin + due)
        started = clock.now() - begin
        result = serve(stream)
        served.append(Served(stream, due, max(started, due), clock.now() - begin))
        if check is not None:
            check(stream, result)
    return Paced(rate, streams, 1e3 / rate if deadline_ms is None else deadline_ms, served)


def highest_rate(attempt: Callable[[float], Paced], guess: float) -> tuple[float | None, list[Paced]]:
    """The highest rate that is held at p99, to within 5 %, and all attempts.

    Args:
        attempt: a paced run at a rate, long enough for p99.
        guess: about the highest rate there can be, frames a second: back to back.

    Returns:
        None instead of a rate where even a sixteenth of the guess is not held.
    """
    attempts = []

    def held(rate: float) -> bool:
        attempts.append(attempt(rate))
        return bool(attempts[-1].holds())

    low, high = guess / 2.0, guess
    while not held(low):
        low, high = low / 2.0, low
        if low < guess / 16.0:
            return None, attempts
    while high == guess and held(high):  # even back to back is held: look higher
        low, high = high, STEP * high
        guess = high
    while high / low > STEP:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if held(middle) else (low, middle)
    return low, attempts
