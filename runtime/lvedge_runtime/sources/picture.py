"""Decoded pixels as a frame needs them: one channel, float32, finite, of a plausible size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.errors import SourceError
from lvedge.frame import Pixels

MIN_SIDE_PX = 16
MAX_SIDE_PX = 4096
COLOUR = "colour image; export grey values"

# Lossy compression of a grey picture leaves its channels this far apart, in parts of the value range.
_CHANNEL_TOLERANCE = 8 / 255


def size_fault(rows: int, columns: int) -> str | None:
    """Why a picture of this size is not measured, or None."""
    if min(rows, columns) < MIN_SIDE_PX:
        return f"{columns}x{rows} pixels; a frame has at least {MIN_SIDE_PX}x{MIN_SIDE_PX}"
    if max(rows, columns) > MAX_SIDE_PX:
        return f"{columns}x{rows} pixels; a frame has at most {MAX_SIDE_PX}x{MAX_SIDE_PX}"
    return None


def grey_from_array(array: NDArray[Any]) -> Pixels:
    """The grey values of a decoded picture, [rows, columns] float32, contiguous.

    Args:
        array: [rows, columns] or [rows, columns, channels] with 1 to 4 channels; the second of two and the
            fourth of four are opacity and ignored. Three channels are grey where they are equal.

    Raises:
        SourceError: for real colour, another shape or type, a size outside the limits, or values that are
            not finite.
    """
    if array.dtype.kind not in "buif":
        raise SourceError(f"values of type {array.dtype}; expected whole or floating-point numbers")
    if array.ndim == 3 and 1 <= array.shape[2] <= 4:
        array = _one_channel(array)
    if array.ndim != 2:
        raise SourceError(f"an array of shape {array.shape}; expected rows and columns")
    fault = size_fault(array.shape[0], array.shape[1])
    if fault:
        raise SourceError(fault)
    if array.dtype.kind != "f":
        return np.ascontiguousarray(array, dtype=np.float32)
    with np.errstate(over="ignore"):
        pixels: Pixels = np.ascontiguousarray(array, dtype=np.float32)
    bad = pixels.size - int(np.count_nonzero(np.isfinite(pixels)))
    if bad:
        raise SourceError(f"{bad} of {pixels.size} values are not finite (NaN or infinite)")
    return pixels


def _one_channel(array: NDArray[Any]) -> NDArray[Any]:
    if array.shape[2] < 3:
        return array[:, :, 0]
    colours = array[:, :, :3]
    first = colours[:, :, 0]
    if all(np.array_equal(first, colours[:, :, k]) for k in (1, 2)):
        return first
    values = colours.astype(np.float32)
    span = values.max(axis=2) - values.min(axis=2)
    highest = float(np.iinfo(array.dtype).max) if array.dtype.kind in "ui" else float(np.abs(values).max())
    if float(span.max()) > _CHANNEL_TOLERANCE * highest:
        raise SourceError(COLOUR)
    mean: NDArray[Any] = values.mean(axis=2)
    return mean
