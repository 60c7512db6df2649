"""Hausdorff distances between drawn and returned contours, in millimetres."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.indices import FloatArray, Label
from lvedge.measurement import Measurement
from lvedge.training.data.sample import Sample

PERCENTILE = 95.0
CONTOURS = ("endocardium", "epicardium")


def hausdorff_mm(sample: Sample, measurement: Measurement) -> FloatArray:
    """Distances [2, 2]: endocardium and epicardium, each 95 % and largest; NaN where none is drawn.

    The endocardium is the outline of the cavity, the epicardium that of cavity and myocardium together.
    """
    labels = measurement.labels()
    cavity, wall = (sample.map(label) >= 0.5 for label in (Label.CAVITY, Label.MYOCARDIUM))
    said_cavity, said_wall = labels == Label.CAVITY, labels == Label.MYOCARDIUM
    return np.array(
        [
            contour_distance_mm(cavity, said_cavity, sample.spacing_mm),
            contour_distance_mm(cavity | wall, said_cavity | said_wall, sample.spacing_mm),
        ]
    )


def contour_distance_mm(
    drawn: NDArray[np.bool_], said: NDArray[np.bool_], spacing_mm: tuple[float, float]
) -> tuple[float, float]:
    """Hausdorff distance of two regions' outlines, 95 % and largest.

    From every pixel on one outline to the nearest on the other, both ways; the larger of the two ways'
    95th percentiles, and of their maxima. Where nothing is returned the drawn region's own extent is scored:
    as far off as the heart is wide.

    Args:
        drawn: [rows, columns].
        said: the same grid.
        spacing_mm: (row, column).

    Returns:
        (95 %, largest) in mm; NaN where nothing is drawn.
    """
    from scipy.spatial import cKDTree
    from scipy.spatial.distance import pdist

    truth, found = _outline_mm(drawn, spacing_mm), _outline_mm(said, spacing_mm)
    if not len(truth):
        return float("nan"), float("nan")
    if not len(found):
        extent = float(pdist(truth).max()) if len(truth) > 1 else 0.0
        return extent, extent
    there, back = cKDTree(found).query(truth)[0], cKDTree(truth).query(found)[0]
    return (
        float(max(np.percentile(there, PERCENTILE), np.percentile(back, PERCENTILE))),
        float(max(there.max(), back.max())),
    )


def _outline_mm(region: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> FloatArray:
    """Pixels on the outer outlines of a region, [n, 2] (x, y) in mm."""
    outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = [outline.reshape(-1, 2) for outline in outlines]
    pixels = np.concatenate(points) if points else np.zeros((0, 2))
    return np.asarray(pixels * np.array(spacing_mm[::-1]), dtype=np.float64)
