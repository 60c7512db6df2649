"""Figures of acdc: values, contours, locator and septum; what they depend on; cold, warm and hand-made beside
each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from lvedge.indices import AREA_NAMES, DEFAULT_LAYOUT, FloatArray
from lvedge.training.evaluation.contour import CONTOURS
from lvedge.training.evaluation.figure import (
    CENTRE_MM,
    GROUPS,
    by_subject,
    correlation,
    finite,
    mean,
    median,
    per_index,
)
from lvedge.training.evaluation.retest import Retest, retest_figures
from lvedge.training.evaluation.still import ScoredSlice

SEPTUM_DEG = 15.0
SECTOR_DEG = 360.0 / DEFAULT_LAYOUT.sectors
READINGS = ("regressed", "geometric")
DICES = ("dice_cavity", "dice_myocardium")
LEVELS = (
    ("0.0-0.2 basal", 0.0, 0.2),
    ("0.2-0.4 mid", 0.2, 0.4),
    ("0.4-0.6 mid", 0.4, 0.6),
    ("0.6-0.8 mid", 0.6, 0.8 + 1e-9),
    ("0.8-1.0 apical", 0.8 + 1e-9, np.inf),
)
"""Bins of k / (n − 1), the base being 0; mid slices lie from 0.2 to 0.8, both included."""

SPACINGS_MM = (1.3, 1.5, 1.7)
"""Borders of the bins of pixel spacing."""

Key = tuple[str, int, str]


def acdc_figures(
    cold: Sequence[ScoredSlice],
    warm: Sequence[ScoredSlice] = (),
    hand_made: Sequence[ScoredSlice] = (),
    retests: Sequence[Retest] = (),
) -> dict[str, Any]:
    """All figures of acdc.

    Args:
        cold: every slice as one frame, through the located view: the figures at the top.
        warm: the same slices within a beat: ``warm``, and paired by slice ``warm_minus_cold``.
        hand_made: the mid slices through the drawn view: ``hand_made``, and ``located_minus_hand_made``.
        retests: ``retest``.
    """
    figures = still_figures(cold)
    if warm:
        figures["warm"] = still_figures(warm)
        figures["warm_minus_cold"] = differences(warm, cold)
    if hand_made:
        figures["hand_made"] = headline_figures(hand_made)
        figures["located_minus_hand_made"] = differences(cold, hand_made)
    if retests:
        figures["retest"] = retest_figures(retests)
    return figures


def still_figures(scored: Sequence[ScoredSlice]) -> dict[str, Any]:
    """Accuracy on mid slices, the locator on all slices with an LV, and false LVs on those without."""
    mid = [s for s in scored if s.mid]
    with_lv = [s for s in scored if s.has_lv]
    empty = [s for s in scored if not s.has_lv]
    centre = np.array([s.centre_mm for s in with_lv])
    centred = [s.subject for s in with_lv]
    return {
        **headline_figures(mid),
        "hausdorff_mm": hausdorff_figures(mid),
        "thickening_mm": thickening_figures(mid),
        "locator": {
            "slices_with_lv": len(with_lv),
            "centre_median_mm": finite(np.median(centre) if centre.size else np.nan, 3),
            "within_6mm": by_subject(centred, (centre <= CENTRE_MM).astype(float)),
            "within_5mm": by_subject(centred, (centre <= 5.0).astype(float)),
        },
        "septum": septum_figures(mid),
        "found_of_slices_with_lv": finite(mean(np.array([float(s.found) for s in with_lv]))),
        "empty_slices": len(empty),
        "false_lv_on_empty": finite(mean(np.array([float(s.found) for s in empty]))),
        "by_level": _parted(scored, _level),
        "by_group": _parted(mid, lambda s: s.group),
        "by_spacing_mm": _parted(mid, _spacing),
        "by_quality": _parted(mid, _flag),
    }


def headline_figures(mid: Sequence[ScoredSlice]) -> dict[str, Any]:
    """Coverage, errors by reading and kind of value, Dice: of mid slices."""
    subjects = [s.subject for s in mid]
    figures: dict[str, Any] = {
        "mid_slices": len(mid),
        "coverage": by_subject(subjects, np.array([float(s.found) for s in mid])),
    }
    truth = _stacked([s.truth for s in mid])
    for reading in READINGS:
        said = _stacked([getattr(s, reading) for s in mid])
        figures[reading] = {**_errors(subjects, said - truth), "per_index": per_index(said, truth)}
    areas = DEFAULT_LAYOUT.areas
    relative = np.abs(_stacked([s.regressed for s in mid]) - truth)[:, areas] / truth[:, areas]
    figures["areas_relative_error"] = {
        name: by_subject(subjects, relative[:, k]) for k, name in enumerate(AREA_NAMES)
    }
    both = _stacked([(s.regressed + s.geometric) / 2 for s in mid])
    figures["mean_of_both"] = _errors(subjects, both - truth)
    for k, name in enumerate(DICES):
        figures[name] = by_subject(subjects, np.array([s.dice[k] for s in mid]))
    return figures


def hausdorff_figures(mid: Sequence[ScoredSlice]) -> dict[str, Any]:
    """Distance of the contours, 95 % and largest, mm; the drawn one's extent where none is returned."""
    subjects = [s.subject for s in mid]
    return {
        contour: {
            name: by_subject(subjects, np.array([s.hausdorff_mm[k, j] for s in mid]))
            for j, name in enumerate(("95", "max"))
        }
        for k, contour in enumerate(CONTOURS)
    }


