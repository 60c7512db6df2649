"""Beats: the summary of a closed beat, and finding end diastole and end systole in a running stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lvedge.frame import Frame
from lvedge.indices import Phase
from lvedge.measurement import Cycle, Measurement, Mode
from lvedge.phase import end_frames, is_systole

FEWEST_FRAMES = 5
"""A beat of fewer measured frames has no reliable extremes."""

FEWEST_SHARE = 0.7
"""Share of a slice's frames that have to be measured for a cycle."""

TURN = 0.12
"""A turn of the cavity area counts once the area has moved this share of it away from the extreme."""


def cycle_from_measurements(measurements: Sequence[Measurement], mode: Mode) -> Cycle:
    """The summary of one beat of one slice.

    Args:
        measurements: all frames of the beat, in order, measured or not; at least one.
        mode: how the cine was played.

    Raises:
        ValueError: if there is no frame.
    """
    if not measurements:
        raise ValueError("a cycle needs at least one frame")
    first = measurements[0].frame
    found = [m for m in measurements if m.measured and m.indices is not None]
    quality = float(np.median([m.quality for m in found])) if found else 0.0

    def cycle(**more: object) -> Cycle:
        return Cycle(
            series=first.series,
            slice_index=first.slice_index,
            mode=mode,
            frames=len(measurements),
            measured=len(found),
            quality=quality,
            slice_count=first.slice_count,
            missing=missing_phases([m.frame for m in measurements], mode),
            provisional=first.provisional,
            **more,  # type: ignore[arg-type]
        )

    if len(measurements) < FEWEST_FRAMES:
        return cycle(reason=f"{len(measurements)} frames are no beat; at least {FEWEST_FRAMES} are needed")
    if len(found) < FEWEST_SHARE * len(measurements):
        return cycle(reason=f"an LV was measured in {len(found)} of {len(measurements)} frames only")
    areas = [m.indices.areas_mm2[0] for m in found if m.indices is not None]
    ed, es = (found[k] for k in end_frames(areas))
    if ed.indices is None or es.indices is None:
        raise AssertionError("a measured frame has no values")
    ed_area, es_area = ed.indices.areas_mm2[0], es.indices.areas_mm2[0]
    return cycle(
        ed_frame=ed.frame.frame_index,
        es_frame=es.frame.frame_index,
        ed=ed.indices,
        es=es.indices,
        fac=float((ed_area - es_area) / ed_area),
        thickening=(es.indices.rwt_mm - ed.indices.rwt_mm) / np.maximum(ed.indices.rwt_mm, 1.0),
    )


def in_phase(measurements: Sequence[Measurement]) -> Sequence[Measurement]:
    """One closed beat of a slice, each frame's phase its place between the beat's own ED and ES.

    Over a whole beat the areas say the phase as it is defined, better than any frame-by-frame judgement
    (``docs/accuracy.md``), and the phases agree with the cycle that is reported beside them.

    Args:
        measurements: all frames of the beat, in order, measured or not; at least one.

    Returns:
        The measurements; as they are where the beat has no cycle.
    """
    cycle = cycle_from_measurements(measurements, Mode.CLOSED)
    if cycle.ed is None:
        return measurements
    place = {m.frame.frame_index: k for k, m in enumerate(measurements)}
    ed, es = place[cycle.ed_frame or 0], place[cycle.es_frame or 0]
    systole = is_systole(np.arange(len(measurements)), ed, es, len(measurements))
    phases = [Phase.SYSTOLE if truth else Phase.DIASTOLE for truth in systole]
    return [
        replace(m, phase=phase) if m.measured and m.phase is not phase else m
        for m, phase in zip(measurements, phases, strict=True)
    ]


def missing_phases(frames: Sequence[Frame], mode: Mode) -> tuple[int, ...]:
    """Phases that the source knows of and did not give, counted from 0.

    Args:
        frames: the frames of one beat, in order.
        mode: a closed beat has all phases that its tags state; of a live one only gaps are known.
    """
    there = [frame.phase_index for frame in frames if frame.phase_index is not None]
    if not there:
        return ()
    expected = range(there[0], there[-1] + 1)
    if mode is Mode.CLOSED:
        expected = range(max(there[-1] + 1, frames[0].phase_count or 0))
    return tuple(sorted(set(expected).difference(there)))


@dataclass(frozen=True)
class Beat:
    """A beat of a live stream.

    Args:
        cycle: its summary.
        measurements: its frames, from end diastole to the frame before the next.
    """

    cycle: Cycle
    measurements: Sequence[Measurement]


@dataclass
class BeatTracker:
    """Watches the cavity area of a live stream for its turns.

    A beat runs from one end diastole to the next. ``settled`` turns true once one maximum and one minimum
    have been seen.
    """

    settled: bool = False
    _since_ed: list[Measurement] = field(default_factory=list)
    _high: float = 0.0
    _low: float = np.inf
    _high_at: int = 0
    _falling: bool | None = None
    _turns: int = 0

    def add(self, measurement: Measurement) -> Beat | None:
        """Take in a frame; the beat that it completes, if it does.

        Args:
            measurement: the next frame of the slice, measured or not.
        """
        self._since_ed.append(measurement)
        if not measurement.measured or measurement.indices is None:
            return None
        area = float(measurement.indices.areas_mm2[0])
        at = len(self._since_ed) - 1
        if self._falling is not True and area >= self._high:
            self._high, self._high_at = area, at
        if self._falling is not False and area <= self._low:
            self._low = area
        if self._falling is not True and area < (1.0 - TURN) * self._high:
            return self._turned_down(area)
        if self._falling is not False and area > (1.0 + TURN) * self._low:
            self._turned_up(area, at)
        return None

    def _turned_down(self, area: float) -> Beat | None:
        """The maximum has passed: that frame was end diastole, and the beat before it is complete."""
        beat, self._since_ed = self._since_ed[: self._high_at], self._since_ed[self._high_at :]
        complete = self._turns >= 2 and len(beat) >= FEWEST_FRAMES
        if self._turns == 2:
            # The stream's own beginning passed for end diastole: one only if as large as this one.
            first = next(m.indices for m in beat if m.indices is not None)
            complete = complete and bool(first.areas_mm2[0] >= (1.0 - TURN / 2) * self._high)
        self._note_turn()
        self._falling, self._low = True, area
        return Beat(cycle_from_measurements(beat, Mode.LIVE), beat) if complete else None

    def _turned_up(self, area: float, at: int) -> None:
        """The minimum has passed: that frame was end systole."""
        self._note_turn()
        self._falling, self._high, self._high_at = False, area, at

    def _note_turn(self) -> None:
        # The first turn may be the stream's own beginning; two later ones are a real maximum and minimum.
        self._turns += 1
        self.settled = self._turns >= 2
