"""Quality: the probability that no reported value of a frame is grossly wrong. Presence: is it an LV at all?

Three logistic models over what the two readings, the mask, the locator and the last frame say: quality, and
two of presence, one for either way to be wrong, beyond the LV's ends and nowhere near a heart. Their
coefficients are fitted on subjects that the reported accuracy does not use and travel in the bundle's
manifest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvedge.aim import Aim
from lvedge.errors import BundleError
from lvedge.frame import Frame
from lvedge.indices import FloatArray, Indices
from lvedge.reading import MaskReading

GROSS_RWT_MM = 3.0
GROSS_AREA_MM2 = 400.0
"""A frame is grossly wrong where any sector is off by more than 3 mm or any area by more than 400 mm²."""

FEATURES = (
    "rwt_apart",
    "dims_apart",
    "areas_apart",
    "entropy",
    "doubt",
    "open",
    "other_share",
    "no_rv",
    "small",
    "thin",
    "uneven",
    "end",
    "jump",
    "cavity",
    "muscle",
    "thickest",
    "thinnest",
    "thickness",
    "oval",
    "hidden",
    "septum_hidden",
)
SIGNS = FEATURES[: FEATURES.index("cavity")]
"""The features that are larger where a frame is worse; after these come sizes and what the locator missed."""

REJECTING = ("presence", "heart")
"""Models that give a frame up, by their name in the manifest."""

NO_LV_LIKELY = "what is seen here is unlikely to be an LV"
NO_HEART_LIKELY = "what is seen here is unlikely to be a heart"

STACK_SLICES = 5
"""A stack of fewer slices need not reach from beyond the apex to beyond the base."""


def towards_end(frame: Frame) -> float:
    """Nearness of a frame's slice to an end of its stack: 1, 1/2, 1/4 ... inwards; 0 without a stack."""
    if frame.slice_count is None or frame.slice_count < STACK_SLICES:
        return 0.0
    return 0.5 ** max(min(frame.slice_index, frame.slice_count - 1 - frame.slice_index), 0)


def quality_features(
    regressed: Indices, reading: MaskReading, previous: Indices | None, aim: Aim, frame: Frame
) -> FloatArray:
    """What quality and presence are judged from, [len(FEATURES)], each about 0 .. 1.

    Args:
        regressed: the reported values.
        reading: the mask's reading.
        previous: the reported values of the frame before, or None.
        aim: what the frame is measured through.
        frame: what was measured.
    """
    # A handful of numbers: as Python's own they take a third of the time.
    layout, reported, drawn = regressed.layout, regressed.vector.tolist(), reading.indices.vector.tolist()
    apart = [abs(a - b) for a, b in zip(reported, drawn, strict=True)]
    walls, said, diameters = drawn[layout.rwt], reported[layout.rwt], reported[layout.dims]
    mean_mm = sum(walls) / len(walls)
    deviation_mm = math.sqrt(sum((wall - mean_mm) ** 2 for wall in walls) / len(walls))
    jump = 0.0
    if previous is not None:
        before = previous.rwt_mm.tolist()
        jump = sum(abs(a - b) for a, b in zip(said, before, strict=True)) / len(walls) / 3.0
    cavity_mm2, muscle_mm2 = reported[layout.areas]
    return np.array(
        [
            max(apart[layout.rwt]) / 3.0,
            max(apart[layout.dims]) / 5.0,
            max(apart[layout.areas]) / 400.0,
            reading.entropy * 3.0,
            1.0 - reading.confidence,
            1.0 - reading.closed,
            reading.other_share,
            float(reading.septum is None),
            math.exp(-drawn[layout.areas][0] / 300.0),
            math.exp(-min(walls) / 3.0),
            deviation_mm / max(mean_mm, 1.0),
            towards_end(frame),
            jump,
            math.sqrt(cavity_mm2) / 50.0,
            math.sqrt(muscle_mm2) / 50.0,
            max(said) / 20.0,
            min(said) / 20.0,
            sum(said) / len(said) / 20.0,
            (max(diameters) - min(diameters)) / 20.0,
            1.0 - aim.confidence,
            1.0 - aim.septum_confidence,
        ]
    )


