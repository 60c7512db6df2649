"""Tissues with soft edges: water and fat are kept apart, so that their borders cancel as in bSSFP."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lvedge.frame import Pixels


@dataclass(frozen=True)
class Canvas:
    """Water and fat signal of a picture, both [rows, columns] float32; painting changes them in place.

    In balanced SSFP water and fat come with opposite sign: where both share a pixel they cancel, which
    draws the dark line around organs that lie in fat.
    """

    water: Pixels
    fat: Pixels

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Canvas:
        return cls(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    def copy(self, rows: slice = slice(None), columns: slice = slice(None)) -> Canvas:
        """A part of the canvas that can be painted without touching this one."""
        return Canvas(self.water[rows, columns].copy(), self.fat[rows, columns].copy())

    def part(self, rows: slice, columns: slice) -> Canvas:
        """A part of the canvas; painting it paints this one."""
        return Canvas(self.water[rows, columns], self.fat[rows, columns])

    def paint(self, cover: Pixels, water: Pixels | float = 0.0, fat: Pixels | float = 0.0) -> None:
        """Lay a tissue over what is there, where ``cover`` (0 to 1) says so."""
        np.add(self.water, cover * (water - self.water), out=self.water)
        np.add(self.fat, cover * (fat - self.fat), out=self.fat)

    @property
    def signal(self) -> Pixels:
        """Magnitude of water and fat in opposed phase."""
        signal: Pixels = np.abs(self.water - self.fat)
        return signal


def cover(inside_mm: Pixels, edge_mm: float) -> Pixels:
    """How much of each pixel a tissue fills, 0 to 1.

    Args:
        inside_mm: distance inside the tissue's border, mm, negative outside.
        edge_mm: width of the border.
    """
    ramp = np.clip(inside_mm * np.float32(1.0 / (1.5 * edge_mm)) + np.float32(0.5), 0.0, 1.0)
    smooth: Pixels = ramp * ramp * (3.0 - 2.0 * ramp)
    return smooth


def ellipse(
    x: Pixels, y: Pixels, centre: tuple[float, float], radii: tuple[float, float], turn_deg: float = 0.0
) -> Pixels:
    """Distance inside an ellipse along the ray from its centre, mm, outside negative."""
    turn = np.deg2rad(turn_deg)
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    u = (np.float32(np.cos(turn)) * dx + np.float32(np.sin(turn)) * dy) / np.float32(radii[0])
    v = (np.float32(np.cos(turn)) * dy - np.float32(np.sin(turn)) * dx) / np.float32(radii[1])
    norm = np.sqrt(u * u + v * v) + np.float32(1e-6)
    inside: Pixels = np.sqrt(dx * dx + dy * dy) * (1.0 / norm - 1.0) + np.float32(1e-6 * min(radii))
    return inside


def cloud(rng: np.random.Generator, shape: tuple[int, int], cell_px: float) -> Pixels:
    """Smooth noise of standard deviation about 1 that varies over ``cell_px`` pixels, [rows, columns]."""
    small = (max(4, round(shape[0] / cell_px) + 3), max(4, round(shape[1] / cell_px) + 3))
    grid = rng.standard_normal(small, dtype=np.float32)
    grown = cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    noise: Pixels = np.asarray(grown, dtype=np.float32) * np.float32(1.3)
    return noise
