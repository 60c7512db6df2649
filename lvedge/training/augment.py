"""Augmentation: one prepared slice seen through a jittered view, under another scanner's contrast."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.indices import FloatArray, IndexLayout
from lvedge.training.deform import bent, emptied, smooth_field, values_of_maps
from lvedge.training.slices import PreparedSlice
from lvedge.view import View, normalise

Picture = NDArray[np.float32]

MAP_LAYERS = (3, 2)
"""Cavity and myocardium among the layers of a prepared slice, in the order of the areas."""


@dataclass(frozen=True)
class AugmentConfig:
    """How far augmentation goes. Spreads are standard deviations where not said otherwise.

    Args:
        turn_deg: rotation of the view off mid-septum.
        shift_mm: shift of the view off the LV centre.
        scale: spread of the logarithm of the size.
        wide_share: share of slices with rotation and shift three times as far, as a poor locator gives.
        nominal_scale: half-range of the size where the spacing is only nominal.
        mirror_share: share of mirrored views; geometry is relative to the septum, so truth mirrors with it.
        bent_share: share of slices that are bent into another shape.
        bend_mm: displacement at the knots of that.
        emptied_share: share of slices whose LV is emptied further.
        contrast: shift of blood and of muscle, in parts of the picture's range.
        gamma: spread of the logarithm of the exponent.
        bias: spread of the logarithm of a smooth field.
        blur_px: largest blur.
        noise: largest noise.
    """

    turn_deg: float = 8.0
    shift_mm: float = 3.0
    scale: float = 0.13
    wide_share: float = 0.1
    nominal_scale: float = 0.35
    mirror_share: float = 0.25
    bent_share: float = 0.1
    bend_mm: float = 2.5
    emptied_share: float = 0.2
    contrast: float = 0.09
    gamma: float = 0.25
    bias: float = 0.18
    blur_px: float = 1.1
    noise: float = 0.07


@dataclass(frozen=True)
class SeenSlice:
    """What the network is shown, and what it should say.

    Args:
        picture: [S, S] float32 normalised grey values.
        maps: [3, S, S] float32 membership of RV, myocardium, cavity.
        values_px: [L] truth in view pixels and square view pixels; NaN where unknown.
        septum: [2] unit vector of mid-septum in the view; NaN where unknown.
        has_rv: whether the RV was drawn.
    """

    picture: Picture
    maps: Picture
    values_px: FloatArray
    septum: FloatArray
    has_rv: bool


def jittered_view(
    prepared: PreparedSlice, size_px: int, mm_per_px: float, config: AugmentConfig, rng: np.random.Generator
) -> View:
    """A view off the truth as far as the configuration goes."""
    far = 3.0 if rng.random() < config.wide_share else 1.0
    scale = np.exp(rng.normal(0.0, config.scale))
    if not prepared.sample.has_spacing:
        scale = 1.0 + rng.uniform(-config.nominal_scale, config.nominal_scale)
    if not prepared.septum_drawn:
        far = 3.0
    return prepared.view(
        size_px,
        mm_per_px / float(scale),
        dx_mm=rng.normal(0.0, config.shift_mm * far),
        dy_mm=rng.normal(0.0, config.shift_mm * far),
        turn_deg=rng.normal(0.0, config.turn_deg * far),
        mirrored=float(rng.random() < config.mirror_share),
    )


def seen_through(
    prepared: PreparedSlice,
    view: View,
    layout: IndexLayout,
    config: AugmentConfig | None = None,
    rng: np.random.Generator | None = None,
) -> SeenSlice:
    """A slice and its truth in a view; with a configuration and a generator shape and contrast change too."""
    warped = view.crop(prepared.layers.astype(np.float32)) * np.float32(1 / 255)
    truth = _truth_in_view(prepared, view, layout)
    if config is not None and rng is not None:
        shape = warped
        if rng.random() < config.emptied_share:
            shape = emptied(shape, MAP_LAYERS, rng)
        if rng.random() < config.bent_share:
            shape = bent(shape, config.bend_mm / view.mm_per_px, rng)
        if shape is not warped:
            warped, truth = _measured_again(prepared, warped, shape, truth, layout)
    values, septum = truth
    picture, maps = warped[..., 0], _channels_first(warped)
    if config is not None and rng is not None:
        picture = other_contrast(picture, maps, config, rng)
    return SeenSlice(normalise(picture), maps, values, septum, prepared.sample.has_rv)


def _channels_first(warped: Picture) -> Picture:
    return np.ascontiguousarray(warped[..., 1:].transpose(2, 0, 1))


def _truth_in_view(prepared: PreparedSlice, view: View, layout: IndexLayout) -> tuple[FloatArray, FloatArray]:
    """Values in view pixels and the unit vector of mid-septum, as the view shows the slice."""
    values = prepared.values_mm / view.mm_per_px ** layout.unit_power()
    septum = np.full(2, np.nan)
    if view.mirrored:
        values[layout.rwt] = values[layout.rwt][::-1]
        # Mirrored, the sectors run the other way: diameter j joins what joined M/2 - 1 - j before.
        if layout.diameters == layout.sectors // 2:
            values[layout.dims] = values[layout.dims][::-1]
        else:
            values[layout.dims] = np.nan
    if prepared.septum_drawn:
        off = np.deg2rad(prepared.septum_deg - view.septum_deg)
        angle = np.pi + (-off if view.mirrored else off)
        septum = np.array([np.cos(angle), np.sin(angle)])
    return values, septum


def _measured_again(
    prepared: PreparedSlice,
    warped: Picture,
    shape: Picture,
    truth: tuple[FloatArray, FloatArray],
    layout: IndexLayout,
) -> tuple[Picture, tuple[FloatArray, FloatArray]]:
    """A slice in another shape, with its truth; as it was where the truth of that shape cannot be told."""
    values, _ = truth
    if np.isnan(values).all():
        return shape, truth
    if prepared.septum_drawn:
        measured = values_of_maps(_channels_first(shape), layout)
        if measured is None:
            return warped, truth
        angle = np.deg2rad(measured[1])
        return shape, (measured[0], np.array([np.cos(angle), np.sin(angle)]))
    if np.isnan(values[layout.rwt]).all():
        areas = shape[..., list(MAP_LAYERS)].sum(axis=(0, 1))
        return shape, (np.concatenate([values[: layout.areas.start], areas]), truth[1])
    return warped, truth  # its sectors are counted from another slice's septum


def other_contrast(
    picture: Picture, maps: Picture, config: AugmentConfig, rng: np.random.Generator
) -> Picture:
    """The picture as another scanner might have made it: contrast, gamma, bias field, sharpness, noise.

    Args:
        picture: [S, S] grey values, about 0 .. 1.
        maps: [3, S, S] membership of RV, myocardium, cavity.
    """
    size = picture.shape[0]
    span = float(np.percentile(picture, 99) - np.percentile(picture, 1)) or 1.0
    soft = [cv2.GaussianBlur(m, (0, 0), 0.8) for m in maps]
    blood = rng.normal(0.0, config.contrast)
    shifts = (
        blood + rng.normal(0.0, config.contrast / 3),
        rng.normal(0.0, 0.8 * config.contrast),
        blood + rng.normal(0.0, config.contrast / 3),
    )
    out = picture.copy()
    for tissue, shift in zip(soft, shifts, strict=True):
        out += np.float32(shift * span) * tissue
    outside = 1.0 - np.clip(sum(soft), 0.0, 1.0)
    out *= 1.0 + np.float32(rng.normal(0.0, 0.25)) * smooth_field(picture.shape, 6, rng) * outside
    out *= np.exp(np.float32(config.bias) * smooth_field(picture.shape, 3, rng))
    out = np.clip(out, 0.0, None)
    top = float(out.max()) or 1.0
    out = (top * (out / top) ** np.exp(rng.normal(0.0, config.gamma))).astype(np.float32)
    if rng.random() < 0.3:
        knots = np.sort(rng.uniform(0.0, 1.0, 3))
        out = np.interp(
            out / top, [0.0, 0.25, 0.5, 0.75, 1.0], [0.0, *(0.5 * knots + [0.125, 0.25, 0.375]), 1.0]
        )
        out = (out * top).astype(np.float32)
    if rng.random() < 0.5:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, config.blur_px))
    if rng.random() < 0.25:
        coarse = int(size / rng.uniform(1.2, 1.9))
        out = cv2.resize(cv2.resize(out, (coarse, coarse), interpolation=cv2.INTER_AREA), (size, size))
    sigma = rng.uniform(0.0, config.noise) * span
    grain = rng.normal(0.0, sigma, (size, size)).astype(np.float32)
    if rng.random() < 0.5:
        grain = cv2.GaussianBlur(grain, (0, 0), 0.7) * np.float32(1.8)
    seen: Picture = out + grain
    return seen
