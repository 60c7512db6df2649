"""Scoring: what is drawn against what is returned, and what is scored where nothing is returned."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from heart_samples import TINY, healthy, sample_of
from painted_hearts import (
    COARSE,
    SAID_TOO_MUCH_MM,
    PaintReader,
    blank,
    painted,
    painted_beat,
    painted_stack,
    undrawn,
)

from lvedge.indices import Label
from lvedge.measurement import Measurement
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.data.sample import MAP_LABELS, Sample
from lvedge.training.scoring import (
    ScoredSlice,
    clock_of,
    dice,
    frame_of_sample,
    mean_areas_of,
    mean_values_of,
    score_acdc,
    score_frames,
    score_york,
    truth_of,
)
from lvedge.view import View

MEANS = np.array([6.0] * 6 + [40.0] * 3 + [1200.0, 1100.0])
MEAN_AREAS = np.array([1000.0, 900.0])


def labelled(labels: list[str], **changes: object) -> Sample:
    """A sample from rows of digits, 0 background, 1 RV, 2 myocardium, 3 cavity."""
    drawn = np.array([[int(c) for c in row] for row in labels])
    maps = np.stack([255 * (drawn == label) for label in MAP_LABELS], axis=-1).astype(np.uint8)
    fields: dict[str, object] = {"has_spacing": True, "has_rv": True, **changes}
    pixels = np.zeros(drawn.shape, np.uint8)
    return Sample("acdc", "p", 4, 10, 0, pixels, maps, (1.0, 1.0), **fields)  # type: ignore[arg-type]


def returned(sample: Sample, labels: list[str]) -> Measurement:
    """A measurement whose mask is sure of these labels, in a view that is the frame itself."""
    drawn = np.array([[int(c) for c in row] for row in labels])
    mask = np.stack([drawn == label for label in Label]).astype(np.float32)
    middle = (len(labels) - 1) / 2
    view = View((middle, middle), 180.0, (1.0, 1.0), len(labels), 1.0)
    return Measurement(frame=frame_of_sample(sample), measured=True, view=view, mask=mask)


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


# --- truth, means, clock ---------------------------------------------------------------------------


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


def test_means_are_those_of_the_mid_slices() -> None:
    stack = painted_stack(6)
    assert [s.slice_index for s in stack if s.is_mid_slice] == [1, 2, 3, 4] * 2
    expected = np.mean([truth_of(s) for s in stack if s.slice_index in (1, 2, 3, 4)], axis=0)
    np.testing.assert_allclose(mean_values_of(stack), expected, rtol=1e-12)
    # A mid slice without a drawn RV has no truth and changes nothing.
    unknown = replace(sample_of(healthy(COARSE), source="york"), slice_index=4)
    assert unknown.is_mid_slice
    np.testing.assert_allclose(mean_values_of([*stack, unknown]), expected, rtol=1e-12)


def beat_with_areas(slice_index: int, areas: list[int]) -> list[Sample]:
    """A slice whose cavity has so many pixels, frame by frame."""
    samples = []
    for k, area in enumerate(areas):
        sample = labelled(["3" * area + "0" * (9 - area)] * 3, has_rv=False)
        samples.append(replace(sample, source="york", slice_index=slice_index, frame_index=k))
    return samples


def test_the_clock_is_the_majority_of_complete_slices() -> None:
    early = [9, 7, 3, 2, 4, 6]  # ED 0, ES 3: systole at 0, 1, 2
    late = [7, 9, 7, 3, 2, 4]  # ED 1, ES 4: systole at 1, 2, 3
    slices = [beat_with_areas(0, early), beat_with_areas(1, late), beat_with_areas(2, late)]
    incomplete = [beat_with_areas(k, late)[:5] for k in (3, 4, 5)]

    def clock(*chosen: list[Sample]) -> list[int]:
        samples = [sample for members in chosen for sample in members[::-1]]
        return [int(said) for said in clock_of(samples, 6)]

    assert clock(slices[0], *incomplete) == [1, 1, 1, 0, 0, 0]
    assert clock(*slices) == [0, 1, 1, 1, 0, 0]
    assert clock(slices[0], slices[1]) == [1, 1, 1, 1, 0, 0]  # a tie is systole


def test_slices_of_other_subjects_are_kept_apart() -> None:
    one = beat_with_areas(0, [9, 7, 3, 2, 4, 6])
    other = [replace(sample, subject="q") for sample in beat_with_areas(0, [9, 7, 3, 2, 4, 6])]
    np.testing.assert_array_equal(clock_of([*one, *other], 6), [True] * 3 + [False] * 3)


def test_the_frame_of_a_sample_is_what_a_source_would_give() -> None:
    sample = sample_of(healthy(COARSE), 3, phase="ES", slice_index=2, slice_count=7)
    frame = frame_of_sample(sample, 5, 20)
    assert frame.pixels.dtype == np.float32
    np.testing.assert_array_equal(frame.pixels, sample.pixels)
    assert (frame.spacing_mm, frame.series) == ((2.5, 2.5), "acdc-patient001-ES")
    assert (frame.slice_index, frame.slice_count, frame.frame_index, frame.cine_length) == (2, 7, 5, 20)
    assert frame_of_sample(sample_of(healthy(COARSE), 3, "york")).series == "york-1-cine"


# --- acdc ------------------------------------------------------------------------------------------


def acdc(*samples: Sample) -> list[ScoredSlice]:
    return score_acdc(PaintReader(), DEFAULT_QUALITY, samples, MEANS)


def test_every_slice_is_scored_against_its_own_truth() -> None:
    stack = painted_stack(4)
    scored = acdc(*stack)
    assert [(s.slice_index, s.phase) for s in scored] == [(k, p) for p in ("ED", "ES") for k in range(4)]
    assert [s.mid for s in scored] == [False, True, True, False] * 2
    for sample, said in zip(stack, scored, strict=True):
        assert (said.subject, said.group, said.spacing_mm) == ("patient001", "NOR", 2.5)
        assert (said.has_lv, said.found) == (True, True)
        np.testing.assert_array_equal(said.truth, truth_of(sample))
        # Where the RV touches the paint is mixed, and the wall seems thicker; elsewhere nothing is off.
        np.testing.assert_allclose(said.geometric[1:5], said.truth[1:5], atol=0.15)
        np.testing.assert_allclose(said.geometric[6:10], said.truth[6:10], rtol=0.01)
        more = [SAID_TOO_MUCH_MM] * 6 + [0.0] * 5
        np.testing.assert_allclose(said.regressed - said.geometric, more, atol=1e-3)
        assert said.centre_mm < 0.2
        assert said.septum_deg < 1.0
        assert min(said.dice) > 0.94
        assert said.quality > 0.9


def test_the_order_of_the_samples_does_not_matter() -> None:
    stack = painted_stack(3)
    for one, other in zip(acdc(*stack), sorted(acdc(*stack[::-1]), key=lambda s: s.phase), strict=True):
        assert json.dumps(one.as_json()) == json.dumps(other.as_json())


def test_where_nothing_is_returned_the_means_and_dice_0_are_scored() -> None:
    sample = painted_stack(4)[1]
    (said,) = acdc(blank(sample))
    assert (said.has_lv, said.mid, said.found) == (True, True, False)
    np.testing.assert_array_equal(said.truth, truth_of(sample))
    np.testing.assert_array_equal(said.regressed, MEANS)
    np.testing.assert_array_equal(said.geometric, MEANS)
    assert said.dice == (0.0, 0.0)
    assert said.centre_mm == math.inf
    assert math.isnan(said.septum_deg)
    assert said.quality == 0.0


def test_an_empty_slice_that_stays_empty_has_nothing_to_score() -> None:
    (said,) = acdc(blank(undrawn(painted_stack(4)[1])))
    assert (said.has_lv, said.mid, said.found) == (False, False, False)
    assert np.isnan([*said.truth, said.centre_mm, said.septum_deg, *said.dice]).all()


def test_an_lv_that_nobody_drew_is_found_and_scores_dice_0() -> None:
    (said,) = acdc(undrawn(painted_stack(4)[1]))
    assert (said.has_lv, said.mid, said.found) == (False, False, True)
    assert said.dice == (0.0, 0.0)
    assert np.isnan(said.truth).all()
    assert np.isfinite(said.regressed).all()


def test_slices_of_a_phase_know_each_other_and_no_other_phase() -> None:
    stack = painted_stack(3)
    hidden = [*stack[:2], blank(stack[2]), blank(stack[3]), blank(stack[4]), blank(stack[5])]
    scored = acdc(*hidden)
    assert [s.found for s in scored] == [True, True, False, False, False, False]
    # The last slice at ED is looked for where its neighbour was, all of ES is not.
    assert scored[2].centre_mm < 3.0
    assert [s.centre_mm for s in scored[3:]] == [math.inf] * 3


def test_subjects_know_nothing_of_each_other() -> None:
    scored = acdc(*painted_stack(2), *(blank(s) for s in painted_stack(2, "patient002")))
    assert [s.found for s in scored] == [True] * 4 + [False] * 4
    assert [s.centre_mm for s in scored[4:]] == [math.inf] * 4


def test_a_network_that_has_learned_nothing_scores_the_means() -> None:
    torch = pytest.importorskip("torch")
    from lvedge.network.config import LocatorConfig
    from lvedge.network.locator import Locator
    from lvedge.network.model import LeftVentricleNetwork
    from lvedge.training.stepper import TorchStepper

    torch.manual_seed(0)
    locator = Locator(LocatorConfig(input_px=32, mm_per_px=6.0, channels=(2, 3, 4, 5)))
    stepper = TorchStepper(LeftVentricleNetwork(TINY), locator)
    scored = score_acdc(stepper, DEFAULT_QUALITY, painted_stack(3), MEANS)
    assert [s.found for s in scored] == [False] * 6
    for said in scored:
        np.testing.assert_array_equal([said.regressed, said.geometric], [MEANS] * 2)
        assert (said.dice, said.quality) == ((0.0, 0.0), 0.0)


def test_a_scored_slice_is_plain_json() -> None:
    found, hidden = acdc(painted_stack(3)[1])[0], acdc(blank(painted_stack(3)[1]))[0]
    plain = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (plain["subject"], plain["slice_index"], plain["mid"]) == ("patient001", 1, True)
    assert plain["regressed"] == [round(float(v), 3) for v in found.regressed]
    assert plain["dice"] == [round(v, 4) for v in found.dice]
    assert plain["quality"] == round(found.quality, 4)
    plain = json.loads(json.dumps(hidden.as_json(), allow_nan=False))
    assert (plain["centre_mm"], plain["septum_deg"]) == (None, None)
    empty = acdc(blank(undrawn(painted_stack(3)[1])))[0]
    plain = json.loads(json.dumps(empty.as_json(), allow_nan=False))
    assert (plain["truth"], plain["dice"]) == ([None] * 11, [None, None])


# --- york ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beat() -> list[Sample]:
    return painted_beat()


CLOCK = np.arange(20) < 6


def test_a_beat_is_scored_frame_by_frame(beat: list[Sample]) -> None:
    (said,) = score_york(PaintReader(), DEFAULT_QUALITY, beat[::-1], [0], CLOCK, MEAN_AREAS)
    assert (said.subject, said.slice_index, said.start) == ("1", 4, 0)
    assert said.found.all()
    np.testing.assert_array_equal(said.systole_true, np.arange(20) < 7)
    # A frame counts as systole where its cavity is smaller than the last one's: one frame late at either end.
    np.testing.assert_array_equal(np.flatnonzero(said.systole_said), np.arange(1, 8))
    np.testing.assert_array_equal(said.clock, CLOCK)
    assert (said.ed_off, said.es_off) == (0.0, 0.0)
    expected = [[s.map(Label.CAVITY).sum() * 6.25, s.map(Label.MYOCARDIUM).sum() * 6.25] for s in beat]
    np.testing.assert_allclose(said.areas_true, expected, rtol=1e-6)
    np.testing.assert_allclose(said.areas_regressed, said.areas_true, rtol=0.01)
    assert said.centre_mm < 0.2
    assert min(said.dice) > 0.97


@pytest.mark.parametrize("start", [5, 19])
def test_a_beat_played_from_another_frame_is_the_same_beat(start: int, beat: list[Sample]) -> None:
    stored, said = score_york(PaintReader(), DEFAULT_QUALITY, beat, [0, start], CLOCK, MEAN_AREAS)
    assert (stored.start, said.start) == (0, start)
    for name in ("systole_true", "systole_said", "clock", "areas_true"):
        np.testing.assert_array_equal(getattr(said, name), np.roll(getattr(stored, name), -start, axis=0))
    assert (said.ed_off, said.es_off) == (0.0, 0.0)


def test_a_frame_that_is_not_returned_counts_as_wrong(beat: list[Sample]) -> None:
    hidden = [blank(s) if s.frame_index in (3, 12) else s for s in beat]
    (said,) = score_york(PaintReader(), DEFAULT_QUALITY, hidden, [0], CLOCK, MEAN_AREAS)
    assert np.flatnonzero(~said.found).tolist() == [3, 12]
    wrong = said.systole_said != said.systole_true
    assert wrong[[3, 12]].all()
    assert np.isnan([said.ed_off, said.es_off]).all()
    (whole,) = score_york(PaintReader(), DEFAULT_QUALITY, beat, [0], CLOCK, MEAN_AREAS)
    assert said.dice[0] == pytest.approx(whole.dice[0] * 18 / 20, abs=0.01)
    np.testing.assert_array_equal(said.areas_regressed[[3, 12]], [MEAN_AREAS, MEAN_AREAS])


def test_mean_areas_are_those_of_the_drawings() -> None:
    few = labelled(["0000", "0230", "0220", "0000"])
    many = replace(labelled(["0000", "0233", "0223", "0000"]), spacing_mm=(2.0, 1.0))
    np.testing.assert_array_equal(mean_areas_of([few]), [1.0, 3.0])
    np.testing.assert_array_equal(mean_areas_of([few, many]), [(1 + 6) / 2, (3 + 6) / 2])


def test_only_whole_beats_are_scored(beat: list[Sample]) -> None:
    short = [replace(s, slice_index=2) for s in beat[:19]]
    second = [replace(s, subject="2", slice_index=2) for s in beat]
    scored = score_york(PaintReader(), DEFAULT_QUALITY, [*short, *second, *beat], [0], CLOCK, MEAN_AREAS)
    assert [(s.subject, s.slice_index) for s in scored] == [("1", 4), ("2", 2)]


def test_the_distance_of_an_end_goes_round_the_beat() -> None:
    """ED is drawn at the first frame and shown at the last one: one frame off, not nineteen."""
    beat = painted_beat()
    shown = [replace(s, pixels=beat[(k + 1) % 20].pixels) for k, s in enumerate(beat)]
    (said,) = score_york(PaintReader(), DEFAULT_QUALITY, shown, [0], CLOCK, MEAN_AREAS)
    assert (said.ed_off, said.es_off) == (1.0, 1.0)


# --- other sources ---------------------------------------------------------------------------------


def test_single_frames_of_another_source() -> None:
    seen = painted(sample_of(healthy(COARSE), 2, "sunnybrook", subject="SCD1"))
    no_wall = replace(seen, frame_index=5, has_epicardium=False)
    hidden = replace(blank(seen), subject="SCD2")
    scored = score_frames(PaintReader(), DEFAULT_QUALITY, [hidden, no_wall, seen])
    assert [(s.subject, s.slice_index, s.frame_index, s.found) for s in scored] == [
        ("SCD1", 4, 2, True),
        ("SCD1", 4, 5, True),
        ("SCD2", 4, 2, False),
    ]
    truth = float(seen.map(Label.CAVITY).sum()) * 6.25
    assert [s.true_cavity_mm2 for s in scored] == [pytest.approx(truth)] * 3
    assert [s.cavity_mm2 for s in scored] == [pytest.approx(truth, rel=0.01)] * 2 + [0.0]
    assert [s.centre_mm < 0.2 for s in scored] == [True, True, False]
    assert scored[2].centre_mm == math.inf
    assert [s.dice[0] > 0.97 for s in scored] == [True, True, False]
    assert scored[2].dice == (0.0, 0.0)
    assert [math.isnan(s.dice[1]) for s in scored] == [False, True, False]


def test_the_centre_s_distance_is_in_millimetres() -> None:
    grid = replace(COARSE, columns=90, spacing_mm=(2.5, 1.8))
    drawn = painted(sample_of(healthy(grid), 0, "sunnybrook"))
    shown = replace(drawn, pixels=np.roll(drawn.pixels, (2, 4), axis=(0, 1)))
    (said,) = score_frames(PaintReader(), DEFAULT_QUALITY, [shown])
    assert said.centre_mm == pytest.approx(math.hypot(2 * 2.5, 4 * 1.8), abs=0.3)
