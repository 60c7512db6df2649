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

LOPSIDED = 0.15
"""Spread from side to side of the LV of what is left of an emptied cavity's radius, in parts of it."""

REACH = 1.6
"""How far beyond an LV its surroundings move when it empties, in parts of its outer radius."""


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
    return _moved(layers, x + dx, y + dy)


def emptied(layers: Picture, lv_layers: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Layers as after a beat that empties the cavity further, down to the slit that is left of thick hearts.

    Everything moves to the LV's centre. Along each direction the cavity, the wall and the surroundings up to
    a reach where nothing moves any more are stretched evenly; the cavity keeps a share of its radius that
    differs a little from side to side, and the wall about its cross-section. What blood is left between
    papillary muscles looks the more like muscle the less of it there is.

    Args:
        layers: [S, S, C], the picture first.
        lv_layers: which of C are the memberships of cavity and myocardium.
        rng: draws how far it goes.

    Returns:
        [S, S, C]; the layers as they were where they show no LV with a wall.
    """
    size = layers.shape[0]
    kept, toward, more_muscle = (
        rng.uniform(0.12, 0.8),
        rng.uniform(0, 2 * np.pi),
        np.exp(rng.normal(0.1, 0.15)),
    )
    faded, field = rng.uniform(0.0, 1.0), smooth_field((size, size), 9, rng)
    cavity, muscle = (layers[..., k] for k in lv_layers)
    moments = cv2.moments(cavity)
    inner = np.sqrt(moments["m00"] / np.pi)
    outer = np.sqrt((moments["m00"] + float(muscle.sum())) / np.pi)
    if inner < 1.0 or outer - inner < 1.0:
        return layers
    y, x = np.indices((size, size), dtype=np.float32)
    x_mid, y_mid = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    radius, angle = np.hypot(x - x_mid, y - y_mid), np.arctan2(y - y_mid, x - x_mid)
    new_inner = np.maximum(inner * kept * (1.0 + LOPSIDED * np.cos(angle - toward)), 1.0)
    new_outer = np.sqrt(new_inner**2 + more_muscle * (outer**2 - inner**2))
    reach = REACH * np.maximum(outer, new_outer)
    inside = radius * (inner / new_inner)
    in_wall = inner + (radius - new_inner) * ((outer - inner) / (new_outer - new_inner))
    beyond = outer + (radius - new_outer) * ((reach - outer) / (reach - new_outer))
    before = np.select(
        [radius < new_inner, radius < new_outer, radius < reach], [inside, in_wall, beyond], radius
    )
    share = before / np.maximum(radius, 1e-3)
    moved = _moved(layers, x_mid + share * (x - x_mid), y_mid + share * (y - y_mid))
    grey = float((layers[..., 0] * muscle).sum() / muscle.sum())
    like_muscle = np.clip(faded * (1.0 - kept) + 0.25 * field, 0.0, 1.0) * moved[..., lv_layers[0]]
    moved[..., 0] += like_muscle * (grey - moved[..., 0])
    return moved


def _moved(layers: Picture, x: NDArray[np.floating], y: NDArray[np.floating]) -> Picture:
    """Layers [S, S, C] as they are at the places x, y [S, S]; beyond their border as at it."""
    x, y = x.astype(np.float32), y.astype(np.float32)
    moved = cv2.remap(layers, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
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
