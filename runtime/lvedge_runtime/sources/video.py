"""Videos and cameras through OpenCV: one slice, no geometry of their own.

A video file is taken as one closed cine. Its times count from the first frame, as do a camera's: neither
knows of an R wave.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from lvedge.errors import SourceError, UsageError
from lvedge.frame import Frame, Rejected
from lvedge_runtime.sources.geometry import geometry_from_spacing
from lvedge_runtime.sources.naming import series_name
from lvedge_runtime.sources.opencv import open_video, quiet_opencv
from lvedge_runtime.sources.picture import grey_from_array
from lvedge_runtime.sources.source import ASK_FOR_SPACING, BaseSource, SourceOptions, grid_fault
from lvedge_runtime.uri import Uri


class _CaptureSource(BaseSource):
    """Frames from an OpenCV capture that is open inside ``with``."""

    def __init__(self, options: SourceOptions, series: str, what: str) -> None:
        super().__init__(options)
        self.series = series
        self.what = what
        self._capture: Any = None

    def _open(self, name: str | int) -> None:
        if self.options.spacing_mm is None:
            raise SourceError(f"{self.what} states no pixel spacing: {ASK_FOR_SPACING}")
        if not self._wants_series(self.series):
            raise SourceError(
                f"{self.what}: no series matches {self.options.series!r}; there is {self.series}"
            )
        self._capture = open_video(name)
        if self._capture is None:
            raise SourceError(f"{self.what}: OpenCV cannot open it")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _frames(self, length: int | None, interval_ms: float | None) -> Iterator[Frame | Rejected]:
        """Frame by frame; a fault of the first refuses the whole, a later one its frame only."""
        spacing = self.options.spacing_mm or (1.0, 1.0)
        index, begin = 0, time.perf_counter()
        while self._capture is not None:
            with quiet_opencv():
                there, array = self._capture.read()
            if not there:
                return
            if self.live:
                now: float | None = 1e3 * (time.perf_counter() - begin)
            else:
                now = None if interval_ms is None else index * interval_ms
            origin = f"{self.what} frame {index}"
            try:
                pixels = grey_from_array(array)
                fault = grid_fault(spacing, (pixels.shape[0], pixels.shape[1]))
                if fault:
                    raise SourceError(fault)
            except SourceError as err:
                yield Rejected(origin if index else self.what, str(err), self.series)
                if index == 0:
                    return
                index += 1
                continue
            if self.series not in self._geometries:
                shape = (pixels.shape[1], pixels.shape[0], 1)
                self._geometries[self.series] = geometry_from_spacing(
                    shape, (spacing[1], spacing[0], 1.0), length or 1
                )
            yield Frame(
                pixels=pixels,
                spacing_mm=spacing,
                series=self.series,
                frame_index=index,
                time_ms=now,
                cine_length=length,
                slice_count=1,
                subject=self.options.subject,
                origin=origin,
                spacing_source="user",
            )
            index += 1


class VideoSource(_CaptureSource):
    """The frames of a video file.

    Raises:
        SourceError: on entering, if there is no such file, OpenCV cannot open it, or no spacing was given.
    """

    def __init__(self, uri: Uri, options: SourceOptions) -> None:
        self.path = Path(uri.path)
        super().__init__(options, series_name(self.path.stem), self.path.name)

    def __enter__(self) -> VideoSource:
        if not self.path.is_file():
            raise SourceError(f"{self.path}: there is no such file")
        self._open(str(self.path))
        return self

    def __iter__(self) -> Iterator[Frame | Rejected]:
        import cv2

        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        interval = 1e3 / rate if math.isfinite(rate) and 1.0 <= rate <= 1000.0 else None
        length = self._count()
        if length == 0:
            yield Rejected(self.what, "holds no frame that OpenCV decodes", self.series)
            return
        yield from self._frames(length, interval)

    def _count(self) -> int:
        """How many frames the file really gives: what its header says is often wrong."""
        count = 0
        with quiet_opencv():
            while self._capture.grab():
                count += 1
        self._capture.release()
        self._open(str(self.path))
        return count


class CameraSource(_CaptureSource):
    """The frames of a camera or frame grabber, ``camera:0``, until it stops giving any.

    Raises:
        UsageError: if the URI gives no device number.
        SourceError: on entering, if the device cannot be opened, or no spacing was given.
    """

    live = True

    def __init__(self, uri: Uri, options: SourceOptions) -> None:
        if not (uri.path.isascii() and uri.path.isdigit()):
            raise UsageError(f"{str(uri)!r}: a camera is named by its number, e.g. camera:0")
        self.device = int(uri.path)
        super().__init__(options, f"camera{self.device}", f"camera {self.device}")

    def __enter__(self) -> CameraSource:
        self._open(self.device)
        return self

    def __iter__(self) -> Iterator[Frame | Rejected]:
        return self._frames(None, None)