def thickening_figures(mid: Sequence[ScoredSlice]) -> dict[str, Any]:
    """Error of ES − ED wall thickness over mid slices that were drawn at both, mm; pooled bias and r."""
    drawn = {_key(s): s for s in mid}
    pairs = [(s, drawn[s.subject, s.slice_index, "ES"]) for s in mid if _has_other_end(s, drawn)]
    walls = DEFAULT_LAYOUT.rwt
    truth = _stacked([es.truth - ed.truth for ed, es in pairs])[:, walls]
    figures: dict[str, Any] = {"pairs": len(pairs)}
    for reading in READINGS:
        said = _stacked([getattr(es, reading) - getattr(ed, reading) for ed, es in pairs])[:, walls]
        error = said - truth
        figures[reading] = {
            "mae": by_subject([ed.subject for ed, _ in pairs], np.abs(error).mean(axis=1)),
            "bias": finite(mean(error), 3),
            "pearson_r": correlation(said.ravel(), truth.ravel()) if pairs else None,
        }
    return figures


def septum_figures(mid: Sequence[ScoredSlice]) -> dict[str, Any]:
    """Angle between the seen and the drawn mid-septum, and what it does to the sectors' names.

    ``sector_confusion`` is the share of found mid slices whose sectors bear wrong names: the picture was
    mirrored, or the seen septum lies nearer to another sector's place than to its own, i.e. turned by more
    than half a sector, so that the nearest fitting names are those of a shift by 60° or more.
    """
    septum = np.array([s.septum_deg for s in mid])
    within = np.where(np.isfinite(septum), septum <= SEPTUM_DEG, 0.0)
    found = [s for s in mid if s.found]
    confused = np.array([float(is_confused(s)) for s in found])
    return {
        "median_deg": median(septum, 3),
        "within_15deg": by_subject([s.subject for s in mid], within),
        "sector_confusion": by_subject([s.subject for s in found], confused),
    }


def is_confused(scored: ScoredSlice) -> bool:
    """Whether a found slice's sectors are named by a mirror, or a shift of 60° or more, of the true names."""
    return scored.mirrored or scored.septum_deg > SECTOR_DEG / 2


