"""From a mask to the values: rays, walls, diameters, areas and the direction of mid-septum.

Definitions (all sub-pixel, in millimetres, at the mask's own spacing):

- Rays leave the cavity's centroid every 1°. The endocardium and the epicardium on a ray are the outermost
  0.5-crossings of the bilinearly sampled cavity and of cavity plus myocardium.
- Wall thickness of a sector is the mean of epicardial minus endocardial radius over its rays; a diameter is
  the sum of the mean endocardial radii of two opposite sectors; areas are pixels times pixel area.
- Mid-septum is the middle of the longest arc along which the RV lies within 1 to 4 mm of the epicardium,
  gaps up to 8° bridged: the bisector of the two RV insertions. Under 10° of contact it is the direction of
  the RV's centroid.

Angles are degrees clockwise from "towards increasing columns" as the picture is shown (rows run down).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.indices import DEFAULT_LAYOUT, FloatArray, IndexLayout, Indices, Label

RAYS = 360
CONTACT_MM = (1.0, 4.0)
GAP_DEG = 8
MIN_CONTACT_DEG = 10
WALL_MAX_PERCENTILE = 95.0
STEP = 0.25
"""Between two samples on a ray, in pixels."""
GRID_STEPS = 64
"""Samples by which the grid of rays that is kept grows."""

_RUN = re.compile(b"\x01+")
"""Rays that touch, in the bytes of an array of truths."""

_RAY = np.arange(RAYS)
_WITHIN_AND_BEYOND = np.stack([_RAY, _RAY - RAYS])
"""Added to where a row of samples begins: the sample on each ray, and the one before it."""
_ANGLES = np.deg2rad(_RAY)
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])
_BEYOND_MM = np.arange(CONTACT_MM[0], CONTACT_MM[1] + 0.01, 0.5)
"""Where the RV is looked for behind the epicardium."""


@dataclass(frozen=True)
class Septum:
    """Mid-septum as one picture shows it.

    Args:
        direction_deg: direction from the LV centre.
        contact_deg: length of the arc that touches the RV; 0 where only the RV's centroid gave the direction.
    """

    direction_deg: float
    contact_deg: float

    @property
    def insertions_deg(self) -> tuple[float, float] | None:
        """Directions of the contact's clockwise and counter-clockwise end, or None without contact."""
        if self.contact_deg < MIN_CONTACT_DEG:
            return None
        half = self.contact_deg / 2
        return (self.direction_deg + half) % 360.0, (self.direction_deg - half) % 360.0


@dataclass(frozen=True)
class Rays:
    """The walls on 360 rays from the cavity's centroid.

    Args:
        centre_px: cavity centroid (x, y), pixels.
        spacing_mm: (row, column) spacing of the mask.
        endo_mm: [360] endocardial radius; ray k points k degrees clockwise from increasing columns.
        epi_mm: [360] epicardial radius, at least ``endo_mm``.
        areas_mm2: [2] cavity and myocardial area.
    """

    centre_px: tuple[float, float]
    spacing_mm: tuple[float, float]
    endo_mm: FloatArray
    epi_mm: FloatArray
    areas_mm2: FloatArray

    @cached_property
    def wall_mm(self) -> FloatArray:
        """[360] wall thickness on each ray."""
        return self.epi_mm - self.endo_mm

    @property
    def wall_max_mm(self) -> float:
        """95th percentile of the rays' wall thickness, mm."""
        at = WALL_MAX_PERCENTILE / 100.0 * (RAYS - 1)
        below = int(at)
        ordered = np.partition(self.wall_mm, (below, below + 1))
        low, high = ordered[below : below + 2].tolist()
        return float(low + (high - low) * (at - below))

    def point_px(self, direction_deg: float, radius_mm: float) -> tuple[float, float]:
        """The pixel (x, y) at a direction and distance from the centre."""
        angle = np.deg2rad(direction_deg)
        return (
            self.centre_px[0] + radius_mm * float(np.cos(angle)) / self.spacing_mm[1],
            self.centre_px[1] + radius_mm * float(np.sin(angle)) / self.spacing_mm[0],
        )


