"""Measuring one slice: aim, hold the view still, step through the frames, read the results.

The one way from frames to measurements, for the runtime's stream and for evaluation alike; only the stepper
differs (an engine, or the network itself). What it does between two steps and the steps themselves are apart:
``closed_calls`` and ``live_calls`` ask for steps, so that those of several streams can go as one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from time import perf_counter
from typing import NamedTuple

import numpy as np

from lvedge.aim import Aim, Aimer, Sighting, Stack, off_middle_mm, view_input
from lvedge.beat import Beat, BeatTracker, cycle_from_measurements, in_phase
from lvedge.contract import Calls, Floats, State, StepCall, Stepper, run_calls
from lvedge.frame import Frame
from lvedge.indices import FloatArray, IndexLayout, Indices, Phase
from lvedge.measurement import Cycle, Measurement, Mode
from lvedge.quality import QualityModel, quality_features
from lvedge.reading import NoVentricle, centre_in_source, read_mask, septum_in_source
from lvedge.view import View

DRIFT_MM = 15.0
"""A cavity further from the view's middle than this has left the view: the heart is located afresh."""

NO_HEART = "no heart was located in this frame"


class _Look(NamedTuple):
    """One frame as the step takes it, and what it took so far."""

    aim: Aim
    view: Floats
    latency_ms: Mapping[str, float]


class _Seen(NamedTuple):
    """One frame after its step; its mask is read when its result is made."""

    aim: Aim
    indices: Floats
    phase: Floats
    mask: Floats
    features: Floats
    latency_ms: Mapping[str, float]


