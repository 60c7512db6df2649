"""Volumes of acdc's stacks: truth from the drawings, what was returned from the scored slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from painted_hearts import PaintReader, blank, painted_stack, undrawn

from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.data.sample import Sample
from lvedge.training.evaluation.still import score_acdc
from lvedge.training.evaluation.volume import ScoredVolumes, score_volumes, volume_figures
from lvedge.training.scoring import areas_mm2_of
from lvedge.volume import MUSCLE_G_PER_ML

MEANS = np.ones(11)
STEP_MM = 8.0


def whole_stack() -> list[Sample]:
    """Seven painted slices at ED and ES; the first and the last show and hold no LV."""
    ends = (0, 6)
    stack = [blank(undrawn(s)) if s.slice_index in ends else s for s in painted_stack(7)]
    return [replace(sample, slice_mm=STEP_MM) for sample in stack]


def volumes_of(samples: list[Sample]) -> ScoredVolumes:
    found = score_volumes(samples, score_acdc(PaintReader(), DEFAULT_QUALITY, samples, MEANS))
    assert found is not None
    return found


def test_a_whole_stack_against_its_drawing() -> None:
    samples = whole_stack()
    scored = volumes_of(samples)
    drawn = {
        phase: np.sum([areas_mm2_of(s) for s in samples if s.phase == phase], axis=0) * STEP_MM / 1000
        for phase in ("ED", "ES")
    }
    edv, esv = drawn["ED"][0], drawn["ES"][0]
    expected = [edv, esv, 100 * (edv - esv) / edv, drawn["ED"][1] * MUSCLE_G_PER_ML]
    np.testing.assert_allclose(scored.truth, expected)
    assert scored.reason == ""
    # The reader regresses the areas as it draws them, and it draws the paint.
    np.testing.assert_allclose(scored.said, expected, rtol=0.1)


def test_a_stack_that_does_not_reach_the_ends_gives_none() -> None:
    middle = [
        replace(s, slice_index=s.slice_index - 1, slice_count=5)
        for s in whole_stack()
        if s.slice_index not in (0, 6)
    ]
    scored = volumes_of(middle)
    assert scored.reason == "the stack does not reach from beyond the apex to beyond the base"
    assert np.isnan(scored.said).all()
    assert np.isfinite(scored.truth).all()


def test_without_the_slices_distance_there_is_nothing_to_score() -> None:
    samples = [replace(s, slice_mm=None) for s in whole_stack()]
    assert score_volumes(samples, []) is None


def test_figures_of_known_errors() -> None:
    truth = np.array([[100.0, 40.0, 60.0, 90.0], [200.0, 100.0, 50.0, 120.0], [150.0, 60.0, 60.0, 80.0]])
    said = truth + np.array([[4.0, 1.0, 2.0, 0.0], [-2.0, 1.0, -2.0, 0.0], [np.nan] * 4])
    scored = [
        ScoredVolumes(str(k), "NOR", t, s, "no end" if np.isnan(s).any() else "")
        for k, (t, s) in enumerate(zip(truth, said, strict=True))
    ]
    figures = volume_figures(scored)
    assert (figures["subjects"], figures["given"], figures["not_given"]) == (3, 2, {"no end": 1})
    assert figures["edv_ml"] == {
        "mae": 3.0,
        "bias": 1.0,
        "limits_of_agreement": [round(1 - 1.96 * 3, 2), round(1 + 1.96 * 3, 2)],
        "pearson_r": 1.0,
    }
    assert (figures["esv_ml"]["bias"], figures["esv_ml"]["limits_of_agreement"]) == (1.0, [1.0, 1.0])
    assert volume_figures([]) == {"subjects": 0, "given": 0, "not_given": {}}