@dataclass(frozen=True)
class Logistic:
    """Logistic regression on ``FEATURES``.

    Args:
        weights: [len(FEATURES)].
        bias: the log-odds when all features are 0.
    """

    weights: FloatArray
    bias: float

    def probability(self, features: NDArray[np.float64]) -> float:
        """0 .. 1, for features [len(FEATURES)]."""
        return float(1.0 / (1.0 + np.exp(-(self.bias + self.weights @ features))))

    def as_manifest(self) -> dict[str, object]:
        """The entry that ``coefficients_from_manifest`` reads."""
        weights = {name: round(float(w), 6) for name, w in zip(FEATURES, self.weights, strict=True)}
        return {"weights": weights, "bias": round(self.bias, 6)}


@dataclass(frozen=True)
class PresenceModel(Logistic):
    """Whether what was drawn is an LV.

    Args:
        reject_below: a frame of lower probability shows no LV.
    """

    reject_below: float

    def rejects(self, features: NDArray[np.float64]) -> bool:
        """Whether features [len(FEATURES)] are unlikely to be an LV's."""
        return self.probability(features) < self.reject_below

    @classmethod
    def from_manifest(cls, entry: object) -> PresenceModel:
        """The model as the manifest holds it; raises as ``QualityModel.from_manifest``."""
        if not isinstance(entry, Mapping):
            raise BundleError("the bundle's quality model is incomplete: its model of presence is no object")
        return cls(*coefficients_from_manifest(entry), _number(entry, "reject_below"))

    def as_manifest(self) -> dict[str, object]:
        """The entry that ``from_manifest`` reads."""
        return {**super().as_manifest(), "reject_below": round(self.reject_below, 4)}


@dataclass(frozen=True)
class QualityModel(Logistic):
    """How far a frame's values can be trusted.

    Args:
        flag_below: a frame of lower quality is flagged.
        presence: whether it is an LV, and not the atrium beyond its base or the muscle beyond its apex; None
            where that is left to the mask alone.
        heart: whether it lies in a heart seen along its short axis, and is no other organ; None as above.
    """

    flag_below: float
    presence: PresenceModel | None = None
    heart: PresenceModel | None = None

    @classmethod
    def from_manifest(cls, entry: Mapping[str, object]) -> QualityModel:
        """The model as the manifest holds it.

        Raises:
            BundleError: if it was fitted on other features or is incomplete.
        """
        rejecting = (entry.get(name) for name in REJECTING)
        return cls(
            *coefficients_from_manifest(entry),
            _number(entry, "flag_below"),
            *(PresenceModel.from_manifest(of) if of is not None else None for of in rejecting),
        )

    def as_manifest(self) -> dict[str, object]:
        """The entry that ``from_manifest`` reads."""
        entry = {**super().as_manifest(), "flag_below": round(self.flag_below, 4)}
        models = {name: getattr(self, name) for name in REJECTING}
        return entry | {name: model.as_manifest() for name, model in models.items() if model is not None}

    def objection(self, features: NDArray[np.float64]) -> str | None:
        """Why a frame of features [len(FEATURES)] shows no LV; None where nothing speaks against one."""
        for model, reason in ((self.heart, NO_HEART_LIKELY), (self.presence, NO_LV_LIKELY)):
            if model is not None and model.rejects(features):
                return reason
        return None

    def quality(self, features: NDArray[np.float64]) -> float:
        """Probability of a good frame, 0 .. 1."""
        return self.probability(features)


def coefficients_from_manifest(entry: Mapping[str, object]) -> tuple[FloatArray, float]:
    """Weights and bias of a model as the manifest holds them.

    Raises:
        BundleError: if it was fitted on other features or is incomplete.
    """
    weights = entry.get("weights")
    if weights is None:
        raise BundleError("the bundle's quality model is incomplete: it has no weights")
    if not isinstance(weights, Mapping) or set(weights) != set(FEATURES):
        raise BundleError("the bundle's quality model reads other features: use the lvedge version it names")
    return np.array([_number(weights, name) for name in FEATURES]), _number(entry, "bias")


def _number(entry: Mapping[str, object], name: str) -> float:
    try:
        return float(str(entry[name]))
    except (KeyError, ValueError) as err:
        raise BundleError(f"the bundle's quality model is incomplete: {name} is no number") from err


DEFAULT_QUALITY = QualityModel(
    weights=np.array([-1.0 if name in SIGNS else 0.0 for name in FEATURES]), bias=4.0, flag_below=0.5
)
"""Unfitted: every sign of a bad frame lowers the quality alike. A shipped bundle carries a fitted one."""
