"""Copies to and from a device, told apart from the step that they surround.

An engine that works on the caller's own memory copies nothing. One that does may say what the last step's
copies took, in an attribute ``copies_ms``: milliseconds (in, out) by its device's own events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import cast

from lvedge.contract import ContractShapes, Floats, ReplayResult, State, Stepper, StepResult

Copies = tuple[float, float]


class WithCopies:
    """An engine that remembers each step's copies until they are taken.

    Args:
        engine: does the work.
    """

    def __init__(self, engine: Stepper) -> None:
        self._engine = engine
        self._copies: deque[Copies | None] = deque()

    @property
    def shapes(self) -> ContractShapes:
        return self._engine.shapes

    def step(self, frame: Floats, state: State) -> StepResult:
        result = self._engine.step(frame, state)
        self._copies.append(copies_of(self._engine))
        return result

    def replay(self, features: Floats, state: State) -> ReplayResult:
        return self._engine.replay(features, state)

    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        return self._engine.locate(frame)

    def told_apart(self, latency_ms: Mapping[str, float]) -> Mapping[str, float]:
        """A frame's stages, with the copies of the oldest step that was not taken yet beside it."""
        if "step" not in latency_ms:
            return latency_ms
        return split_step(latency_ms, self._copies.popleft())


def copies_of(engine: Stepper) -> Copies | None:
    """What the last step's copies took, or None where the engine does not tell."""
    return cast("Copies | None", getattr(engine, "copies_ms", None))


def split_step(latency_ms: Mapping[str, float], copies: Copies | None) -> Mapping[str, float]:
    """Stages with ``step`` cut in three, where the copies are known."""
    if copies is None:
        return latency_ms
    into, out = copies
    return {**latency_ms, "copy in": into, "step": latency_ms["step"] - into - out, "copy out": out}
