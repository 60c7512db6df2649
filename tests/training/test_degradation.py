"""Each effect against its closed form; equal draws give equal pixels, and nothing is written to."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("scipy")
from heart_samples import healthy, sample_of, soft_labels
from numpy.typing import NDArray

from lvedge.frame import Frame
from lvedge.geometry import Septum, indices_from_rays, rays_from_maps, septum_from_map
from lvedge.indices import DEFAULT_LAYOUT
from lvedge.training.degradation import (
    DEGRADATIONS,
    Degradation,
    bias_field,
    clipping,
    gamma,
    ghosting,
    noise,
    resolution,
    rotation,
    top_of,
)


def frame_of(pixels: NDArray[np.generic], spacing_mm: tuple[float, float] = (1.5, 1.5)) -> Frame:
    """A frame that cannot be written to."""
    values = np.array(pixels, dtype=np.float32)
    values.flags.writeable = False
    return Frame(values, spacing_mm, "test")


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


PICTURE = sample_of(healthy()).pixels


@pytest.mark.parametrize("effect", DEGRADATIONS, ids=lambda effect: effect.name)
def test_the_same_draw_gives_the_same_pixels_and_the_frame_stays(effect: Degradation) -> None:
    frame = frame_of(PICTURE)
    before = frame.pixels.copy()
    for severity in effect.severities:
        one, two = (effect.apply(frame, severity, draw(3)) for _ in range(2))
        np.testing.assert_array_equal(one.pixels, two.pixels)
        assert one.pixels.dtype == np.float32
        assert one.pixels.flags.c_contiguous
        assert np.isfinite(one.pixels).all()
        assert one.pixels.min() >= 0.0
        assert one.pixels.shape != before.shape or not np.array_equal(one.pixels, before)
    np.testing.assert_array_equal(frame.pixels, before)
    assert list(effect.severities) == sorted(set(effect.severities))


@pytest.mark.parametrize("apply", [noise, bias_field, ghosting], ids=lambda apply: apply.__name__)
def test_another_draw_gives_other_pixels(apply: object) -> None:
    pictures = {apply(frame_of(PICTURE), 1.3, draw(seed)).pixels.tobytes() for seed in range(3)}  # type: ignore[operator]
    assert len(pictures) > 1


@pytest.mark.parametrize(
    ("apply", "severity"),
    [(noise, 0.0), (bias_field, 1.0), (ghosting, 0.0), (gamma, 1.0), (rotation, 0.0), (resolution, 0.5)],
)
def test_the_mildest_is_the_picture_itself(apply: object, severity: float) -> None:
    done = apply(frame_of(PICTURE), severity, draw())  # type: ignore[operator]
    np.testing.assert_allclose(done.pixels, PICTURE, atol=1e-3)
    assert done.spacing_mm == (1.5, 1.5)


def test_noise_is_rayleigh_in_the_background_and_gaussian_in_the_signal() -> None:
    pixels = np.zeros((400, 500))
    pixels[:, 250:] = 1000.0
    noisy = noise(frame_of(pixels), 0.04, draw()).pixels
    sigma, background, signal = 40.0, noisy[:, :250], noisy[:, 250:]
    # The standard error of an SD from 100,000 values is 0.22 % of it.
    assert background.std() == pytest.approx(sigma * math.sqrt(2 - math.pi / 2), rel=0.01)
    assert background.mean() == pytest.approx(sigma * math.sqrt(math.pi / 2), rel=0.01)
    assert signal.std() == pytest.approx(sigma, rel=0.01)
    assert signal.mean() == pytest.approx(1000.0 + sigma**2 / 2000.0, abs=0.5)


@pytest.mark.parametrize("seed", range(4))
def test_a_bias_field_s_gain_differs_by_its_factor_over_100_mm(seed: int) -> None:
    gain = bias_field(frame_of(np.full((101, 81), 200.0), (1.0, 2.0)), 1.5, draw(seed)).pixels / 200.0
    down, right = np.gradient(np.log(gain.astype(float)) / np.log(1.5))
    slope = np.hypot(down / 1.0, right / 2.0)
    np.testing.assert_allclose(slope, 1 / 100.0, rtol=1e-3)
    assert gain[50, 40] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("rows", "lines"), [(64, 4), (60, 3), (80, 8)])
def test_ghosts_stand_rows_by_lines_away(rows: int, lines: int) -> None:
    pixels = np.zeros((rows, 20))
    pixels[10, 5] = 100.0
    expected = pixels.copy()
    expected[(10 + rows // lines) % rows, 5] = expected[(10 - rows // lines) % rows, 5] = 20.0
    ghosted = ghosting(frame_of(pixels), 0.2, draw(), lines=lines).pixels
    np.testing.assert_allclose(ghosted, expected, atol=1e-4)


def test_gamma_of_known_values() -> None:
    pixels = np.full((40, 50), 100.0)  # the top is 100
    pixels[0, :3] = 25.0, 4.0, -7.0
    assert top_of(pixels) == 100.0
    for exponent, known in ((2.0, (6.25, 0.16, 0.0)), (0.5, (50.0, 20.0, 0.0))):
        changed = gamma(frame_of(pixels), exponent, draw()).pixels
        np.testing.assert_allclose(changed[0, :3], known, rtol=1e-5)
        np.testing.assert_allclose(changed[1:], 100.0, rtol=1e-6)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2])
def test_clipping_saturates_its_share_and_leaves_whole_greys(share: float) -> None:
    pixels = draw().permutation(10_000).reshape(100, 100)
    clipped = clipping(frame_of(pixels), share, draw()).pixels
    top = np.quantile(pixels, 1 - share)
    np.testing.assert_array_equal(clipped, np.round(clipped))
    assert (clipped.min(), clipped.max()) == (0.0, 255.0)
    assert ((pixels >= top) <= (clipped == 255.0)).all()
    # Rounding adds the values within half a grey level under the top.
    assert (clipped == 255.0).mean() == pytest.approx(share + 0.5 / 255 * (1 - share), abs=2e-4)
    assert clipped[pixels == 3000].item() == round(255 * 3000 / top)


@pytest.mark.parametrize("degrees", [10.0, 30.0, 90.0, 180.0, 250.0])
def test_rotation_keeps_the_values_and_turns_the_septum(degrees: float) -> None:
    phantom = healthy()
    maps = soft_labels(phantom, 0).astype(np.float32)
    # Drawn on a grey ground, as no picture has values under 0; the heart lies within 80 mm of the middle.
    turned = [rotation(frame_of(maps[..., k] + 100.0, (1.6, 1.6)), degrees, draw()) for k in range(3)]
    y, x = np.indices(turned[0].pixels.shape)
    near = np.hypot(y - y.mean(), x - x.mean()) < 50
    rv, wall, cavity = (np.where(near, (frame.pixels - 100.0) / 255.0, 0.0) for frame in turned)
    rays = rays_from_maps(np.float32(cavity), np.float32(wall), turned[0].spacing_mm)
    assert rays is not None
    septum = septum_from_map(rays, np.float32(rv))
    assert isinstance(septum, Septum)
    off = (septum.direction_deg - phantom.septum_deg - degrees + 180.0) % 360.0 - 180.0
    assert abs(off) <= 2.0
    values = indices_from_rays(rays, (phantom.septum_deg + degrees) % 360.0).vector
    truth = phantom.indices(0).vector
    np.testing.assert_allclose(values[: DEFAULT_LAYOUT.areas.start], truth[:9], atol=0.2)
    np.testing.assert_allclose(values[DEFAULT_LAYOUT.areas], truth[9:], rtol=0.01)


def test_a_quarter_turn_is_clockwise_and_exact() -> None:
    done = rotation(frame_of(PICTURE[:90]), 90.0, draw())
    np.testing.assert_allclose(done.pixels, np.rot90(PICTURE[:90], -1), atol=1e-3)


def test_rotation_gives_square_pixels_of_the_same_picture() -> None:
    done = rotation(frame_of(np.full((100, 60), 50.0), (1.0, 2.0)), 40.0, draw())
    assert done.spacing_mm == (1.0, 1.0)
    assert (done.orientation, done.position_mm) == (None, None)
    # All of the picture is there: what it covers is as large as before.
    assert done.pixels.sum() / 50.0 == pytest.approx(100 * 120, rel=0.02)


def test_resolution_averages_and_keeps_the_field_of_view() -> None:
    pixels = draw().uniform(0, 100, (60, 48)).astype(np.float32)
    done = resolution(frame_of(pixels, (1.5, 1.0)), 3.0, draw())
    assert done.spacing_mm == (3.0, 3.0)
    np.testing.assert_allclose(done.pixels, pixels.reshape(30, 2, 16, 3).mean(axis=(1, 3)), rtol=1e-4)
    other = resolution(frame_of(pixels, (1.5, 1.0)), 2.6, draw())
    sides = [side * mm for side, mm in zip(other.pixels.shape, other.spacing_mm, strict=True)]
    assert sides == pytest.approx([90.0, 48.0])
    assert other.pixels.mean() == pytest.approx(pixels.mean(), rel=1e-3)
