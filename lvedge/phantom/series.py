"""Periodic curves around the heart as Fourier series, whose sector means and areas are closed forms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lvedge.indices import FloatArray

SECTORS = 6


@dataclass(frozen=True)
class Series:
    """f(θ) = Σ cos_k cos kθ + sin_k sin kθ, θ in radians counter-clockwise from mid-septum.

    Args:
        cos: [K + 1] cosine coefficients, the first is the mean.
        sin: [K + 1] sine coefficients, the first counts for nothing.

    Raises:
        ValueError: if the two have different lengths.
    """

    cos: FloatArray
    sin: FloatArray

    def __post_init__(self) -> None:
        if self.cos.ndim != 1 or self.cos.shape != self.sin.shape:
            raise ValueError(f"expected two vectors of one length, got {self.cos.shape} and {self.sin.shape}")

    def at(self, theta: FloatArray) -> FloatArray:
        """The curve's value at each angle (radians), in the angles' shape."""
        return self.at_unit(np.exp(1j * np.asarray(theta)))

    def at_unit(self, unit: NDArray[np.complex128]) -> FloatArray:
        """The curve's value at each angle, given as exp(iθ)."""
        weights = self.cos - 1j * self.sin
        total = np.full(np.shape(unit), weights[-1])
        for weight in weights[-2:0:-1]:
            total = total * unit + weight
        if len(weights) > 1:
            total = total * unit
        value: FloatArray = np.real(total) + self.cos[0]
        return value

    def mean(self, start: float, stop: float) -> float:
        """Mean over an interval of angles (radians), exact."""
        k = np.arange(1, len(self.cos))
        rise = self.cos[1:] * (np.sin(k * stop) - np.sin(k * start))
        fall = self.sin[1:] * (np.cos(k * stop) - np.cos(k * start))
        return float(self.cos[0] + np.sum((rise - fall) / k) / (stop - start))

    def sector_means(self, sectors: int = SECTORS) -> FloatArray:
        """Means over equal sectors, counter-clockwise from mid-septum, [sectors], exact."""
        edges = np.linspace(0.0, 2 * np.pi, sectors + 1)
        return np.array([self.mean(a, b) for a, b in pairwise(edges)])

    def enclosed_area(self) -> float:
        """Area inside the curve taken as a radius, ½ ∫ f² dθ, exact by Parseval's identity."""
        return float(np.pi * (self.cos[0] ** 2 + np.sum(self.cos[1:] ** 2 + self.sin[1:] ** 2) / 2))

    def __add__(self, other: Series) -> Series:
        longer, shorter = (self, other) if len(self.cos) >= len(other.cos) else (other, self)
        cos, sin = longer.cos.copy(), longer.sin.copy()
        cos[: len(shorter.cos)] += shorter.cos
        sin[: len(shorter.sin)] += shorter.sin
        return Series(cos, sin)

    def __mul__(self, factor: float) -> Series:
        return Series(self.cos * factor, self.sin * factor)


def series_from_sectors(values: FloatArray) -> Series:
    """The smoothest curve whose means over the six 60° sectors are the given values.

    Six coefficients (mean, cos and sin of θ and 2θ, sin of 3θ) meet six means, so the curve is unique;
    the mean of cos 3θ over any of these sectors is nought, it is left out.

    Args:
        values: [6] sector means.

    Raises:
        ValueError: if there are not six values.
    """
    values = np.asarray(values, dtype=float)
    if values.shape != (SECTORS,):
        raise ValueError(f"expected {SECTORS} sector means, got an array of shape {values.shape}")
    cos, sin = np.zeros(4), np.zeros(4)
    for (kind, k), value in zip(_PLACES, _from_means() @ values, strict=True):
        (cos if kind == "cos" else sin)[k] = value
    return Series(cos, sin)


_PLACES = (("cos", 0), ("cos", 1), ("sin", 1), ("cos", 2), ("sin", 2), ("sin", 3))


@cache
def _from_means() -> FloatArray:
    """Matrix [6, 6] from sector means to the coefficients named by _PLACES."""
    columns = []
    for kind, k in _PLACES:
        one, none = np.eye(4)[k], np.zeros(4)
        columns.append((Series(one, none) if kind == "cos" else Series(none, one)).sector_means())
    inverse: FloatArray = np.linalg.inv(np.column_stack(columns))
    return inverse
