"""Aiming where the picture shows more than one round thing: the other slices and the mask keep it honest."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from painted_hearts import BACKGROUND, PaintReader

from lvedge.aim import JUMP_MM, UNSURE, Aimer, Sighting, Stack
from lvedge.contract import Floats, State, StepResult, run_calls
from lvedge.frame import Frame
from lvedge.locate import Location

LV, OTHER, BETWEEN = (60.0, 64.0), (90.0, 64.0), (69.0, 64.0)
"""In pixels of 2 mm: the LV, something round 60 mm beside it, and a place 18 mm off the LV."""


class Watching(PaintReader):
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Floats] = []

    def step(self, frame: Floats, state: State) -> StepResult:
        self.shown.append(frame[0, 0].copy())
        return super().step(frame, state)


class Told(Aimer):
    """An aimer whose locator says what the test wants."""

    def __init__(self, stepper: PaintReader, stack: Stack, said: Location) -> None:
        super().__init__(stepper, stack)
        self._said = said

    def locate(self, frame: Frame) -> Location:  # noqa: ARG002
        return self._said


def picture(*hearts: tuple[tuple[float, float], float]) -> Frame:
    """Rings of 7 mm of wall around cavities: (centre in pixels, radius in mm)."""
    y, x = np.mgrid[:128, :140]
    pixels = np.full(x.shape, BACKGROUND, np.float32)
    for (cx, cy), radius_mm in hearts:
        distance = 2.0 * np.hypot(x - cx, y - cy)
        pixels[distance <= radius_mm + 7.0] = 2 * BACKGROUND
        pixels[distance <= radius_mm] = 3 * BACKGROUND
    return Frame(pixels, (2.0, 2.0), "series", slice_index=2, slice_count=9)


def location(centre: tuple[float, float], confidence: float) -> Location:
    return Location(centre_px=centre, septum_deg=180.0, confidence=confidence, septum_confidence=0.9)


def aimed(frame: Frame, stack: Stack, said: Location) -> tuple[float, float]:
    reader = PaintReader()
    aim = run_calls(Told(reader, stack, said).aim([frame]), reader)
    assert aim is not None
    return aim.view.centre_px


TWO = picture((LV, 16.0), (OTHER, 20.0))


def test_a_mask_far_from_where_it_was_aimed_does_not_carry_the_view_away() -> None:
    # Seen from between, the larger thing is 42 mm off; seen from the LV it is cut by the view's edge.
    known = Stack(sightings={1: Sighting(LV, 0.95)})
    np.testing.assert_allclose(aimed(TWO, known, location(BETWEEN, 0.9)), LV, atol=0.5)


def test_with_nothing_else_to_go_by_the_mask_is_followed() -> None:
    x, y = aimed(TWO, Stack(), location(BETWEEN, 0.9))
    assert 2.0 * np.hypot(x - BETWEEN[0], y - BETWEEN[1]) > JUMP_MM


@pytest.mark.parametrize(("share", "first"), [(UNSURE - 0.05, LV), (UNSURE + 0.05, BETWEEN)])
def test_the_surer_place_is_looked_at_first(share: float, first: tuple[float, float]) -> None:
    watching, sighting = Watching(), Sighting(LV, 0.9)
    frame = picture((LV, 16.0))
    told = Told(watching, Stack(sightings={1: sighting}), location(BETWEEN, share * 0.9))
    run_calls(told.aim([frame]), watching)
    middle = watching.shown[0].shape[0] // 2
    in_the_middle = watching.shown[0][middle, middle] == watching.shown[0].max()
    assert in_the_middle == (first == LV)
