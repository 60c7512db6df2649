"""Cines from two frames: ED registered to ES along the drawn walls, the deformation played back and forth.

acdc is annotated at ED and ES only. The endocardium and the epicardium, as radii around the cavity's centre,
say where every point of the wall goes; the cavity moves with the endocardium, the surroundings follow the
epicardium and come to rest 30 mm further out. A frame between is both ends warped along that motion and
cross-faded. (A dense optical flow between the two pictures was tried first: it does not follow a cavity
that shrinks to a fifth.)
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.geometry import RAYS, Rays
from lvedge.indices import FloatArray
from lvedge.training.slices import PreparedSlice

REST_MM = 30.0
SMALLEST_MM = 0.5

Layers = NDArray[np.uint8]


@dataclass(frozen=True)
class Motion:
    """The way from ED to ES of one slice.

    Args:
        ed: [rows, columns, 4] uint8 layers at ED (picture, RV, myocardium, cavity).
        es: the same at ES, on the same grid.
        ed_rays: the walls at ED, in pixels of that grid.
        es_rays: the walls at ES.
    """

    ed: Layers
    es: Layers
    ed_rays: Rays
    es_rays: Rays

    def at(self, contraction: float) -> Layers:
        """The layers at a state between ED (0) and ES (1)."""
        if contraction <= 0.0:
            return self.ed
        if contraction >= 1.0:
            return self.es
        blended = (1.0 - contraction) * self._moved(self.ed, self.ed_rays, contraction)
        blended += contraction * self._moved(self.es, self.es_rays, contraction)
        return np.round(blended).astype(np.uint8)

    def _moved(self, layers: Layers, origin: Rays, contraction: float) -> NDArray[np.float32]:
        """Layers of one end, moved to the state: every pixel reads where it came from."""

        def mix(ed: FloatArray, es: FloatArray) -> FloatArray:
            return (1.0 - contraction) * ed + contraction * es

        centre = mix(np.array(self.ed_rays.centre_px), np.array(self.es_rays.centre_px))
        endo = np.maximum(mix(self.ed_rays.endo_mm, self.es_rays.endo_mm), SMALLEST_MM)
        epi = np.maximum(mix(self.ed_rays.epi_mm, self.es_rays.epi_mm), endo + SMALLEST_MM)
        row_mm, column_mm = origin.spacing_mm
        y, x = np.mgrid[: layers.shape[0], : layers.shape[1]].astype(np.float64)
        dx, dy = (x - centre[0]) * column_mm, (y - centre[1]) * row_mm
        radius = np.hypot(dx, dy)
        ray = np.rad2deg(np.arctan2(dy, dx)) % RAYS
        endo_here, epi_here = _around(endo, ray), _around(epi, ray)
        endo_there, epi_there = _around(origin.endo_mm, ray), _around(origin.epi_mm, ray)
        inside = radius * endo_there / endo_here
        in_wall = endo_there + (radius - endo_here) * (epi_there - endo_there) / (epi_here - endo_here)
        rest = np.clip((epi_here + REST_MM - radius) / REST_MM, 0.0, 1.0)
        outside = radius + (epi_there - epi_here) * rest
        source = np.where(radius < endo_here, inside, np.where(radius < epi_here, in_wall, outside))
        stretch = source / np.maximum(radius, 1e-6)
        carried = np.where(radius < epi_here, 1.0, rest)
        source_x = x + carried * (origin.centre_px[0] - centre[0]) + dx * (stretch - 1.0) / column_mm
        source_y = y + carried * (origin.centre_px[1] - centre[1]) + dy * (stretch - 1.0) / row_mm
        moved = cv2.remap(
            layers.astype(np.float32),
            source_x.astype(np.float32),
            source_y.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(moved, dtype=np.float32)


def motion_between(ed: PreparedSlice, es: PreparedSlice) -> Motion | None:
    """The motion of a slice; None where an end has no LV.

    Args:
        ed: the slice at ED.
        es: the same slice at ES, on the same grid.
    """
    ed_rays, es_rays = ed.sample.rays(), es.sample.rays()
    if ed_rays is None or es_rays is None or ed.layers.shape != es.layers.shape:
        return None
    return Motion(ed.layers, es.layers, ed_rays, es_rays)


def _around(values: FloatArray, ray: FloatArray) -> FloatArray:
    """Values of the 360 rays at any direction, linearly between two."""
    below = np.floor(ray).astype(int)
    share = ray - below
    between: FloatArray = values[below % RAYS] * (1.0 - share) + values[(below + 1) % RAYS] * share
    return between
