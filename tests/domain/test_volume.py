"""Volumes of a stack: against a half ellipsoid in closed form, and every reason why there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lvedge.volume import (
    MUSCLE_G_PER_ML,
    NoVolumesError,
    SliceAreas,
    disc_sum,
    slice_distance_mm,
    stack_volumes,
)

STEP_MM = 5.0
NONE = np.full(4, np.nan)
BEAT = np.array([1.0, 0.8, 0.7, 0.9])
"""Scale of all lengths over a beat of four phases."""


def half_ellipsoid(long_mm: float, short_mm: float, slices: int) -> np.ndarray:
    """Areas of the discs of half an ellipsoid, base first, at the middle of each disc, [slices]."""
    depth = (np.arange(slices) + 0.5) * STEP_MM / long_mm
    return np.where(depth < 1, np.pi * short_mm**2 * (1 - np.minimum(depth, 1) ** 2), np.nan)


def areas(slices: int = 18, above: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Cavity and myocardium over the beat; ``above`` slices lie beyond the base."""
    inner, outer = half_ellipsoid(80.0, 25.0, slices), half_ellipsoid(90.0, 34.0, slices)
    cavity = np.stack([half_ellipsoid(80.0 * s, 25.0 * s, slices) for s in BEAT], axis=1)
    myocardium = np.where(np.isfinite(cavity), (outer - np.nan_to_num(inner))[:, None], np.nan)
    nothing = np.full((above, len(BEAT)), np.nan)
    return np.vstack([nothing, cavity]), np.vstack([nothing, myocardium])


def slices_of(cavity: np.ndarray, myocardium: np.ndarray) -> list[SliceAreas]:
    return [
        SliceAreas(STEP_MM * k - 40.0, (3, 4, 5, 6), c, m)
        for k, (c, m) in enumerate(zip(cavity, myocardium, strict=True))
    ]


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_half_ellipsoid(upside_down: bool) -> None:
    cavity, myocardium = areas()
    if upside_down:
        cavity, myocardium = cavity[::-1], myocardium[::-1]
    volumes = stack_volumes("a", 19, slices_of(cavity, myocardium))
    edv_ml = 2 / 3 * np.pi * 25.0**2 * 80.0 / 1000.0
    assert volumes.reason is None
    assert volumes.edv_ml == pytest.approx(edv_ml, rel=0.01)
    assert volumes.esv_ml is not None
    # The (1, 2, 1) / 4 of end diastole and end systole picks phases; it does not change their volumes.
    assert volumes.esv_ml == pytest.approx(edv_ml * 0.7**3, rel=0.01)
    assert volumes.ef == pytest.approx(1 - 0.7**3, abs=0.01)
    assert volumes.mass_g == pytest.approx(np.nansum(myocardium[:, 0]) * STEP_MM / 1000 * MUSCLE_G_PER_ML)
    assert (volumes.slices, volumes.slice_count, volumes.distance_mm) == (16, 19, STEP_MM)
    assert (volumes.ed_frame, volumes.es_frame) == (3, 5)


def test_a_base_that_leaves_the_last_slice_in_systole_was_reached() -> None:
    cavity, myocardium = areas(above=0)
    with pytest.raises(NoVolumesError, match="does not reach from beyond the apex to beyond the base"):
        disc_sum(cavity, myocardium, STEP_MM)
    cavity[0, 2] = np.nan
    assert disc_sum(cavity, myocardium, STEP_MM).es == 2


def test_an_apex_that_runs_out_was_reached_and_a_wide_one_was_not() -> None:
    cavity, myocardium = areas()
    # Cut where the cavity is still wide, then where hardly any is left.
    with pytest.raises(NoVolumesError, match="does not reach"):
        disc_sum(cavity[:10], myocardium[:10], STEP_MM)
    cut = next(k for k in range(2, 19) if cavity[k, 0] < 0.4 * np.nanmax(cavity[:, 0])) + 1
    cavity[cut - 1] = np.nan_to_num(cavity[cut - 1], nan=20.0)
    assert disc_sum(cavity[:cut], myocardium[:cut], STEP_MM).edv_ml > 90.0


def test_too_few_slices_and_a_gap() -> None:
    cavity, myocardium = areas()
    with pytest.raises(NoVolumesError, match="4 slices show an LV; volumes need at least 5"):
        disc_sum(cavity[:5], myocardium[:5], STEP_MM)
    cavity[6] = np.nan
    with pytest.raises(NoVolumesError, match="a slice between two with an LV shows none"):
        disc_sum(cavity, myocardium, STEP_MM)


def test_where_slices_lie() -> None:
    slices = slices_of(*areas())
    assert slice_distance_mm(slices, 19) == STEP_MM
    assert slice_distance_mm(slices[::-1], 19) == STEP_MM
    for wrong, words in (
        ([*slices[:5], *slices[6:]], "18 of 19 slices were measured as whole beats"),
        ([replace(s, height_mm=None) for s in slices], "do not say where their slices lie"),
        ([*slices[:-1], replace(slices[-1], height_mm=99.0)], "do not lie evenly"),
        ([replace(s, height_mm=7.0) for s in slices], "do not lie evenly"),
    ):
        with pytest.raises(NoVolumesError, match=words):
            slice_distance_mm(wrong, 19)
    with pytest.raises(NoVolumesError, match="4 slices are no whole stack"):
        slice_distance_mm(slices[:4], 4)


def test_slices_of_different_beats_have_no_common_volume() -> None:
    slices = slices_of(*areas())
    short = replace(slices[3], frames=(3, 4, 5), cavity_mm2=NONE[:3], myocardium_mm2=NONE[:3])
    volumes = stack_volumes("a", 19, [*slices[:3], short, *slices[4:]])
    assert volumes.reason == "the slices have different numbers of phases"
    assert (volumes.edv_ml, volumes.esv_ml, volumes.ef, volumes.mass_g, volumes.distance_mm) == (None,) * 5
