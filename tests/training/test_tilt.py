"""Tilted slices against closed forms: cylinders and cones cut askew, and the phantom's exact values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from heart_samples import GRID, healthy
from numpy.typing import NDArray

from lvedge.errors import DataError
from lvedge.geometry import indices_from_rays, maps_from_labels, rays_from_maps, septum_from_map
from lvedge.indices import Label
from lvedge.phantom import Phantom, Placement, preset_phantom
from lvedge.training.data.sample import MAP_LABELS, Sample
from lvedge.training.tilt import depth_reached_mm, tilted, tilted_phantom

SLICE_MM, SIDE, MM, SLICES = 5.0, 128, 1.25, 13
MIDDLE = SLICES // 2


def circles(radii_mm: list[float], wall_mm: float = 8.0) -> list[Sample]:
    """A stack of concentric circles, drawn as labels, the cavity's radii given slice by slice."""
    middle = (SIDE - 1) / 2
    y, x = np.indices((SIDE, SIDE))
    away = np.hypot(x - middle, y - middle) * MM
    stack = []
    for k, radius in enumerate(radii_mm):
        labels = np.where(away < radius + wall_mm, Label.MYOCARDIUM, Label.BACKGROUND)
        labels[away < radius] = Label.CAVITY
        labels[(away >= radius + wall_mm) & (x < 40)] = Label.RV
        stack.append(drawn(labels, k, len(radii_mm)))
    return stack


def drawn(labels: NDArray[np.integer], index: int, count: int) -> Sample:
    return Sample(
        source="acdc",
        subject="circles",
        slice_index=index,
        slice_count=count,
        frame_index=0,
        pixels=(60 * labels).astype(np.uint8),
        maps=np.stack([255 * (labels == k) for k in MAP_LABELS], axis=-1).astype(np.uint8),
        spacing_mm=(MM, MM),
        has_spacing=True,
        has_rv=True,
        slice_mm=SLICE_MM,
    )


def test_a_tilt_of_nothing_gives_the_slice_back() -> None:
    stack = circles([20.0 + k for k in range(SLICES)])
    cut = tilted(stack, MIDDLE, 0.0, 37.0)
    np.testing.assert_array_equal(cut.maps, stack[MIDDLE].maps)
    np.testing.assert_array_equal(cut.pixels, stack[MIDDLE].pixels)
    assert cut.key == stack[MIDDLE].key


@pytest.mark.parametrize("axis_deg", [0.0, 30.0, 90.0])
@pytest.mark.parametrize("tilt_deg", [15.0, 30.0])
def test_a_tilted_cylinder_is_an_ellipse(tilt_deg: float, axis_deg: float) -> None:
    cut = tilted(circles([22.0] * SLICES), MIDDLE, tilt_deg, axis_deg)
    rays, level = cut.rays(), circles([22.0])[0].rays()
    assert rays is not None
    assert level is not None
    longer = 1.0 / np.cos(np.deg2rad(tilt_deg))
    np.testing.assert_allclose(rays.areas_mm2, level.areas_mm2 * longer, rtol=0.01)
    # Along the line in which the planes meet nothing changes, across it everything is longer.
    along, across = round(axis_deg), round(axis_deg) + 90
    for radii, straight in ((rays.endo_mm, level.endo_mm), (rays.epi_mm, level.epi_mm)):
        assert radii[along] == pytest.approx(straight[along], abs=0.05)
        assert radii[across] == pytest.approx(straight[across] * longer, abs=0.3)


