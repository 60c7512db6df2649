"""The way round: mirrored or turned, with tags that say so, a picture's sectors keep their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lvedge.bundle import Bundle
from lvedge.frame import Frame, Handedness, Orientation
from lvedge.geometry import (
    angle_between_deg,
    indices_from_rays,
    maps_from_labels,
    rays_from_maps,
    septum_from_map,
)
from lvedge.indices import DEFAULT_LAYOUT, FloatArray, Label
from lvedge.measure import SliceMeasurer
from lvedge.measurement import Measurement
from lvedge.phantom import HEARTS, Phantom, Placement, preset_phantom
from lvedge.quality import DEFAULT_QUALITY
from lvedge.reading import MaskReading, read_mask, septum_in_source
from lvedge.view import View, view_of_frame
from lvedge_runtime.engines import Engine, open_engine

# Directions of a usual radiological picture; acdc's own files carry none.
USUAL = Orientation((0.78, 0.55, 0.29), (-0.02, 0.49, -0.87))
ACDC = ("patient008", "patient025", "patient073")
"""Some subjects that training does not see."""

RWT = DEFAULT_LAYOUT.rwt


@dataclass(frozen=True)
class WayRound:
    """One of the eight ways to lay a picture on its grid."""

    transposed: bool
    rows_reversed: bool
    columns_reversed: bool

    @property
    def mirrors(self) -> bool:
        return self.transposed ^ self.rows_reversed ^ self.columns_reversed

    def picture(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        turned = array.T if self.transposed else array
        turned = turned[::-1] if self.rows_reversed else turned
        return np.ascontiguousarray(turned[:, ::-1] if self.columns_reversed else turned)

    def direction(self, degrees: float) -> float:
        """A direction of the usual picture in the one laid that way."""
        x, y = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        x, y = (y, x) if self.transposed else (x, y)
        y, x = -y if self.rows_reversed else y, -x if self.columns_reversed else x
        return float(np.rad2deg(np.arctan2(y, x)) % 360.0)

    def frame(self, frame: Frame) -> Frame:
        """The frame laid that way, its spacing and its tags with it."""
        assert frame.orientation is not None
        row, column, spacing = frame.orientation.row, frame.orientation.column, frame.spacing_mm
        if self.transposed:
            row, column, spacing = column, row, (spacing[1], spacing[0])
        if self.rows_reversed:
            column = (-column[0], -column[1], -column[2])
        if self.columns_reversed:
            row = (-row[0], -row[1], -row[2])
        pixels = self.picture(frame.pixels)
        return replace(frame, pixels=pixels, orientation=Orientation(row, column), spacing_mm=spacing)


WAYS = [WayRound(bool(k & 4), bool(k & 2), bool(k & 1)) for k in range(8)]
UPSIDE_DOWN = WayRound(transposed=False, rows_reversed=True, columns_reversed=False)


@dataclass(frozen=True)
class Labelled:
    """A frame and the labels drawn on it."""

    frame: Frame
    labels: NDArray[np.uint8]


def real_slices(root: Path) -> Iterator[Labelled]:
    """A mid slice of some acdc subjects at ED and ES."""
    import nibabel as nib

    for subject in ACDC:
        folder = root / "acdc" / subject
        for truth in sorted(folder.glob("*_gt.nii.gz")):
            labels, picture = nib.load(truth), nib.load(str(truth).replace("_gt", ""))
            k = labels.shape[2] // 2
            zooms = labels.header.get_zooms()
            yield Labelled(
                Frame(
                    np.asarray(picture.dataobj)[:, :, k].T.astype(np.float32),
                    (float(zooms[1]), float(zooms[0])),
                    truth.name,
                    orientation=USUAL,
                    cine_length=1,
                ),
                np.asarray(labels.dataobj)[:, :, k].T.astype(np.uint8),
            )


def phantoms() -> list[Phantom]:
    grid = Placement(rows=150, columns=170, spacing_mm=(1.7, 1.5), offset_mm=(15.0, -8.0))
    return [preset_phantom(name, grid, seed=3) for name in HEARTS]


def phantom_slices() -> Iterator[Labelled]:
    for phantom in phantoms():
        yield Labelled(replace(phantom.frame(0), cine_length=1), phantom.labels(0))


def drawn_values(labels: NDArray[np.uint8], frame: Frame) -> tuple[FloatArray, tuple[float, float], float]:
    """What geometry reads at the frame's own grid: values, LV centre, mid-septum."""
    rv, myocardium, cavity = maps_from_labels(labels)
    rays = rays_from_maps(cavity, myocardium, frame.spacing_mm)
    assert rays is not None
    septum = septum_from_map(rays, rv)
    assert septum is not None
    mirrored = frame.handedness is Handedness.MIRRORED
    values = indices_from_rays(rays, septum.direction_deg, mirrored=mirrored).vector
    return values, rays.centre_px, septum.direction_deg


def viewed_values(labels: NDArray[np.uint8], frame: Frame, view: View) -> tuple[FloatArray, float]:
    """What the view's mask gives: values, mid-septum in the source."""
    mask = np.stack([view.crop((labels == label).astype(np.float32)) for label in Label])
    reading = read_mask(mask, view.mm_per_px)
    assert isinstance(reading, MaskReading)
    return reading.indices.vector, septum_in_source(reading, view)


