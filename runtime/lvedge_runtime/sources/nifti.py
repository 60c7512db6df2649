"""NIfTI files: a volume is a stack at one phase, a fourth axis is time.

Arrays are (x, y, slice[, time]); a frame's rows run along y and its columns along x. Slices and frames keep
the file's own order.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.errors import SourceError
from lvedge.frame import Frame, Orientation, Rejected
from lvedge_runtime.sources.geometry import LPS_TO_RAS, SeriesGeometry, geometry_from_spacing
from lvedge_runtime.sources.naming import files_under, series_name, unique_name
from lvedge_runtime.sources.picture import COLOUR, grey_from_array
from lvedge_runtime.sources.source import ASK_FOR_SPACING, BaseSource, SourceOptions, grid_fault
from lvedge_runtime.uri import Uri

LARGEST_BYTES = 4 * 2**30
MOST_LABELS = 6
_SECONDS = {"sec": 1e3, "msec": 1.0, "usec": 1e-3}
_FRAME_INTERVAL_MS = (1.0, 500.0)


class NiftiSource(BaseSource):
    """The frames of a NIfTI file, or of all NIfTI files in a folder, each file a series of its own.

    The series is named after the file. Spacing comes from pixdim. Orientation comes from the affine where
    that agrees with pixdim and turns the axes; an identity or a mere scaling says nothing: it is unknown.

    Raises:
        SourceError: on entering, if there is no such file or folder, or if it holds no files.
    """

    def __init__(self, uri: Uri, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = Path(uri.path)
        self._files: list[tuple[Path, str, str]] = []

    def __enter__(self) -> NiftiSource:
        taken: set[str] = set()
        named = [
            (path, item, unique_name(_name_of_file(path), taken)) for path, item in files_under(self.path)
        ]
        self._files = [file for file in named if self._wants_series(file[2])]
        if not self._files:
            names = ", ".join(name for _, _, name in named[:10])
            raise SourceError(f"{self.path}: no series matches {self.options.series!r}; there are {names}")
        return self

    def __iter__(self) -> Iterator[Frame | Rejected]:
        for path, item, series in self._files:
            try:
                volume = _Volume(path, self.options)
            except SourceError as err:
                yield Rejected(item, str(err))
                continue
            self._geometries[series] = volume.geometry
            yield from self._frames(volume, item, series)

    def _frames(self, volume: _Volume, item: str, series: str) -> Iterator[Frame | Rejected]:
        _, _, slices, frames = volume.array.shape
        for slice_index in range(slices):
            if not self.options.wants_slice(slice_index):
                continue
            for frame_index in range(frames):
                origin = f"{item} slice {slice_index} frame {frame_index}"
                try:
                    pixels = grey_from_array(volume.array[:, :, slice_index, frame_index].T)
                except SourceError as err:
                    yield Rejected(origin, str(err), series)
                    continue
                yield Frame(
                    pixels=pixels,
                    spacing_mm=volume.spacing_mm,
                    series=series,
                    slice_index=slice_index,
                    frame_index=frame_index,
                    time_ms=None if volume.interval_ms is None else frame_index * volume.interval_ms,
                    orientation=volume.orientation,
                    position_mm=volume.position_mm(slice_index),
                    cine_length=frames,
                    slice_count=slices,
                    subject=self.options.subject,
                    origin=origin,
                    spacing_source="file" if self.options.spacing_mm is None else "user",
                )


class _Volume:
    """A NIfTI file's values, [x, y, slices, frames], and what its header says of them.

    Raises:
        SourceError: if the file is none, is damaged, holds labels or colours, or states no usable spacing.
    """

    def __init__(self, path: Path, options: SourceOptions) -> None:
        image = _image_from_bytes(_bytes_of(path))
        header = image.header
        self.array = _values(image)
        columns, rows, slices, frames = self.array.shape
        zooms = [abs(float(value)) for value in header["pixdim"][1:5]]
        self.spacing_mm = _spacing(options.spacing_mm or (zooms[1], zooms[0]), (rows, columns))
        between = zooms[2] if math.isfinite(zooms[2]) and zooms[2] > 0 else 1.0
        step = zooms[3] * _SECONDS.get(header.get_xyzt_units()[1], 0.0)
        plausible = frames > 1 and _FRAME_INTERVAL_MS[0] <= step <= _FRAME_INTERVAL_MS[1]
        self.interval_ms = step if plausible else None
        self.affine = np.asarray(image.affine, dtype=np.float64)
        self.orientation = _orientation(self.affine, zooms)
        self.geometry = self._geometry(header, (columns, rows, slices), between, frames)

    def _geometry(
        self, header: Any, shape: tuple[int, int, int], between: float, frames: int
    ) -> SeriesGeometry:
        spacing = (self.spacing_mm[1], self.spacing_mm[0], between)
        if not np.isfinite(self.affine).all():
            return geometry_from_spacing(shape, spacing, frames)
        sform, qform = int(header["sform_code"]), int(header["qform_code"])
        second = np.asarray(header.get_qform(), dtype=np.float64) if sform > 0 and qform > 0 else None
        if second is not None and (not np.isfinite(second).all() or np.allclose(second, self.affine)):
            second = None
        return SeriesGeometry(
            self.affine, shape, spacing, frames, sform_code=sform, qform_code=qform, qform=second
        )

    def position_mm(self, slice_index: int) -> tuple[float, float, float] | None:
        """Centre of a slice's first pixel, LPS, where the affine is to be trusted."""
        if self.orientation is None:
            return None
        x, y, z, _ = (LPS_TO_RAS @ self.affine @ (0.0, 0.0, float(slice_index), 1.0)).tolist()
        return x, y, z


