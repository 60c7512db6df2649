"""Test and retest: the versions of a slice, and how far a reader's values spread over them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from painted_hearts import PaintReader, blank, painted_stack
from scored_records import even, figure

from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.evaluation.retest import (
    KINDS,
    NOISE_SHARE,
    Retest,
    chosen,
    retest_figures,
    score_retest,
    versions,
)
from lvedge.training.scoring import frame_of_sample

MEANS = np.array([6.0] * 6 + [40.0] * 3 + [1200.0, 1100.0])


def test_the_slice_nearest_the_middle_is_chosen_at_both_ends_of_the_beat() -> None:
    stacks = [*painted_stack(4), *painted_stack(6, "patient002")]
    found = [(s.subject, s.phase, s.slice_index) for s in chosen(stacks[::-1])]
    assert sorted(found) == [
        ("patient001", "ED", 1),
        ("patient001", "ES", 1),
        ("patient002", "ED", 2),
        ("patient002", "ES", 2),
    ]


def test_versions_are_moved_by_whole_pixels_turned_and_noised() -> None:
    frame = frame_of_sample(painted_stack(4)[1])
    found = versions(frame)
    assert {kind: len(frames) for kind, frames in found.items()} == {"shift": 5, "turn": 3, "rescan": 4}
    pixels = frame.pixels
    right, left, down, up = (f.pixels for f in found["shift"][1:])
    np.testing.assert_array_equal(found["shift"][0].pixels, pixels)
    np.testing.assert_array_equal(right[:, 3:], pixels[:, :-3])
    np.testing.assert_array_equal(left[:, :-3], pixels[:, 3:])
    np.testing.assert_array_equal(down[3:], pixels[:-3])
    np.testing.assert_array_equal(up[:-3], pixels[3:])
    spread = NOISE_SHARE * np.percentile(pixels, 99)
    for noisy in found["rescan"]:
        assert (noisy.pixels - pixels).std() == pytest.approx(spread, rel=0.05)
    assert not np.array_equal(found["rescan"][0].pixels, found["rescan"][1].pixels)
    np.testing.assert_array_equal(versions(frame)["rescan"][3].pixels, found["rescan"][3].pixels)
    assert all(f.pixels.dtype == np.float32 and f.pixels.shape == (64, 64) for k in KINDS for f in found[k])


def test_a_turned_version_shows_the_septum_ten_degrees_on() -> None:
    """The brightest corner of a picture with one bright spot to the right goes clockwise, i.e. down."""
    frame = frame_of_sample(painted_stack(4)[1])
    spot = np.zeros((65, 65), np.float32)
    spot[31:34, 51:54] = 100.0
    _, turned, back = versions(replace(frame, pixels=spot))["turn"]
    for picture, sign in ((turned.pixels, 1), (back.pixels, -1)):
        y, x = np.indices(picture.shape)
        weight = np.maximum(picture, 0)
        angle = np.rad2deg(np.arctan2((weight * (y - 32)).sum(), (weight * (x - 32)).sum()))
        assert angle == pytest.approx(sign * 10.0, abs=0.5)


def test_what_only_moves_is_read_alike() -> None:
    """A view that follows the heart leaves next to nothing of a shift by whole pixels or of a turn."""
    retests = score_retest(PaintReader(), DEFAULT_QUALITY, painted_stack(4), MEANS)
    assert [(r.phase, r.kind) for r in retests] == [(p, k) for p in ("ED", "ES") for k in KINDS]
    assert [r.found for r in retests] == [1.0] * 6
    for retest in retests:
        limit = {"shift": 0.05, "turn": 0.4, "rescan": 1.0}[retest.kind]
        assert retest.geometric_sd[1:5].max() < limit
        np.testing.assert_allclose(retest.regressed_sd, retest.geometric_sd, atol=1e-3)
    assert all(r.geometric_sd[9] > 0 for r in retests if r.kind == "rescan")


def test_nothing_returned_is_steady_and_not_covered() -> None:
    hidden = [blank(sample) for sample in painted_stack(4)]
    shift, turn, _ = score_retest(PaintReader(), DEFAULT_QUALITY, hidden, MEANS)[:3]
    assert (shift.found, turn.found) == (0.0, 0.0)
    np.testing.assert_array_equal(shift.regressed_sd, np.zeros(11))


def test_figures_by_kind() -> None:
    spread = np.array([1.0] * 6 + [2.0] * 3 + [30.0, 10.0])
    retests = [
        Retest("a", 1, "ED", "shift", 1.0, spread, 2 * spread),
        Retest("a", 1, "ES", "shift", 0.5, 3 * spread, 2 * spread),
        Retest("b", 1, "ED", "shift", 1.0, spread, 2 * spread),
        Retest("b", 1, "ED", "turn", 1.0, spread, spread),
    ]
    found = retest_figures(retests)
    assert found["shift"] == {
        "slices": 3,
        "coverage": figure(0.875, 0.75, 1.0, pooled=0.8333),
        "regressed": {
            "rwt_mm": figure(1.5, 1.0, 2.0, pooled=1.6667),
            "dims_mm": figure(3.0, 2.0, 4.0, pooled=3.3333),
            "areas_mm2": figure(30.0, 20.0, 40.0, pooled=33.3333),
        },
        "geometric": {"rwt_mm": even(2.0), "dims_mm": even(4.0), "areas_mm2": even(40.0)},
    }
    assert found["turn"]["regressed"]["rwt_mm"] == even(1.0, 1)
    assert found["rescan"]["slices"] == 0
