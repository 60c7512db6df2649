"""Which DICOM images a series was read from, so that what is derived from them can refer to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourcePicture:
    """The DICOM image that holds a frame.

    Args:
        path: the file; a receiver keeps it until the series has been measured whole and for a while after.
        class_uid: SOP class, "" where the file states none.
        instance_uid: SOP instance, "" where the file states none.
        frame_number: the frame's number in a multi-frame file, from 1; None in a file of one picture.
    """

    path: Path
    class_uid: str
    instance_uid: str
    frame_number: int | None = None


@dataclass(frozen=True)
class SeriesOrigin:
    """The images of one series.

    Args:
        pictures: by slice index and frame index, whether they could be decoded or not.
    """

    pictures: Mapping[tuple[int, int], SourcePicture]