def rays_from_maps(
    cavity: NDArray[np.float32],
    myocardium: NDArray[np.float32],
    spacing_mm: tuple[float, float],
    corner_px: tuple[int, int] = (0, 0),
) -> Rays | None:
    """The walls as a pair of maps shows them.

    Args:
        cavity: [rows, columns] membership of the cavity, 0 .. 1 (a probability or a binary label).
        myocardium: [rows, columns] membership of the myocardium.
        spacing_mm: (row, column) spacing.
        corner_px: pixel (x, y) at which the maps begin, where they are cut out of larger ones.

    Returns:
        The rays, or None where there is no cavity.
    """
    row_mm, column_mm = spacing_mm
    pixel_mm2 = row_mm * column_mm
    total = float(_sum(cavity, None))
    if total * pixel_mm2 <= 0.0:
        return None
    places_y, places_x = _places(cavity.shape[0]), _places(cavity.shape[1])
    x = float(_sum(cavity, 0) @ places_x) / total
    y = float(_sum(cavity, 1) @ places_y) / total
    away_x, away_y = (places_x - x) * column_mm, (places_y - y) * row_mm
    away_mm2: FloatArray = (away_y * away_y)[:, None] + away_x * away_x
    endo, epi = _edges_mm((cavity, cavity + myocardium), away_mm2, (x, y), spacing_mm)
    areas = np.array([total * pixel_mm2, float(_sum(myocardium, None)) * pixel_mm2])
    return Rays((corner_px[0] + x, corner_px[1] + y), spacing_mm, endo, np.maximum(epi, endo), areas)


def septum_from_map(rays: Rays, rv: NDArray[np.float32]) -> Septum | None:
    """Mid-septum from where the RV touches the wall, or None where no RV is seen.

    Args:
        rays: the walls.
        rv: [rows, columns] membership of the RV, 0 .. 1, on the same grid.
    """
    total = float(_sum(rv, None))
    if total < 1.0:
        return None
    x_px, y_px = (
        (rays.epi_mm * direction + centre + beyond).astype(np.float32)
        for direction, centre, beyond in zip(
            _directions_px(rays.spacing_mm), rays.centre_px, _beyond_px(rays.spacing_mm), strict=True
        )
    )
    touching = np.maximum.reduce(_sample(rv, x_px, y_px)) >= 0.5
    arc = _longest_arc(touching)
    if arc is not None and arc[1] >= MIN_CONTACT_DEG:
        start, length = arc
        return Septum((start + (length - 1) / 2) % 360.0, float(length))
    x = float(_sum(rv, 0) @ _places(rv.shape[1])) / total - rays.centre_px[0]
    y = float(_sum(rv, 1) @ _places(rv.shape[0])) / total - rays.centre_px[1]
    direction = np.rad2deg(np.arctan2(y * rays.spacing_mm[0], x * rays.spacing_mm[1]))
    return Septum(float(direction % 360.0), 0.0)


def indices_from_rays(
    rays: Rays, septum_deg: float, layout: IndexLayout = DEFAULT_LAYOUT, mirrored: bool = False
) -> Indices:
    """The L values, with sectors counted from mid-septum.

    Args:
        rays: the walls.
        septum_deg: direction of mid-septum.
        layout: M and N.
        mirrored: the picture shows AS counter-clockwise of mid-septum, against the radiological view.
    """
    offsets = _sector_offsets_deg(layout.sectors)
    around = septum_deg + offsets if mirrored else septum_deg - offsets
    read = _at_angles(np.array([rays.wall_mm, rays.endo_mm]), around)
    wall, endo = np.add.reduce(read, axis=2) / read.shape[2]
    half = layout.sectors // 2
    dims = endo[: layout.diameters] + endo[half : half + layout.diameters]
    return Indices(np.concatenate([wall, dims, rays.areas_mm2]), layout)


