"""Reader for the York cardiac MRI set (Andreopoulos & Tsotsos, Medical Image Analysis 12(3):335-357, 2008).

``images/mr_heart_pPPtTTzZ.png`` goes with cell [Z, TT − 1] of ``contours/manual_seg_32points_patP.mat``:
65 × 2 columns (x, y), 1-based pixels; rows 0-31 endocardium, 33-64 epicardium; a 1 × 1 cell means no contour.
There is no spacing: a nominal one is used and millimetres mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from lvedge.errors import DataError
from lvedge.training.data.sample import Sample

NAME = "york"
NOMINAL_SPACING_MM = 1.3
POINTS = 32
FINE = 8
"""Scan lines a row of pixels when a contour is filled."""

_IMAGE = re.compile(r"mr_heart_p(\d+)t(\d+)z(\d+)\.png")


def york_subjects(root: Path) -> list[str]:
    """Subject numbers as text, in numerical order."""
    files = (root / NAME / "contours").glob("manual_seg_32points_pat*.mat")
    subjects = sorted((re.sub(r"\D", "", p.stem.split("pat")[-1]) for p in files), key=int)
    if not subjects:
        raise DataError(f"no contour files in {root / NAME / 'contours'}")
    return subjects


def read_york(root: Path, subject: str) -> Iterator[Sample]:
    """Every annotated frame of a subject, slice by slice and in time.

    Raises:
        DataError: if the contours or all pictures are missing, or one has no contour or cannot be read.
    """
    file = root / NAME / "contours" / f"manual_seg_32points_pat{subject}.mat"
    try:
        cells = loadmat(str(file))["manual_seg_32points"]
    except (OSError, KeyError, ValueError, TypeError, MatReadError) as err:
        raise DataError(f"no contours can be read from {file}: {type(err).__name__}") from err
    images = (root / NAME / "images").glob(f"mr_heart_p{int(subject):02d}t*z*.png")
    places = sorted((int(m[3]), int(m[2]), p) for p in images if (m := _IMAGE.fullmatch(p.name)))
    if not places:
        raise DataError(f"no pictures of subject {subject} in {root / NAME / 'images'}")
    for slice_number, frame_number, path in places:
        points = cells[slice_number, frame_number - 1]
        if points.shape != (2 * POINTS + 1, 2):
            raise DataError(f"{path.name}: no contour in {file.name}")
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if pixels is None:
            raise DataError(f"{path} cannot be read as a picture")
        contour = points.astype(np.float64) - 1.0
        yield Sample(
            source=NAME,
            subject=subject,
            slice_index=slice_number,
            slice_count=cells.shape[0],
            frame_index=frame_number - 1,
            pixels=pixels.astype(np.uint8, copy=False),
            maps=maps_from_contours(
                contour[:POINTS], contour[POINTS + 1 :], (pixels.shape[0], pixels.shape[1])
            ),
            spacing_mm=(NOMINAL_SPACING_MM, NOMINAL_SPACING_MM),
            has_spacing=False,
            has_rv=False,
        )


def maps_from_contours(
    endo_px: NDArray[np.float64], epi_px: NDArray[np.float64] | None, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Filled contours as membership maps, each pixel weighted by the part of it that lies inside.

    Args:
        endo_px: [n, 2] endocardial points (x, y), 0-based pixel centres.
        epi_px: [m, 2] epicardial points, or None where only the cavity was drawn.
        shape: (rows, columns).

    Returns:
        [rows, columns, 3] uint8 maps of RV (all 0), myocardium and cavity.
    """
    cavity = _filled(endo_px, shape)
    maps = np.zeros((*shape, 3), dtype=np.uint8)
    maps[..., 2] = np.round(cavity * 255)
    if epi_px is not None:
        maps[..., 1] = np.round(np.clip(_filled(epi_px, shape) - cavity, 0.0, 1.0) * 255)
    return maps


def _filled(points_px: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Part of each pixel inside a polygon, [rows, columns]: exact along FINE scan lines a row.

    (Filling on a finer grid with OpenCV counts the outline itself: 1 to 2 % too much.)
    """
    x, y = points_px.T
    x_after, y_after = np.roll(x, -1), np.roll(y, -1)
    first = max(int(np.floor(y.min() + 0.5)), 0)
    last = min(int(np.floor(y.max() + 0.5)), shape[0] - 1)
    lines = first - 0.5 + (np.arange((last - first + 1) * FINE) + 0.5) / FINE
    side, line = np.nonzero((y[:, None] <= lines) != (y_after[:, None] <= lines))
    share = (lines[line] - y[side]) / (y_after[side] - y[side])
    crossing = x[side] + share * (x_after[side] - x[side])
    upward = np.where(y_after[side] > y[side], 1.0, -1.0)
    left = min(max(int(np.floor(x.min() + 0.5)), 0), shape[1])
    columns = slice(left, min(int(np.floor(x.max() + 0.5)) + 1, shape[1]))
    beyond = np.clip(np.arange(shape[1])[columns] + 0.5 - crossing[:, None], 0.0, 1.0)
    filled = np.zeros(shape)
    np.add.at(filled[:, columns], first + line // FINE, upward[:, None] * beyond)
    return np.clip(np.abs(filled) / FINE, 0.0, 1.0)
