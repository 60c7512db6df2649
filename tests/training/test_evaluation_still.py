"""Stills: every slice against its own truth, and what is scored where nothing is returned."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from heart_samples import TINY
from painted_hearts import SAID_TOO_MUCH_MM, PaintReader, blank, painted_stack, undrawn

from lvedge.contract import Floats
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.data.sample import Sample
from lvedge.training.evaluation.still import ScoredSlice, score_acdc, score_hand_made
from lvedge.training.scoring import truth_of

MEANS = np.array([6.0] * 6 + [40.0] * 3 + [1200.0, 1100.0])


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
        assert said.level == pytest.approx(said.slice_index / 3)
        assert (said.flagged, said.mirrored) == (False, False)
        assert said.hausdorff_mm.max() <= 2.5 * math.sqrt(2)  # a pixel at most
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
    assert (said.quality, said.flagged) == (0.0, False)
    # As far off as the drawn LV is wide.
    width = 2 * np.sqrt(truth_of(sample)[9] / np.pi)
    np.testing.assert_allclose(said.hausdorff_mm[0], width, rtol=0.15)
    assert (said.hausdorff_mm[1] > said.hausdorff_mm[0]).all()


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


def test_a_quality_below_the_limit_is_a_flag() -> None:
    sample = painted_stack(4)[1]
    for limit, flagged in ((0.0, False), (1.0, True)):
        model = replace(DEFAULT_QUALITY, flag_below=limit)
        (said,) = score_acdc(PaintReader(), model, [sample], MEANS)
        assert said.flagged is flagged


# --- by hand ---------------------------------------------------------------------------------------


class Blind(PaintReader):
    """Cannot find a heart on the full frame."""

    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        points, confidence = super().locate(frame)
        return points, np.zeros_like(confidence)


def test_a_view_made_by_hand_needs_no_locator() -> None:
    stack = painted_stack(4)
    assert not any(s.found for s in score_acdc(Blind(), DEFAULT_QUALITY, stack, MEANS))
    scored = score_hand_made(Blind(), DEFAULT_QUALITY, stack, MEANS)
    assert [(s.slice_index, s.phase) for s in scored] == [(1, "ED"), (2, "ED"), (1, "ES"), (2, "ES")]
    for said in scored:
        assert (said.found, said.mid) == (True, True)
        assert said.centre_mm < 0.05  # as the view shows it
        np.testing.assert_allclose(said.geometric[6:10], said.truth[6:10], rtol=0.01)


def test_through_a_hand_made_view_the_means_stand_in_as_well() -> None:
    hidden = [blank(sample) for sample in painted_stack(4)]
    scored = score_hand_made(PaintReader(), DEFAULT_QUALITY, hidden, MEANS)
    assert [s.found for s in scored] == [False] * 4
    np.testing.assert_array_equal([s.regressed for s in scored], [MEANS] * 4)
