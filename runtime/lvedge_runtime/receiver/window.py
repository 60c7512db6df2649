"""The pictures of one slice put in phase order while they arrive: a bounded window that waits for gaps."""

from __future__ import annotations

import itertools
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from lvedge_runtime.sources.dicom_image import Image
from lvedge_runtime.sources.dicom_phase import (
    FEWEST_IN_BEAT,
    places_between,
    stated_phases,
    stated_step_ms,
)

NEAR = 1.5
"""Pictures that lie less than this many steps apart are neighbours."""

FEWEST_FOR_STEP = 3
"""So many pictures tell how far apart neighbours lie, where the tags do not."""


@dataclass(order=True, frozen=True)
class _Waiting:
    lap: int
    key: float
    number: float
    image: Image = field(compare=False)


class PhaseWindow:
    """One slice's pictures, given in phase order, each with its place in the beat.

    A picture is given once nothing can come before it: it follows the last one given by a step of the beat,
    or by its number. Others wait, at most ``most`` of them; then, or when somebody calls ``step_over``, the
    first gap is given up. What comes after its turn is not given here.

    Args:
        first: any picture of the slice: it says what orders them.
        most: how many wait.
    """

    def __init__(self, first: Image, most: int) -> None:
        self._most = most
        self._kind = _kind_of(first)
        self._stated = {"time": stated_step_ms(first), "temporal": 1.0}.get(self._kind)
        self._cine = (stated_phases(first) or 0) > 1
        self._waiting: list[_Waiting] = []
        self._last: _Waiting | None = None
        self._lap_from = 0.0
        self._in_lap = 0
        self._stride = 1.0
        self._place = -1
        self._learned: float | None = None

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def is_cine(self) -> bool:
        """Whether the slice is known to have several phases."""
        return self._cine or len(self._waiting) > 1 or self._last is not None

    def add(self, image: Image) -> bool:
        """Take in a picture; False where its turn has passed."""
        number = image.header.number("InstanceNumber")
        number = float(image.index) if number is None or image.frames > 1 else number
        key = {"time": image.time_ms, "temporal": image.temporal}.get(self._kind, number)
        if key is None:
            return False
        lap = 0
        if self._last is not None:
            lap = self._last.lap
            if key <= self._last.key:
                # The trigger time has fallen: the next beat of several, or too late.
                if number <= self._last.number or self._in_lap < FEWEST_IN_BEAT:
                    return False
                if key > (self._lap_from + self._last.key) / 2:
                    return False
                lap += 1
        insort(self._waiting, _Waiting(lap, key, number, image))
        return True

    def ready(self) -> Iterator[tuple[int, Image]]:
        """Pictures whose turn has come, each with its place in the beat or beats."""
        while self._waiting and (len(self._waiting) > self._most or self._is_next(self._waiting[0])):
            yield self._give()

    def step_over(self) -> Iterator[tuple[int, Image]]:
        """Give up the first gap: the next picture, and those that follow it without another."""
        if self._waiting and self.is_cine:
            yield self._give()
            yield from self.ready()

    def _give(self) -> tuple[int, Image]:
        given, step = self._waiting.pop(0), self._step()
        if self._last is None or given.lap > self._last.lap:
            self._place += 1
            self._lap_from, self._in_lap = given.key, 0
        else:
            self._place += places_between(given.key - self._last.key, step or 0.0)
        if self._last is not None and given.number > self._last.number:
            self._stride = given.number - self._last.number if self._is_near(given) else self._stride
        self._last = given
        self._in_lap += 1
        return self._place, given.image

    def _is_next(self, first: _Waiting) -> bool:
        if self._last is None:
            return self._is_start(first)
        if first.lap == self._last.lap and self._is_near(first):
            return True
        return 0 < first.number - self._last.number <= self._stride

    def _is_near(self, following: _Waiting) -> bool:
        step = self._step()
        return step is not None and self._last is not None and following.key - self._last.key < NEAR * step

    def _is_start(self, first: _Waiting) -> bool:
        """Whether a picture is the first phase: times begin within the first step, positions at 1."""
        if not self.is_cine:
            return False
        step = self._step()
        if self._kind:
            return step is not None and first.key <= step * 1.05
        return step is not None and self._waiting[1].number - first.number == step

    def _step(self) -> float | None:
        """How far apart neighbours lie: by the tags, else by the closest that wait."""
        if self._stated is not None:
            return self._stated
        keys = [waiting.key for waiting in self._waiting if waiting.lap == self._waiting[0].lap]
        if self._last is not None and self._waiting and self._waiting[0].lap == self._last.lap:
            keys.insert(0, self._last.key)
        steps = [after - before for before, after in itertools.pairwise(keys) if after > before]
        if len(steps) + 1 >= FEWEST_FOR_STEP:
            self._learned = min(steps)
        return self._learned


def _kind_of(first: Image) -> str:
    """What orders the pictures on their way: the tag that also says how far apart neighbours lie."""
    counted = first.temporal is not None and first.header.whole("NumberOfTemporalPositions") > 1
    if first.time_ms is not None and (stated_step_ms(first) is not None or not counted):
        return "time"
    return "" if first.temporal is None else "temporal"
