"""A frame as a source gives it: grey values, the geometry that its tags state, and its place in the cine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

# Mean direction of a short-axis slice's normal, base to apex turned so that the anterior wall follows
# clockwise on mid-septum, in DICOM's patient coordinates (LPS).
SHORT_AXIS_NORMAL_LPS = (-0.62, 0.67, 0.41)
HANDEDNESS_LIMIT = 0.5


class Handedness(str, Enum):
    """Which way round a picture shows the heart; the value goes into results as ``view.orientation``."""

    RADIOLOGICAL = "tags"
    """By its tags, AS follows clockwise on mid-septum."""
    MIRRORED = "tags, mirrored"
    """By its tags, AS follows counter-clockwise: the view flips the picture."""
    ASSUMED = "assumed"
    """No usable orientation: the usual radiological view is assumed."""


@dataclass(frozen=True)
class Orientation:
    """Directions of a frame's rows and columns in patient coordinates (LPS), as in DICOM (0020,0037).

    Args:
        row: unit vector along a row, i.e. towards increasing column index.
        column: unit vector along a column, i.e. towards increasing row index.
    """

    row: tuple[float, float, float]
    column: tuple[float, float, float]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Slice normal, row × column, [3]."""
        return np.cross(np.asarray(self.row, dtype=float), np.asarray(self.column, dtype=float))


@dataclass(frozen=True)
class Subject:
    """What a rule may need to know of the person: never a name, a number or a date.

    Args:
        sex: "F" or "M", or None where unknown.
        age_years: age at the examination, or None where unknown.
        body_surface_m2: body surface area, or None where unknown.
    """

    sex: str | None = None
    age_years: float | None = None
    body_surface_m2: float | None = None


@dataclass(frozen=True)
class Frame:
    """One short-axis picture of a cine.

    Args:
        pixels: [rows, columns] float32 grey values; finite. The frame owns them, nobody writes to them.
        spacing_mm: distance between rows and between columns, (row, column), mm.
        series: name of the series, unique within its source and safe as a file name; never a patient's name.
        slice_index: position in the stack, from 0.
        frame_index: position in the cine, from 0.
        time_ms: time since the R wave (trigger time), or None where the source does not say.
        orientation: directions of rows and columns, or None where the source does not say.
        position_mm: patient coordinates (LPS) of the centre of the first pixel, or None.
        cine_length: number of frames of this slice where the source holds them all; None when frames
            arrive one by one and nobody knows how many will come.
        slice_count: number of slices of the stack where the source knows it, or None.
        subject: what is known of the person.
        origin: what the frame was read from (a file name, a key), for messages.
        spacing_source: where the spacing came from: "tags", "user" or "file".
        phase_index: place in the beat, from 0, as the source's tags say it, or None; it runs ahead of
            ``frame_index`` where pictures of the beat are missing.
        phase_count: phases that the beat has by its tags, there or not, or None.
        provisional: the series is still arriving and its slices are numbered as they came; the same frame
            comes again when the series is whole.
        due_s: since when it could be measured, seconds on the monotonic clock, or None where nobody waits.
    """

    pixels: Pixels
    spacing_mm: tuple[float, float]
    series: str
    slice_index: int = 0
    frame_index: int = 0
    time_ms: float | None = None
    orientation: Orientation | None = None
    position_mm: tuple[float, float, float] | None = None
    cine_length: int | None = None
    slice_count: int | None = None
    subject: Subject = Subject()
    origin: str = ""
    spacing_source: str = "tags"
    phase_index: int | None = None
    phase_count: int | None = None
    provisional: bool = False
    due_s: float | None = None

    @property
    def handedness(self) -> Handedness:
        """Which way round the picture is, from its orientation alone."""
        if self.orientation is None:
            return Handedness.ASSUMED
        cosine = float(self.orientation.normal @ np.asarray(SHORT_AXIS_NORMAL_LPS))
        if cosine >= HANDEDNESS_LIMIT:
            return Handedness.RADIOLOGICAL
        if cosine <= -HANDEDNESS_LIMIT:
            return Handedness.MIRRORED
        return Handedness.ASSUMED


@dataclass(frozen=True)
class Rejected:
    """Something in a source that is not measured, and why; the rest of the source goes on.

    Args:
        item: the file, entry or series, by name.
        reason: what is wrong with it and what to do, one line.
        series: the series it belongs to, where that is known.
    """

    item: str
    reason: str
    series: str | None = None


@dataclass(frozen=True)
class Receipt:
    """A source gave all of a series, and may forget these instances once their results are safe.

    Args:
        series: its name, as provisional frames of it have it.
        numbers: its instances, as the journal counts them.
    """

    series: str
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class SeriesEnd:
    """Nothing more comes of a series; one that is received may come again, whole, after a latecomer.

    Args:
        series: its name.
    """

    series: str


@dataclass(frozen=True)
class NotYet:
    """A source that is read ahead has nothing at this moment, and has not come to its end."""


Given = Frame | Rejected | SeriesEnd | Receipt
"""What a source gives."""
