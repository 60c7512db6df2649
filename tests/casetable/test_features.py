"""The named values of frames and cycles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lvedge.casetable import cycle_features, cycle_names, frame_features, frame_names, slice_level
from lvedge.indices import IndexLayout, Indices

ED = Indices(np.array([10.0, 8.0, 6.0, 8.0, 10.0, 12.0, 50.0, 52.0, 48.0, 2000.0, 1500.0]))
ES = Indices(np.array([12.0, 12.0, 12.0, 12.0, 12.0, 12.0, 30.0, 32.0, 28.0, 800.0, 1400.0]))


def test_a_frame_gives_its_indices_and_their_summaries() -> None:
    assert frame_features(ED, wall_max_mm=13.5) == {
        "rwt_IS_mm": 10.0,
        "rwt_I_mm": 8.0,
        "rwt_IL_mm": 6.0,
        "rwt_AL_mm": 8.0,
        "rwt_A_mm": 10.0,
        "rwt_AS_mm": 12.0,
        "dim_IS-AL_mm": 50.0,
        "dim_I-A_mm": 52.0,
        "dim_IL-AS_mm": 48.0,
        "area_cavity_mm2": 2000.0,
        "area_myocardium_mm2": 1500.0,
        "wall_max_mm": 13.5,
        "rwt_mean_mm": 9.0,
        "rwt_max_mm": 12.0,
        "rwt_min_mm": 6.0,
        "dim_mean_mm": 50.0,
        "area_epicardium_mm2": 3500.0,
        "relative_wall_thickness": 2 * 9.0 / 50.0,
    }
    assert tuple(frame_features(ED)) == frame_names()
    assert math.isnan(frame_features(ED)["wall_max_mm"])


def test_a_cycle_gives_both_frames_and_what_changes_between_them() -> None:
    values = cycle_features(ED, ES, ed_wall_max_mm=13.5)
    thickening = np.array([0.2, 0.5, 1.0, 0.5, 0.2, 0.0])
    assert tuple(values) == cycle_names()
    assert {name: values[f"ed_{name}"] for name in frame_names()} == frame_features(ED, 13.5)
    assert [values[f"thickening_{s}"] for s in ("IS", "I", "IL", "AL", "A", "AS")] == pytest.approx(
        thickening
    )
    assert {name: values[name] for name in ("fac", "thickening_min", "absolute_thickening_mean_mm")} == {
        "fac": 0.6,
        "thickening_min": 0.0,
        "absolute_thickening_mean_mm": 3.0,
    }
    assert values["thickening_mean"] == pytest.approx(thickening.mean())
    assert values["thickening_spread"] == pytest.approx(thickening.std())


def test_an_empty_heart_gives_no_ratio_and_no_warning() -> None:
    empty = Indices(np.zeros(11))
    values = cycle_features(empty, ES)
    unknown = {name for name, value in values.items() if math.isnan(value)}
    assert unknown == {
        "ed_wall_max_mm",
        "ed_relative_wall_thickness",
        "es_wall_max_mm",
        "fac",
        "thickening_mean",
        "thickening_min",
        "thickening_spread",
        *(f"thickening_{s}" for s in ("IS", "I", "IL", "AL", "A", "AS")),
    }


def test_the_names_follow_the_layout() -> None:
    layout = IndexLayout(sectors=4, diameters=2)
    values = cycle_features(Indices(np.arange(1.0, 9.0), layout), Indices(np.arange(2.0, 10.0), layout))
    assert tuple(values) == cycle_names(layout)
    assert "thickening_S4" in values
    with pytest.raises(ValueError, match="layout"):
        cycle_features(ED, Indices(np.zeros(8), layout))


@pytest.mark.parametrize(
    ("index", "count", "level"),
    [
        (0, 11, "basal_or_apical"),
        (2, 11, "mid"),
        (8, 11, "mid"),
        (9, 11, "basal_or_apical"),
        (1, 3, "mid"),
        (0, 2, "unknown"),
        (0, None, "unknown"),
    ],
)
def test_the_level_of_a_slice(index: int, count: int | None, level: str) -> None:
    assert slice_level(index, count) == level
