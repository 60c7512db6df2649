"""What quality is worth: whether it knows which frames came out grossly wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.indices import FloatArray
from lvedge.training.evaluation.figure import BOOTSTRAPS, finite
from lvedge.training.evaluation.still import ScoredSlice
from lvedge.training.judging import auroc, is_gross

WORST = 0.1
COVERAGES = tuple(round(0.05 * k, 2) for k in range(1, 21))

Booleans = NDArray[np.bool_]


def quality_figures(scored: Sequence[ScoredSlice]) -> dict[str, Any]:
    """Over all slices with an LV in which one was returned and whose every value was drawn.

    A frame is grossly wrong where any sector is off by more than 3 mm or any area by more than 400 mm².

    Args:
        scored: slices of acdc; the others among them are left out.

    Returns:
        ``base_rate`` of gross errors; ``auroc`` with its 95 % interval over subjects; ``worst_tenth``, the
        share of all gross errors among the tenth of the frames that is judged worst, ``of_attainable`` where
        min(1, 0.1 / base rate) is 1; ``flagged`` by the limit of the fold's own model; ``risk_coverage``.
    """
    judged = judged_slices(scored)
    quality, gross = quality_and_gross(judged)
    if not len(judged):
        return {"frames": 0}
    flagged = np.array([s.flagged for s in judged])
    base, held = float(gross.mean()), share_of_worst(quality, gross)
    interval = _interval(judged, quality, gross)
    return {
        "frames": len(judged),
        "gross": int(gross.sum()),
        "base_rate": finite(base, 4),
        "auroc": {
            "value": finite(auroc(quality, gross), 4),
            "interval_95": interval,
        },
        "worst_tenth": {
            "share_of_gross": finite(held, 4),
            "of_attainable": finite(held / min(1.0, WORST / base), 4) if base else None,
        },
        "flagged": {
            "share": finite(float(flagged.mean()), 4),
            "gross_among_flagged": _rate(gross[flagged]),
            "gross_among_others": _rate(gross[~flagged]),
        },
        "risk_coverage": risk_coverage(quality, gross),
    }


def judged_slices(scored: Sequence[ScoredSlice]) -> list[ScoredSlice]:
    """The slices that quality is judged on."""
    return [s for s in scored if s.found and s.has_lv and np.isfinite(s.truth).all()]


def quality_and_gross(judged: Sequence[ScoredSlice]) -> tuple[FloatArray, Booleans]:
    """Quality [n], and whether each came out grossly wrong, [n]."""
    quality = np.array([s.quality for s in judged])
    return quality, np.array([is_gross(s.regressed, s.truth) for s in judged], dtype=bool)


def share_of_worst(quality: FloatArray, gross: Booleans) -> float:
    """Share of the gross errors among the tenth of the frames with the lowest quality; NaN without any."""
    if not gross.any():
        return float("nan")
    worst = np.argsort(quality, kind="stable")[: round(WORST * len(quality))]
    return float(gross[worst].sum() / gross.sum())


def risk_coverage(quality: FloatArray, gross: Booleans) -> dict[str, list[float]]:
    """Share of gross errors among the best-judged frames, against the share of frames that these are.

    ``random`` is what judging by lot leaves, ``oracle`` what knowing the truth leaves.
    """
    by_quality, by_truth = gross[np.argsort(-quality, kind="stable")], np.sort(gross)
    kept = [max(1, round(share * len(gross))) for share in COVERAGES]
    return {
        "coverage": list(COVERAGES),
        "quality": [round(float(by_quality[:k].mean()), 4) for k in kept],
        "random": [round(float(gross.mean()), 4)] * len(kept),
        "oracle": [round(float(by_truth[:k].mean()), 4) for k in kept],
    }


def _interval(judged: Sequence[ScoredSlice], quality: FloatArray, gross: Booleans) -> list[float] | None:
    """95 % interval of the AUROC over drawn subjects; None where no draw has both kinds."""
    rows: dict[str, list[int]] = {}
    for k, one in enumerate(judged):
        rows.setdefault(one.subject, []).append(k)
    groups = [np.array(found) for found in rows.values()]
    rng = np.random.default_rng(0)
    found = []
    for _ in range(BOOTSTRAPS):
        drawn = np.concatenate([groups[k] for k in rng.integers(len(groups), size=len(groups))])
        value = auroc(quality[drawn], gross[drawn])
        if np.isfinite(value):
            found.append(value)
    return [round(float(v), 4) for v in np.percentile(found, (2.5, 97.5))] if found else None


def _rate(gross: Booleans) -> float | None:
    return finite(float(gross.mean()), 4) if gross.size else None
