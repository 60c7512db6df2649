"""NumPy archives: one series of frames with its spacing.

Keys: ``frames`` [T, H, W] or [S, T, H, W]; ``spacing_mm``, one number or (row, column), required unless
``--spacing-mm`` is given; optional ``orientation`` [6] as in DICOM, ``position`` [3] or [S, 3] (LPS, mm),
``time_ms`` [T] or [S, T], ``series`` (text; the file's name otherwise).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.errors import SourceError
from lvedge.frame import Frame, Orientation, Rejected
from lvedge_runtime.sources.dicom_image import orientation_from_numbers
from lvedge_runtime.sources.geometry import SeriesGeometry, geometry_from_spacing, geometry_from_tags
from lvedge_runtime.sources.naming import series_name
from lvedge_runtime.sources.picture import grey_from_array
from lvedge_runtime.sources.source import ASK_FOR_SPACING, BaseSource, SourceOptions, grid_fault
from lvedge_runtime.uri import Uri

LARGEST_BYTES = 4 * 2**30


class NpzSource(BaseSource):
    """The frames of an ``.npz`` file.

    Raises:
        SourceError: on entering, if there is no such file.
    """

    def __init__(self, uri: Uri, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = Path(uri.path)

    def __enter__(self) -> NpzSource:
        if not self.path.is_file():
            raise SourceError(f"{self.path}: there is no such file")
        return self

    def __iter__(self) -> Iterator[Frame | Rejected]:
        try:
            archive = _Archive(self.path, self.options)
        except SourceError as err:
            yield Rejected(self.path.name, str(err))
            return
        if not self._wants_series(archive.series):
            raise SourceError(
                f"{self.path}: no series matches {self.options.series!r}; there is {archive.series}"
            )
        self._geometries[archive.series] = archive.geometry()
        slices, count = archive.frames.shape[:2]
        for slice_index in range(slices):
            if not self.options.wants_slice(slice_index):
                continue
            for frame_index in range(count):
                origin = f"{self.path.name} slice {slice_index} frame {frame_index}"
                try:
                    pixels = grey_from_array(archive.frames[slice_index, frame_index])
                except SourceError as err:
                    yield Rejected(origin, str(err), archive.series)
                    continue
                yield Frame(
                    pixels=pixels,
                    spacing_mm=archive.spacing_mm,
                    series=archive.series,
                    slice_index=slice_index,
                    frame_index=frame_index,
                    time_ms=archive.time_ms(slice_index, frame_index),
                    orientation=archive.orientation,
                    position_mm=archive.position_mm(slice_index),
                    cine_length=count,
                    slice_count=slices,
                    subject=self.options.subject,
                    origin=origin,
                    spacing_source="file" if self.options.spacing_mm is None else "user",
                )


class _Archive:
    """What an archive holds, checked.

    Raises:
        SourceError: if the file is no archive of numbers, or an entry is missing or has another shape.
    """

    def __init__(self, path: Path, options: SourceOptions) -> None:
        entries = _entries(path)
        if "frames" not in entries:
            raise SourceError(f"no entry 'frames'; there are {', '.join(sorted(entries)) or 'none'}")
        frames = entries["frames"]
        if frames.ndim == 3:
            frames = frames[None]
        if frames.ndim != 4 or 0 in frames.shape:
            raise SourceError(f"'frames' has shape {frames.shape}; expected [T, H, W] or [S, T, H, W]")
        self.frames = frames
        slices, count = frames.shape[:2]
        self.series = series_name(str(entries["series"].reshape(-1)[0])) if "series" in entries else ""
        self.series = self.series or series_name(path.stem)
        self.spacing_mm = options.spacing_mm or _spacing(entries.get("spacing_mm"))
        fault = grid_fault(self.spacing_mm, (frames.shape[2], frames.shape[3]))
        if fault:
            raise SourceError(fault)
        self.orientation = _orientation(entries.get("orientation"))
        self._positions = _numbers(entries, "position", ((3,), (slices, 3)), (slices, 3))
        self._times = _numbers(entries, "time_ms", ((count,), (slices, count)), (slices, count))

    def time_ms(self, slice_index: int, frame_index: int) -> float | None:
        return None if self._times is None else float(self._times[slice_index, frame_index])

    def position_mm(self, slice_index: int) -> tuple[float, float, float] | None:
        if self._positions is None:
            return None
        x, y, z = self._positions[slice_index].tolist()
        return x, y, z

    def geometry(self) -> SeriesGeometry:
        slices, count, rows, columns = self.frames.shape
        shape = (columns, rows, slices)
        step: NDArray[np.float64] | None = None
        if self._positions is not None and slices > 1:
            step = (self._positions[-1] - self._positions[0]) / (slices - 1)
        between = float(np.linalg.norm(step)) if step is not None else 0.0
        spacing = (self.spacing_mm[1], self.spacing_mm[0], between or 1.0)
        first = self.position_mm(0)
        if self.orientation is None or first is None:
            return geometry_from_spacing(shape, spacing, count)
        return geometry_from_tags(
            self.orientation,
            first,
            shape=shape,
            spacing_mm=spacing,
            frames=count,
            step_mm=step if between else None,
        )


def _entries(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
                raise SourceError(f"larger than {LARGEST_BYTES // 2**30} GiB")
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except SourceError:
        raise
    except Exception as err:  # a damaged archive can raise nearly anything
        raise SourceError("not a NumPy archive of plain numbers (.npz), or a damaged one") from err


def _spacing(value: NDArray[Any] | None) -> tuple[float, float]:
    if value is None:
        raise SourceError(f"no entry 'spacing_mm': {ASK_FOR_SPACING}")
    if value.dtype.kind not in "uif" or value.size not in {1, 2}:
        raise SourceError(f"'spacing_mm' is not one or two numbers: {ASK_FOR_SPACING}")
    row, column = float(value.reshape(-1)[0]), float(value.reshape(-1)[-1])
    return row, column


def _orientation(value: NDArray[Any] | None) -> Orientation | None:
    if value is None:
        return None
    if value.dtype.kind not in "uif" or value.size != 6:
        raise SourceError("'orientation' is not six numbers: the directions of rows and of columns, LPS")
    found = orientation_from_numbers(tuple(float(k) for k in value.reshape(-1)))
    if found is None:
        raise SourceError("'orientation' is not two unit vectors at right angles")
    return found


def _numbers(
    entries: dict[str, NDArray[Any]], key: str, shapes: tuple[tuple[int, ...], ...], full: tuple[int, ...]
) -> NDArray[np.float64] | None:
    value = entries.get(key)
    if value is None:
        return None
    if value.dtype.kind not in "uif" or value.shape not in shapes or not np.isfinite(value).all():
        expected = " or ".join(str(list(shape)) for shape in shapes)
        raise SourceError(
            f"{key!r} has shape {list(value.shape)}; expected finite numbers of shape {expected}"
        )
    return np.array(np.broadcast_to(value, full), dtype=np.float64)