def assert_masks_keep_their_names(one: Labelled) -> None:
    usual, _, usual_septum = drawn_values(one.labels, one.frame)
    views = []
    for way in WAYS:
        frame, labels = way.frame(one.frame), way.picture(one.labels).astype(np.uint8)
        assert frame.handedness is (Handedness.MIRRORED if way.mirrors else Handedness.RADIOLOGICAL)
        values, centre, septum = drawn_values(labels, frame)
        assert abs(angle_between_deg(septum, way.direction(usual_septum))) < 1.5
        # OpenCV samples on a grid of 1/32 pixel, rounded one way: a few hundredths of a millimetre.
        np.testing.assert_allclose(values[:9], usual[:9], atol=0.15)
        np.testing.assert_allclose(values[9:], usual[9:], rtol=1e-5)
        seen, seen_septum = viewed_values(labels, frame, view_of_frame(frame, centre, septum, 80, 1.5))
        assert abs(angle_between_deg(seen_septum, septum)) < 6.0
        views.append(seen)
    # All ways give one view of the heart, so one reading.
    for seen in views[1:]:
        np.testing.assert_allclose(seen[:9], views[0][:9], atol=0.15)
        np.testing.assert_allclose(seen[9:], views[0][9:], rtol=0.005)


@pytest.mark.parametrize("name", list(HEARTS))
def test_phantom_masks(name: str) -> None:
    one = list(phantom_slices())[list(HEARTS).index(name)]
    assert_masks_keep_their_names(one)


@pytest.mark.real
def test_real_masks(data_root: Path) -> None:
    slices = list(real_slices(data_root))
    assert len(slices) == 6
    for one in slices:
        assert_masks_keep_their_names(one)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [37.0, 118.0, 251.0])
def test_phantom_masks_at_any_rotation(rotation: float, mirrored: bool) -> None:
    for phantom in phantoms():
        grid = replace(phantom.placement, rows=200, columns=200, rotation_deg=rotation, mirrored=mirrored)
        turned = replace(phantom, placement=grid)
        frame = Frame(np.zeros(grid.shape, np.float32), grid.spacing_mm, "s", orientation=turned.orientation)
        values, centre, septum = drawn_values(turned.labels(0), frame)
        truth = turned.indices(0).vector
        np.testing.assert_allclose(values[RWT], truth[RWT], atol=0.6)
        seen, _ = viewed_values(turned.labels(0), frame, view_of_frame(frame, centre, septum, 80, 1.5))
        np.testing.assert_allclose(seen[RWT], truth[RWT], atol=0.7)
        np.testing.assert_allclose(seen[6:9], truth[6:9], atol=0.8)


# --- end to end ------------------------------------------------------------------------------------

SECTOR_MM = 1.0
"""Mean difference of a sector between two ways round that locator and network may make."""

SEPTUM_DEG = 6.0
"""Median difference of mid-septum between two ways round."""


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Engine]:
    with open_engine(bundle) as opened:
        yield opened


def measured(engine: Engine, frame: Frame) -> Measurement:
    (measurement,) = SliceMeasurer(engine, DEFAULT_QUALITY).measure_closed([frame])
    return measurement


def assert_measurements_keep_their_names(engine: Engine, slices: list[Labelled]) -> None:
    right, reversed_, septum_off = [], [], []
    for one in slices:
        usual = measured(engine, one.frame)
        assert usual.indices is not None
        for way in WAYS[1:]:
            turned = measured(engine, way.frame(one.frame))
            assert turned.indices is not None
            assert turned.geometric is not None
            assert turned.view is not None
            assert turned.view.mirrored == way.mirrors
            right.append(np.abs(turned.indices.rwt_mm - usual.indices.rwt_mm))
            reversed_.append(np.abs(turned.indices.rwt_mm[::-1] - usual.indices.rwt_mm))
            np.testing.assert_allclose(turned.indices.areas_mm2, usual.indices.areas_mm2, rtol=0.15)
            assert usual.septum_deg is not None
            assert turned.septum_deg is not None
            septum_off.append(abs(angle_between_deg(turned.septum_deg, way.direction(usual.septum_deg))))
            if way == UPSIDE_DOWN:
                # Its tags make the view undo the mirroring: the network sees the same picture.
                np.testing.assert_allclose(turned.indices.vector, usual.indices.vector, rtol=1e-3)
                assert septum_off[-1] < 0.1
    # The septum is found where the picture has it.
    assert np.median(septum_off) < SEPTUM_DEG
    # Sector by sector the same, and plainly so: with AS and IS exchanged it would be worse.
    assert np.mean(right, axis=0).max() < SECTOR_MM
    assert np.mean(right) < 0.5 * np.mean(reversed_)


def test_phantom_frames_measured_end_to_end(engine: Engine) -> None:
    assert_measurements_keep_their_names(engine, list(phantom_slices()))


@pytest.mark.real
def test_real_frames_measured_end_to_end(engine: Engine, data_root: Path) -> None:
    assert_measurements_keep_their_names(engine, list(real_slices(data_root))[::2])
