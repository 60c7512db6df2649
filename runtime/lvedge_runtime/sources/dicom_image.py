"""One DICOM picture as a value: where it lies, when it was taken, how its stored values are meant."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lvedge.errors import SourceError
from lvedge.frame import Orientation, Subject
from lvedge_runtime.sources.dicom_header import Header, numbers_from_text

ENHANCED = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR
        "1.2.840.10008.5.1.4.1.1.4.3",  # Enhanced MR Color
        "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR
    }
)
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9](?:\.[0-9]{1,6})?)")
MOST_FRAMES = 20_000
"""A stack of 20 slices over 40 beats of 25 phases."""

_LEAST_OF_FRAME_BYTES = 8
"""A compressed frame's item tag and length (DICOM PS3.5, A.4)."""

_DAYS = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}


@dataclass(frozen=True)
class Image:
    """One picture: a file, or one frame of a multi-frame file.

    Args:
        path: the file.
        item: its name for messages.
        header: the file's header.
        index: the frame's place in the file, from 0.
        frames: number of frames in the file.
        orientation: directions of rows and columns, or None.
        position_mm: centre of the first pixel, LPS, or None.
        spacing_mm: (row, column), or None.
        time_ms: delay after the R wave, or None.
        temporal: the phase's number, or None.
        acquired_s: when it was taken, seconds since midnight, or None.
        slope, intercept: stored values to grey values.
    """

    path: Path
    item: str
    header: Header
    index: int = 0
    frames: int = 1
    orientation: Orientation | None = None
    position_mm: tuple[float, float, float] | None = None
    spacing_mm: tuple[float, float] | None = None
    time_ms: float | None = None
    temporal: float | None = None
    acquired_s: float | None = None
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def series_uid(self) -> str:
        return self.header.text("SeriesInstanceUID")

    @cached_property
    def rows(self) -> int:
        return self.header.whole("Rows")

    @cached_property
    def columns(self) -> int:
        return self.header.whole("Columns")


def images_from_header(path: Path, item: str, header: Header) -> list[Image]:
    """The pictures of a file; those of a multi-frame file in stored order.

    Raises:
        SourceError: if a multi-frame file's frames are not described, or are too many.
    """
    frames = max(header.whole("NumberOfFrames", 1), 1)
    if frames > MOST_FRAMES:
        raise SourceError(f"a file of {frames} frames; at most {MOST_FRAMES} are read")
    if frames > 1 and frames > _most_frames_in(path, header):
        raise SourceError(f"a file of {frames} frames that holds pixels for fewer; export the file again")
    if header.text("SOPClassUID") in ENHANCED:
        return _images_from_groups(path, item, header, frames)
    shared: dict[str, Any] = {
        "orientation": orientation_from_numbers(header.numbers("ImageOrientationPatient", 6)),
        "position_mm": header.numbers("ImagePositionPatient", 3),
        "spacing_mm": header.numbers("PixelSpacing", 2),
        "acquired_s": seconds_from_text(
            header.text("AcquisitionDateTime")[8:] or header.text("AcquisitionTime")
        ),
        **_scaling(header.text("RescaleSlope"), header.text("RescaleIntercept")),
    }
    if frames == 1:
        time = header.number("TriggerTime")
        if time is None:
            time = header.number("NominalCardiacTriggerDelayTime")
        temporal = header.number("TemporalPositionIdentifier")
        return [Image(path, item, header, time_ms=time, temporal=temporal, **shared)]
    return [
        Image(path, f"{item} frame {k}", header, k, frames, temporal=float(k), **shared)
        for k in range(frames)
    ]


def _most_frames_in(path: Path, header: Header) -> int:
    """For how many frames a file has room: a few bytes that state thousands do not make thousands."""
    if header.pixel_offset is None:
        return path.stat().st_size // _LEAST_OF_FRAME_BYTES
    bits = header.whole("Rows") * header.whole("Columns") * max(1, header.whole("BitsAllocated"))
    return 8 * header.pixel_bytes // max(1, bits)


