"""Measuring one slice: locate the heart, hold the view still, step through the frames, read the results.

The one way from frames to measurements, for the runtime's stream and for evaluation alike; only the stepper
differs (an engine, or the network itself).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from lvedge.beat import Beat, BeatTracker, cycle_from_measurements
from lvedge.contract import Floats, State, Stepper
from lvedge.frame import Frame
from lvedge.geometry import angle_between_deg, circular_median_deg
from lvedge.indices import Indices, Phase
from lvedge.locate import Location, location_from_points, locator_input, locator_view
from lvedge.measurement import Cycle, Measurement, Mode
from lvedge.quality import QualityModel, quality_features
from lvedge.reading import MaskReading, NoVentricle, centre_in_source, read_mask, septum_in_source
from lvedge.view import SEPTUM_IN_VIEW_DEG, View, normalise, view_of_frame

MIN_LOCATED = 0.25
"""Peak probability of the LV centre under which the locator has not found a heart."""

MIN_SEPTUM = 0.2
"""Peak probability of both insertions under which the septum is taken from neighbouring slices."""

AIM_MM = 2.0
AIM_DEG = 6.0
"""A first view further off than this is taken again around what its own mask shows."""

AIMS = 2
"""How often a view may be taken again before a slice begins."""

DRIFT_MM = 15.0
"""A cavity further from the view's middle than this has left the view: the heart is located afresh."""

NO_HEART = "no heart was located in this frame"


@dataclass
class Stack:
    """What the slices of one series know of each other: where the neighbours saw the LV and its septum.

    Args:
        centres_px: LV centre by slice, source pixels.
        septa_deg: mid-septum by slice, as seen there.
    """

    centres_px: dict[int, tuple[float, float]] = field(default_factory=dict)
    septa_deg: dict[int, float] = field(default_factory=dict)

    def nearest_centre(self, slice_index: int) -> tuple[float, float] | None:
        """The LV centre of the nearest slice that has one."""
        if not self.centres_px:
            return None
        return self.centres_px[min(self.centres_px, key=lambda k: abs(k - slice_index))]

    def usual_septum(self, slice_index: int, neighbours: int = 4) -> float | None:
        """Circular median of the nearest slices' septa."""
        nearest = sorted(self.septa_deg, key=lambda k: abs(k - slice_index))[:neighbours]
        return circular_median_deg(np.array([self.septa_deg[k] for k in nearest])) if nearest else None


@dataclass(frozen=True)
class _Aim:
    """A view and whether its septum was inferred."""

    view: View
    inferred: bool


@dataclass(frozen=True)
class _Seen:
    """One frame after its step, before the values are final."""

    frame: Frame
    aim: _Aim
    indices: Floats
    phase: Floats
    mask: Floats
    features: Floats
    reading: MaskReading | NoVentricle
    latency_ms: Mapping[str, float]


