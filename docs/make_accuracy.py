"""Fills the table of ``docs/accuracy.md`` from the cross-validation: ``python docs/make_accuracy.py``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from make_readme import ACCURACY, filled

from lvedge.training.evaluation.table import at, shown

PAGE = Path(__file__).resolve().parent / "accuracy.md"
CASES = "retrieval.values chosen anew for each fold on the subjects of the others.as measured"


class Target(NamedTuple):
    """A figure, and what it was meant to reach.

    Args:
        name: in words, with its unit.
        path: where it stands among the figures.
        bound: at most so much, or at least where ``is_least``, in the shown unit.
        aim: what would be better still.
        factor: from the stored figure to the shown one; 100 for percent.
        is_least: more is better.
    """

    name: str
    path: str
    bound: float
    aim: float
    factor: float = 1
    is_least: bool = False

    def row(self, figures: Mapping[str, Any]) -> str:
        """A row of the table."""
        found = at(figures, self.path)
        value = found["mean"] if isinstance(found, Mapping) else found
        unit = " %" if self.factor == 100 else ""
        kept = self.factor * value >= self.bound if self.is_least else self.factor * value <= self.bound
        sign = "≥" if self.is_least else "≤"
        cells = (
            f"{self.name}: {sign} {self.bound:g}{unit}, aim {self.aim:g}{unit}",
            shown(found, self.factor, unit.strip()),
            "yes" if kept else "**no**",
        )
        return f"| {' | '.join(cells)} |"


TARGETS = (
    Target("RWT, mm (two experts differ by 1.42)", "acdc.regressed.rwt_mm", 1.0, 0.75),
    Target("diameters, mm (two experts 1.68)", "acdc.regressed.dims_mm", 1.4, 0.95),
    Target("areas, mm² (two experts 159)", "acdc.regressed.areas_mm2", 90, 65),
    Target("phase error, york as stored", "york.phase_error_stored", 8, 6, 100),
    Target("phase error, york, random start, closed", "york.phase_error_random_start", 10, 7, 100),
    Target("phase error, york, live, second beat", "york.phase_error_live_second_beat", 12, 8, 100),
    Target("end diastole off by, median, frames", "york.ed_off_median_frames", 1, 0),
    Target("end systole off by, median, frames", "york.es_off_median_frames", 1, 0),
    Target("warm minus cold: RWT, mm", "acdc.warm_minus_cold.regressed.rwt_mm", 0.10, 0),
    Target("warm minus cold: diameters, mm", "acdc.warm_minus_cold.regressed.dims_mm", 0.15, 0),
    Target("warm minus cold: areas, mm²", "acdc.warm_minus_cold.regressed.areas_mm2", 10, 0),
    Target("coverage of mid slices", "acdc.coverage", 99, 99.8, 100, is_least=True),
    Target("Dice cavity", "acdc.dice_cavity", 0.945, 0.96, is_least=True),
    Target("Dice myocardium", "acdc.dice_myocardium", 0.875, 0.90, is_least=True),
    Target("LV centre within 5 mm", "acdc.locator.within_5mm", 98, 99.5, 100, is_least=True),
    Target("mid-septum within 15°", "acdc.septum.within_15deg", 90, 95, 100, is_least=True),
    Target("mid-septum, median, degrees", "acdc.septum.median_deg", 6, 0),
    Target("quality: AUROC of gross errors", "quality.cold.auroc.value", 0.75, 0.85, is_least=True),
    Target(
        "quality: worst tenth, of what it can hold",
        "quality.cold.worst_tenth.of_attainable",
        60,
        100,
        100,
        is_least=True,
    ),
    Target("group of an unseen subject retrieved", f"{CASES}.accuracy", 82, 88, 100, is_least=True),
    Target("the same, balanced", f"{CASES}.balanced", 78, 88, 100, is_least=True),
    Target("false LV on slices without LV", "acdc.false_lv_on_empty", 5, 0, 100),
)


def table(figures: Mapping[str, Any]) -> str:
    """The table of figures beside what they were meant to reach."""
    rows = [target.row(figures) for target in TARGETS]
    source = "<!-- figures: benchmarks/results/cross_validation.json -->"
    return "\n".join([source, "| figure, what it has to reach | reached | kept |", "|---|---|---|", *rows])


def main() -> None:
    """Write the page."""
    figures = json.loads(ACCURACY.read_text(encoding="utf-8"))
    PAGE.write_text(filled(PAGE.read_text("utf-8"), "targets", table(figures)), encoding="utf-8")


if __name__ == "__main__":
    main()
