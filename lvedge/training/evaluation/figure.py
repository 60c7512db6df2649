"""Figures: subject means with bootstrap intervals, the pooled mean beside them, and what JSON can hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvedge.indices import DEFAULT_LAYOUT, FloatArray

BOOTSTRAPS = 2000
CENTRE_MM = 6.0
GROUPS = (
    ("rwt_mm", DEFAULT_LAYOUT.rwt),
    ("dims_mm", DEFAULT_LAYOUT.dims),
    ("areas_mm2", DEFAULT_LAYOUT.areas),
)
"""Kinds of value and where they stand in a vector of L."""

Figure = dict[str, float | list[float] | int]


def by_subject(subjects: Sequence[str], values: FloatArray, seed: int = 0) -> Figure:
    """Mean over subjects of the subject's mean, its 95 % subject-bootstrap interval, and the pooled mean.

    Args:
        subjects: subject of each value.
        values: [n]; NaN is left out.
        seed: of the bootstrap.
    """
    names = sorted(set(subjects))
    owner = np.asarray(subjects)
    means = np.array([mean(values[owner == name]) for name in names])
    means = means[np.isfinite(means)]
    if means.size == 0:
        return {"subjects": 0}
    rng = np.random.default_rng(seed)
    draws = means[rng.integers(means.size, size=(BOOTSTRAPS, means.size))].mean(axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return {
        "mean": round(float(means.mean()), 4),
        "interval_95": [round(float(low), 4), round(float(high), 4)],
        "pooled": round(mean(values), 4),
        "subjects": int(means.size),
    }


def per_index(said: FloatArray, truth: FloatArray) -> dict[str, dict[str, object]]:
    """Agreement of every value, pooled.

    Args:
        said: [n, L] mm and mm².
        truth: [n, L].

    Returns:
        By the value's name: ``mae`` and its ``sd``, ``rmse``, ``bias`` with the 95 % ``limits_of_agreement``
        of Bland and Altman (Lancet 327:307-310, 1986), ``pearson_r``. Nothing of no frame.
    """
    figures: dict[str, dict[str, object]] = {}
    if not len(said):
        return figures
    for k, name in enumerate(DEFAULT_LAYOUT.names):
        error = said[:, k] - truth[:, k]
        low, high = limits_of_agreement(error)
        figures[name] = {
            "mae": round(float(np.abs(error).mean()), 3),
            "sd": round(float(np.abs(error).std()), 3),
            "rmse": round(float(np.sqrt(np.mean(error**2))), 3),
            "bias": round(float(error.mean()), 3),
            "limits_of_agreement": [round(low, 3), round(high, 3)],
            "pearson_r": correlation(said[:, k], truth[:, k]),
        }
    return figures


def limits_of_agreement(error: FloatArray) -> tuple[float, float]:
    """Bias − 1.96 SD and bias + 1.96 SD."""
    bias, spread = float(error.mean()), 1.96 * float(error.std())
    return bias - spread, bias + spread


def mean(values: FloatArray) -> float:
    """The mean of the known values; NaN where none is."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else float("nan")


def median(values: FloatArray, digits: int = 2) -> float | None:
    """The median of the finite values; None where none is."""
    known = values[np.isfinite(values)]
    return round(float(np.median(known)), digits) if known.size else None


def finite(value: float, digits: int | None = None) -> float | None:
    """A figure as JSON can hold it."""
    if not np.isfinite(value):
        return None
    return float(value) if digits is None else round(float(value), digits)


def correlation(said: FloatArray, truth: FloatArray) -> float | None:
    """Pearson's r; None where one side does not vary (too few slices, or one value for all)."""
    if np.ptp(said) == 0 or np.ptp(truth) == 0:
        return None
    return round(float(np.corrcoef(said, truth)[0, 1]), 4)
