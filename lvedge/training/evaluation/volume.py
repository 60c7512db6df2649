"""Volumes of acdc's stacks: by disc summation over the returned slices, against that over the drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvedge.indices import FloatArray
from lvedge.training.data.sample import Sample
from lvedge.training.evaluation.figure import correlation, limits_of_agreement
from lvedge.training.evaluation.still import ScoredSlice
from lvedge.training.scoring import areas_mm2_of
from lvedge.volume import MUSCLE_G_PER_ML, NoVolumesError, disc_sum

PHASES = ("ED", "ES")
NAMES = ("edv_ml", "esv_ml", "ef_percent", "mass_g")


@dataclass(frozen=True)
class ScoredVolumes:
    """One subject's volumes: EDV and ESV in ml, EF in %, mass at end diastole in g.

    Args:
        subject, group: whose.
        truth: [4] over all drawn slices.
        said: [4] over all returned ones; NaN where none are given.
        reason: why none are given, or "".
    """

    subject: str
    group: str
    truth: FloatArray
    said: FloatArray
    reason: str


def score_volumes(samples: Sequence[Sample], scored: Sequence[ScoredSlice]) -> ScoredVolumes | None:
    """The volumes of one subject; None where the distance of its slices is not known.

    Args:
        samples: all of its slices at ED and ES.
        scored: the same slices as they were measured.
    """
    first = samples[0]
    if first.slice_mm is None:
        return None
    drawn = np.full((2, first.slice_count, len(PHASES)), np.nan)
    for sample in samples:
        if sample.has_lv:
            drawn[:, sample.slice_index, PHASES.index(sample.phase or "")] = areas_mm2_of(sample)
    said = np.full_like(drawn, np.nan)
    for slice_ in scored:
        if slice_.found:
            said[:, slice_.slice_index, PHASES.index(slice_.phase)] = slice_.regressed[-2:]
    truth = np.nansum(drawn, axis=1) * first.slice_mm / 1000.0  # [cavity or myocardium, phase] ml
    try:
        discs = disc_sum(said[0], said[1], first.slice_mm, (0, 1))
        values, reason = _values(discs.edv_ml, discs.esv_ml, discs.mass_g), ""
    except NoVolumesError as why:
        values, reason = np.full(len(NAMES), np.nan), str(why)
    return ScoredVolumes(
        subject=first.subject,
        group=first.group or "",
        truth=_values(truth[0, 0], truth[0, 1], truth[1, 0] * MUSCLE_G_PER_ML),
        said=values,
        reason=reason,
    )


def volume_figures(scored: Sequence[ScoredVolumes]) -> dict[str, Any]:
    """Agreement over the subjects that were given volumes, and how many were not, by reason."""
    given = [s for s in scored if not s.reason]
    figures: dict[str, Any] = {"subjects": len(scored), "given": len(given)}
    reasons = sorted({s.reason for s in scored if s.reason})
    figures["not_given"] = {reason: sum(s.reason == reason for s in scored) for reason in reasons}
    for k, name in enumerate(NAMES if given else ()):
        said, truth = (np.array([getattr(s, side)[k] for s in given]) for side in ("said", "truth"))
        error = said - truth
        low, high = limits_of_agreement(error)
        figures[name] = {
            "mae": round(float(np.abs(error).mean()), 2),
            "bias": round(float(error.mean()), 2),
            "limits_of_agreement": [round(low, 2), round(high, 2)],
            "pearson_r": correlation(said, truth),
        }
    return figures


def _values(edv_ml: float, esv_ml: float, mass_g: float) -> FloatArray:
    return np.array([edv_ml, esv_ml, 100.0 * (edv_ml - esv_ml) / edv_ml, mass_g])
