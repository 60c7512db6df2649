"""``nifti:DIR``: label masks, one volume a series and phase, in the source's own voxel grid."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lvedge.errors import SinkError
from lvedge.measurement import Measurement
from lvedge_runtime.journal.journal import Delivery
from lvedge_runtime.sinks import BaseSink, Item, RunContext
from lvedge_runtime.sinks.output import made_folder, write_whole
from lvedge_runtime.sources.geometry import SeriesGeometry, geometry_from_spacing

if TYPE_CHECKING:
    import nibabel as nib


@dataclass(frozen=True)
class _Patch:
    """The part of a label map that is not background, and where it lies; a whole series stays small."""

    labels: NDArray[np.uint8]
    row: int
    column: int


class NiftiSink(BaseSink):
    """``<series>_tNN.nii.gz``: uint8, 0 background, 1 RV, 2 myocardium, 3 cavity; NN counts phases from 0.

    A provisional frame is left out: the same comes again once its slice's place in the stack is known.
    Affine, zooms, shape (x, y, slices) and the two form codes are the source's. A slice without an LV, or
    one that was not played before the run ended, is background. The volumes are written when the run ends.

    Args:
        target: the folder, made where it is missing.
        context: gives the geometry of each series.

    Raises:
        SinkError: if the folder cannot be made, a file cannot be written, or a frame does not fit its series.
    """

    def __init__(self, target: str, context: RunContext) -> None:
        self._context = context
        self._folder = made_folder(target)
        self._patches: dict[str, dict[int, dict[int, _Patch]]] = {}
        self._grid: dict[str, tuple[tuple[int, int], tuple[float, float]]] = {}
        self._slices: dict[str, int] = {}

    def write(self, item: Item) -> None:
        if not isinstance(item, Measurement) or item.frame.provisional:
            return
        frame = item.frame
        labels = item.labels()
        grid = ((labels.shape[0], labels.shape[1]), frame.spacing_mm)
        expected, _ = self._grid.setdefault(frame.series, grid)
        if expected != grid[0]:
            raise SinkError(
                f"the frames of {frame.series} differ in size, {expected} and {grid[0]}: "
                "one volume cannot hold them; measure them as separate series"
            )
        self._slices[frame.series] = max(
            self._slices.get(frame.series, 0), frame.slice_index + 1, frame.slice_count or 0
        )
        volumes = self._patches.setdefault(frame.series, {})
        volumes.setdefault(frame.frame_index, {})[frame.slice_index] = _patch(labels)

    def settle(self, _delivery: Delivery) -> None:
        self.close()

    def close(self) -> None:
        while self._patches:
            series, volumes = self._patches.popitem()
            geometry = self._geometry(series, len(volumes))
            for phase, patches in sorted(volumes.items()):
                data = np.zeros(geometry.shape, dtype=np.uint8)
                for slice_index, patch in patches.items():
                    rows, columns = patch.labels.shape
                    across = slice(patch.column, patch.column + columns)
                    down = slice(patch.row, patch.row + rows)
                    data[across, down, slice_index] = patch.labels.T
                path = self._folder / f"{series}_t{phase:02d}.nii.gz"
                write_whole(path, gzip.compress(image_from_labels(data, geometry).to_bytes(), mtime=0))
            del self._grid[series], self._slices[series]

    def _geometry(self, series: str, frames: int) -> SeriesGeometry:
        (rows, columns), spacing_mm = self._grid[series]
        seen = (columns, rows, self._slices[series])
        known = self._context.geometry(series)
        if known is None:
            # Pictures without a place in space: slices one pixel apart, as nothing better is known.
            return geometry_from_spacing(seen, (spacing_mm[1], spacing_mm[0], spacing_mm[0]), frames)
        if known.shape[:2] != seen[:2] or known.shape[2] < seen[2]:
            raise SinkError(
                f"the frames of {series} fill {seen}, its geometry says {known.shape}: leave out nifti:"
            )
        return known


def image_from_labels(data: NDArray[np.uint8], geometry: SeriesGeometry) -> nib.Nifti1Image:
    """A label volume with the header fields that the source has.

    Args:
        data: (x, y, slices) uint8.
        geometry: affine, zooms and form codes; a second affine where the source has one. They are taken as
            they are, even where zooms and affine contradict each other.
    """
    # The volumes come last; the first measurement does not wait for this package.
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(data.shape)
    header.set_xyzt_units("mm", "sec")
    header.set_qform(geometry.affine if geometry.qform is None else geometry.qform, geometry.qform_code)
    header.set_sform(geometry.affine, geometry.sform_code)
    # Last, since set_qform overwrites the zooms by the affine's.
    header.set_zooms(geometry.spacing_mm)
    header["descrip"] = b"lvedge: 1 RV, 2 myocardium, 3 cavity; research use"
    return nib.Nifti1Image(data, None, header)


def _patch(labels: NDArray[np.uint8]) -> _Patch:
    rows = np.flatnonzero(labels.any(axis=1))
    columns = np.flatnonzero(labels.any(axis=0))
    if rows.size == 0:
        return _Patch(np.zeros((0, 0), dtype=np.uint8), 0, 0)
    inner = labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _Patch(inner.copy(), int(rows[0]), int(columns[0]))