def differences(some: Sequence[ScoredSlice], others: Sequence[ScoredSlice]) -> dict[str, Any]:
    """How much larger the errors of the first are than those of the second, paired by mid slice.

    The mean over subjects of the subject's mean difference, with its interval by subject bootstrap.

    Raises:
        ValueError: if the two are not of the same mid slices.
    """
    first, second = ({_key(s): s for s in scored if s.mid} for scored in (some, others))
    if first.keys() != second.keys():
        raise ValueError("the two sets do not hold the same mid slices")
    subjects = [subject for subject, _, _ in first]
    pairs = [(first[key], second[key]) for key in first]
    figures: dict[str, Any] = {"coverage": by_subject(subjects, _diff(pairs, lambda s: float(s.found)))}
    for reading in READINGS:
        figures[reading] = {
            name: by_subject(subjects, _diff(pairs, partial(_error, reading, where)))
            for name, where in GROUPS
        }
    for k, name in enumerate(DICES):
        figures[name] = by_subject(subjects, _diff(pairs, partial(_dice, k)))
    return figures


def _parted(scored: Sequence[ScoredSlice], part: Callable[[ScoredSlice], str]) -> dict[str, Any]:
    """By part, all pooled: errors of the regressed values, Dice, contours, locator and septum."""
    parts: dict[str, list[ScoredSlice]] = {}
    for s in scored:
        if np.isfinite(s.truth).all():
            parts.setdefault(part(s), []).append(s)
    return {name: _part(some) for name, some in sorted(parts.items())}


def _part(some: Sequence[ScoredSlice]) -> dict[str, Any]:
    errors = {name: mean(np.array([_error("regressed", where, s) for s in some])) for name, where in GROUPS}
    contours = np.array([s.hausdorff_mm[:, 0] for s in some]).mean(axis=0)
    return {
        "slices": len(some),
        "subjects": len({s.subject for s in some}),
        "coverage": round(mean(np.array([float(s.found) for s in some])), 4),
        **{name: round(value, 3) for name, value in errors.items()},
        **{name: round(mean(np.array([_dice(k, s) for s in some])), 4) for k, name in enumerate(DICES)},
        **{f"{name}_95_mm": finite(float(off), 3) for name, off in zip(CONTOURS, contours, strict=True)},
        "centre_median_mm": median(np.array([s.centre_mm for s in some]), 3),
        "septum_median_deg": median(np.array([s.septum_deg for s in some]), 3),
    }


def _level(scored: ScoredSlice) -> str:
    return next(name for name, low, high in LEVELS if low <= scored.level < high)


def _spacing(scored: ScoredSlice) -> str:
    below = [border for border in SPACINGS_MM if border <= scored.spacing_mm]
    above = [border for border in SPACINGS_MM if border > scored.spacing_mm]
    if not below:
        return f"under {above[0]}"
    return f"{below[-1]} to {above[0]}" if above else f"{below[-1]} or more"


def _flag(scored: ScoredSlice) -> str:
    if not scored.found:
        return "not returned"
    return "flagged" if scored.flagged else "not flagged"


def _errors(subjects: Sequence[str], error: FloatArray) -> dict[str, Any]:
    return {name: by_subject(subjects, np.abs(error[:, where]).mean(axis=1)) for name, where in GROUPS}


def _error(reading: str, where: slice, scored: ScoredSlice) -> float:
    """Mean absolute error of one slice in one kind of value."""
    said: FloatArray = getattr(scored, reading)
    return float(np.abs(said - scored.truth)[where].mean())


def _dice(which: int, scored: ScoredSlice) -> float:
    return scored.dice[which]


def _diff(
    pairs: Sequence[tuple[ScoredSlice, ScoredSlice]], value: Callable[[ScoredSlice], float]
) -> FloatArray:
    return np.array([value(first) - value(second) for first, second in pairs])


def _key(scored: ScoredSlice) -> Key:
    return scored.subject, scored.slice_index, scored.phase


def _has_other_end(scored: ScoredSlice, drawn: dict[Key, ScoredSlice]) -> bool:
    return scored.phase == "ED" and (scored.subject, scored.slice_index, "ES") in drawn


def _stacked(vectors: Sequence[FloatArray]) -> FloatArray:
    """[n, L], also of no vector."""
    return np.array(vectors, dtype=np.float64).reshape(-1, DEFAULT_LAYOUT.size)
