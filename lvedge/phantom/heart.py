"""An analytic beating heart in short axis: wall, diameters, areas and phase in closed form at every frame.

The endocardium is a star-shaped curve R(θ) with even harmonics only, so its centroid is exactly the LV
centre; the epicardium lies at R(θ) + w(θ), the wall w being the smoothest Fourier series with the sector
means that were asked for. Angles θ count counter-clockwise from mid-septum in the usual radiological view.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lvedge.indices import DEFAULT_LAYOUT, FloatArray, IndexLayout, Indices, Label, Phase
from lvedge.phantom.series import SECTORS, Series, series_from_sectors

Real = TypeVar("Real", np.float32, np.float64)
Sectors = tuple[float, float, float, float, float, float]

# Contraction (0 at end diastole, 1 at end systole) left after rapid filling and before the atrial kick.
AFTER_RAPID_FILLING = 0.27
BEFORE_ATRIAL_KICK = 0.20
MIN_WALL_MM = 1.5


@dataclass(frozen=True)
class Heart:
    """The heart in one slice: all lengths in mm, all angles in degrees, sectors IS, I, IL, AL, A, AS.

    Args:
        frames: number of frames of the cine, evenly over one beat.
        heart_rate_bpm: heart rate, beats a minute.
        systole_fraction: part of the beat from end diastole to end systole.
        start_fraction: place of the first frame in the beat, 0 (end diastole) to 1.
        diameter_ed_mm: mean cavity diameter at end diastole.
        fac: fractional area change of the cavity, 0 to 1.
        ellipticity: amplitude of the cavity's second harmonic, relative to its radius.
        ellipticity_deg: direction θ of the cavity's long axis.
        squareness: amplitude of the fourth harmonic, relative to the radius.
        squareness_deg: direction θ of one of its corners.
        wall_ed_mm: mean wall thickness of each sector at end diastole.
        thickening: (ES − ED) / ED of each sector; negative values thin.
        septum_deg: direction of mid-septum in the body, degrees clockwise from "towards increasing columns".
        motion_mm: shift (right, down) of the LV centre at end systole.
        rv_contact_deg: arc along which the RV touches the septum, seen from the LV centre; 0 for no RV.
        rv_depth_mm: depth of the RV beyond the septum at end diastole.
        rv_shortening: part of that depth lost at end systole.
        rv_skew: −1 to 1, how much deeper the RV is on the anterior (> 0) or inferior side.
        rv_overhang: how far the RV bulges beyond its insertions, away from the septum; 0 to 0.5.
        rv_wall_mm: thickness of the RV's free wall.
        papillary_mm: radius of the papillary muscles; 0 for none. They count as cavity.
        papillary_deg: directions θ of the posteromedial and the anterolateral one.
        trabeculae_mm: depth of the rough inner layer; it counts as cavity.

    Raises:
        ValueError: if a value cannot be meant (no frames, an empty cavity, a wall under 1.5 mm).
    """

    frames: int = 25
    heart_rate_bpm: float = 66.0
    systole_fraction: float = 0.38
    start_fraction: float = 0.0
    diameter_ed_mm: float = 50.0
    fac: float = 0.57
    ellipticity: float = 0.04
    ellipticity_deg: float = 70.0
    squareness: float = 0.01
    squareness_deg: float = 20.0
    wall_ed_mm: Sectors = (7.0, 6.4, 5.8, 5.7, 6.0, 7.0)
    thickening: Sectors = (0.38, 0.46, 0.55, 0.58, 0.52, 0.40)
    septum_deg: float = 165.0
    motion_mm: tuple[float, float] = (-1.0, -0.5)
    rv_contact_deg: float = 104.0
    rv_depth_mm: float = 23.0
    rv_shortening: float = 0.38
    rv_skew: float = -0.15
    rv_overhang: float = 0.15
    rv_wall_mm: float = 3.0
    papillary_mm: float = 4.8
    papillary_deg: tuple[float, float] = (105.0, 228.0)
    trabeculae_mm: float = 3.5

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"a cine needs at least one frame, not {self.frames}")
        if not 0.05 <= self.systole_fraction <= 0.7:
            raise ValueError(f"systole_fraction must lie in 0.05 .. 0.7, not {self.systole_fraction}")
        if self.diameter_ed_mm <= 0 or not 0 <= self.fac < 1 or self.heart_rate_bpm <= 0:
            raise ValueError("diameter_ed_mm and heart_rate_bpm must be positive and fac within 0 .. 1")
        if abs(self.ellipticity) + abs(self.squareness) > 0.4:
            raise ValueError("ellipticity and squareness together must stay within 0.4")
        if len(self.wall_ed_mm) != SECTORS or len(self.thickening) != SECTORS:
            raise ValueError(f"wall_ed_mm and thickening need {SECTORS} values each")
        circle = np.linspace(0.0, 2 * np.pi, 360, endpoint=False)
        thinnest = min(float(self._wall(s).at(circle).min()) for s in (0.0, 1.0))
        if thinnest < MIN_WALL_MM:
            raise ValueError(f"the wall gets as thin as {thinnest:.1f} mm; give sectors that differ less")

    @property
    def interval_ms(self) -> float:
        """Length of a beat, ms."""
        return 60_000.0 / self.heart_rate_bpm

    @cached_property
    def times_ms(self) -> FloatArray:
        """Trigger time of each frame, [frames] ms."""
        return np.linspace(0.0, self.interval_ms, self.frames, endpoint=False)

    @cached_property
    def contraction(self) -> FloatArray:
        """Contraction of each frame, [frames], 0 at end diastole to 1 at end systole."""
        return contraction_at(
            self.start_fraction + np.arange(self.frames) / self.frames, self.systole_fraction
        )

    def endo(self, frame: int) -> Series:
        """The endocardium's radius around the LV centre, mm."""
        return self._endo(float(self.contraction[frame]))

    def wall(self, frame: int) -> Series:
        """The wall's thickness along rays from the LV centre, mm."""
        return self._wall(float(self.contraction[frame]))

    def epi(self, frame: int) -> Series:
        """The epicardium's radius around the LV centre, mm."""
        return self.endo(frame) + self.wall(frame)

    def indices(self, frame: int, layout: IndexLayout = DEFAULT_LAYOUT) -> Indices:
        """The exact values of a frame."""
        endo, wall = self.endo(frame), self.wall(frame)
        means, half = endo.sector_means(layout.sectors), layout.sectors // 2
        cavity = endo.enclosed_area()
        vector = np.concatenate(
            [
                wall.sector_means(layout.sectors),
                (means[:half] + means[half:])[: layout.diameters],
                [cavity, (endo + wall).enclosed_area() - cavity],
            ]
        )
        return Indices(vector, layout)

    def wall_max_mm(self, frame: int) -> float:
        """95th percentile of the wall's thickness over rays 1° apart."""
        return float(np.percentile(self.wall(frame).at(np.deg2rad(np.arange(360.0))), 95))

    @cached_property
    def cavity_areas_mm2(self) -> FloatArray:
        """Cavity area of each frame, [frames] mm²."""
        return np.array([self.endo(i).enclosed_area() for i in range(self.frames)])

    @cached_property
    def ed_frame(self) -> int:
        """First maximum of the cyclically smoothed (1, 2, 1)/4 cavity area."""
        return int(np.argmax(self._smoothed_areas))

    @cached_property
    def es_frame(self) -> int:
        """First minimum of the cyclically smoothed cavity area."""
        return int(np.argmin(self._smoothed_areas))

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """Phase of each frame: systole from ED up to, not including, ES, going forward around the beat."""
        length = (self.es_frame - self.ed_frame) % self.frames
        return tuple(
            Phase.SYSTOLE if (i - self.ed_frame) % self.frames < length else Phase.DIASTOLE
            for i in range(self.frames)
        )

    def shift_mm(self, frame: int) -> tuple[float, float]:
        """Shift (right, down) of the LV centre in a frame."""
        s = float(self.contraction[frame])
        return self.motion_mm[0] * s, self.motion_mm[1] * s

    def labels_at(self, x_mm: FloatArray, y_mm: FloatArray, frame: int) -> NDArray[np.uint8]:
        """The label at each point of the body, by exact inside tests.

        Args:
            x_mm: mm to the right of the LV centre at end diastole, in the radiological view.
            y_mm: mm below it, same shape.
            frame: which frame.
        """
        dx, dy = self.shift_mm(frame)
        point = (x_mm - dx) + 1j * (y_mm - dy)
        rho = np.abs(point)
        unit = np.where(rho > 0, np.conj(point) / np.maximum(rho, 1e-12), 1.0) * self._septum_unit
        endo = self.endo(frame).at_unit(unit)
        epi = endo + self.wall(frame).at_unit(unit)
        labels = np.full(rho.shape, Label.BACKGROUND, dtype=np.uint8)
        if self.rv_contact_deg > 0:
            labels[self.rv_field(rho - epi, np.angle(unit), frame) > 0] = Label.RV
        labels[rho < epi] = Label.MYOCARDIUM
        labels[rho < endo] = Label.CAVITY
        return labels

    def rv_field(self, depth_mm: NDArray[Real], theta: NDArray[Real], frame: int) -> NDArray[Real]:
        """Positive inside the RV, ``depth_mm`` outside the epicardium in the directions θ (−π .. π)."""
        full = self.rv_depth_mm * (1.0 - self.rv_shortening * float(self.contraction[frame]))
        half = float(np.deg2rad(self.rv_contact_deg / 2))
        relative = np.maximum(depth_mm, 0.0) * (1.0 / full)
        along = theta / (half + half * self.rv_overhang * np.minimum(relative, 1.0))
        relative = relative / (1.0 - self.rv_skew * np.clip(along, -1.0, 1.0))
        return np.asarray(1.0 - along * along - relative * np.sqrt(relative), dtype=depth_mm.dtype)

    def _endo(self, contraction: float) -> Series:
        two, four = np.deg2rad(2 * self.ellipticity_deg), np.deg2rad(4 * self.squareness_deg)
        cos = np.array([1, 0, self.ellipticity * np.cos(two), 0, self.squareness * np.cos(four)])
        sin = np.array([0, 0, self.ellipticity * np.sin(two), 0, self.squareness * np.sin(four)])
        return Series(cos, sin) * (self.diameter_ed_mm / 2 * float(np.sqrt(1.0 - self.fac * contraction)))

    def _wall(self, contraction: float) -> Series:
        rest, gain = self._wall_parts
        return rest + gain * contraction

    @cached_property
    def _wall_parts(self) -> tuple[Series, Series]:
        """The wall at end diastole, and what it gains by end systole."""
        wall = np.asarray(self.wall_ed_mm)
        return series_from_sectors(wall), series_from_sectors(wall * np.asarray(self.thickening))

    @property
    def _septum_unit(self) -> complex:
        return complex(np.exp(1j * np.deg2rad(self.septum_deg)))

    @cached_property
    def _smoothed_areas(self) -> FloatArray:
        area = self.cavity_areas_mm2
        smoothed: FloatArray = (np.roll(area, 1) + 2 * area + np.roll(area, -1)) / 4
        return smoothed


def contraction_at(beat: FloatArray, systole_fraction: float) -> FloatArray:
    """Contraction over the beat: ejection, rapid filling, diastasis, atrial kick; twice differentiable.

    Args:
        beat: place in the beat, 0 at end diastole, 1 at the next one; any shape, wraps around.
        systole_fraction: place of end systole.

    Returns:
        0 at end diastole to 1 at end systole, in the shape of ``beat``.
    """
    rest = 1.0 - systole_fraction
    knots = np.array([0.0, systole_fraction, systole_fraction + 0.32 * rest, 1.0 - 0.24 * rest, 1.0])
    levels = np.array([0.0, 1.0, AFTER_RAPID_FILLING, BEFORE_ATRIAL_KICK, 0.0])
    place = np.mod(beat, 1.0)
    piece = np.clip(np.searchsorted(knots, place, side="right") - 1, 0, len(knots) - 2)
    u = (place - knots[piece]) / (knots[piece + 1] - knots[piece])
    eased = u**3 * (10.0 + u * (6.0 * u - 15.0))
    result: FloatArray = levels[piece] + (levels[piece + 1] - levels[piece]) * eased
    return result