class SliceMeasurer:
    """Measures the frames of one slice of one series; a new slice takes a new measurer, so state never leaks.

    Args:
        stepper: executes the graphs, but for the steps that are asked for as calls.
        quality: judges the values.
        stack: what the other slices of the series know; updated by this one.
        view: what the frames are measured through, where it is known; None finds it.
    """

    def __init__(
        self,
        stepper: Stepper,
        quality: QualityModel,
        stack: Stack | None = None,
        view: View | None = None,
    ) -> None:
        self._stepper = stepper
        self._quality = quality
        self._stack = stack if stack is not None else Stack()
        self._aimer = Aimer(stepper, self._stack)
        self._known = (
            Aim(view, inferred=False, confidence=1.0, septum_confidence=1.0) if view is not None else None
        )
        self._state = State.zeros(stepper.shapes)
        self._aim: Aim | None = None
        self._aim_ms = 0.0
        self._previous: Indices | None = None
        self._beats = BeatTracker()
        self._lost = False

    def measure_closed(self, frames: Sequence[Frame], once: bool = False) -> Iterator[Measurement]:
        """All frames of a gated slice: played once to warm the state, then reported.

        Feature vectors do not depend on the state, so the second pass replays the recurrent layers only.
        Where the beat has a cycle, a frame's phase is its place between that cycle's ED and ES; the
        classification layer's word remains in ``p_systole``. A single frame is no beat and is reported cold.

        Args:
            frames: the slice's frames in phase order.
            once: report the first pass (the cold reading), for comparison.
        """
        yield from run_calls(self.closed_calls(frames, once), self._stepper)

    def closed_calls(self, frames: Sequence[Frame], once: bool = False) -> Calls[Iterator[Measurement]]:
        """As ``measure_closed``, the steps being the caller's to run; all come before the first result."""
        if frames:
            yield from self._take_aim(frames)
        # All views first, and masks only when results are made: between two steps, each of which empties the
        # caches, the same work takes twice as long.
        looks = [self._look(frame) for frame in frames]
        first_pass = []
        for look in looks:
            seen = yield from self._step(look)
            first_pass.append(seen)
        return self._reported(frames, first_pass, once)

    def _reported(
        self, frames: Sequence[Frame], first_pass: Sequence[_Seen | None], once: bool
    ) -> Iterator[Measurement]:
        again = len(frames) > 1 and not once
        measurements = []
        for frame, seen in zip(frames, first_pass, strict=True):
            final = self._replay(seen) if again and seen is not None else seen
            measurements.append(self._measurement(final, frame, Mode.CLOSED, settled=again))
        yield from in_phase(measurements) if again else measurements

    def measure_live(self, frame: Frame) -> tuple[Measurement, Beat | None]:
        """The next frame of a live slice, and the beat that it completes, if it does.

        Args:
            frame: the next frame in phase order.
        """
        return run_calls(self.live_calls(frame), self._stepper)

    def live_calls(self, frame: Frame) -> Calls[tuple[Measurement, Beat | None]]:
        """As ``measure_live``, the steps being the caller's to run."""
        if self._aim is None or self._lost:
            before = self._aim
            yield from self._take_aim([frame])
            if self._aim is None:
                self._aim = before
            elif before is not None:
                self._state = State.zeros(self._stepper.shapes)
        seen = yield from self._step(self._look(frame))
        measurement = self._measurement(seen, frame, Mode.LIVE, settled=self._beats.settled)
        self._lost = not measurement.measured
        return measurement, self._beats.add(measurement)

    @staticmethod
    def cycle(measurements: Sequence[Measurement]) -> Cycle:
        """The beat of a closed slice."""
        return cycle_from_measurements(measurements, Mode.CLOSED)

    def _take_aim(self, frames: Sequence[Frame]) -> Calls[None]:
        started = perf_counter()
        self._aim = self._known or (yield from self._aimer.aim(frames))
        self._aim_ms = 1e3 * (perf_counter() - started)

    def _look(self, frame: Frame) -> _Look | None:
        """A frame in its view; None where there is no view to look through."""
        if self._aim is None:
            return None
        started = perf_counter()
        view = view_input(frame, self._aim.view)
        latency = {"locate": self._aim_ms, "view": 1e3 * (perf_counter() - started)}
        self._aim_ms = 0.0  # paid by the slice's first frame
        return _Look(self._aim, view, latency)

    def _step(self, look: _Look | None) -> Calls[_Seen | None]:
        """What was looked at through the network."""
        if look is None:
            return None
        call = StepCall(look.view, self._state)
        started = perf_counter()
        yield call
        step = call.answer
        latency = {**look.latency_ms, "step": 1e3 * (perf_counter() - started)}
        self._state = step.state
        return _Seen(
            aim=look.aim,
            indices=step.indices[0],
            phase=step.phase[0],
            mask=step.mask[0],
            features=step.features,
            latency_ms=latency,
        )

    def _replay(self, seen: _Seen) -> _Seen:
        started = perf_counter()
        result = self._stepper.replay(seen.features, self._state)
        self._state = result.state
        latency = {**seen.latency_ms, "replay": 1e3 * (perf_counter() - started)}
        return seen._replace(indices=result.indices[0], phase=result.phase[0], latency_ms=latency)

    def _measurement(self, seen: _Seen | None, frame: Frame, mode: Mode, settled: bool) -> Measurement:
        if seen is None:
            return Measurement(frame=frame, measured=False, reason=NO_HEART, mode=mode)
        view, layout = seen.aim.view, self._stepper.shapes.layout
        started = perf_counter()
        reading = read_mask(seen.mask, view.mm_per_px, layout)
        latency_ms = {**seen.latency_ms, "read": 1e3 * (perf_counter() - started)}

        def refused(reason: str, centre_px: tuple[float, float] | None = None) -> Measurement:
            """A frame that was looked at and shows no LV."""
            return Measurement(
                frame=frame,
                measured=False,
                reason=reason,
                mode=mode,
                view=view,
                centre_px=centre_px,
                latency_ms=latency_ms,
            )

        if isinstance(reading, NoVentricle):
            return refused(reading.reason)
        drift_mm = off_middle_mm(reading, view)
        if drift_mm > DRIFT_MM:
            return refused(f"the cavity lies {drift_mm:.0f} mm from where the heart was located")
        indices = Indices(np.maximum(seen.indices, 0.0) * _units_mm(layout, view.mm_per_px), layout)
        signs = quality_features(indices, reading, self._previous, seen.aim, frame)
        centre_px, objection = centre_in_source(reading, view), self._quality.objection(signs)
        if objection is not None:
            return refused(objection, centre_px)
        self._previous = indices
        septum_deg = septum_in_source(reading, view)
        self._stack.sightings[frame.slice_index] = Sighting(centre_px, seen.aim.confidence)
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
            quality=self._quality.quality(signs),
            signs=signs,
            wall_max_mm=reading.rays.wall_max_mm,
            view=view,
            centre_px=centre_px,
            septum_deg=septum_deg,
            septum_inferred=reading.septum is None and seen.aim.inferred,
            mask=seen.mask,
            latency_ms=latency_ms,
        )


@lru_cache(maxsize=8)
def _units_mm(layout: IndexLayout, mm_per_px: float) -> FloatArray:
    """One in view pixels or square view pixels, in mm or mm², for each value, [L]."""
    units: FloatArray = mm_per_px ** layout.unit_power()
    return units
