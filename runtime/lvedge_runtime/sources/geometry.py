"""Where a series lies in space, so that what is measured can be written in the source's own geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvedge.frame import Orientation

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class SeriesGeometry:
    """The voxel grid of a series.

    Args:
        affine: [4, 4] from voxel indices (x = column, y = row, z = slice) to patient millimetres, RAS+, as
            NIfTI has it. Of a NIfTI file it is the file's own, even where that is an identity that does not
            agree with ``spacing_mm``: what is written then keeps both as they were.
        shape: (columns, rows, slices).
        spacing_mm: distance between columns, between rows and between slices; NIfTI's pixdim[1:4].
        frames: number of phases, of the slice that has most.
        sform_code: NIfTI's code for ``affine``; 0 where the source does not use it.
        qform_code: NIfTI's code for the second affine; 0 where the source does not use it.
        qform: [4, 4] the second affine where it differs from ``affine``, or None.
    """

    affine: NDArray[np.float64]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    frames: int
    sform_code: int = 1
    qform_code: int = 1
    qform: NDArray[np.float64] | None = None


def geometry_from_tags(
    orientation: Orientation,
    position_mm: tuple[float, float, float],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    *,
    frames: int,
    step_mm: NDArray[np.float64] | None = None,
) -> SeriesGeometry:
    """The grid of a stack from DICOM's values.

    Args:
        orientation: directions of rows and columns, LPS.
        position_mm: centre of the first pixel of slice 0, LPS.
        shape: (columns, rows, slices).
        spacing_mm: (between columns, between rows, between slices).
        frames: number of phases.
        step_mm: [3] from one slice to the next, LPS; without it, along the normal.
    """
    if step_mm is None:
        step_mm = orientation.normal * spacing_mm[2]
    affine = np.eye(4)
    affine[:3, 0] = np.asarray(orientation.row) * spacing_mm[0]
    affine[:3, 1] = np.asarray(orientation.column) * spacing_mm[1]
    affine[:3, 2] = step_mm
    affine[:3, 3] = position_mm
    return SeriesGeometry(LPS_TO_RAS @ affine, shape, spacing_mm, frames)


def geometry_from_spacing(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], frames: int
) -> SeriesGeometry:
    """A grid along the axes for a source that knows its spacing but not its orientation."""
    affine = LPS_TO_RAS @ np.diag([*spacing_mm, 1.0])
    return SeriesGeometry(affine, shape, spacing_mm, frames, sform_code=2, qform_code=0)
