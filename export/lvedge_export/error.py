"""Measurement error against the experts' drawings on the same slices: FP32's beside a lower precision's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvedge.contract import Stepper
from lvedge.quality import QualityModel
from lvedge.training.data import data_root, read_acdc, read_split
from lvedge.training.evaluation.figure import GROUPS
from lvedge.training.evaluation.standin import drawn_of, mean_values_of
from lvedge.training.evaluation.still import ScoredSlice, score_acdc
from lvedge.training.evaluation.still_figure import acdc_figures

MOST_GROWTH = 0.05
"""By what share a lower precision may raise the measurement error and still be kept."""


Measured = Mapping[str, list[ScoredSlice]]
"""Name of what measured to the slices that it measured, the same ones for each."""


def measured_on_acdc(steppers: Mapping[str, Stepper], quality: QualityModel, root: Path) -> Measured:
    """The watched subjects' slices at ED and ES as a user gets them: located, viewed, stepped, read.

    Args:
        steppers: name to what measures.
        quality: judges the values.
        root: the folder that holds ``acdc/``.

    Raises:
        DataError: if the data are not there.
    """
    root, split = data_root(root), read_split()
    means = mean_values_of([drawn_of(list(read_acdc(root, u))) for u in split.subjects("acdc", "train")])
    samples = [s for u in split.subjects("acdc", "watch") for s in read_acdc(root, u)]
    return {name: score_acdc(stepper, quality, samples, means) for name, stepper in steppers.items()}


def error_table(measured: Measured) -> dict[str, Any]:
    """Mean absolute errors on the mid slices, Dice and coverage by name, as ``lvedge-eval`` gives them."""
    table = {}
    for name, scored in measured.items():
        figures = acdc_figures(scored)
        table[name] = {
            **{group: figures["regressed"][group] for group, _ in GROUPS},
            **{key: figures[key] for key in ("dice_cavity", "dice_myocardium", "coverage", "mid_slices")},
        }
    return table


def growth(table: Mapping[str, Any], before: str, after: str) -> dict[str, float]:
    """By what share each kind of error grew from one row of the table to another; below 0 it shrank."""
    return {
        group: round(table[after][group]["mean"] / table[before][group]["mean"] - 1, 4) for group, _ in GROUPS
    }


def change_as_measured(before: Sequence[ScoredSlice], after: Sequence[ScoredSlice]) -> dict[str, float | int]:
    """The largest change of a returned value by kind, the locator's part in it included.

    Args:
        before: slices as one engine measured them.
        after: the same slices as another did.
    """
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a.found and b.found]
    found: dict[str, float | int] = {
        "slices": len(before),
        "found_by_one_only": sum(a.found != b.found for a, b in zip(before, after, strict=True)),
    }
    for group, where in GROUPS:
        off = [float(np.abs(a.regressed[where] - b.regressed[where]).max()) for a, b in pairs]
        found[group] = round(max(off, default=0.0), 4)
    return found
