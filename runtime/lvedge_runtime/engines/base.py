"""What every engine is: the bundle's three graphs as the contract's ``Stepper``, inside a context manager."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import numpy as np

from lvedge.bundle import Bundle
from lvedge.contract import STATE_NAMES, ContractShapes, Floats, ReplayResult, State, StepResult
from lvedge.errors import EngineError

Self = TypeVar("Self", bound="Engine")


@dataclass(frozen=True)
class PassedOver:
    """An engine that comes before the one that was taken.

    Args:
        engine: its name.
        reason: why it was not taken, and what would change that.
        was_tried: whether all that it needs seemed to be there.
    """

    engine: str
    reason: str
    was_tried: bool


class Engine:
    """Runs a bundle's graphs; usable inside ``with`` only, where its memory lives.

    A public method checks what it is given, once; a backend writes ``_open``, ``_close``, ``_step``,
    ``_replay`` and ``_locate``, and ``obstacle`` where a cheap look can tell that it cannot work.
    Inputs are read during the call and not kept; results are the caller's own, no later call writes to them.
    An engine holds no state of a stream: several can share one, or go as one batch of B.

    Args:
        bundle: what to run.
        threads: threads that one call may use.
        streams: so many will go as one batch; one that is built for a largest batch is built for this.

    Raises:
        EngineError: if the number of threads cannot be meant.
    """

    name = "engine"
    """The name in the registry, as it goes into results."""
    precision = "fp32"
    """What the graphs that it runs are typed in."""

    passed_over: tuple[PassedOver, ...] = ()
    """Those that come before it, where the best one was asked for."""

    def __init__(self, bundle: Bundle, threads: int = 1, streams: int = 1) -> None:
        if threads < 1:
            raise EngineError(f"an engine needs at least 1 thread, not {threads}")
        self.bundle = bundle
        self.threads = threads
        self.streams = streams
        self._shapes = bundle.shapes
        self._is_open = False
        self._is_prepared = False
        self._frame_shape = self.shapes.tensor_shape("frame")
        self._features_shape = self.shapes.tensor_shape("features")
        self._state_shapes = {name: self.shapes.tensor_shape(name) for name in STATE_NAMES}

    def __enter__(self: Self) -> Self:
        if self._is_prepared:
            self._is_prepared = False
            return self
        if self._is_open:
            raise EngineError(f"the engine {self.name} is open already: open another one")
        self._open()
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._close()

    @classmethod
    def obstacle(cls) -> str:
        """Why this engine is not tried where the best is asked for, and what would change that; else empty.

        A cheap look: nothing heavy is imported where something light already says no.
        """
        return ""

    def prepare(self) -> None:
        """Open it before ``with`` does and try it; whoever prepares an engine then uses it inside ``with``.

        Raises:
            EngineError: if it does not work here; it is closed then.
        """
        with ExitStack() as undo:
            undo.enter_context(self)
            self.try_out()
            undo.pop_all()
        self._is_prepared = True

    def try_out(self) -> None:
        """Locate, step and replay on empty frames.

        Raises:
            EngineError: if one of them fails or gives no numbers.
        """
        state = self.zero_state()
        points, _ = self.locate(np.zeros((1, *self.shapes.locator_shape), dtype=np.float32))
        step = self.step(np.zeros((1, *self._frame_shape), dtype=np.float32), state)
        replay = self.replay(step.features, state)
        if not all(np.isfinite(values).all() for values in (points, step.indices, replay.indices)):
            raise EngineError(f"{self.name} gives no numbers: take another engine or another bundle")

    @property
    def shapes(self) -> ContractShapes:
        """Sizes of all tensors."""
        return self._shapes

    @property
    def most(self) -> int | None:
        """Streams that it takes as one batch at most; None for any number."""
        return None

    def zero_state(self, batch: int = 1) -> State:
        """The state before the first frame; the caller's own."""
        return State.zeros(self.shapes, batch)

    def step(self, frame: Floats, state: State) -> StepResult:
        """One frame of each of B streams through the whole network.

        Args:
            frame: [B, 1, S, S] float32, the normalised view.
            state: what the step before gave, or ``zero_state``.

        Raises:
            EngineError: for another type or shape, or outside ``with``.
        """
        batch = self._batch("frame", frame, self._frame_shape)
        return self._step(frame, self._checked(state, batch))

    def replay(self, features: Floats, state: State) -> ReplayResult:
        """The recurrent and the classification layer alone; equals ``step`` on the same frame.

        Args:
            features: [B, F] float32, from ``step``.
            state: what the step or replay before gave.

        Raises:
            EngineError: for another type or shape, or outside ``with``.
        """
        batch = self._batch("features", features, self._features_shape)
        return self._replay(features, self._checked(state, batch))

    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        """The LV centre and both RV insertions on full frames.

        Args:
            frame: [B, 1, P, P] float32, made by ``lvedge.locate.locator_input``.

        Returns:
            Points [B, 3, 2], pixels (x, y) of that frame, and the peak probability of each, [B, 3].

        Raises:
            EngineError: for another type or shape, or outside ``with``.
        """
        self._batch("frame", frame, self.shapes.locator_shape)
        return self._locate(frame)

    def _batch(self, name: str, array: Floats, shape: tuple[int, ...]) -> int:
        """B, after checking type and shape."""
        if not self._is_open:
            raise EngineError(f"the engine {self.name} is not open: use it inside 'with open_engine(...)'")
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            kind = getattr(array, "dtype", type(array).__name__)
            raise EngineError(f"{name} has to be a float32 array, not {kind}")
        if array.shape[1:] != shape or not array.shape or array.shape[0] < 1:
            expected = ", ".join(map(str, ("B", *shape)))
            raise EngineError(f"{name} has to be of shape [{expected}], not {list(array.shape)}")
        batch: int = array.shape[0]
        return batch

    def _checked(self, state: State, batch: int) -> State:
        """The state, after checking it; an engine that keeps states elsewhere knows its own ones."""
        inputs = state.as_inputs()
        for name, shape in self._state_shapes.items():
            if self._batch(name, inputs[name], shape) != batch:
                raise EngineError(f"{name} is of {inputs[name].shape[0]} streams, the frame of {batch}")
        return state

    def _open(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def _step(self, frame: Floats, state: State) -> StepResult:
        raise NotImplementedError

    def _replay(self, features: Floats, state: State) -> ReplayResult:
        raise NotImplementedError

    def _locate(self, frame: Floats) -> tuple[Floats, Floats]:
        raise NotImplementedError
