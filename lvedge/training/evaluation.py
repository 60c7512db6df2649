"""Figures from scored frames, with their protocol: subject means, bootstrap intervals, pooled beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lvedge.indices import DEFAULT_LAYOUT, FloatArray
from lvedge.training.scoring import ScoredBeat, ScoredFrame, ScoredSlice

BOOTSTRAPS = 2000
CENTRE_MM = 6.0
SEPTUM_DEG = 15.0
GROUPS = (
    ("rwt_mm", DEFAULT_LAYOUT.rwt),
    ("dims_mm", DEFAULT_LAYOUT.dims),
    ("areas_mm2", DEFAULT_LAYOUT.areas),
)

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
    means = np.array([_mean(values[owner == name]) for name in names])
    means = means[np.isfinite(means)]
    if means.size == 0:
        return {"subjects": 0}
    rng = np.random.default_rng(seed)
    draws = means[rng.integers(means.size, size=(BOOTSTRAPS, means.size))].mean(axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return {
        "mean": round(float(means.mean()), 4),
        "interval_95": [round(float(low), 4), round(float(high), 4)],
        "pooled": round(_mean(values), 4),
        "subjects": int(means.size),
    }


def acdc_figures(scored: Sequence[ScoredSlice]) -> dict[str, Any]:
    """Accuracy on mid slices, the locator on all slices with an LV, and false LVs on those without."""
    mid = [s for s in scored if s.mid]
    with_lv = [s for s in scored if s.has_lv]
    empty = [s for s in scored if not s.has_lv]
    subjects = [s.subject for s in mid]
    figures: dict[str, Any] = {
        "mid_slices": len(mid),
        "coverage": by_subject(subjects, np.array([float(s.found) for s in mid])),
    }
    for reading in ("regressed", "geometric"):
        figures[reading] = _reading_figures(mid, reading)
    figures["mean_of_both"] = {
        name: by_subject(
            subjects, _error(mid, lambda s: (s.regressed + s.geometric) / 2)[:, where].mean(axis=1)
        )
        for name, where in GROUPS
    }
    for k, name in enumerate(("dice_cavity", "dice_myocardium")):
        figures[name] = by_subject(subjects, np.array([s.dice[k] for s in mid]))
    centre = np.array([s.centre_mm for s in with_lv])
    figures["locator"] = {
        "slices_with_lv": len(with_lv),
        "centre_median_mm": _finite(np.median(centre) if centre.size else np.nan, 3),
        "within_6mm": by_subject([s.subject for s in with_lv], (centre <= CENTRE_MM).astype(float)),
        "within_5mm": by_subject([s.subject for s in with_lv], (centre <= 5.0).astype(float)),
    }
    septum = np.array([s.septum_deg for s in mid])
    figures["septum"] = {
        "median_deg": _median(septum, 3),
        "within_15deg": by_subject(subjects, np.where(np.isfinite(septum), septum <= SEPTUM_DEG, 0.0)),
    }
    figures["found_of_slices_with_lv"] = _finite(_mean(np.array([float(s.found) for s in with_lv])))
    figures["empty_slices"] = len(empty)
    figures["false_lv_on_empty"] = _finite(_mean(np.array([float(s.found) for s in empty])))
    figures["by_group"] = {
        group: {
            name: round(_mean(_error([s for s in mid if s.group == group], _regressed)[:, where]), 3)
            for name, where in GROUPS
        }
        for group in sorted({s.group for s in mid})
    }
    return figures


def york_figures(beats: Sequence[ScoredBeat]) -> dict[str, Any]:
    """Phase error beside the clock's, ED and ES distance, areas relative to the subject's mean."""
    stored = [b for b in beats if b.start == 0]
    subjects = [b.subject for b in stored]
    every = [b.subject for b in beats]

    def wrong(beat: ScoredBeat) -> float:
        return float((beat.systole_said != beat.systole_true).mean())

    relative = np.array(
        [np.abs(b.areas_regressed - b.areas_true).mean(axis=0) / b.areas_true.mean(axis=0) for b in stored]
    ).reshape(-1, 2)
    off = np.array([[b.ed_off, b.es_off] for b in stored]).reshape(-1, 2)
    return {
        "complete_slices": len(stored),
        "coverage": by_subject(subjects, np.array([b.found.mean() for b in stored])),
        "phase_error_stored": by_subject(subjects, np.array([wrong(b) for b in stored])),
        "clock_error_stored": by_subject(
            subjects, np.array([float((b.clock != b.systole_true).mean()) for b in stored])
        ),
        "phase_error_random_start": by_subject(every, np.array([wrong(b) for b in beats])),
        "ed_off_median_frames": _median(off[:, 0]),
        "es_off_median_frames": _median(off[:, 1]),
        "areas_relative_error": {
            "cavity": by_subject(subjects, relative[:, 0]),
            "myocardium": by_subject(subjects, relative[:, 1]),
        },
        "dice_cavity": by_subject(subjects, np.array([b.dice[0] for b in stored])),
        "dice_myocardium": by_subject(subjects, np.array([b.dice[1] for b in stored])),
        "centre_within_6_nominal_mm": by_subject(
            subjects, np.array([float(b.centre_mm <= CENTRE_MM) for b in stored])
        ),
    }


def other_source_figures(scored: Sequence[ScoredFrame]) -> dict[str, Any]:
    """Figures on a source that nothing was trained on, of too few subjects for intervals to mean much."""
    subjects = [s.subject for s in scored]
    walls = [s for s in scored if np.isfinite(s.dice[1])]
    return {
        "frames": len(scored),
        "frames_with_epicardium": len(walls),
        "coverage": by_subject(subjects, np.array([float(s.found) for s in scored])),
        "dice_cavity": by_subject(subjects, np.array([s.dice[0] for s in scored])),
        "dice_myocardium": by_subject([s.subject for s in walls], np.array([s.dice[1] for s in walls])),
        "cavity_area_error_mm2": by_subject(
            subjects, np.array([abs(s.cavity_mm2 - s.true_cavity_mm2) for s in scored])
        ),
        "centre_within_6mm": by_subject(
            subjects, np.array([float(s.centre_mm <= CENTRE_MM) for s in scored])
        ),
    }


def markdown(figures: dict[str, Any]) -> str:
    """The figures as tables; coverage comes first."""
    lines = ["| data | reading | coverage | RWT mm | diameters mm | areas mm² |", "|---|---|---|---|---|---|"]
    acdc = figures["acdc"]
    coverage = _shown(acdc["coverage"], 100, "%")
    false_lv = acdc["false_lv_on_empty"]
    for reading in ("regressed", "geometric", "mean_of_both"):
        cells = [_shown(acdc[reading][name], 1, "") for name, _ in GROUPS]
        lines.append(f"| acdc mid slices, ED and ES | {reading} | {coverage} | {' | '.join(cells)} |")
    lines += ["", "| figure | value |", "|---|---|"]
    rows = [
        ("Dice cavity", _shown(acdc["dice_cavity"], 1, "")),
        ("Dice myocardium", _shown(acdc["dice_myocardium"], 1, "")),
        ("LV centre within 6 mm, all slices with LV", _shown(acdc["locator"]["within_6mm"], 100, "%")),
        ("mid-septum within 15°", _shown(acdc["septum"]["within_15deg"], 100, "%")),
        ("false LV on slices without LV", "none" if false_lv is None else f"{100 * false_lv:.1f} %"),
        ("york: phase error, clips as stored", _shown(figures["york"]["phase_error_stored"], 100, "%")),
        ("york: frame-index clock, same clips", _shown(figures["york"]["clock_error_stored"], 100, "%")),
        ("york: phase error, random start", _shown(figures["york"]["phase_error_random_start"], 100, "%")),
        ("york: coverage", _shown(figures["york"]["coverage"], 100, "%")),
        ("sunnybrook (not trained on): coverage", _shown(figures["sunnybrook"]["coverage"], 100, "%")),
        ("sunnybrook: Dice cavity", _shown(figures["sunnybrook"]["dice_cavity"], 1, "")),
        ("sunnybrook: Dice myocardium", _shown(figures["sunnybrook"]["dice_myocardium"], 1, "")),
    ]
    lines += [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(lines) + "\n"


def _reading_figures(mid: Sequence[ScoredSlice], reading: str) -> dict[str, Any]:
    subjects = [s.subject for s in mid]
    said = np.stack([getattr(s, reading) for s in mid])
    truth = np.stack([s.truth for s in mid])
    error = said - truth
    figures: dict[str, Any] = {
        name: by_subject(subjects, np.abs(error[:, where]).mean(axis=1)) for name, where in GROUPS
    }
    figures["per_index"] = {
        name: {
            "mae": round(float(np.abs(error[:, k]).mean()), 3),
            "sd": round(float(np.abs(error[:, k]).std()), 3),
            "bias": round(float(error[:, k].mean()), 3),
            "limits_of_agreement": [
                round(float(error[:, k].mean() + side * 1.96 * error[:, k].std()), 3) for side in (-1, 1)
            ],
            "pearson_r": _correlation(said[:, k], truth[:, k]),
        }
        for k, name in enumerate(DEFAULT_LAYOUT.names)
    }
    return figures


def _regressed(scored: ScoredSlice) -> FloatArray:
    return scored.regressed


def _error(scored: Sequence[ScoredSlice], value: Callable[[ScoredSlice], FloatArray]) -> FloatArray:
    return np.abs(np.stack([value(s) - s.truth for s in scored]))


def _mean(values: FloatArray) -> float:
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else float("nan")


def _median(values: FloatArray, digits: int = 2) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(np.median(known)), digits) if known.size else None


def _finite(value: float, digits: int | None = None) -> float | None:
    """A figure as JSON can hold it."""
    if not np.isfinite(value):
        return None
    return float(value) if digits is None else round(float(value), digits)


def _correlation(said: FloatArray, truth: FloatArray) -> float | None:
    """Pearson's r; None where one side does not vary (too few slices, or one value for all)."""
    if np.ptp(said) == 0 or np.ptp(truth) == 0:
        return None
    return round(float(np.corrcoef(said, truth)[0, 1]), 4)


def _shown(figure: dict[str, Any], factor: float, unit: str) -> str:
    if "mean" not in figure:
        return "none"
    low, high = (factor * bound for bound in figure["interval_95"])
    digits = 1 if factor == 100 or figure["mean"] > 20 else 3
    unit = f" {unit}" if unit else ""
    return f"{factor * figure['mean']:.{digits}f}{unit} [{low:.{digits}f}, {high:.{digits}f}]"