class SliceMeasurer:
    """Measures the frames of one slice of one series; a new slice takes a new measurer, so state never leaks.

    Args:
        stepper: executes the graphs.
        quality: judges the values.
        stack: what the other slices of the series know; updated by this one.
    """

    def __init__(self, stepper: Stepper, quality: QualityModel, stack: Stack | None = None) -> None:
        self._stepper = stepper
        self._quality = quality
        self._stack = stack if stack is not None else Stack()
        self._state = State.zeros(stepper.shapes)
        self._aim: _Aim | None = None
        self._previous: Indices | None = None
        self._beats = BeatTracker()
        self._lost = False

    # --- the two modes -------------------------------------------------------------------------

    def measure_closed(self, frames: Sequence[Frame], once: bool = False) -> Iterator[Measurement]:
        """All frames of a gated slice: played once to warm the state, then reported.

        Feature vectors do not depend on the state, so the second pass replays the recurrent layers only.
        A single frame is no beat and is reported cold.

        Args:
            frames: the slice's frames in phase order.
            once: report the first pass (the cold reading), for comparison.
        """
        if not frames:
            return
        self._aim = self._first_aim(frames)
        first_pass = [self._step(frame) for frame in frames]
        again = len(frames) > 1 and not once
        for frame, seen in zip(frames, first_pass, strict=True):
            final = self._replay(seen) if again and seen is not None else seen
            yield self._measurement(final, frame, Mode.CLOSED, settled=again)

    def measure_live(self, frame: Frame) -> tuple[Measurement, Beat | None]:
        """The next frame of a live slice, and the beat that it completes, if it does.

        Args:
            frame: the next frame in phase order.
        """
        if self._aim is None or self._lost:
            fresh = self._first_aim([frame])
            if fresh is not None and self._aim is not None:
                self._state = State.zeros(self._stepper.shapes)
            self._aim = fresh if fresh is not None else self._aim
        measurement = self._measurement(self._step(frame), frame, Mode.LIVE, settled=self._beats.settled)
        self._lost = not measurement.measured
        return measurement, self._beats.add(measurement)

    @staticmethod
    def cycle(measurements: Sequence[Measurement]) -> Cycle:
        """The beat of a closed slice."""
        return cycle_from_measurements(measurements, Mode.CLOSED)

    # --- finding the heart ---------------------------------------------------------------------

    def _first_aim(self, frames: Sequence[Frame]) -> _Aim | None:
        """The view of the slice: located, then taken again around what its own mask shows."""
        tries = [frames[0]] if len(frames) < 3 else [frames[0], frames[len(frames) // 2]]
        locations = [self._locate(frame) for frame in tries]
        best = max(range(len(tries)), key=lambda k: locations[k].confidence)
        frame, location = tries[best], locations[best]
        aim = self._aim_from_location(frame, location)
        for _ in range(AIMS):
            better = self._aimed_again(frame, aim) if aim is not None else None
            if better is None:
                break
            aim = better
        return aim

    def _locate(self, frame: Frame) -> Location:
        view = locator_view(frame, self._stepper.shapes)
        points, confidence = self._stepper.locate(locator_input(frame, view))
        return location_from_points(points[0], confidence[0], view)

    def _aim_from_location(self, frame: Frame, location: Location) -> _Aim | None:
        usual = self._stack.usual_septum(frame.slice_index)
        seen = location.septum_confidence >= MIN_SEPTUM
        septum = location.septum_deg if seen or usual is None else usual
        centre = location.centre_px
        if location.confidence < MIN_LOCATED:
            known = self._stack.nearest_centre(frame.slice_index)
            if known is None:
                return None
            centre = known
        return _Aim(self._view(frame, centre, septum), inferred=not seen)

    def _aimed_again(self, frame: Frame, aim: _Aim) -> _Aim | None:
        """A better view by the mask that this one gives; None where it is good enough or shows no LV."""
        step = self._stepper.step(self._input(frame, aim.view), State.zeros(self._stepper.shapes))
        reading = read_mask(step.mask[0], aim.view.mm_per_px, self._stepper.shapes.layout)
        if isinstance(reading, NoVentricle):
            return None
        turn = abs(angle_between_deg(reading.septum_in_view_deg, SEPTUM_IN_VIEW_DEG))
        if _off_middle_mm(reading, aim.view) <= AIM_MM and turn <= AIM_DEG:
            return None
        septum, inferred = aim.view.septum_deg, aim.inferred
        if reading.septum is not None:
            septum, inferred = septum_in_source(reading, aim.view), False
        return _Aim(self._view(frame, centre_in_source(reading, aim.view), septum), inferred)

    def _view(self, frame: Frame, centre_px: tuple[float, float], septum_deg: float) -> View:
        shapes = self._stepper.shapes
        return view_of_frame(frame, centre_px, septum_deg, shapes.view_px, shapes.view_mm_per_px)

    # --- stepping ------------------------------------------------------------------------------

    @staticmethod
    def _input(frame: Frame, view: View) -> Floats:
        return np.ascontiguousarray(normalise(view.crop(frame.pixels))[None, None])

    def _step(self, frame: Frame) -> _Seen | None:
        """One frame through the network; None where there is no view to look through."""
        if self._aim is None:
            return None
        aim = self._aim
        started = perf_counter()
        picture = self._input(frame, aim.view)
        viewed = perf_counter()
        step = self._stepper.step(picture, self._state)
        stepped = perf_counter()
        reading = read_mask(step.mask[0], aim.view.mm_per_px, self._stepper.shapes.layout)
        done = perf_counter()
        self._state = step.state
        latency = {"view": viewed - started, "step": stepped - viewed, "read": done - stepped}
        return _Seen(
            frame=frame,
            aim=aim,
            indices=step.indices[0],
            phase=step.phase[0],
            mask=step.mask[0],
            features=step.features,
            reading=reading,
            latency_ms={stage: 1e3 * seconds for stage, seconds in latency.items()},
        )

    def _replay(self, seen: _Seen) -> _Seen:
        started = perf_counter()
        result = self._stepper.replay(seen.features, self._state)
        self._state = result.state
        latency = {**seen.latency_ms, "replay": 1e3 * (perf_counter() - started)}
        return replace(seen, indices=result.indices[0], phase=result.phase[0], latency_ms=latency)

    # --- results -------------------------------------------------------------------------------

    def _measurement(self, seen: _Seen | None, frame: Frame, mode: Mode, settled: bool) -> Measurement:
        if seen is None:
            return Measurement(frame=frame, measured=False, reason=NO_HEART, mode=mode)
        view, reading = seen.aim.view, seen.reading
        if isinstance(reading, NoVentricle):
            return Measurement(
                frame=frame,
                measured=False,
                reason=reading.reason,
                mode=mode,
                view=view,
                latency_ms=seen.latency_ms,
            )
        layout = self._stepper.shapes.layout
        values_px = np.maximum(seen.indices.astype(np.float64), 0.0)
        indices = Indices(values_px * view.mm_per_px ** layout.unit_power(), layout)
        drift_mm = _off_middle_mm(reading, view)
        if drift_mm > DRIFT_MM:
            reason = f"the cavity lies {drift_mm:.0f} mm from where the heart was located"
            return Measurement(
                frame=frame, measured=False, reason=reason, mode=mode, view=view, latency_ms=seen.latency_ms
            )
        quality = self._quality.quality(quality_features(indices, reading, self._previous))
        self._previous = indices
        septum_deg = septum_in_source(reading, view)
        self._stack.centres_px[frame.slice_index] = centre_in_source(reading, view)
        if reading.septum is not None:
            self._stack.septa_deg[frame.slice_index] = septum_deg
        p_systole = float(seen.phase[1])
        return Measurement(
            frame=frame,
            measured=True,
            mode=mode,
            indices=indices,
            geometric=reading.indices,
            phase=Phase.from_probability(p_systole),
            p_systole=p_systole,
            phase_settled=settled,
            quality=quality,
            wall_max_mm=reading.rays.wall_max_mm,
            view=view,
            septum_deg=septum_deg,
            septum_inferred=reading.septum is None and seen.aim.inferred,
            mask=seen.mask,
            latency_ms=seen.latency_ms,
        )


def _off_middle_mm(reading: MaskReading, view: View) -> float:
    """Distance of the cavity's centroid from the view's middle, mm."""
    x, y = reading.rays.centre_px
    middle = (view.size_px - 1) / 2
    return float(np.hypot(x - middle, y - middle)) * view.mm_per_px