def _name_of_file(path: Path) -> str:
    name = path.name
    for ending in (".gz", ".nii"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return series_name(name)


def _bytes_of(path: Path) -> bytes:
    """A file's content, inflated where it is gzip."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            if path.stat().st_size > LARGEST_BYTES:
                raise SourceError(f"larger than {LARGEST_BYTES // 2**30} GiB")
            head = file.read(352)
            if head[344:347] in (b"ni1",) or head[4:7] == b"ni2":
                raise SourceError("NIfTI in two files (.hdr, .img); convert it to one .nii")
            if head[344:347] != b"n+1" and head[4:7] != b"n+2":
                raise SourceError("not NIfTI")
            data = head + file.read(LARGEST_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as err:
        raise SourceError("truncated or damaged gzip file") from err
    except OSError as err:
        raise SourceError(f"cannot be read: {err.strerror or err}") from err
    if len(data) >= LARGEST_BYTES:
        raise SourceError(f"larger than {LARGEST_BYTES // 2**30} GiB")
    return data


def _image_from_bytes(data: bytes) -> Any:
    import nibabel

    kind = nibabel.Nifti1Image if data[344:347] == b"n+1" else nibabel.Nifti2Image
    with nibabel.imageglobals.LoggingOutputSuppressor():
        try:
            image: Any = kind.from_bytes(data)
            expected = math.prod(image.shape) * image.get_data_dtype().itemsize + int(image.dataobj.offset)
        except Exception as err:  # a damaged header can raise nearly anything
            raise SourceError("damaged NIfTI header") from err
    if len(data) < expected:
        raise SourceError(f"truncated: {len(data)} of {expected} bytes")
    return image


def _values(image: Any) -> NDArray[Any]:
    """The picture's values, [x, y, slices, frames]."""
    shape = tuple(int(side) for side in image.shape)
    kind = image.get_data_dtype()
    if kind.fields is not None:
        raise SourceError(COLOUR)
    if kind.kind == "c":
        raise SourceError("complex values; export magnitudes")
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 4 or 0 in shape:
        raise SourceError(f"an array of shape {tuple(image.shape)}; expected x, y, slice and perhaps time")
    try:
        array: NDArray[Any] = np.asanyarray(image.dataobj).reshape(shape + (1,) * (4 - len(shape)))
    except Exception as err:  # a damaged file can raise nearly anything
        raise SourceError("damaged NIfTI data") from err
    labels = _labels(array)
    if labels is not None:
        raise SourceError(f"a label volume, not a picture (values {', '.join(f'{k:g}' for k in labels)})")
    return array


def _labels(array: NDArray[Any]) -> NDArray[Any] | None:
    """The few whole numbers that a label volume consists of; None for a picture."""
    if len(np.unique(array[::4, ::4])) > MOST_LABELS:
        return None
    values = np.unique(array)
    if len(values) > MOST_LABELS or not np.array_equal(values, np.round(values)):
        return None
    return values


def _spacing(spacing_mm: tuple[float, float], shape: tuple[int, int]) -> tuple[float, float]:
    if not all(math.isfinite(value) and value > 0 for value in spacing_mm):
        raise SourceError(f"no pixel spacing in the header: {ASK_FOR_SPACING}")
    fault = grid_fault(spacing_mm, shape)
    if fault:
        raise SourceError(fault)
    return spacing_mm


def _orientation(affine: NDArray[np.float64], zooms: list[float]) -> Orientation | None:
    """Directions of rows and columns, LPS, or None where the affine does not say them credibly."""
    linear = affine[:3, :3]
    if not np.isfinite(affine).all():
        return None
    lengths = np.linalg.norm(linear, axis=0)
    if not np.allclose(lengths, zooms[:3], rtol=0.01) or not (lengths > 0).all():
        return None
    directions = LPS_TO_RAS[:3, :3] @ (linear / lengths)
    row, column = directions[:, 0], directions[:, 1]
    only_scaled = float(np.abs(np.diag(directions)).min()) > 0.99999
    if only_scaled or abs(float(row @ column)) > 0.01:
        return None
    return Orientation(row=tuple(row.tolist()), column=tuple(column.tolist()))
