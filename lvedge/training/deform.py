"""Hearts of other shapes: a view bent smoothly, and its truth measured again on what was bent with it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.geometry import indices_from_rays, rays_from_maps, septum_from_map
from lvedge.indices import FloatArray, IndexLayout

Picture = NDArray[np.float32]

KNOTS = 5
"""Knots of the displacement along each side of the view: with 120 mm, one every 30 mm."""


def bent(layers: Picture, spread_px: float, rng: np.random.Generator) -> Picture:
    """Layers moved along one smooth random displacement.

    Args:
        layers: [S, S, C].
        spread_px: standard deviation of the displacement at a knot, in pixels.
        rng: draws it.
    """
    size = layers.shape[0]
    y, x = np.indices((size, size), dtype=np.float32)
    dx, dy = (smooth_field((size, size), KNOTS, rng) * np.float32(spread_px) for _ in range(2))
    moved = cv2.remap(layers, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)


def smooth_field(shape: tuple[int, ...], knots: int, rng: np.random.Generator) -> Picture:
    """A smooth random field of about unit spread, [rows, columns] as ``shape`` says."""
    drawn = rng.normal(size=(knots, knots)).astype(np.float32)
    field = cv2.resize(drawn, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field, dtype=np.float32)


def values_of_maps(maps: Picture, layout: IndexLayout) -> tuple[FloatArray, float] | None:
    """Truth read off soft maps in a view, sectors counted counter-clockwise as shown.

    Args:
        maps: [3, S, S] membership of RV, myocardium, cavity.
        layout: M and N.

    Returns:
        [L] in view pixels and square view pixels, and the direction of mid-septum in degrees; None where the
        maps show no LV beside an RV.
    """
    rv, myocardium, cavity = maps
    rays = rays_from_maps(cavity, myocardium, (1.0, 1.0))
    septum = septum_from_map(rays, rv) if rays is not None else None
    if rays is None or septum is None:
        return None
    return indices_from_rays(rays, septum.direction_deg, layout).vector, septum.direction_deg
