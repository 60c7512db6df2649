"""Aiming: from the first frames of a slice to the view that it is measured through.

The locator points at the heart on the full frame; the mask that the network draws there moves the view onto
its own centroid and septum; the other slices of the stack keep both honest, since a heart does not jump
from slice to slice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lvedge.contract import Calls, Floats, State, StepCall, Stepper
from lvedge.frame import Frame
from lvedge.geometry import angle_between_deg, circular_median_deg
from lvedge.locate import Location, location_from_points, locator_input, locator_view
from lvedge.reading import MaskReading, NoVentricle, centre_in_source, read_mask, septum_in_source
from lvedge.view import SEPTUM_IN_VIEW_DEG, View, normalise, view_of_frame

MIN_LOCATED = 0.15
"""Confidence in the LV centre under which the locator has not found a heart."""

UNSURE = 0.6
"""Below this share of the nearest slice's confidence, that slice's centre is tried before the locator's."""

MIN_SEPTUM = 0.15
"""Confidence in the insertions under which the septum is taken from the other slices."""

JUMP_MM = 20.0
DRIFT_PER_SLICE_MM = 8.0
"""A centre further than this from the nearest slice's is a jump; hearts do not jump."""

TURN_DEG = 60.0
"""The same for the septum against the nearest slices' median."""

AIM_MM = 2.0
AIM_DEG = 6.0
"""A view further off than this from what its own mask shows is taken again."""

AGAIN = 2
"""How often a view may be taken again before a slice begins."""

NEIGHBOURS = 4


@dataclass(frozen=True)
class Sighting:
    """Where a slice of the stack showed its LV.

    Args:
        centre_px: LV centre, source pixels (x, y).
        confidence: the locator's, when the slice was aimed at.
    """

    centre_px: tuple[float, float]
    confidence: float


@dataclass
class Stack:
    """What the slices of one series know of each other.

    Args:
        sightings: by slice index.
        septa_deg: mid-septum by slice index, as the slice's own RV showed it.
    """

    sightings: dict[int, Sighting] = field(default_factory=dict)
    septa_deg: dict[int, float] = field(default_factory=dict)

    def nearest(self, slice_index: int) -> tuple[Sighting, int] | None:
        """The nearest other slice's sighting, and how many slices away it is."""
        others = [k for k in self.sightings if k != slice_index]
        if not others:
            return None
        nearest = min(others, key=lambda k: abs(k - slice_index))
        return self.sightings[nearest], abs(nearest - slice_index)

    def is_settled(self, frame: Frame) -> bool:
        """Whether the two slices nearest to a frame's agree on where the heart lies."""
        others = (k for k in self.sightings if k != frame.slice_index)
        nearest = sorted(others, key=lambda k: abs(k - frame.slice_index))[:2]
        if len(nearest) < 2:
            return False
        first, second = (self.sightings[k].centre_px for k in nearest)
        return _distance_mm(first, second, frame) <= JUMP_MM

    def usual_septum(self, slice_index: int) -> float | None:
        """Circular median of the nearest slices' septa."""
        nearest = sorted(self.septa_deg, key=lambda k: abs(k - slice_index))[:NEIGHBOURS]
        return circular_median_deg(np.array([self.septa_deg[k] for k in nearest])) if nearest else None


@dataclass(frozen=True)
class Aim:
    """The view of a slice.

    Args:
        view: where it lies.
        inferred: its septum comes from other slices.
        confidence: the locator's in the centre.
        septum_confidence: the locator's in the insertions.
    """

    view: View
    inferred: bool
    confidence: float
    septum_confidence: float


