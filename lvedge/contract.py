"""The graphs' contract, shared by export and runtime: every tensor's name and shape; the state as a value.

Three graphs make a bundle:

- **step**: one frame through all four layers; the recurrent state goes in and comes out.
- **replay**: the recurrent and classification layers alone, from a frame's feature vector. The second pass
  over a closed cine needs no more, since the feature vector does not depend on the state.
- **locator**: the full frame to the LV centre and the two RV insertion points.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lvedge.indices import DEFAULT_LAYOUT, IndexLayout, Label

Floats = NDArray[np.float32]
Answer = TypeVar("Answer")

CONTRACT_VERSION = 1

STATE_NAMES = ("h_regression", "c_regression", "h_phase", "c_phase")
NEXT_SUFFIX = "_next"
NEXT_STATE_NAMES = tuple(name + NEXT_SUFFIX for name in STATE_NAMES)

STEP_INPUTS = ("frame", *STATE_NAMES)
STEP_OUTPUTS = ("indices", "phase", "mask", "features", *NEXT_STATE_NAMES)
REPLAY_INPUTS = ("features", *STATE_NAMES)
REPLAY_OUTPUTS = ("indices", "phase", *NEXT_STATE_NAMES)
LOCATOR_INPUTS = ("frame",)
LOCATOR_OUTPUTS = ("points", "confidence")

LOCATOR_POINTS = ("lv_centre", "anterior_insertion", "inferior_insertion")
"""Rows of the locator's ``points``: pixels (x, y) of its own input."""


@dataclass(frozen=True)
class ContractShapes:
    """Sizes that the tensors' shapes follow from; all stand in the bundle's manifest.

    Args:
        view_px: S, side of the view.
        view_mm_per_px: size of a view pixel, mm.
        regression_state: H of the regression LSTM.
        phase_state: H of the phase LSTM.
        features: F, length of the feature vector that both LSTMs read.
        locator_px: side of the locator's input.
        locator_mm_per_px: size of a locator pixel, mm.
        layout: M and N.
    """

    view_px: int
    view_mm_per_px: float
    regression_state: int
    phase_state: int
    features: int
    locator_px: int
    locator_mm_per_px: float
    layout: IndexLayout = DEFAULT_LAYOUT

    def tensor_shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor without its leading batch dimension. ``frame`` is the step graph's.

        Raises:
            KeyError: if no graph has a tensor of this name.
        """
        size = self.view_px
        shapes: dict[str, tuple[int, ...]] = {
            "frame": (1, size, size),
            "indices": (self.layout.size,),
            "phase": (2,),
            "mask": (len(Label), size, size),
            "features": (self.features,),
            "points": (len(LOCATOR_POINTS), 2),
            "confidence": (len(LOCATOR_POINTS),),
        }
        for name_of_state in STATE_NAMES:
            width = self.regression_state if name_of_state.endswith("regression") else self.phase_state
            shapes[name_of_state] = shapes[name_of_state + NEXT_SUFFIX] = (width,)
        return shapes[name]

    @property
    def locator_shape(self) -> tuple[int, int, int]:
        """Shape of the locator's ``frame``, without its batch dimension."""
        return (1, self.locator_px, self.locator_px)


@dataclass(frozen=True)
class State:
    """What a stream keeps between frames: one per stream, reset at a new slice, never shared.

    An engine may give one whose arrays lie on a device and come to the host when they are asked for.

    Args:
        h_regression: [B, H] float32.
        c_regression: [B, H] float32.
        h_phase: [B, H'] float32.
        c_phase: [B, H'] float32.
    """

    h_regression: Floats
    c_regression: Floats
    h_phase: Floats
    c_phase: Floats

    @classmethod
    def zeros(cls, shapes: ContractShapes, batch: int = 1) -> State:
        """The state before the first frame."""
        return cls(*(np.zeros((batch, *shapes.tensor_shape(name)), dtype=np.float32) for name in STATE_NAMES))

    @classmethod
    def joined(cls, states: Sequence[State]) -> State:
        """The states of several streams as one of their batch, in their order; the caller's own."""
        parts = (state.as_inputs().values() for state in states)
        return cls(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def of_stream(self, k: int) -> State:
        """The state of one stream of the batch, views of its arrays."""
        return State(*(part[k : k + 1] for part in self.as_inputs().values()))

    def as_inputs(self) -> dict[str, Floats]:
        """Tensor name to array, as a graph takes it."""
        return {name: getattr(self, name) for name in STATE_NAMES}


@dataclass(frozen=True)
class StepResult:
    """What a step gives; the arrays are the caller's.

    Args:
        indices: [B, L] values in view pixels and square view pixels.
        phase: [B, 2] probabilities of diastole and systole.
        mask: [B, 4, S, S] label probabilities.
        features: [B, F] the vector that a replay starts from.
        state: the state after the frame.
    """

    indices: Floats
    phase: Floats
    mask: Floats
    features: Floats
    state: State

    def of_stream(self, k: int) -> StepResult:
        """What the step gave one stream of the batch, views of its arrays."""
        own = slice(k, k + 1)
        return StepResult(
            self.indices[own], self.phase[own], self.mask[own], self.features[own], self.state.of_stream(k)
        )


@dataclass(frozen=True)
class ReplayResult:
    """What a replayed step gives; the arrays are the caller's.

    Args:
        indices: [B, L] as in ``StepResult``.
        phase: [B, 2] as in ``StepResult``.
        state: the state after the frame.
    """

    indices: Floats
    phase: Floats
    state: State


@dataclass
class StepCall:
    """A step that a stream needs before it can go on.

    Whoever gets one runs it, alone or with those of other streams as one batch, and puts the result in.

    Args:
        frame: [1, 1, S, S] float32.
        state: before the frame, of one stream.
        result: of one stream; None until it has been run.
    """

    frame: Floats
    state: State
    result: StepResult | None = None

    @property
    def answer(self) -> StepResult:
        """The result.

        Raises:
            RuntimeError: if nobody has put one in.
        """
        if self.result is None:
            raise RuntimeError("a stream goes on before its step was run")
        return self.result


Calls = Generator[StepCall, None, Answer]
"""What asks for steps on its way to an answer."""


class Stepper(Protocol):
    """Whatever executes the three graphs: an engine of the runtime, or the network itself in evaluation."""

    @property
    def shapes(self) -> ContractShapes:
        """Sizes of all tensors."""

    def step(self, frame: Floats, state: State) -> StepResult:
        """One frame [B, 1, S, S] through all four layers."""

    def replay(self, features: Floats, state: State) -> ReplayResult:
        """One feature vector [B, F] through the recurrent and the classification layer."""

    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        """Full frames [B, 1, P, P] to points [B, 3, 2] and confidences [B, 3]."""


def run_calls(calls: Calls[Answer], stepper: Stepper) -> Answer:
    """The answer, with each step run as soon as it is asked for."""
    while True:
        try:
            call = next(calls)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        call.result = stepper.step(call.frame, call.state)
