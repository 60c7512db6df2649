"""Pictures and videos through OpenCV, which otherwise writes its own lines to standard error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.errors import SourceError

_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_FFMPEG_QUIET = "-8"


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV and FFmpeg from writing to standard error."""
    logging: Any = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    said = os.environ.get(_FFMPEG_LEVEL)
    os.environ.setdefault(_FFMPEG_LEVEL, _FFMPEG_QUIET)
    try:
        yield
    finally:
        logging.setLogLevel(level)
        if said is None:
            os.environ.pop(_FFMPEG_LEVEL, None)


def read_picture(path: Path) -> NDArray[Any]:
    """A picture file's values as stored, [rows, columns] or [rows, columns, channels].

    Raises:
        SourceError: if the file cannot be read, is no picture or is damaged.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as err:
        raise SourceError(f"cannot be read: {err.strerror or err}") from err
    if not data.size:
        raise SourceError("an empty file")
    with quiet_opencv():
        try:
            array: NDArray[Any] | None = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        except cv2.error:
            array = None
    if array is None:
        raise SourceError("not a picture that OpenCV reads, or a damaged one")
    return array


def open_video(name: str | int) -> cv2.VideoCapture | None:
    """An open video file or camera device, or None where OpenCV cannot open it."""
    with quiet_opencv():
        capture = cv2.VideoCapture(name)
        if capture.isOpened():
            return capture
        capture.release()
    return None
