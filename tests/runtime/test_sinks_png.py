"""Overlays: outlines lie on the walls, sectors where their names say, and a frame without an LV says so."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lvedge.indices import DEFAULT_LAYOUT
from lvedge.measurement import Mode
from lvedge_runtime.sinks import RunContext, canvas, heart, open_sink
from lvedge_runtime.sinks.outline import outline_from_measurement
from lvedge_runtime.sinks.overlay import HEART_PX, HEIGHT_PX, WIDTH_PX, draw_overlay, sample_from_measurement

CONTEXT = RunContext(engine="onnxruntime", bundle="default", bundle_version="1.2")


def radii_mm(points: np.ndarray, centre: tuple[float, float], spacing_mm: tuple[float, float]) -> np.ndarray:
    return np.hypot((points[:, 0] - centre[0]) * spacing_mm[1], (points[:, 1] - centre[1]) * spacing_mm[0])


@pytest.mark.parametrize("spacing_mm", [(0.7, 0.7), (1.25, 1.25), (1.6, 2.0)])
def test_outlines_lie_on_the_walls_to_a_fraction_of_a_pixel(make_measurement, spacing_mm):
    measurement = make_measurement(spacing_mm=spacing_mm, septum_deg=235.0, centre_px=(70.25, 60.5))
    outline = outline_from_measurement(measurement)
    endo = radii_mm(outline.endo, (70.25, 60.5), spacing_mm)
    epi = radii_mm(outline.epi, (70.25, 60.5), spacing_mm)
    np.testing.assert_allclose(endo, 22.0, atol=0.3)
    np.testing.assert_allclose(epi, 32.0, atol=0.3)
    assert abs(endo.mean() - 22.0) < 0.1
    assert len(outline.rv) == 1


@pytest.mark.parametrize("seen_mirrored", [False, True])
@pytest.mark.parametrize("turned_deg", [-25.0, 0.0, 25.0])
@pytest.mark.parametrize("septum_deg", [10.0, 95.0, 250.0])
def test_sectors_keep_their_names_at_any_rotation(
    make_measurement, mirrored, seen_mirrored, turned_deg, septum_deg
):
    changes = {"orientation": mirrored} if seen_mirrored else {}
    outline = outline_from_measurement(
        make_measurement(septum_deg=septum_deg, turned_deg=turned_deg, spacing_mm=(1.2, 1.5), **changes)
    )
    centre = outline.point(0.0, 0.0)
    # AS follows clockwise on mid-septum in the usual view, counter-clockwise in its mirror image.
    sense = 1.0 if seen_mirrored else -1.0
    for sector, name in enumerate(DEFAULT_LAYOUT.sector_names):
        middle = outline.point(outline.sector_start_deg(sector + 0.5, DEFAULT_LAYOUT), 30.0)
        dx, dy = (middle - centre) * [1.5, 1.2]
        expected = septum_deg + turned_deg + sense * (60.0 * sector + 30.0)
        off = (np.rad2deg(np.arctan2(dy, dx)) - expected + 180.0) % 360.0 - 180.0
        assert abs(off) < 0.5, name


def test_specks_get_no_outline(make_measurement):
    measurement = make_measurement()
    measurement.mask[1, 2:4, 2:4] = 1.0
    assert len(outline_from_measurement(measurement).rv) == 1


def test_the_rv_has_no_outline_where_it_leaves_the_view(make_measurement):
    measurement = make_measurement()
    measurement.mask[1, 40:, :10] = 1.0
    outline = outline_from_measurement(measurement)
    for line in outline.rv:
        in_view = measurement.view.points_in_view(line)
        assert in_view.min() >= 0.4
        assert in_view.max() <= 78.6


def test_a_picture_shows_both_walls_in_their_colours(make_measurement):
    image = heart.draw_heart(make_measurement(), HEART_PX)
    assert image.shape == (HEART_PX, HEART_PX, 3)
    mm_px = HEART_PX / heart.CROP_MM
    y, x = np.indices(image.shape[:2]) - (HEART_PX - 1) / 2
    for colour, radius in ((canvas.ENDO, 22.0), (canvas.EPI, 32.0)):
        drawn = np.abs(image.astype(int) - colour).max(axis=2) < 8
        drawn &= np.hypot(x, y) < 40 * mm_px
        assert abs(np.hypot(x, y)[drawn].mean() / mm_px - radius) < 0.3


def test_the_whole_frame_is_shown_where_nothing_was_located(make_measurement, make_unmeasured):
    measurement = make_unmeasured(make_measurement(), "no LV in this frame: the slice lies above the base")
    to_panel, mm_px = heart._placement(measurement, HEART_PX)
    assert mm_px == pytest.approx(HEART_PX / (144 * 1.25))
    corner = to_panel @ [0.0, 63.5, 1.0]
    np.testing.assert_allclose(corner, [0.5 * 1.25 * mm_px - 0.5, (HEART_PX - 1) / 2], atol=1e-6)
    image = heart.draw_heart(measurement, HEART_PX)
    # The bar on top holds the words.
    for rows, colour in ((image[:32], canvas.SEPTUM), (image[36:70], canvas.TEXT)):
        assert np.abs(rows.astype(int) - colour).max(axis=2).min() < 60


def test_a_closed_cine_is_drawn_when_its_beat_is_known(tmp_path, make_beat):
    measurements, cycle = make_beat()
    with open_sink(f"png:{tmp_path}", CONTEXT) as sink:
        for measurement in measurements:
            sink.write(measurement)
        assert list(tmp_path.iterdir()) == []
        sink.write(cycle)
        names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"phantom_s00_t{k:02d}.png" for k in range(8)]
    for name in names:
        assert cv2.imread(str(tmp_path / name)).shape == (HEIGHT_PX, WIDTH_PX, 3)


def test_what_waits_for_its_beat_is_drawn_at_the_end(tmp_path, make_beat):
    measurements, _ = make_beat(slice_index=11)
    with open_sink(f"png:{tmp_path}", CONTEXT) as sink:
        sink.write(measurements[0])
    assert [path.name for path in tmp_path.iterdir()] == ["phantom_s11_t00.png"]


def test_a_live_cine_is_drawn_at_once_and_as_far_as_it_has_come(tmp_path, make_beat):
    measurements, _ = make_beat(mode=Mode.LIVE)
    sink = open_sink(f"png:{tmp_path}", CONTEXT)
    for count, measurement in enumerate(measurements, start=1):
        sink.write(measurement)
        assert len(list(tmp_path.iterdir())) == count
    sink.close()


def test_the_curves_mark_the_frame_and_shade_systole(make_beat):
    measurements, cycle = make_beat()
    samples = [sample_from_measurement(measurement) for measurement in measurements]
    image = draw_overlay(measurements[2], samples, cycle)
    panel = image[-200:, HEART_PX:]
    assert (panel == canvas.SYSTOLE).all(axis=2).any()
    assert not (draw_overlay(measurements[2], samples[:1]) == canvas.SYSTOLE).all(axis=2).any()
    another = draw_overlay(measurements[5], samples, cycle)[-200:, HEART_PX:]
    assert (panel != another).any()


def test_words_beyond_ascii_are_written_plainly():
    assert canvas.plain("≥ 15 mm – Müller²") == ">= 15 mm - Muller2"
    assert canvas.plain("mean − 2 SD ± 1, 3 × 60°") == "mean - 2 SD +/- 1, 3 x 60 deg"
    assert canvas.plain("心") == "?"
    assert canvas.wrapped("one two three four", canvas.width_of("one two", 0.4) + 1, 0.4, 2)[0] == "one two"
    assert canvas.wrapped("a " * 200, 60, 0.4, 2)[-1].endswith("...")
