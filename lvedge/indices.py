"""What is measured: names, order and units of the L = M + N + 2 values, the phase, and the mask labels.

Every other file that speaks of a sector, a diameter, an area, a phase or a label takes its name and its
place in an array from here.

Sectors are numbered counter-clockwise from mid-septum in the usual radiological view (right ventricle on
the left): for M = 6 these are IS, I, IL, AL, A, AS, the AHA mid-cavity segments 9, 10, 11, 12, 7 and 8
(Cerqueira et al., Circulation 105:539-542, 2002), in the order of the LVQuan18 data set (arXiv:1705.09307).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SECTOR_NAMES = ("IS", "I", "IL", "AL", "A", "AS")
AHA_SEGMENTS = (9, 10, 11, 12, 7, 8)
AREA_NAMES = ("cavity", "myocardium")


class Label(IntEnum):
    """Mask labels, in the one order that masks, network outputs and files use."""

    BACKGROUND = 0
    RV = 1
    MYOCARDIUM = 2
    CAVITY = 3


class Phase(str, Enum):
    """Cardiac phase of a frame; the value is its name in results. The order below is the network's."""

    DIASTOLE = "diastole"
    SYSTOLE = "systole"

    @classmethod
    def from_probability(cls, p_systole: float) -> Phase:
        return cls.SYSTOLE if p_systole >= 0.5 else cls.DIASTOLE


PHASES = (Phase.DIASTOLE, Phase.SYSTOLE)
"""Column order of the network's phase probabilities."""


@dataclass(frozen=True)
class IndexLayout:
    """Where each value stands in a vector of L = M + N + 2: M thicknesses, N diameters, 2 areas.

    Args:
        sectors: M, an even number of equal sectors around the wall.
        diameters: N, at most M / 2; diameter j joins the sectors j and j + M / 2.

    Raises:
        ValueError: if M is odd or below 2, or N is outside 1 .. M / 2.
    """

    sectors: int = 6
    diameters: int = 3

    def __post_init__(self) -> None:
        if self.sectors < 2 or self.sectors % 2:
            raise ValueError(f"the number of sectors must be even and at least 2, not {self.sectors}")
        if not 1 <= self.diameters <= self.sectors // 2:
            raise ValueError(
                f"{self.sectors} sectors allow 1 to {self.sectors // 2} diameters, not {self.diameters}"
            )

    @property
    def size(self) -> int:
        """L, the number of values a frame yields."""
        return self.sectors + self.diameters + len(AREA_NAMES)

    @property
    def rwt(self) -> slice:
        """Regional wall thicknesses."""
        return slice(0, self.sectors)

    @property
    def dims(self) -> slice:
        """Cavity diameters."""
        return slice(self.sectors, self.sectors + self.diameters)

    @property
    def areas(self) -> slice:
        """Areas: cavity, myocardium."""
        return slice(self.sectors + self.diameters, self.size)

    @cached_property
    def sector_names(self) -> tuple[str, ...]:
        if self.sectors == len(SECTOR_NAMES):
            return SECTOR_NAMES
        return tuple(f"S{k + 1}" for k in range(self.sectors))

    @cached_property
    def diameter_names(self) -> tuple[str, ...]:
        names, half = self.sector_names, self.sectors // 2
        return tuple(f"{names[j]}-{names[j + half]}" for j in range(self.diameters))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name per value, with its unit: ``rwt_IS_mm`` ... ``dim_IS-AL_mm`` ... ``area_cavity_mm2``."""
        return (
            *(f"rwt_{name}_mm" for name in self.sector_names),
            *(f"dim_{name}_mm" for name in self.diameter_names),
            *(f"area_{name}_mm2" for name in AREA_NAMES),
        )

    def unit_power(self) -> FloatArray:
        """Power of a length that each value carries, [L]: 1 for thicknesses and diameters, 2 for areas."""
        power = np.ones(self.size)
        power[self.areas] = 2.0
        return power


DEFAULT_LAYOUT = IndexLayout()


@dataclass(frozen=True)
class Indices:
    """The L values of one frame, in millimetres and square millimetres.

    Args:
        vector: [L] float64, ordered as ``layout`` says; kept as a read-only copy.
        layout: M and N.

    Raises:
        ValueError: if the vector's shape is not [L].
    """

    vector: FloatArray
    layout: IndexLayout = DEFAULT_LAYOUT

    def __post_init__(self) -> None:
        vector = np.array(self.vector, dtype=np.float64)
        if vector.shape != (self.layout.size,):
            raise ValueError(f"expected {self.layout.size} values, got an array of shape {vector.shape}")
        vector.flags.writeable = False
        object.__setattr__(self, "vector", vector)

    @property
    def rwt_mm(self) -> FloatArray:
        """Regional wall thickness, [M] mm."""
        return self.vector[self.layout.rwt]

    @property
    def dims_mm(self) -> FloatArray:
        """Cavity diameters, [N] mm."""
        return self.vector[self.layout.dims]

    @property
    def areas_mm2(self) -> FloatArray:
        """Cavity and myocardial area, [2] mm²."""
        return self.vector[self.layout.areas]