def orientation_from_numbers(values: tuple[float, ...] | None) -> Orientation | None:
    """Directions from the numbers of (0020,0037), or None where they are no unit vectors at right angles."""
    if values is None:
        return None
    row, column = np.asarray(values[:3]), np.asarray(values[3:])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if not all(0.99 < length < 1.01 for length in lengths) or abs(float(row @ column)) > 0.01:
        return None
    row, column = row / lengths[0], column / lengths[1]
    return Orientation(row=tuple(row.tolist()), column=tuple(column.tolist()))


def seconds_from_text(text: str) -> float | None:
    """Seconds since midnight of a DICOM time (``HHMMSS.FFFFFF``, a zone behind it left out), or None."""
    found = _TIME.match(text)
    if found is None:
        return None
    hours, minutes, seconds = (float(part) for part in found.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds


def subject_from_header(header: Header) -> Subject:
    """Sex, age and body surface (Mosteller, NEJM 317:1098, 1987), as far as the tags say them credibly."""
    sex = header.text("PatientSex")
    age_text = header.text("PatientAge")
    age: float | None = None
    if len(age_text) == 4 and age_text[:3].isdigit() and age_text[3] in _DAYS:
        age = int(age_text[:3]) / _DAYS[age_text[3]]
    height_m, weight_kg = header.number("PatientSize"), header.number("PatientWeight")
    surface: float | None = None
    if height_m and weight_kg and 0.4 <= height_m <= 2.5 and 2.0 <= weight_kg <= 350.0:
        surface = round(math.sqrt(height_m * 100.0 * weight_kg / 3600.0), 3)
    return Subject(sex=sex if sex in {"F", "M"} else None, age_years=age, body_surface_m2=surface)


def _scaling(slope_text: str, intercept_text: str) -> dict[str, float]:
    slope, intercept = numbers_from_text(slope_text, 1), numbers_from_text(intercept_text, 1)
    return {"slope": slope[0] if slope and slope[0] else 1.0, "intercept": intercept[0] if intercept else 0.0}


def _images_from_groups(path: Path, item: str, header: Header, frames: int) -> list[Image]:
    """The pictures of an enhanced object, each from its functional groups (DICOM PS3.3 C.7.6.16)."""
    import pydicom

    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(path, stop_before_pixels=True)
            groups = list(data.get("PerFrameFunctionalGroupsSequence", ()))
            shared = list(data.get("SharedFunctionalGroupsSequence", ()))[:1]
            described = [
                _image_from_groups(path, item, header, k, [group, *shared]) for k, group in enumerate(groups)
            ]
        except Exception as err:  # a damaged file can raise nearly anything
            raise SourceError("multi-frame file with damaged functional groups") from err
    if len(described) != frames:
        raise SourceError(f"multi-frame file of {frames} frames that describes {len(described)}")
    return described


def _image_from_groups(path: Path, item: str, header: Header, index: int, groups: list[Any]) -> Image:
    def text(sequence: str, keyword: str) -> str:
        value = next(_values(groups, sequence, keyword), None)
        if value is None:
            return ""
        several = not isinstance(value, str) and hasattr(value, "__iter__")
        return "\\".join(str(part) for part in value) if several else str(value)

    def numbers(sequence: str, keyword: str, count: int) -> Any:
        return numbers_from_text(text(sequence, keyword), count)

    time = numbers("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", 1)
    temporal = numbers("FrameContentSequence", "TemporalPositionIndex", 1)
    transformation = "PixelValueTransformationSequence"
    return Image(
        path,
        f"{item} frame {index}",
        header,
        index,
        header.whole("NumberOfFrames", 1),
        orientation=orientation_from_numbers(
            numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6)
        ),
        position_mm=numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        spacing_mm=numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        time_ms=time[0] if time else None,
        temporal=temporal[0] if temporal else None,
        acquired_s=seconds_from_text(text("FrameContentSequence", "FrameAcquisitionDateTime")[8:]),
        **_scaling(text(transformation, "RescaleSlope"), text(transformation, "RescaleIntercept")),
    )


def _values(groups: list[Any], sequence: str, keyword: str) -> Iterator[Any]:
    """The values of an element in the frame's own group, then in the shared one."""
    for group in groups:
        for entry in group.get(sequence, ()):
            if entry.get(keyword) is not None:
                yield entry.get(keyword)