@pytest.mark.parametrize("slope", [0.2, -0.3])
def test_a_tilted_cone_reaches_further_where_it_widens(slope: float) -> None:
    """A radius of r + s·z meets the plane at r / (cos t − s·sin t) and, beyond the middle, with + for −."""
    stack = circles([22.0 + slope * SLICE_MM * (k - MIDDLE) for k in range(SLICES)])
    cut = tilted(stack, MIDDLE, 20.0, 0.0)  # planes meet along the rows: deeper is further down
    column = cut.map(Label.CAVITY)[:, SIDE // 2 - 1 : SIDE // 2 + 1].mean(axis=1)
    down = column[SIDE // 2 :].sum() * MM
    up = column[: SIDE // 2].sum() * MM
    sin, cos = np.sin(np.deg2rad(20.0)), np.cos(np.deg2rad(20.0))
    assert down == pytest.approx(22.0 / (cos - slope * sin), abs=0.5)
    assert up == pytest.approx(22.0 / (cos + slope * sin), abs=0.5)


def test_grey_values_between_slices_are_blended() -> None:
    stack = [
        replace(s, pixels=np.full_like(s.pixels, 20 * k)) for k, s in enumerate(circles([20.0] * SLICES))
    ]
    cut = tilted(stack, MIDDLE, 30.0, 0.0)
    rows = np.arange(SIDE)
    expected = 20 * (MIDDLE + (rows - (SIDE - 1) / 2) * MM * np.sin(np.deg2rad(30.0)) / SLICE_MM)
    np.testing.assert_allclose(cut.pixels[:, 64], np.clip(expected, 0, 20 * (SLICES - 1)), atol=0.6)


def test_the_depth_that_a_cut_reaches() -> None:
    (sample,) = circles([22.0])
    assert depth_reached_mm(sample, 30.0) == pytest.approx(15.0, abs=0.3)
    assert depth_reached_mm(replace(sample, maps=np.zeros_like(sample.maps)), 30.0) == 0.0


@pytest.mark.parametrize("lacking", ["slice_mm", "maps"])
def test_what_cannot_be_cut_says_why(lacking: str) -> None:
    (sample,) = circles([22.0])
    value = None if lacking == "slice_mm" else np.zeros_like(sample.maps)
    with pytest.raises(DataError, match="cannot be tilted: it needs an LV and a distance between slices"):
        tilted([replace(sample, **{lacking: value})], 0, 10.0, 0.0)


def painted_truth(phantom: Phantom, frame: int, tilt_deg: float, fine: int = 8) -> NDArray[np.float64]:
    """The values read off labels drawn finely in the tilted plane of the drawn-out phantom."""
    grid = phantom.placement
    row, column = grid.spacing_mm[0] / fine, grid.spacing_mm[1] / fine
    shrunk = replace(
        grid,
        rows=grid.rows * fine,
        columns=grid.columns * fine,
        spacing_mm=(row, column * float(np.cos(np.deg2rad(tilt_deg)))),
    )
    rv, wall, cavity = maps_from_labels(phantom.labels(frame, shrunk))
    rays = rays_from_maps(cavity, wall, (row, column))
    assert rays is not None
    septum = septum_from_map(rays, rv)
    assert septum is not None
    return indices_from_rays(rays, septum.direction_deg).vector


@pytest.mark.parametrize("rotation_deg", [0.0, 50.0, 200.0])
@pytest.mark.parametrize("tilt_deg", [0.0, 20.0, 40.0])
def test_a_tilted_phantom_s_values_are_those_of_its_picture(tilt_deg: float, rotation_deg: float) -> None:
    phantom = preset_phantom("hypertrophic", replace(GRID, rotation_deg=rotation_deg))
    frame, truth = tilted_phantom(phantom, phantom.heart.es_frame, tilt_deg)
    painted = painted_truth(phantom, phantom.heart.es_frame, tilt_deg)
    np.testing.assert_allclose(truth[:9], painted[:9], atol=0.25)
    np.testing.assert_allclose(truth[9:], painted[9:], rtol=0.003)
    assert (frame.spacing_mm, frame.pixels.shape, frame.orientation) == ((1.6, 1.6), (120, 120), None)
    if tilt_deg == 0.0:
        np.testing.assert_allclose(truth, phantom.indices(phantom.heart.es_frame).vector, rtol=2e-3)


def test_a_tilted_phantom_s_picture_shows_what_its_values_say() -> None:
    phantom, tilt_deg = healthy(Placement(rows=160, columns=160, spacing_mm=(1.2, 1.2))), 45.0
    shrunk = replace(phantom.placement, spacing_mm=(1.2, 1.2 * float(np.cos(np.deg2rad(tilt_deg)))))
    level, askew = phantom.labels(0), phantom.labels(0, shrunk)
    picture = tilted_phantom(phantom, 0, tilt_deg)[0].pixels

    def contrast(pixels: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
        return float(pixels[labels == Label.CAVITY].mean() / pixels[labels == Label.MYOCARDIUM].mean())

    assert contrast(picture, askew) == pytest.approx(contrast(phantom.pixels(0), level), rel=0.05)
    assert contrast(picture, level) < 0.8 * contrast(picture, askew)
