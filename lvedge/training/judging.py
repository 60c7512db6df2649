"""Fitting the quality model: which frames come out grossly wrong, and what gave them away.

Fitted on training and watched subjects, each slice as it is and once degraded (contrast, blur, noise), so
that there are enough gross errors to learn from; measured elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.aim import Stack
from lvedge.contract import Stepper
from lvedge.errors import DataError
from lvedge.frame import Frame
from lvedge.indices import DEFAULT_LAYOUT, FloatArray
from lvedge.measure import SliceMeasurer
from lvedge.measurement import Measurement
from lvedge.quality import (
    DEFAULT_QUALITY,
    FEATURES,
    GROSS_AREA_MM2,
    GROSS_RWT_MM,
    Logistic,
    PresenceModel,
    QualityModel,
    quality_features,
)
from lvedge.reading import NoVentricle, read_mask
from lvedge.training.data.sample import Sample
from lvedge.training.deform import smooth_field
from lvedge.training.scoring import frame_of_sample, truth_of

RIDGE = 1.0
ROUNDS = 50
FLAGGED = 0.1
"""The worst tenth of the frames that quality was fitted on is flagged; degraded ones do not count there."""

MISSED = 0.005
"""Share of the mid slices that presence was fitted on, degraded ones too, that are given up as unlikely."""


def is_gross(said: FloatArray, truth: FloatArray) -> bool:
    """Whether any sector is off by more than 3 mm or any area by more than 400 mm².

    Args:
        said: [L] reported values, mm and mm².
        truth: [L] drawn values.
    """
    error = np.abs(said - truth)
    layout = DEFAULT_LAYOUT
    return bool((error[layout.rwt] > GROSS_RWT_MM).any() or (error[layout.areas] > GROSS_AREA_MM2).any())


class JudgedFrames(NamedTuple):
    """Found LVs and what became of them.

    Args:
        features: [n, F] quality features.
        is_lv: [n] whether there was one.
        mid: [n] whether it was a mid slice.
        judged: [n] whether its values can be judged; an LV without a drawn RV has no truth by sector.
        gross: [n] whether a value came out grossly wrong, or there was no LV; false where it is not judged.
        as_is: [n] whether the frame was not degraded.
    """

    features: FloatArray
    is_lv: NDArray[np.bool_]
    mid: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    gross: NDArray[np.bool_]
    as_is: NDArray[np.bool_]


def judged_frames(stepper: Stepper, samples: Sequence[Sample], seed: int = 0) -> JudgedFrames:
    """Every found LV of acdc, as it is and degraded, judged by what was drawn.

    Args:
        stepper: executes the network.
        samples: whole subjects of acdc.
        seed: of the degradation.
    """
    stacks: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        stacks[sample.subject, sample.phase or ""].append(sample)
    features, is_lv, mid, judged, gross, as_is = [], [], [], [], [], []
    rng = np.random.default_rng(seed)
    for members in stacks.values():
        for degrade in (False, True):
            stack = Stack()
            for sample in sorted(members, key=lambda s: s.slice_index):
                frame = frame_of_sample(sample)
                if degrade:
                    frame = degraded(frame, rng)
                measurer = SliceMeasurer(stepper, DEFAULT_QUALITY, stack)
                (measurement,) = measurer.measure_closed([frame])
                row = features_of(measurement)
                if row is None:
                    continue
                truth, indices = truth_of(sample), measurement.indices
                features.append(row)
                is_lv.append(sample.has_lv)
                mid.append(sample.is_mid_slice)
                judged.append(not sample.has_lv or bool(np.isfinite(truth).all()))
                gross.append(not sample.has_lv or indices is None or is_gross(indices.vector, truth))
                as_is.append(not degrade)
    flags = (np.array(flag, dtype=bool) for flag in (is_lv, mid, judged, gross, as_is))
    return JudgedFrames(np.array(features).reshape(-1, len(FEATURES)), *flags)


def features_of(measurement: Measurement) -> FloatArray | None:
    """The quality features of a measured frame, None where nothing was measured."""
    if measurement.mask is None or measurement.indices is None or measurement.view is None:
        return None
    reading = read_mask(measurement.mask, measurement.view.mm_per_px, measurement.indices.layout)
    if isinstance(reading, NoVentricle):
        return None
    return quality_features(measurement.indices, reading, None, measurement.frame)


def degraded(frame: Frame, rng: np.random.Generator) -> Frame:
    """The frame as a bad acquisition might give it: less contrast, blur, noise, a bias field."""
    pixels = frame.pixels.astype(np.float32)
    top = float(np.percentile(pixels, 99)) or 1.0
    pixels = np.clip(pixels / top, 0.0, 1.5) ** np.float32(np.exp(rng.normal(0.0, 0.4)))
    if rng.random() < 0.6:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.6, 2.2))
    field = smooth_field(pixels.shape, 3, rng)
    pixels = pixels * np.exp(np.float32(rng.uniform(0.0, 0.5)) * field)
    pixels = pixels + rng.normal(0.0, rng.uniform(0.0, 0.16), pixels.shape)
    return replace(frame, pixels=np.ascontiguousarray(pixels, dtype=np.float32))


def fit_quality(
    features: FloatArray, gross: NDArray[np.bool_], as_is: NDArray[np.bool_] | None = None
) -> QualityModel:
    """The quality model, without presence.

    Args:
        features: [n, F] of judged frames.
        gross: [n].
        as_is: [n] the frames whose worst tenth is flagged; all where None.

    Raises:
        DataError: if there is no frame to fit to.
    """
    model = _fitted(features, ~gross)
    said = np.array([model.probability(row) for row in features[slice(None) if as_is is None else as_is]])
    return QualityModel(model.weights, model.bias, float(np.quantile(said, FLAGGED)))


def fit_presence(frames: JudgedFrames) -> PresenceModel | None:
    """The model of presence, None where every frame shows an LV and there is nothing to tell apart.

    Raises:
        DataError: if there is no frame to fit to.
    """
    if frames.is_lv.all() and len(frames.features):
        return None
    # In service the frame before may be any: what changes from frame to frame says nothing of presence.
    steady = np.where(np.array(FEATURES) == "jump", 0.0, frames.features)
    model = _fitted(steady, frames.is_lv)
    said = np.array([model.probability(row) for row in steady[frames.mid]])
    return PresenceModel(model.weights, model.bias, float(np.quantile(said, MISSED)) if said.size else 1.0)


def _fitted(features: FloatArray, good: NDArray[np.bool_]) -> Logistic:
    """Ridge logistic regression by Newton's method, features scaled to unit spread while fitting."""
    if not len(features):
        raise DataError(
            "no LV was found in any frame that quality is fitted on: train the stages before first"
        )
    centre, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    x = np.column_stack([np.ones(len(features)), (features - centre) / spread])
    y = good.astype(float)
    penalty = np.diag([0.0] + [RIDGE] * len(FEATURES))
    beta = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        p = 1.0 / (1.0 + np.exp(-x @ beta))
        gradient = x.T @ (y - p) - penalty @ beta
        step = np.linalg.solve(
            x.T @ (x * (p * (1 - p))[:, None]) + penalty + 1e-6 * np.eye(len(beta)), gradient
        )
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            break
    weights = beta[1:] / spread
    return Logistic(weights, float(beta[0] - weights @ centre))


def auroc(quality: FloatArray, gross: NDArray[np.bool_]) -> float:
    """Probability that a good frame has a higher quality than a grossly wrong one; ties count half."""
    good, bad = quality[~gross], quality[gross]
    if not good.size or not bad.size:
        return float("nan")
    higher = (good[:, None] > bad[None, :]).mean()
    return float(higher + 0.5 * (good[:, None] == bad[None, :]).mean())
