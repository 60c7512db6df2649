"""Worse pictures: what scanners, patients and exports do to a frame, each by one physical effect.

All are functions of a frame, a severity and a generator: equal arguments give equal pixels, and no frame
that comes in is written to. A picture's "top" is its 99th percentile, about the grey of blood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.frame import Frame, Pixels

TOP_PERCENTILE = 99.0
GAIN_MM = 100.0
GHOST_LINES = (3, 8)
GREY_LEVELS = 255

Degrade = Callable[[Frame, float, np.random.Generator], Frame]


@dataclass(frozen=True)
class Degradation:
    """One effect and how far it is taken.

    Args:
        name: of the effect.
        unit: of its severity.
        severities: from mild to severe; of gamma from dark to bright.
        apply: the effect itself.
    """

    name: str
    unit: str
    severities: tuple[float, ...]
    apply: Degrade


def top_of(pixels: Pixels) -> float:
    """The picture's 99th percentile; 1 for a black picture."""
    return float(np.percentile(pixels, TOP_PERCENTILE)) or 1.0


def noise(frame: Frame, sd_of_top: float, rng: np.random.Generator) -> Frame:
    """Rician noise: Gaussian noise in both channels of the complex signal, of which the magnitude is shown.

    Under no signal the result is Rayleigh distributed (mean σ√(π/2), SD σ√(2 − π/2)), under much signal
    Gaussian with SD σ (Gudbjartsson & Patz, MRM 34:910, 1995).

    Args:
        frame: a magnitude picture.
        sd_of_top: σ of each channel in parts of the picture's top.
        rng: draws the noise.
    """
    sigma = sd_of_top * top_of(frame.pixels)
    real, imaginary = sigma * rng.standard_normal((2, *frame.pixels.shape))
    return _with_pixels(frame, np.hypot(frame.pixels + real, imaginary))


def bias_field(frame: Frame, factor: float, rng: np.random.Generator) -> Frame:
    """A surface coil's gain that falls off exponentially in one direction, and is 1 in the picture's middle.

    Args:
        frame: any.
        factor: by which the gain differs between two points 100 mm apart along that direction.
        rng: draws the direction.
    """
    angle = rng.uniform(0.0, 2 * np.pi)
    rows, columns = frame.pixels.shape
    down = (np.arange(rows) - (rows - 1) / 2) * frame.spacing_mm[0]
    right = (np.arange(columns) - (columns - 1) / 2) * frame.spacing_mm[1]
    along = np.sin(angle) * down[:, None] + np.cos(angle) * right
    return _with_pixels(frame, frame.pixels * factor ** (along / GAIN_MM))


def ghosting(frame: Frame, share: float, rng: np.random.Generator, lines: int | None = None) -> Frame:
    """Ghosts along the phase-encoding direction, here down the rows, as breathing and pulsation give them.

    Every n-th line of k-space is stronger than those between: of N rows, a copy of the picture appears N/n
    rows above and one N/n rows below, wrapped around.

    Args:
        frame: any.
        share: strength of each copy in parts of the picture.
        rng: draws n, 3 to 8, where it is not given.
        lines: n, the modulation's period in k-space lines.
    """
    period = int(rng.integers(GHOST_LINES[0], GHOST_LINES[1] + 1)) if lines is None else lines
    rows = frame.pixels.shape[0]
    line = np.fft.fftfreq(rows) * rows  # signed, so that the picture stays real for any N/n
    weight = 1.0 + 2.0 * share * np.cos(2 * np.pi * line / period)
    spectrum = np.fft.fft(frame.pixels, axis=0) * weight[:, None]
    return _with_pixels(frame, np.abs(np.fft.ifft(spectrum, axis=0)))


def gamma(frame: Frame, exponent: float, _rng: np.random.Generator) -> Frame:
    """Another grey scale, as displays and exports apply it: v becomes top · (v / top)^exponent.

    Args:
        frame: values under 0 count as 0.
        exponent: under 1 brightens the dark, over 1 darkens it; 1 changes nothing.
    """
    top = top_of(frame.pixels)
    return _with_pixels(frame, top * (np.maximum(frame.pixels, 0.0) / top) ** exponent)


def clipping(frame: Frame, share: float, _rng: np.random.Generator) -> Frame:
    """An 8-bit export with too narrow a window: whole grey values 0 .. 255, the brightest all at 255.

    Args:
        frame: any.
        share: of the pixels that are cut off at the top, 0 .. 1.
    """
    top = float(np.quantile(frame.pixels, 1.0 - share)) or 1.0
    return _with_pixels(frame, np.round(np.clip(frame.pixels / top, 0.0, 1.0) * GREY_LEVELS))


def rotation(frame: Frame, degrees: float, _rng: np.random.Generator) -> Frame:
    """The picture turned clockwise on a larger black ground, as an oblique slice may lie on the screen.

    Nothing is lost at its borders. Orientation and position no longer hold and are dropped.

    Args:
        frame: any; the result's pixels are square, as large as the smaller side of the frame's.
        degrees: of the turn.
    """
    rows, columns = frame.pixels.shape
    mm = min(frame.spacing_mm)
    scale = np.array([frame.spacing_mm[1], frame.spacing_mm[0]]) / mm
    turn = np.deg2rad(degrees)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scale
    # To the hundredth, so that a quarter turn is as large as the picture.
    width, height = np.ceil(np.round(np.abs(linear) @ np.array([columns, rows]), 2)).astype(int)
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    offset = np.array([(width - 1) / 2, (height - 1) / 2]) - linear @ middle
    turned = cv2.warpAffine(
        frame.pixels,
        np.column_stack([linear, offset]),
        (int(width), int(height)),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0.0,
    )
    still = replace(frame, spacing_mm=(mm, mm), orientation=None, position_mm=None)
    return _with_pixels(still, np.maximum(turned, 0.0))


def resolution(frame: Frame, mm: float, _rng: np.random.Generator) -> Frame:
    """Larger pixels, each the mean of what it covers; a frame whose pixels are as large already stays.

    Args:
        frame: any.
        mm: side of the new pixels, made to fit the picture a whole number of times.
    """
    rows, columns = (
        min(max(round(side * old / mm), 1), side)
        for side, old in zip(frame.pixels.shape, frame.spacing_mm, strict=True)
    )
    spacing = (
        frame.spacing_mm[0] * frame.pixels.shape[0] / rows,
        frame.spacing_mm[1] * frame.pixels.shape[1] / columns,
    )
    coarse = cv2.resize(frame.pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    return _with_pixels(replace(frame, spacing_mm=spacing), coarse)


DEGRADATIONS = (
    Degradation("noise", "SD, parts of the top", (0.05, 0.1, 0.15, 0.2), noise),
    Degradation("bias field", "gain over 100 mm", (1.25, 1.5, 2.0, 3.0), bias_field),
    Degradation("ghosting", "each ghost, parts of the picture", (0.05, 0.1, 0.2, 0.3), ghosting),
    Degradation("gamma", "exponent", (0.5, 0.7, 1.4, 2.0), gamma),
    Degradation("8-bit clipping", "share of pixels", (0.02, 0.05, 0.1, 0.2), clipping),
    Degradation("rotation", "degrees", (10.0, 30.0, 90.0, 180.0), rotation),
    Degradation("resolution", "mm a pixel", (2.0, 2.5, 3.0, 4.0), resolution),
)
"""What the robustness of a run is measured under."""


def _with_pixels(frame: Frame, pixels: NDArray[Any]) -> Frame:
    return replace(frame, pixels=np.ascontiguousarray(pixels, dtype=np.float32))
