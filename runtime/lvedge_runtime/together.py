"""Several streams on one engine, their steps as one batch.

    stream 0 ──StepCall──╮                        ╭─▶ its rows
    stream 1 ──StepCall──┼──▶ one step of B ──────┼─▶ its rows
    stream 2  (no frame) ╯    rows, no more       ╰

Each stream goes on until it needs a step; what is asked for then goes as one batch, and each gets its own
rows back. A stream that has no frame is waited for once, for a moment; from then on batches leave without it
until it has one again. All happens in the caller's thread: engines, case tables and sinks need not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Event
from time import perf_counter
from typing import Protocol

import numpy as np

from lvedge.contract import State, StepCall, Stepper
from lvedge.errors import UsageError
from lvedge.frame import NotYet
from lvedge_runtime.stream import Item, Thing

WAIT_MS = 5.0
"""How long a frame waits for others, by default; a batch saves about as much on a CPU, and more on a GPU."""


class Bell:
    """Rung when a source has something, from any thread; heard also by who starts to wait afterwards."""

    def __init__(self) -> None:
        self._rung = Event()

    def ring(self) -> None:
        """Somebody's source has something."""
        self._rung.set()

    def wait(self, seconds: float | None) -> None:
        """Until it rings, or so long; None waits for the ring alone."""
        self._rung.wait(seconds)
        self._rung.clear()

    def now(self) -> float:
        """Seconds."""
        return perf_counter()


class Playable(Protocol):
    """A stream, or what stands for one."""

    def things(self) -> Iterator[Thing]:
        """The items, and the steps that they take, which are the caller's to run before it goes on."""


@dataclass
class _Player:
    """One stream on its way.

    Args:
        number: its place among the streams.
        things: what it gives.
        call: the step that it waits for, or None.
        since: when it asked for it.
        turn: after how many steps of all streams it had its last one.
        is_idle: its source had nothing when it was last asked.
        is_late: a batch left without it since it was idle.
    """

    number: int
    things: Iterator[Thing]
    call: StepCall | None = None
    since: float = 0.0
    turn: int = 0
    is_idle: bool = False
    is_late: bool = False


class Together:
    """The items of several streams, each with its stream's number, as they come.

    A stream's items keep their order, and are those that it gives alone. Between streams it is fair: where a
    batch does not hold all, those go first whose last step is longest ago. No frame waits
    longer for others than ``wait_ms``, beside the steps under way. What one stream raises ends them all.

    Args:
        streams: of one engine; a stream over ``Ahead`` never makes the others wait for its source.
        stepper: the streams' engine; runs the steps.
        bell: rung when a source has something that had nothing before.
        wait_ms: how long a frame waits for others at most.
        most: streams that go as one batch at most; None for all.

    Raises:
        UsageError: if there is no stream, or no batch could hold one.
    """

    def __init__(
        self,
        streams: Sequence[Playable],
        stepper: Stepper,
        bell: Bell | None = None,
        wait_ms: float = WAIT_MS,
        most: int | None = None,
    ) -> None:
        if not streams or (most is not None and most < 1) or wait_ms < 0:
            raise UsageError(
                "streams together need at least one stream, a batch of at least 1, and no negative wait"
            )
        self._streams = streams
        self._stepper = stepper
        self._bell = bell or Bell()
        self._wait_s = wait_ms / 1e3
        self._most = most or len(streams)
        self._turns = count(len(streams))
        self.batches: Counter[int] = Counter()
        """How many steps were of how many streams."""

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        players = [_Player(k, stream.things(), turn=k) for k, stream in enumerate(self._streams)]
        while players:
            is_any_busy = False
            for player in [player for player in players if player.call is None]:
                thing = next(player.things, None)
                player.is_idle = isinstance(thing, NotYet)
                if thing is None:
                    players.remove(player)
                elif isinstance(thing, StepCall):
                    player.call, player.since, player.is_late = thing, self._bell.now(), False
                elif not isinstance(thing, NotYet):
                    is_any_busy = True
                    yield player.number, thing
            self._go_on(players, is_any_busy)

    def _go_on(self, players: Sequence[_Player], is_any_busy: bool) -> None:
        """Run a batch, or wait for something to put into it."""
        asking = sorted((player for player in players if player.call is not None), key=lambda p: p.turn)
        idle = [player for player in players if player.is_idle]
        if not asking:
            if idle and not is_any_busy:
                self._bell.wait(None)
            return
        left_s = min(player.since for player in asking) + self._wait_s - self._bell.now()
        is_full = len(asking) >= self._most
        if not is_full and left_s > 0 and is_any_busy:
            return
        if not is_full and left_s > 0 and not all(player.is_late for player in idle):
            self._bell.wait(left_s)
            return
        for player in idle:
            player.is_late = True
        self._run(asking[: self._most])

    def _run(self, players: Sequence[_Player]) -> None:
        """The steps of these players as one."""
        calls = [player.call for player in players if player.call is not None]
        self.batches[len(calls)] += 1
        if len(calls) == 1:  # as it is: a state that lies on a device stays there
            calls[0].result = self._stepper.step(calls[0].frame, calls[0].state)
        else:
            frames = np.concatenate([call.frame for call in calls])
            whole = self._stepper.step(frames, State.joined([call.state for call in calls]))
            for k, call in enumerate(calls):
                call.result = whole.of_stream(k)
        for player in players:
            player.call, player.turn = None, next(self._turns)
