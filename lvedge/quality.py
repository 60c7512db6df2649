"""Quality: the probability that no reported value of a frame is grossly wrong.

A logistic model over what the two readings, the mask and the last frames say. Its coefficients are fitted
on subjects that the reported accuracy does not use and travel in the bundle's manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvedge.errors import BundleError
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
    "jump",
)


def quality_features(regressed: Indices, reading: MaskReading, previous: Indices | None) -> FloatArray:
    """What quality is judged from, [len(FEATURES)], each about 0 .. 1 and larger when worse.

    Args:
        regressed: the reported values.
        reading: the mask's reading.
        previous: the reported values of the frame before, or None.
    """
    apart = np.abs(regressed.vector - reading.indices.vector)
    layout = regressed.layout
    jump = 0.0
    if previous is not None:
        jump = float(np.abs(regressed.rwt_mm - previous.rwt_mm).mean()) / 3.0
    return np.array(
        [
            float(apart[layout.rwt].max()) / 3.0,
            float(apart[layout.dims].max()) / 5.0,
            float(apart[layout.areas].max()) / 400.0,
            reading.entropy * 3.0,
            1.0 - reading.confidence,
            1.0 - reading.closed,
            reading.other_share,
            float(reading.septum is None),
            float(np.exp(-reading.indices.areas_mm2[0] / 300.0)),
            jump,
        ]
    )


@dataclass(frozen=True)
class QualityModel:
    """Logistic regression on ``FEATURES``.

    Args:
        weights: [len(FEATURES)].
        bias: the log-odds of a good frame when all features are 0.
        flag_below: a frame of lower quality is flagged.
    """

    weights: FloatArray
    bias: float
    flag_below: float

    @classmethod
    def from_manifest(cls, entry: Mapping[str, object]) -> QualityModel:
        """The model as the manifest holds it.

        Raises:
            BundleError: if it was fitted on other features or is incomplete.
        """
        try:
            weights = entry["weights"]
            if not isinstance(weights, dict) or set(weights) != set(FEATURES):
                raise BundleError(
                    "the bundle's quality model reads other features: use the lvedge version it names"
                )
            values = np.array([float(weights[name]) for name in FEATURES])
            return cls(values, float(str(entry["bias"])), float(str(entry["flag_below"])))
        except (KeyError, TypeError, ValueError) as err:
            raise BundleError(f"the bundle's quality model is incomplete: {err}") from err

    def as_manifest(self) -> dict[str, object]:
        """The entry that ``from_manifest`` reads."""
        weights = {name: round(float(w), 6) for name, w in zip(FEATURES, self.weights, strict=True)}
        return {"weights": weights, "bias": round(self.bias, 6), "flag_below": round(self.flag_below, 4)}

    def quality(self, features: NDArray[np.float64]) -> float:
        """Probability of a good frame, 0 .. 1."""
        return float(1.0 / (1.0 + np.exp(-(self.bias + self.weights @ features))))


DEFAULT_QUALITY = QualityModel(weights=-np.ones(len(FEATURES)), bias=4.0, flag_below=0.5)
"""Unfitted: every feature lowers the quality alike. A shipped bundle carries a fitted one."""
