"""Fitting the quality model: which frames come out grossly wrong or show no LV, and what gave them away.

Fitted on slices as they are and once degraded (contrast, blur, noise), so that there are enough gross errors
to learn from, and on pictures that show no heart at all; measured elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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
from lvedge.quality import (
    DEFAULT_QUALITY,
    FEATURES,
    GROSS_AREA_MM2,
    GROSS_RWT_MM,
    Logistic,
    PresenceModel,
    QualityModel,
)
from lvedge.training.data.sample import Sample, stacks_of
from lvedge.training.deform import smooth_field
from lvedge.training.scoring import frame_of_sample, truth_of

RIDGE = 1.0
PRESENCE_RIDGE = 10.0
"""Few slices without an LV are taken for one: more is held back than where gross errors are many. From 1 to
100 the order of slices of unseen subjects improves a little; what is given up hardly changes."""
ROUNDS = 50
FLAGGED = 0.1
"""The worst tenth of the frames that quality was fitted on is flagged; degraded ones do not count there."""

DEGRADED = 1.0 / 3.0
"""What a degraded frame counts for where presence is fitted."""

RETURNED = 0.12
"""Share of the slices without an LV in which one is drawn all the same that presence lets pass."""

MISSED = 0.002
"""Share of the mid slices, degraded ones too, that are given up as no heart."""

STEADY = tuple(name for name in FEATURES if name != "jump")
"""What presence looks at: in service the frame before may be any."""
IN_STACK = tuple(name for name in STEADY if name not in ("hidden", "septum_hidden"))
"""The same without the locator, which points at the heart where a slice beyond its ends shows no LV."""


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
        heart: [n] whether the picture was a slice of a heart's stack at all.
        mid: [n] whether it was a mid slice.
        judged: [n] whether its values can be judged; an LV without a drawn RV has no truth by sector.
        gross: [n] whether a value came out grossly wrong, or there was no LV; false where it is not judged.
        as_is: [n] whether the frame was not degraded.
    """

    features: FloatArray
    is_lv: NDArray[np.bool_]
    heart: NDArray[np.bool_]
    mid: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    gross: NDArray[np.bool_]
    as_is: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Sequence[tuple[FloatArray, tuple[bool, ...]]]) -> JudgedFrames:
        """From the features of each frame, and what there is to say of it in the order of the fields."""
        features = np.array([row for row, _ in rows]).reshape(-1, len(FEATURES))
        said = np.array([flags for _, flags in rows], dtype=bool).reshape(-1, len(cls._fields) - 1)
        return cls(features, *said.T)


def judged_frames(
    stepper: Stepper, samples: Sequence[Sample], pictures: Iterable[Frame] = (), seed: int = 0
) -> JudgedFrames:
    """Every LV found in acdc, as it is and degraded, judged by what was drawn; and every one found elsewhere.

    Args:
        stepper: executes the network.
        samples: whole subjects of acdc.
        pictures: that show no heart along its short axis, each measured by itself.
        seed: of the degradation.
    """
    rows: list[tuple[FloatArray, tuple[bool, ...]]] = []
    rng = np.random.default_rng(seed)
    for members in stacks_of(samples):
        for degrade in (False, True):
            stack = Stack()
            for sample in members:
                frame = frame_of_sample(sample)
                if degrade:
                    frame = degraded(frame, rng)
                (found,) = SliceMeasurer(stepper, DEFAULT_QUALITY, stack).measure_closed([frame])
                if found.signs is None or found.indices is None:
                    continue
                truth = truth_of(sample)
                judged = not sample.has_lv or bool(np.isfinite(truth).all())
                gross = not sample.has_lv or is_gross(found.indices.vector, truth)
                rows.append(
                    (found.signs, (sample.has_lv, True, sample.is_mid_slice, judged, gross, not degrade))
                )
    for frame in pictures:
        (found,) = SliceMeasurer(stepper, DEFAULT_QUALITY).measure_closed([frame])
        if found.signs is not None:
            rows.append((found.signs, (False, False, False, False, False, True)))
    return JudgedFrames.of(rows)


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
    """What tells an LV from the atrium beyond its base and the muscle beyond its apex.

    Returns:
        The model, None where no slice of a stack without an LV was taken for one.

    Raises:
        DataError: if there is no frame to fit to.
    """
    empty = frames.heart & ~frames.is_lv
    if not empty.any() and len(frames.features):
        return None
    features, is_lv = _only(IN_STACK, frames.features[frames.heart]), frames.is_lv[frames.heart]
    weight = np.where(frames.as_is[frames.heart], 1.0, DEGRADED)
    model = _fitted(features, is_lv, weight, PRESENCE_RIDGE)
    limiting = empty & frames.as_is if (empty & frames.as_is).any() else empty
    said = np.sort([model.probability(row) for row in _only(IN_STACK, frames.features[limiting])])[::-1]
    return PresenceModel(model.weights, model.bias, just_above(float(said[int(RETURNED * len(said))])))


def fit_heart(frames: JudgedFrames) -> PresenceModel | None:
    """What tells an LV from other organs, other planes and noise.

    Returns:
        The model, None where nothing else was taken for an LV.

    Raises:
        DataError: if there is no frame to fit to.
    """
    if frames.heart.all() and len(frames.features):
        return None
    features = _only(STEADY, frames.features)
    told = frames.is_lv | ~frames.heart
    model = _fitted(features[told], frames.is_lv[told])
    said = np.array([model.probability(row) for row in features[frames.mid]])
    return PresenceModel(model.weights, model.bias, float(np.quantile(said, MISSED)) if said.size else 1.0)


def just_above(probability: float) -> float:
    """The next value that a manifest can hold."""
    return (math.floor(probability * 1e4) + 1) / 1e4


def _only(names: Sequence[str], features: FloatArray) -> FloatArray:
    """Features [n, F] with 0 for all that are not named: what a model does not look at gets no weight."""
    only: FloatArray = np.where([name in names for name in FEATURES], features, 0.0)
    return only


def _fitted(
    features: FloatArray, good: NDArray[np.bool_], weight: FloatArray | None = None, ridge: float = RIDGE
) -> Logistic:
    """Ridge logistic regression by Newton's method, features scaled to unit spread while fitting."""
    if not len(features):
        raise DataError(
            "no LV was found in any frame that quality is fitted on: train the stages before first"
        )
    centre, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    x = np.column_stack([np.ones(len(features)), (features - centre) / spread])
    y, w = good.astype(float), np.ones(len(features)) if weight is None else weight
    penalty = np.diag([0.0] + [ridge] * len(FEATURES))
    beta = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        p = 1.0 / (1.0 + np.exp(-x @ beta))
        gradient = x.T @ (w * (y - p)) - penalty @ beta
        step = np.linalg.solve(
            x.T @ (x * (w * p * (1 - p))[:, None]) + penalty + 1e-6 * np.eye(len(beta)), gradient
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
