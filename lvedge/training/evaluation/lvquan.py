"""LVQuan18 by its own protocol: errors over all frames, averaged over values, in five folds of consecutive
subjects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.contract import Stepper
from lvedge.indices import DEFAULT_LAYOUT, FloatArray, Phase
from lvedge.measure import SliceMeasurer
from lvedge.measurement import Measurement
from lvedge.quality import QualityModel
from lvedge.training.data.lvquan18 import QuantifiedSubject, contiguous_folds
from lvedge.training.evaluation.figure import GROUPS, by_subject, per_index
from lvedge.training.scoring import frame_of_sample

LVQUAN_PROTOCOL = (
    "LVQuan18, five folds of consecutive subjects; every subject's 20 frames as a closed beat through the "
    "located view; published values as truth; where no LV is returned the mean of the other folds' subjects "
    "is scored and the phase counts as wrong; a fold's figure is over all its frames, averaged over 6, 3 and "
    "2 values; its mean and SD over the folds"
)


@dataclass(frozen=True)
class ScoredSubject:
    """One subject's beat.

    Args:
        found: [20] whether an LV was returned.
        truth, said: [20, L] mm and mm².
        wrong_phase: [20].
    """

    found: NDArray[np.bool_]
    truth: FloatArray
    said: FloatArray
    wrong_phase: NDArray[np.bool_]


def score_lvquan18(
    subjects: Sequence[QuantifiedSubject], measures: Callable[[int], tuple[Stepper, QualityModel]]
) -> list[list[ScoredSubject]]:
    """All subjects, fold by fold.

    Args:
        subjects: the whole file.
        measures: fold number to what measures it; a network that trained on LVQuan18 has to have left the
            fold out.

    Raises:
        DataError: if the subjects do not make five equal folds.
    """
    scored = []
    for number, members in enumerate(contiguous_folds(len(subjects))):
        others = [s.values for k, s in enumerate(subjects) if k not in members]
        missing: FloatArray = np.concatenate(others).mean(axis=0)
        stepper, quality = measures(number)
        scored.append([_scored(stepper, quality, subjects[k], missing) for k in members])
    return scored


def lvquan_figures(folds: Sequence[Sequence[ScoredSubject]]) -> dict[str, Any]:
    """The protocol's figures, and those by subject beside them."""
    everyone = [subject for fold in folds for subject in fold]
    names = [str(k) for k in range(len(everyone))]
    errors = [_mae(fold) for fold in folds]
    figures: dict[str, Any] = {
        "subjects": len(everyone),
        "frames": sum(s.found.size for s in everyone),
        "coverage": by_subject(names, np.array([s.found.mean() for s in everyone])),
    }
    for name in errors[0]:
        of_folds = np.array([error[name] for error in errors])
        figures[name] = {
            "mean_over_folds": round(float(of_folds.mean()), 4),
            "sd_over_folds": round(float(of_folds.std()), 4),
            "folds": [round(float(value), 4) for value in of_folds],
            "by_subject": by_subject(names, np.array([_mae([s])[name] for s in everyone])),
        }
    figures["per_index"] = per_index(
        np.concatenate([s.said for s in everyone]), np.concatenate([s.truth for s in everyone])
    )
    return figures


def lvquan_markdown(figures: dict[str, Any]) -> str:
    """The protocol's figures as a table; coverage comes first."""
    lines = ["| value | mean ± SD over folds |", "|---|---|"]
    if "mean" in figures["coverage"]:
        lines.append(f"| coverage | {100 * figures['coverage']['mean']:.1f} % |")
    for name, words, factor, unit in (
        ("rwt_mm", "RWT, MAE", 1, "mm"),
        ("dims_mm", "diameters, MAE", 1, "mm"),
        ("areas_mm2", "areas, MAE", 1, "mm²"),
        ("phase_error", "phase error", 100, "%"),
    ):
        found = figures[name]
        mean, spread = factor * found["mean_over_folds"], factor * found["sd_over_folds"]
        lines.append(f"| {words} | {mean:.2f} ± {spread:.2f} {unit} |")
    return "\n".join(lines) + "\n"


def _mae(scored: Sequence[ScoredSubject]) -> dict[str, float]:
    error = np.concatenate([np.abs(s.said - s.truth) for s in scored])
    wrong = np.concatenate([s.wrong_phase for s in scored])
    return {
        **{name: float(error[:, where].mean()) for name, where in GROUPS},
        "phase_error": float(wrong.mean()),
    }


def _scored(
    stepper: Stepper, quality: QualityModel, subject: QuantifiedSubject, missing: FloatArray
) -> ScoredSubject:
    count = len(subject.samples)
    frames = [frame_of_sample(sample, k, count) for k, sample in enumerate(subject.samples)]
    results = list(SliceMeasurer(stepper, quality).measure_closed(frames))
    said = [
        _values(measurement, sample.spacing_mm[0], missing)
        for measurement, sample in zip(results, subject.samples, strict=True)
    ]
    wrong = [
        m.phase is not (Phase.SYSTOLE if systole else Phase.DIASTOLE)
        for m, systole in zip(results, subject.systole, strict=True)
    ]
    return ScoredSubject(
        found=np.array([m.measured for m in results]),
        truth=subject.values,
        said=np.array(said).reshape(count, DEFAULT_LAYOUT.size),
        wrong_phase=np.array(wrong),
    )


def _values(measurement: Measurement, mm_per_px: float, missing: FloatArray) -> FloatArray:
    """[L] the returned values, else what stands in.

    A slice is measured through one view, in the millimetres of the frame that it was aimed by; here every
    frame was resized by a factor of its own.
    """
    if measurement.indices is None or measurement.view is None:
        return missing
    scale = mm_per_px / measurement.view.spacing_mm[0]
    values: FloatArray = measurement.indices.vector * scale ** DEFAULT_LAYOUT.unit_power()
    return values