class Aimer:
    """Finds the view of a slice.

    Args:
        stepper: executes the locator; the steps are its caller's to run.
        stack: what the other slices know; read only here.
    """

    def __init__(self, stepper: Stepper, stack: Stack) -> None:
        self._stepper = stepper
        self._stack = stack

    def aim(self, frames: Sequence[Frame]) -> Calls[Aim | None]:
        """The view that a slice's frames are measured through, or None where no heart is found.

        Args:
            frames: the frames at hand; the first and the middle one are looked at.
        """
        tries = [frames[0]] if len(frames) < 3 else [frames[0], frames[len(frames) // 2]]
        locations = [self.locate(frame) for frame in tries]
        best = max(range(len(tries)), key=lambda k: locations[k].confidence)
        frame, location = tries[best], locations[best]
        candidates = self._candidates(frame, location)
        seen = []
        for candidate in candidates:
            reading = yield from self._read(frame, candidate)
            if isinstance(reading, NoVentricle):
                continue
            if off_middle_mm(reading, candidate.view) <= JUMP_MM:
                return (yield from self._taken_again(frame, candidate, reading))
            seen.append((candidate, reading))  # something else than what was aimed at, the RV perhaps
        if seen:
            return (yield from self._taken_again(frame, *seen[0]))
        return candidates[0] if candidates else None

    def locate(self, frame: Frame) -> Location:
        """Where the locator sees the heart on the full frame."""
        view = locator_view(frame, self._stepper.shapes)
        points, confidence = self._stepper.locate(locator_input(frame, view))
        return location_from_points(points[0], confidence[0], view)

    def _candidates(self, frame: Frame, location: Location) -> list[Aim]:
        """Views worth trying, the likeliest first: the locator's place and the nearest slice's."""
        septum, inferred = self._septum(frame, location)
        places = []
        if location.confidence >= MIN_LOCATED:
            places.append((location.centre_px, location.confidence))
        known = self._stack.nearest(frame.slice_index)
        if known is not None:
            sighting, apart = known
            neighbour = (sighting.centre_px, min(sighting.confidence, location.confidence))
            jump_mm = _distance_mm(sighting.centre_px, location.centre_px, frame)
            if jump_mm <= JUMP_MM + DRIFT_PER_SLICE_MM * (apart - 1):
                surer = location.confidence < UNSURE * sighting.confidence
                places.insert(0 if surer else len(places), neighbour)
            elif self._stack.is_settled(frame) or location.confidence <= sighting.confidence:
                places = [neighbour]
        return [
            Aim(self._view(frame, centre, septum), inferred, confidence, location.septum_confidence)
            for centre, confidence in places
        ]

    def _septum(self, frame: Frame, location: Location) -> tuple[float, bool]:
        """Direction of mid-septum, and whether it was inferred from other slices."""
        usual = self._stack.usual_septum(frame.slice_index)
        if usual is None:
            return location.septum_deg, location.septum_confidence < MIN_SEPTUM
        turned = abs(angle_between_deg(location.septum_deg, usual)) > TURN_DEG
        if location.septum_confidence < (0.5 if turned else MIN_SEPTUM):
            return usual, True
        return location.septum_deg, False

    def _taken_again(self, frame: Frame, aim: Aim, reading: MaskReading) -> Calls[Aim]:
        """The view moved onto what its own mask shows, until it fits."""
        for _ in range(AGAIN):
            turn = abs(angle_between_deg(reading.septum_in_view_deg, SEPTUM_IN_VIEW_DEG))
            if off_middle_mm(reading, aim.view) <= AIM_MM and turn <= AIM_DEG:
                break
            inferred = aim.inferred and reading.septum is None
            view = self._view(frame, centre_in_source(reading, aim.view), septum_in_source(reading, aim.view))
            better = replace(aim, view=view, inferred=inferred)
            again = yield from self._read(frame, better)
            if isinstance(again, NoVentricle):
                break
            aim, reading = better, again
        return aim

    def _read(self, frame: Frame, aim: Aim) -> Calls[MaskReading | NoVentricle]:
        """What the network draws in a view, from the zero state."""
        shapes = self._stepper.shapes
        call = StepCall(view_input(frame, aim.view), State.zeros(shapes))
        yield call
        return read_mask(call.answer.mask[0], aim.view.mm_per_px, shapes.layout)

    def _view(self, frame: Frame, centre_px: tuple[float, float], septum_deg: float) -> View:
        shapes = self._stepper.shapes
        return view_of_frame(frame, centre_px, septum_deg, shapes.view_px, shapes.view_mm_per_px)


def view_input(frame: Frame, view: View) -> Floats:
    """The step graph's ``frame`` tensor, [1, 1, S, S] float32."""
    return np.ascontiguousarray(normalise(view.crop(frame.pixels))[None, None])


def off_middle_mm(reading: MaskReading, view: View) -> float:
    """Distance of the cavity's centroid from the view's middle, mm."""
    x, y = reading.rays.centre_px
    middle = (view.size_px - 1) / 2
    return math.hypot(x - middle, y - middle) * view.mm_per_px


def _distance_mm(a_px: tuple[float, float], b_px: tuple[float, float], frame: Frame) -> float:
    row_mm, column_mm = frame.spacing_mm
    return math.hypot((a_px[0] - b_px[0]) * column_mm, (a_px[1] - b_px[1]) * row_mm)
