"""Scoring a frame: the picture a source would give, what is drawn against what is returned."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from heart_samples import healthy, sample_of
from painted_hearts import COARSE, undrawn
from squares import labelled, returned

from lvedge.measurement import Measurement
from lvedge.training.scoring import areas_mm2_of, dice, frame_of_sample, truth_of

# --- dice ------------------------------------------------------------------------------------------

DRAWN = ["2222", "2332", "2332", "2222"]


def test_dice_of_known_masks() -> None:
    sample = labelled(DRAWN)
    assert dice(sample, returned(sample, DRAWN)) == (1.0, 1.0)
    # The cavity, one column to the right: two of four and four shared; one column of wall is lost.
    said = ["2222", "2233", "2233", "2222"]
    assert dice(sample, returned(sample, said)) == (2 * 2 / (4 + 4), 2 * 10 / (12 + 12))
    assert dice(sample, returned(sample, ["0000"] * 4)) == (0.0, 0.0)
    assert dice(sample, returned(sample, ["0000", "0330", "0000", "0000"])) == (2 * 2 / (4 + 2), 0.0)


def test_dice_where_one_side_is_empty_or_both() -> None:
    drawn, empty = labelled(DRAWN), labelled(["0000"] * 4)
    assert dice(empty, returned(empty, DRAWN)) == (0.0, 0.0)
    nothing = Measurement(frame=frame_of_sample(drawn), measured=False)
    assert dice(drawn, nothing) == (0.0, 0.0)
    assert np.isnan(dice(empty, nothing)).all()
    cavity, wall = dice(labelled(["3300"] * 4), returned(drawn, ["3300"] * 4))
    assert (cavity, math.isnan(wall)) == (1.0, True)


def test_a_mask_that_was_not_returned_scores_nothing() -> None:
    sample = labelled(DRAWN)
    assert dice(sample, replace(returned(sample, DRAWN), measured=False)) == (0.0, 0.0)


def test_half_of_a_pixel_is_a_pixel() -> None:
    sample = labelled(DRAWN)
    maps = sample.maps.copy()
    maps[1, 1, 2], maps[1, 2, 2] = 128, 127
    assert dice(replace(sample, maps=maps), returned(sample, DRAWN))[0] == 2 * 3 / (3 + 4)


# --- truth ---------------------------------------------------------------------------


def test_truth_is_what_was_drawn() -> None:
    truth = healthy(COARSE).indices(0).vector
    said = truth_of(sample_of(healthy(COARSE)))
    np.testing.assert_allclose(said[:6], truth[:6], atol=0.3)
    np.testing.assert_allclose(said[6:], truth[6:], rtol=0.01)


def test_there_is_no_truth_without_an_lv_or_an_rv() -> None:
    sample = sample_of(healthy(COARSE))
    no_rv = sample.maps.copy()
    no_rv[..., 0] = 0
    for changed in (undrawn(sample), replace(sample, maps=no_rv), replace(sample, has_rv=False)):
        np.testing.assert_array_equal(truth_of(changed), np.full(11, np.nan))


def test_the_frame_of_a_sample_is_what_a_source_would_give() -> None:
    sample = sample_of(healthy(COARSE), 3, phase="ES", slice_index=2, slice_count=7)
    frame = frame_of_sample(sample, 5, 20)
    assert frame.pixels.dtype == np.float32
    np.testing.assert_array_equal(frame.pixels, sample.pixels)
    assert (frame.spacing_mm, frame.series) == ((2.5, 2.5), "acdc-patient001-ES")
    assert (frame.slice_index, frame.slice_count, frame.frame_index, frame.cine_length) == (2, 7, 5, 20)
    assert frame_of_sample(sample_of(healthy(COARSE), 3, "york")).series == "york-1-cine"


def test_areas_are_those_of_the_drawing() -> None:
    few = labelled(["0000", "0230", "0220", "0000"])
    assert areas_mm2_of(few) == [1.0, 3.0]
    assert areas_mm2_of(replace(few, spacing_mm=(2.0, 1.5))) == [3.0, 9.0]
