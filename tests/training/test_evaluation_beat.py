"""Beats: closed and live, from any first frame, frame by frame against what was drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from painted_hearts import PaintReader, blank, painted_beat

from lvedge.indices import Label
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.data.sample import Sample
from lvedge.training.evaluation.beat import ScoredBeat, score_york
from lvedge.training.evaluation.standin import StandIn

# --- york ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beat() -> list[Sample]:
    return painted_beat()


CLOCK = np.arange(20) < 6
MISSING = StandIn(np.zeros(11), np.array([1000.0, 900.0]), CLOCK)


def york(samples: list[Sample], *starts: int) -> list[ScoredBeat]:
    return score_york(PaintReader(), DEFAULT_QUALITY, samples, starts or [0], MISSING)


def test_a_beat_is_scored_frame_by_frame(beat: list[Sample]) -> None:
    (said,) = york(beat[::-1])
    assert (said.subject, said.slice_index, said.start) == ("1", 4, 0)
    assert said.found.all()
    np.testing.assert_array_equal(said.systole_true, np.arange(20) < 7)
    np.testing.assert_array_equal(said.systole_said, said.systole_true)
    # A frame counts as systole where its cavity is smaller than the last one's: one frame late at either end.
    np.testing.assert_array_equal(np.flatnonzero(said.systole_layer), np.arange(1, 8))
    # Live mode has met the last frame of the first beat before the first one of the second.
    np.testing.assert_array_equal(said.systole_live, said.systole_layer)
    np.testing.assert_array_equal(said.clock, CLOCK)
    assert (said.ed_off, said.es_off) == (0.0, 0.0)
    expected = [[s.map(Label.CAVITY).sum() * 6.25, s.map(Label.MYOCARDIUM).sum() * 6.25] for s in beat]
    np.testing.assert_allclose(said.areas_true, expected, rtol=1e-6)
    np.testing.assert_allclose(said.areas_regressed, said.areas_true, rtol=0.01)
    assert said.centre_mm < 0.2
    assert min(said.dice) > 0.97


@pytest.mark.parametrize("start", [5, 19])
def test_a_beat_played_from_another_frame_is_the_same_beat(start: int, beat: list[Sample]) -> None:
    stored, said = york(beat, 0, start)
    assert (stored.start, said.start) == (0, start)
    for name in ("systole_true", "systole_said", "systole_layer", "systole_live", "clock", "areas_true"):
        np.testing.assert_array_equal(getattr(said, name), np.roll(getattr(stored, name), -start, axis=0))
    assert (said.ed_off, said.es_off) == (0.0, 0.0)


def test_a_frame_that_is_not_returned_counts_as_wrong(beat: list[Sample]) -> None:
    hidden = [blank(s) if s.frame_index in (3, 12) else s for s in beat]
    (said,) = york(hidden)
    assert np.flatnonzero(~said.found).tolist() == [3, 12]
    wrong = said.systole_said != said.systole_true
    assert wrong[[3, 12]].all()
    assert (said.systole_live != said.systole_true)[[3, 12]].all()
    # Eighteen of twenty frames are enough for a cycle.
    assert (said.ed_off, said.es_off) == (0.0, 0.0)
    (whole,) = york(beat)
    assert said.dice[0] == pytest.approx(whole.dice[0] * 18 / 20, abs=0.01)
    np.testing.assert_array_equal(said.areas_regressed[[3, 12]], [[1000.0, 900.0]] * 2)


def test_only_whole_beats_are_scored(beat: list[Sample]) -> None:
    short = [replace(s, slice_index=2) for s in beat[:19]]
    second = [replace(s, subject="2", slice_index=2) for s in beat]
    scored = york([*short, *second, *beat])
    assert [(s.subject, s.slice_index) for s in scored] == [("1", 4), ("2", 2)]


def test_the_distance_of_an_end_goes_round_the_beat() -> None:
    """ED is drawn at the first frame and shown at the last one: one frame off, not nineteen."""
    beat = painted_beat()
    shown = [replace(s, pixels=beat[(k + 1) % 20].pixels) for k, s in enumerate(beat)]
    (said,) = york(shown)
    assert (said.ed_off, said.es_off) == (1.0, 1.0)


def test_without_a_cycle_the_ends_are_as_far_off_as_they_can_be(beat: list[Sample]) -> None:
    hidden = [blank(s) if s.frame_index < 7 else s for s in beat]
    (said,) = york(hidden)
    assert said.found.sum() == 13
    assert (said.ed_off, said.es_off) == (10.0, 10.0)
