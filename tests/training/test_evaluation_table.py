"""Figures as tables: the headline in full, and a report that shows every part of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from scored_records import SLICES, TRUTH, beat, scored

from lvedge.training.evaluation.beat_figure import york_figures
from lvedge.training.evaluation.other import other_source_figures
from lvedge.training.evaluation.retest import Retest
from lvedge.training.evaluation.still import ScoredSlice
from lvedge.training.evaluation.still_figure import acdc_figures
from lvedge.training.evaluation.table import at, extent, markdown, report, shown

TABLES = """\
| data | reading | coverage | RWT mm | diameters mm | areas mm² |
|---|---|---|---|---|---|
| acdc mid slices, ED and ES | regressed | 75.0 % [50.0, 100.0] | 3.000 [2.000, 4.000] |\
 3.000 [2.000, 4.000] | 3.000 [2.000, 4.000] |
| acdc mid slices, ED and ES | geometric | 75.0 % [50.0, 100.0] | 2.000 [2.000, 2.000] |\
 2.000 [2.000, 2.000] | 2.000 [2.000, 2.000] |
| acdc mid slices, ED and ES | mean_of_both | 75.0 % [50.0, 100.0] | 2.250 [1.500, 3.000] |\
 2.250 [1.500, 3.000] | 2.250 [1.500, 3.000] |

| figure | value |
|---|---|
| Dice cavity | 0.650 [0.500, 0.800] |
| Dice myocardium | 0.600 [0.500, 0.700] |
| LV centre within 6 mm, all slices with LV | 75.0 % [50.0, 100.0] |
| mid-septum within 15° | 25.0 % [0.0, 50.0] |
| false LV on slices without LV | 25.0 % |
| york: phase error, clips as stored | 30.0 % [30.0, 30.0] |
| york: frame-index clock, same clips | 20.0 % [20.0, 20.0] |
| york: phase error, random start | 40.0 % [40.0, 40.0] |
| york: coverage | 100.0 % [100.0, 100.0] |
| sunnybrook (not trained on): coverage | none |
| sunnybrook: Dice cavity | none |
| sunnybrook: Dice myocardium | none |
"""


def all_figures(slices: list[ScoredSlice]) -> dict[str, Any]:
    return {
        "acdc": acdc_figures(slices),
        "york": york_figures([beat(wrong=3), beat(wrong=5, start=5)]),
        "sunnybrook": other_source_figures([]),
    }


def test_the_tables_in_full() -> None:
    assert markdown(all_figures(SLICES)) == TABLES


def test_large_figures_have_one_digit_and_missing_ones_none() -> None:
    lines = markdown(all_figures([scored("a", said=30.0), scored("b", said=20.0)])).splitlines()
    assert lines[2].endswith("| 25.0 [20.0, 30.0] | 25.0 [20.0, 30.0] | 25.0 [20.0, 30.0] |")
    assert "| false LV on slices without LV | none |" in lines


def test_the_tables_come_out_of_the_written_figures_alike() -> None:
    figures = all_figures(SLICES)
    assert markdown(json.loads(json.dumps(figures))) == TABLES


WARM = [scored("a", said=0.5), scored("b", said=1.0)]


def whole_figures() -> dict[str, Any]:
    """Everything that the command writes, of two subjects."""
    cold, by_hand = [scored("a", said=1.0), scored("b", said=2.0)], [scored("a"), scored("b")]
    retests = [Retest(s, 4, "ED", "turn", 1.0, TRUTH / 8, TRUTH / 8) for s in "ab"]
    return {
        "protocol": "as said here",
        "command": "lvedge-eval --folds runs/cv",
        "form": "cross-validation",
        "folds": [0, 3],
        "partial": True,
        "subjects": {"acdc": 2, "york": 1},
        "acdc": acdc_figures(cold, WARM, by_hand, retests),
        "york": york_figures([beat(wrong=3)]),
        "sunnybrook": other_source_figures([]),
    }


def test_warm_and_hand_made_stand_below_the_cold_ones() -> None:
    lines = markdown(whole_figures()).splitlines()[2:11]
    assert [line.split(" | ")[0] for line in lines] == [
        *["| acdc mid slices, ED and ES"] * 3,
        *["| the same within a beat (warm)"] * 3,
        *["| the same, view made by hand"] * 3,
    ]
    assert [line.split(" | ")[3] for line in lines if "regressed" in line] == [
        "1.500 [1.000, 2.000]",
        "0.750 [0.500, 1.000]",
        "0.000 [0.000, 0.000]",
    ]


def test_the_report_holds_every_part_with_its_protocol() -> None:
    figures = whole_figures()
    text = report(figures)
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Accuracy",
        "## Headline",
        "## More",
        "## Warm minus cold",
        "## Located minus hand-made",
        "## Contours",
        "## Each value: acdc mid slices, ED and ES",
        "## Each value: the same within a beat (warm)",
        "## Each value: the same, view made by hand",
        "## By level k / (n − 1), base 0",
        "## By group",
        "## By pixel spacing, mm",
        "## By quality",
        "## Test and retest",
    ]
    assert "Protocol: as said here." in text
    assert markdown(figures).strip() in text
    for row in (
        "| regressed | 0.0 % [0.0, 0.0] | -0.750 [-1.000, -0.500] | -0.750 [-1.000, -0.500] |",
        "| cold | endocardium | 2.000 [2.000, 2.000] | 3.000 [3.000, 3.000] |",
        "| `rwt_IS_mm` | 1.5 | 0.5 | 1.581 | 1.5 | 0.52 to 2.48 | None |",
        "| 0.4-0.6 mid | 2 | 2 | 100.0 % | 1.5 | 1.5 | 1.5 | 0.9 | 0.8 | 2.0 | 4.0 | 1.0 | 2.0 |",
        "| turn | 2 | 100.0 % [100.0, 100.0] | 0.750 [0.750, 0.750] | 5.000 [5.000, 5.000] |",
        "| york: ES off, median, frames | 1.00 |",
        "| york: phase error, live, second beat, random start | 30.0 % [30.0, 30.0] |",
        "| sectors named wrongly (mirror, or shift by 60° or more) | 0.0 % [0.0, 0.0] |",
    ):
        assert row in text


def test_the_report_comes_out_of_the_written_figures_alike() -> None:
    figures = whole_figures()
    assert report(json.loads(json.dumps(figures, allow_nan=False))) == report(figures)


def test_a_part_says_that_it_is_one() -> None:
    figures = whole_figures()
    line = "cross-validation, folds 0, 3: 2 mid slices of 2 subjects of acdc, 1 beats of 1 subjects of york."
    assert extent(figures) == f"PARTIAL, not all subjects: {line}"
    assert extent({**figures, "partial": False}) == line


def test_what_stands_at_a_path() -> None:
    figures = {"a": {"b": {"c": None}, "d": 2.0}}
    assert at(figures, "a.d") == 2.0
    assert at(figures, "a.b.c") is at(figures, "a.x.c") is at(figures, "a.d.e") is None


@pytest.mark.parametrize(
    ("figure", "factor", "text"),
    [
        (None, 1, "none"),
        ({"subjects": 0}, 1, "none"),
        (0.4117, 100, "41.2"),
        (1.0, 1, "1.00"),
        ({"mean": -30.0, "interval_95": [-31.0, -29.04]}, 1, "-30.0 [-31.0, -29.0]"),
    ],
)
def test_a_figure_is_shown_with_its_interval(figure: Any, factor: int, text: str) -> None:
    assert shown(figure, factor) == text
