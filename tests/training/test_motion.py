"""The way from end diastole to end systole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from heart_samples import GRID, healthy, pair_of

from lvedge.geometry import rays_from_maps
from lvedge.phantom import preset_phantom
from lvedge.training.motion import Motion, motion_between
from lvedge.training.slices import prepare


@pytest.fixture(scope="module")
def motion() -> Motion:
    found = motion_between(
        *prepare(pair_of(preset_phantom("hypertrophic", replace(GRID, rotation_deg=20.0))))
    )
    assert found is not None
    return found


def areas_at(motion: Motion, contraction: float) -> np.ndarray:
    layers = motion.at(contraction).astype(np.float32) / 255
    rays = rays_from_maps(layers[..., 3], layers[..., 2], motion.ed_rays.spacing_mm)
    assert rays is not None
    return rays.areas_mm2


def test_the_ends_are_the_two_frames(motion: Motion) -> None:
    for contraction, end in ((0.0, motion.ed), (1.0, motion.es), (-0.5, motion.ed), (1.5, motion.es)):
        np.testing.assert_array_equal(motion.at(contraction), end)


def test_the_cavity_shrinks_all_the_way(motion: Motion) -> None:
    areas = np.array([areas_at(motion, c) for c in np.linspace(0, 1, 9)])
    assert (np.diff(areas[:, 0]) < 0).all()
    # A radius halfway between gives an area between the mean and the geometric mean of the ends.
    halfway = np.sqrt(areas[0, 0] * areas[-1, 0]), (areas[0, 0] + areas[-1, 0]) / 2
    assert halfway[0] < areas[4, 0] < halfway[1]


def test_walls_lie_between_those_of_the_ends(motion: Motion) -> None:
    layers = motion.at(0.5).astype(np.float32) / 255
    rays = rays_from_maps(layers[..., 3], layers[..., 2], motion.ed_rays.spacing_mm)
    assert rays is not None
    for name in ("endo_mm", "epi_mm"):
        between = (getattr(motion.ed_rays, name) + getattr(motion.es_rays, name)) / 2
        assert np.abs(getattr(rays, name) - between).mean() < 0.5


def test_near_the_ends_the_picture_is_nearly_theirs(motion: Motion) -> None:
    for contraction, end in ((1e-3, motion.ed), (1 - 1e-3, motion.es)):
        off = np.abs(motion.at(contraction).astype(int) - end)
        assert off.mean() < 0.5
        assert off[..., 3].max() <= 12


def test_far_from_the_heart_nothing_moves(motion: Motion) -> None:
    rows, columns = np.indices(motion.ed.shape[:2])
    centre = motion.ed_rays.centre_px
    far = np.hypot(columns - centre[0], rows - centre[1]) * 1.6 > 85
    faded = 0.5 * motion.ed.astype(float) + 0.5 * motion.es
    assert far.sum() > 500
    assert np.abs(motion.at(0.5).astype(float) - faded)[far].max() <= 1.0


def test_the_ends_are_not_written_to(motion: Motion) -> None:
    ed, es = motion.ed.copy(), motion.es.copy()
    motion.at(0.4)
    np.testing.assert_array_equal(motion.ed, ed)
    np.testing.assert_array_equal(motion.es, es)


def test_without_an_lv_at_one_end_there_is_no_motion() -> None:
    ed, es = prepare(pair_of(healthy()))
    none = replace(es, sample=replace(es.sample, maps=np.zeros_like(es.sample.maps)))
    assert motion_between(ed, none) is None
    assert motion_between(none, es) is None
    smaller = replace(es, layers=es.layers[:-2])
    assert motion_between(ed, smaller) is None
