"""Values that tell groups apart are chosen, others are not, as the case table would look them up."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from lvedge.training.choosing import choose_values, retrieved
from lvedge.training.references import SliceBeat, content_from_beats, reference_set

NAMES = ("fac", "thickening_mean", "ed_area_cavity_mm2", "ed_rwt_max_mm")
GROUPS = ("DCM", "HCM", "MINF", "NOR")


def beats(seed: int, spread: float = 0.3) -> list[SliceBeat]:
    """The groups lie apart in the second and the fourth value; the others say nothing."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(40):
        group = GROUPS[k % 4]
        place = np.array([0.0, 4.0 * (k % 2), 0.0, 4.0 * (k // 2 % 2)])
        values = place + rng.normal(0.0, [1.0, spread, 1.0, spread])
        found.append(SliceBeat(f"{k:02d}", group, dict(zip(NAMES, values.tolist(), strict=True))))
    return found


def test_the_values_that_tell_groups_apart_are_chosen() -> None:
    assert sorted(choose_values(beats(0), beats(1), NAMES)) == ["ed_rwt_max_mm", "thickening_mean"]


def test_a_value_that_is_lost_in_measuring_is_not_chosen() -> None:
    cases = beats(0)
    lost = [SliceBeat(b.subject, b.case, {**b.features, "thickening_mean": 2.0}) for b in beats(1)]
    assert "thickening_mean" in choose_values(cases, cases, NAMES)
    assert "thickening_mean" not in choose_values(cases, lost, NAMES)


def test_who_is_only_one_of_both_has_no_say() -> None:
    cases, asked = beats(0), beats(1)
    strangers = [SliceBeat(f"x{b.subject}", "DCM", b.features) for b in beats(2)]
    chosen = choose_values(cases, asked, NAMES)
    assert choose_values([*cases, *strangers], asked, NAMES) == chosen
    assert choose_values(cases, [*asked, *strangers], NAMES) == chosen
    with pytest.raises(ValueError, match="both"):
        choose_values(cases, strangers, NAMES)


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_cases_are_those_of_the_case_table(seed: int) -> None:
    cases, asked = beats(seed, spread=2.0), beats(seed + 10, spread=2.0)
    drawn, measured = (np.array([[*b.features.values()] for b in of]) for of in (cases, asked))
    of_case = np.array([GROUPS.index(b.case) for b in cases])
    said = [GROUPS[k] for k in retrieved(drawn, measured, of_case, len(GROUPS))]
    for k, beat in enumerate(asked):
        others = [b for b in cases if b.subject != beat.subject]
        search = reference_set(content_from_beats(others, NAMES, distance_limit=np.inf))
        assert search.find(beat.features, "mid").case == said[k]
