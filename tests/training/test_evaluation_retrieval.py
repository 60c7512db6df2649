"""The group of unseen subjects, retrieved from measured values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from scored_records import scored

from lvedge.casetable.reference import NO_COMPARISON
from lvedge.indices import Indices
from lvedge.training.evaluation.retrieval import (
    CANDIDATES,
    CHOSEN,
    VALUES,
    measured_beats,
    retrieval_figures,
    scores,
)
from lvedge.training.evaluation.still import ScoredSlice
from lvedge.training.references import SliceBeat

SIX = next(iter(VALUES))
HEARTS = {"NOR": (8.0, 1500.0, 0.35), "DCM": (7.0, 3500.0, 0.85), "HCM": (16.0, 1300.0, 0.3)}
"""Wall at ED (mm), cavity at ED (mm²), what is left of it at ES."""


def values(group: str, phase: str, k: int) -> np.ndarray:
    wall, cavity, left = HEARTS[group]
    wall, cavity = wall * (1 + 0.02 * k), cavity * (1 + 0.03 * k)
    if phase == "ES":
        wall, cavity = wall * (1.1 + 0.3 * (1 - left)), cavity * left
    bumps = 1 + (0.05 if phase == "ED" else 0.02 + 0.002 * k) * np.sin(np.arange(6))
    return np.array([*(wall * bumps), *[2 * np.sqrt(cavity / np.pi)] * 3, cavity, 900.0 + wall * 60])


def subject(group: str, k: int) -> str:
    return f"{group}{k}"


def measured(group: str, k: int, **changes: object) -> Iterator[ScoredSlice]:
    for index in (4, 5):
        for phase in ("ED", "ES"):
            yield scored(
                subject(group, k),
                **{  # type: ignore[arg-type]
                    "slice_index": index,
                    "phase": phase,
                    "group": group,
                    "level": 0.1 * index,
                    "regressed": values(group, phase, k),
                    **changes,
                },
            )


FOLDS = [[subject(group, k) for group in HEARTS for k in (a, a + 3)] for a in range(3)]


def drawn() -> list[SliceBeat]:
    return measured_beats([s for group in HEARTS for k in range(6) for s in measured(group, k)])


def test_hearts_that_differ_are_told_apart() -> None:
    asked = [s for group in HEARTS for k in range(6) for s in measured(group, k)]
    figures = retrieval_figures(asked, drawn(), FOLDS)
    assert set(figures) == {"protocol", CHOSEN, *VALUES}
    for title in (*VALUES, CHOSEN):
        for source in ("as measured", "expert masks"):
            found = figures[title][source]
            assert found["accuracy"]["mean"] == found["balanced"]["mean"] == 1.0
            assert found["accuracy"]["subjects"] == 18
            assert found["subjects_by_true_and_retrieved_group"]["HCM"]["HCM"] == 6


def test_values_are_chosen_without_the_fold_that_is_asked() -> None:
    asked = [s for group in HEARTS for k in range(6) for s in measured(group, k)]
    first = retrieval_figures(asked, drawn(), FOLDS)[CHOSEN]["values"]
    assert all(set(names) <= set(CANDIDATES) for names in first)
    # What is measured in a fold may be as wrong as it likes: the values that it is asked by stay the same.
    wrong = [replace(s, regressed=s.regressed[::-1].copy()) if s.subject in FOLDS[0] else s for s in asked]
    again = retrieval_figures(wrong, drawn(), FOLDS)[CHOSEN]["values"]
    assert first[0] == again[0]
    # One fold alone: nobody else was measured.
    alone = [s for s in asked if s.subject in FOLDS[0]]
    assert CHOSEN not in retrieval_figures(alone, drawn(), FOLDS[:1])


def test_no_subject_is_a_case_for_its_own_fold() -> None:
    # All of DCM in one fold: without a case of theirs none can be found, though each is its own double.
    folds = [
        [subject("DCM", k) for k in range(6)],
        *([subject(g, k) for k in range(6)] for g in ("NOR", "HCM")),
    ]
    asked = [s for k in range(6) for s in measured("DCM", k)]
    found = retrieval_figures(asked, drawn(), folds)[SIX]["as measured"]
    assert found["accuracy"]["mean"] == 0.0
    assert found["subjects_by_true_and_retrieved_group"]["DCM"]["DCM"] == 0


def test_who_was_not_measured_counts_as_wrong() -> None:
    asked = [*measured("NOR", 0), *measured("HCM", 0, found=False)]
    found = retrieval_figures(asked, drawn(), FOLDS)[SIX]["as measured"]
    assert found["accuracy"]["mean"] == 0.5
    assert found["abstained"] == 1
    assert found["subjects_by_true_and_retrieved_group"]["HCM"][NO_COMPARISON] == 1


def test_only_slices_at_mid_level_with_both_ends_count_and_no_drawing() -> None:
    (first, second) = measured_beats([*measured("NOR", 0)])
    assert first.subject == second.subject == "NOR0"
    ed, es = Indices(values("NOR", "ED", 0)), Indices(values("NOR", "ES", 0))
    fac = 1 - es.areas_mm2[0] / ed.areas_mm2[0]
    assert first.features["fac"] == pytest.approx(fac)
    assert measured_beats([*measured("NOR", 0, truth=np.full(11, np.nan), has_lv=False, mid=False)])
    assert not measured_beats([*measured("NOR", 0, level=0.85)])
    assert not measured_beats([s for s in measured("NOR", 0) if s.phase == "ED"])


def test_balanced_accuracy_weighs_groups_alike_and_rv_is_normal() -> None:
    truth = {"a": "RV", "b": "NOR", "c": "NOR", "d": "DCM"}
    found = scores(truth, {"a": "NOR", "b": "NOR", "c": "NOR", "d": "HCM"})
    assert found["accuracy"]["mean"] == 0.75
    assert found["balanced"]["mean"] == 0.5
    assert found["subjects_by_true_and_retrieved_group"]["NOR"] == {
        "DCM": 0,
        "HCM": 0,
        "NOR": 3,
        NO_COMPARISON: 0,
    }
    assert found["subjects_by_true_and_retrieved_group"]["DCM"]["HCM"] == 1


def test_of_a_handful_of_cases_nothing_is_retrieved() -> None:
    few = [beat for beat in drawn() if beat.subject in FOLDS[0]]
    assert retrieval_figures([*measured("NOR", 0)], few, FOLDS) == {"subjects": 0}
