"""End diastole, end systole and the phase of every frame, from the cavity areas of one beat.

The areas are smoothed cyclically by (1, 2, 1) / 4; ED is the first maximum, ES the first minimum; systole is
[ED, ES) going forward around the beat.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvedge.indices import FloatArray


def smoothed(areas: ArrayLike) -> FloatArray:
    """Areas of one beat, [T], smoothed cyclically by (1, 2, 1) / 4."""
    values = np.asarray(areas, dtype=np.float64)
    return (np.roll(values, 1) + 2.0 * values + np.roll(values, -1)) / 4.0


def end_frames(areas: ArrayLike) -> tuple[int, int]:
    """Index of end diastole and of end systole.

    Args:
        areas: cavity areas of one beat, [T], T at least 1.

    Raises:
        ValueError: if there is no frame or an area is not finite.
    """
    values = np.asarray(areas, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("end diastole and end systole need at least one area, all of them finite")
    curve = smoothed(values)
    return int(curve.argmax()), int(curve.argmin())


def is_systole(position: ArrayLike, ed: float, es: float, length: float) -> NDArray[np.bool_]:
    """Whether positions in a beat lie in [ED, ES) going forward, cyclically.

    Args:
        position: frame positions, fractions allowed.
        ed: position of end diastole.
        es: position of end systole.
        length: frames a beat.
    """
    since_ed = np.mod(np.asarray(position, dtype=np.float64) - ed, length)
    return since_ed < (es - ed) % length


def systole_of_areas(areas: ArrayLike) -> NDArray[np.bool_]:
    """Phase truth of every frame of one beat: True in systole, [T]."""
    values = np.asarray(areas, dtype=np.float64)
    ed, es = end_frames(values)
    return is_systole(np.arange(values.size), ed, es, values.size)
