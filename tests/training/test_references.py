"""Reference cases from expert masks: no subject can be told, none that is held out is among them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="the readers of the data sets need the extra train")

from lvedge.casetable import DEFAULT_PATH, cycle_names
from lvedge.casetable.csvfile import text_from_references
from lvedge.training.references import (
    FEATURES,
    SliceBeat,
    content_from_beats,
    left_out,
    main,
    mean_beats,
    references_from_beats,
    scores,
)


def beat(subject: str, case: str, level: float) -> SliceBeat:
    values = {name: level + 0.01 * k for k, name in enumerate(cycle_names())}
    return SliceBeat(subject, case, values)


BEATS = [
    *(beat(f"n{k}", "NOR", 1.0 + 0.1 * k) for k in range(6)),
    *(beat(f"d{k}", "DCM", 5.0 + 0.1 * k) for k in range(6)),
    beat("d5", "DCM", 5.9),
]


def test_a_subject_gives_the_mean_of_its_slices() -> None:
    means = {b.subject: b for b in mean_beats(BEATS, ("fac",))}
    assert len(means) == 12
    fac = cycle_names().index("fac")
    assert means["d5"].features == {"fac": pytest.approx((5.5 + 5.9) / 2 + 0.01 * fac)}


def test_the_order_is_drawn_and_the_same_each_time() -> None:
    found = references_from_beats(BEATS)
    assert found == references_from_beats(BEATS)
    assert [reference.number for reference in found] == list(range(1, 13))
    assert [reference.case for reference in found] != ["DCM"] * 6 + ["NOR"] * 6


def test_the_limit_is_the_farthest_slice_from_the_others() -> None:
    content = content_from_beats(BEATS)
    assert (content.search.neighbours, content.search.level) == (5, "mid")
    assert math.isclose(content.search.distance_limit * 100, round(content.search.distance_limit * 100))
    assert all(case != "none" for _, case in left_out(BEATS, FEATURES, content.search.distance_limit))


def test_scores_count_an_abstention_as_wrong() -> None:
    looked_up = [
        (beat("n0", "NOR", 1.0), "NOR"),
        (beat("n0", "NOR", 1.0), "RV"),
        (beat("n0", "NOR", 1.0), "NOR"),
        (beat("d0", "DCM", 5.0), "none"),
    ]
    assert scores(looked_up) == {
        "slices": 4,
        "subjects": 2,
        "coverage": 0.75,
        "slice_accuracy": 0.5,
        "subject_accuracy": 0.5,
        "left_ventricle_slice_accuracy": 0.75,
        "left_ventricle_subject_accuracy": 0.5,
        "slices_by_true_and_retrieved_group": {
            "NOR": {"NOR": 2, "RV": 1},
            "RV": {},
            "MINF": {},
            "DCM": {"none": 1},
            "HCM": {},
        },
    }


def test_missing_data_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "x.csv")]) == 2
    assert capsys.readouterr().err.startswith("references: no data at ")


@pytest.mark.real
@pytest.mark.skipif(not DEFAULT_PATH.exists(), reason="this build ships no case table")
def test_the_shipped_cases_are_those_of_the_masks(data_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "references.csv"
    assert main(["--data", str(data_root), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == DEFAULT_PATH.with_name("references.csv").read_text(
        encoding="utf-8"
    )


def test_written_cases_name_no_subject() -> None:
    text = text_from_references(content_from_beats(BEATS))
    assert not any(subject in text for subject in {f",{b.subject}," for b in BEATS})
