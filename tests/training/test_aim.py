"""Aiming where the picture shows more than one round thing: the other slices and the mask keep it honest."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from painted_hearts import BACKGROUND, PaintReader, painted_stack

from lvedge.aim import HELD_DEG, JUMP_MM, UNSURE, Aimer, Sighting, Stack
from lvedge.contract import Floats, State, StepResult, run_calls
from lvedge.frame import Frame
from lvedge.geometry import angle_between_deg
from lvedge.locate import Location
from lvedge.measure import SliceMeasurer
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.scoring import frame_of_sample

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


@pytest.mark.parametrize(
    ("first_off", "second_off", "followed"),
    [
        (HELD_DEG + 10.0, HELD_DEG + 20.0, False),  # both slices say that the septum lies elsewhere
        (HELD_DEG - 10.0, HELD_DEG + 10.0, True),  # as far as a septum may turn
        (HELD_DEG + 10.0, -10.0, True),  # they do not agree with each other
        (None, HELD_DEG + 20.0, True),  # one alone says nothing
    ],
)
def test_a_septum_is_held_to_the_two_nearest_slices(
    first_off: float | None, second_off: float, followed: bool
) -> None:
    frame = frame_of_sample(painted_stack(5)[2])
    true_deg = SliceMeasurer(PaintReader(), DEFAULT_QUALITY).measure_live(frame)[0].septum_deg
    assert true_deg is not None
    # Slice 1 is nearest to slice 2, then slice 0; slice 9 is far.
    offs = {1: first_off, 0: second_off, 9: 180.0 if first_off is not None else None}
    known = Stack(septa_deg={k: (true_deg + off) % 360.0 for k, off in offs.items() if off is not None})
    reader = PaintReader()
    measured = SliceMeasurer(reader, DEFAULT_QUALITY, known).measure_live(frame)[0]
    assert measured.view is not None
    expected = true_deg + (0.0 if followed else first_off or 0.0)
    assert abs(angle_between_deg(measured.view.septum_deg, expected)) < 6.0
    assert measured.septum_inferred is not followed
    # What is not followed is not passed on to the next slice either.
    assert (2 in known.septa_deg) is followed