def maps_from_labels(labels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
    """RV, myocardium and cavity as float32 maps [rows, columns] of 0 and 1."""
    return tuple((labels == k).astype(np.float32) for k in (Label.RV, Label.MYOCARDIUM, Label.CAVITY))


def circular_median_deg(directions_deg: FloatArray) -> float:
    """The direction among those given with the least summed angular distance to all of them.

    Raises:
        ValueError: if there is none.
    """
    directions = np.asarray(directions_deg, dtype=float)
    if directions.size == 0:
        raise ValueError("no direction to take a median of")
    apart = np.abs((directions[:, None] - directions + 180.0) % 360.0 - 180.0)
    return float(directions[apart.sum(axis=0).argmin()])


def angle_between_deg(a_deg: float, b_deg: float) -> float:
    """Signed angle from b to a, -180 .. 180."""
    return float((a_deg - b_deg + 180.0) % 360.0 - 180.0)


def _edges_mm(
    maps: Sequence[NDArray[np.float32]],
    away_mm2: FloatArray,
    centre: tuple[float, float],
    spacing_mm: tuple[float, float],
) -> FloatArray:
    """Radius of each map's outermost 0.5-crossing on each ray, [maps, 360] mm; 0 where one never reaches 0.5.

    Args:
        maps: [rows, columns] each.
        away_mm2: [rows, columns] squared distance of every pixel from the centre.
        centre: (x, y), pixels.
        spacing_mm: (row, column) spacing.
    """
    step_mm = STEP * min(spacing_mm)
    border_mm, diagonal_mm = _border_mm(away_mm2.shape, centre, spacing_mm), math.hypot(*spacing_mm)
    x, y = np.float32(centre[0]), np.float32(centre[1])
    steps_out, crossed = [], []
    for values in maps:
        inner_mm, outer_mm = _band_mm(values, away_mm2, border_mm, diagonal_mm)
        first, end = int(inner_mm / step_mm), int(outer_mm / step_mm) + 2  # one sample beyond the last
        steps = -(-end // GRID_STEPS) * GRID_STEPS
        grid_x, grid_y = _ray_grid(spacing_mm, steps)
        ring = slice(steps - end, steps - first)
        profiles = _sample(values, grid_x[ring] + x, grid_y[ring] + y)  # from the outermost sample inwards
        place = (profiles >= 0.5).argmax(axis=0)
        steps_out.append(end - 1 - place)
        crossed.append(profiles.take(place * RAYS + _WITHIN_AND_BEYOND, mode="wrap"))
    # Both maps at once, as these are small: a call takes longer than what it does.
    crossing = np.array(crossed, dtype=np.float64)
    inner, drop = crossing[:, 0], crossing[:, 0] - crossing[:, 1]
    share = (inner - 0.5) / np.maximum(drop, 1e-6)
    radius = (np.array(steps_out) + np.minimum(share, 1.0)) * step_mm
    return np.where(inner >= 0.5, radius, 0.0)


def _band_mm(
    values: NDArray[np.float32], away_mm2: FloatArray, border_mm: float, diagonal_mm: float
) -> tuple[float, float]:
    """Distances from the centre between which values, also between the pixels, can cross 0.5."""
    inside = (values >= 0.5).view(np.uint8)
    outer_mm2 = cv2.minMaxLoc(away_mm2, inside)[1]  # 0 where nothing is inside
    inner_mm2 = cv2.minMaxLoc(away_mm2, inside ^ 1)[0]  # 0 where nothing is outside
    inner_mm = min(math.sqrt(inner_mm2), border_mm)  # outside of the maps there is nothing
    return max(inner_mm - diagonal_mm, 0.0), math.sqrt(outer_mm2) + diagonal_mm


def _border_mm(shape: tuple[int, ...], centre: tuple[float, float], spacing_mm: tuple[float, float]) -> float:
    """Distance from the centre to the nearest row or column beyond the maps."""
    (rows, columns), (x, y), (row_mm, column_mm) = shape, centre, spacing_mm
    return min(min(x + 1.0, columns - x) * column_mm, min(y + 1.0, rows - y) * row_mm)


def _sum(values: NDArray[np.float32], axis: int | None) -> NDArray[np.float32]:
    """``values.sum(axis)`` without what it does around the sum, which takes longer than so few numbers do."""
    summed: NDArray[np.float32] = np.add.reduce(values, axis=axis)
    return summed


@lru_cache(maxsize=256)
def _places(size: int) -> FloatArray:
    """0, 1, 2 ... of so many rows or columns."""
    return np.arange(size, dtype=np.float64)


@lru_cache(maxsize=8)
def _directions_px(spacing_mm: tuple[float, float]) -> FloatArray:
    """Pixels (x, y) that each ray goes in a millimetre, [2, 1, 360]."""
    directions: FloatArray = (_DIRECTIONS / np.array(spacing_mm[::-1])[:, None])[:, None]
    return directions


@lru_cache(maxsize=8)
def _beyond_px(spacing_mm: tuple[float, float]) -> FloatArray:
    """Pixels (x, y) from the epicardium to where the RV is looked for behind it, [2, samples, 360]."""
    beyond: FloatArray = _BEYOND_MM[:, None] * _directions_px(spacing_mm)
    return beyond


@lru_cache(maxsize=8)
def _ray_grid(spacing_mm: tuple[float, float], steps: int) -> NDArray[np.float32]:
    """Pixels (x, y) from the centre to every sample, the outermost first, [2, steps, 360]."""
    radii_mm = np.arange(steps)[::-1, None] * (STEP * min(spacing_mm))
    return (radii_mm * _directions_px(spacing_mm)).astype(np.float32)


def _sample(
    values: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Values between the pixels, bilinear, 0 beyond the map, at places x and y of any shape [n, m]."""
    sampled = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0.0)
    return np.asarray(sampled, dtype=np.float32)


def _longest_arc(touching: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Start and length, in rays, of the longest run on the circle, gaps up to GAP_DEG bridged."""
    runs = [run.span() for run in _RUN.finditer(touching.tobytes())]
    if not runs:
        return None
    if len(runs) == 1:
        ((start, end),) = runs
        return start, end - start
    starts, ends = zip(*runs, strict=True)
    gaps = [after - end for end, after in zip(ends, [*starts[1:], starts[0] + RAYS], strict=True)]
    # Where it is bridged all the way round the circle is opened at its widest gap.
    breaks = [k for k, gap in enumerate(gaps) if gap > GAP_DEG] or [gaps.index(max(gaps))]
    heads = [starts[(k + 1) % len(starts)] for k in (breaks[-1], *breaks[:-1])]
    arcs = [(head, (ends[k] - 1 - head) % RAYS + 1) for head, k in zip(heads, breaks, strict=True)]
    return max(arcs, key=lambda arc: arc[1])


@lru_cache(maxsize=8)
def _sector_offsets_deg(sectors: int) -> FloatArray:
    """Angles from mid-septum at which the rays of each sector are read, [sectors, rays a sector]."""
    rays_used = sectors * (RAYS // sectors)
    offsets = (np.arange(rays_used, dtype=np.float64) + 0.5) * (360.0 / rays_used)
    return offsets.reshape(sectors, -1)


def _at_angles(on_rays: FloatArray, angles_deg: FloatArray) -> FloatArray:
    """Values on the rays, [..., 360], linearly interpolated at any angles."""
    position = angles_deg % RAYS
    below = position.astype(np.intp)
    share = position - below
    before = on_rays.take(below, axis=-1, mode="wrap")
    behind = on_rays.take(below + 1, axis=-1, mode="wrap")
    interpolated: FloatArray = before * (1 - share) + behind * share
    return interpolated
