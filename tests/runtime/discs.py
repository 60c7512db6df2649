"""Discs in place of hearts: a stepper whose every number can be said in advance, and its pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lvedge.contract import ContractShapes, Floats, ReplayResult, State, StepResult
from lvedge.frame import Frame, Orientation
from lvedge.indices import Label

SIDE, MM = 64, 1.5
SHAPES = ContractShapes(
    view_px=SIDE,
    view_mm_per_px=MM,
    regression_state=1,
    phase_state=1,
    features=1,
    locator_px=SIDE,
    locator_mm_per_px=MM,
)
WALL_MM = 9.0


@dataclass
class DiscStepper:
    """Takes the bright disc of a picture for the cavity; the state counts the steps.

    Args:
        calls: the graphs that were run, in order.
    """

    calls: list[str] = field(default_factory=list)

    @property
    def shapes(self) -> ContractShapes:
        return SHAPES

    def step(self, frame: Floats, state: State) -> StepResult:
        self.calls.append("step")
        cavity = np.clip(frame[0, 0], 0.0, 1.0)
        mask = np.zeros((1, 4, SIDE, SIDE), np.float32)
        if cavity.any():
            rows, columns = np.indices(cavity.shape)
            down, right = (
                (rows - (cavity * rows).sum() / cavity.sum()),
                columns - (cavity * columns).sum() / cavity.sum(),
            )
            beyond = np.hypot(down, right) * MM - np.sqrt(cavity.sum() / np.pi) * MM
            mask[0, Label.CAVITY] = cavity
            mask[0, Label.MYOCARDIUM] = np.clip((WALL_MM - beyond) / MM + 0.5, 0, 1) * (1 - cavity)
            mask[0, Label.RV] = (beyond > WALL_MM + 1) & (beyond < WALL_MM + 9) & (right < -np.abs(down))
        mask[0, Label.BACKGROUND] = 1.0 - mask[0].sum(axis=0)
        features = np.array([[cavity.sum()]], np.float32)
        result = self._recur(features, state)
        return StepResult(result.indices, result.phase, mask, features, result.state)

    def replay(self, features: Floats, state: State) -> ReplayResult:
        self.calls.append("replay")
        return self._recur(features, state)

    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        self.calls.append("locate")
        y, x = np.nonzero(frame[0, 0] > 0.5)
        if not x.size:
            return np.zeros((1, 3, 2), np.float32), np.zeros((1, 3), np.float32)
        points = np.array([x.mean(), y.mean()]) + np.array([[0, 0], [-10, -10], [-10, 10]])
        return points[None].astype(np.float32), np.full((1, 3), 0.9, np.float32)

    @staticmethod
    def _recur(features: Floats, state: State) -> ReplayResult:
        count = state.h_regression + 1
        indices = np.zeros((1, 11), np.float32)
        indices[0, 0] = count[0, 0]
        indices[0, 9] = features[0, 0]
        systole = count[0, 0] % 2
        phase = np.array([[1 - systole, systole]], np.float32)
        after = State(count, state.c_regression, state.h_phase + 1, state.c_phase)
        return ReplayResult(indices, phase, after)


def disc_frame(
    radius_mm: float,
    index: int = 0,
    slice_index: int = 0,
    length: int | None = 6,
    series: str = "a",
    slices: int = 2,
) -> Frame:
    """A bright disc off the middle of a dark picture; radius 0 for none."""
    rows, columns = np.indices((SIDE, SIDE))
    inside = radius_mm / MM - np.hypot(rows - 30, columns - 35)
    pixels = (100 * np.clip(inside + 0.5, 0, 1)).astype(np.float32) * bool(radius_mm)
    return Frame(
        pixels,
        (MM, MM),
        series,
        slice_index=slice_index,
        frame_index=index,
        cine_length=length,
        slice_count=slices,
        orientation=Orientation((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        position_mm=(0.0, 0.0, 8.0 * slice_index),
        origin=f"{series}{slice_index}.{index}",
    )


BEAT = (24.0, 22.0, 18.0, 15.0, 17.0, 21.0)
