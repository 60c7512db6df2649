"""The quality model's fit: what counts as gross, a separation that is recovered, and how it is judged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from heart_samples import sample_of
from painted_hearts import COARSE, PaintReader, blank, painted_stack, undrawn

from lvedge.aim import Stack
from lvedge.errors import DataError
from lvedge.frame import Frame
from lvedge.measure import SliceMeasurer
from lvedge.measurement import Measurement
from lvedge.phantom import preset_phantom
from lvedge.quality import DEFAULT_QUALITY, FEATURES, NO_LV_LIKELY, PresenceModel, QualityModel
from lvedge.training.judging import (
    DEGRADED,
    FLAGGED,
    IN_STACK,
    MISSED,
    RETURNED,
    STEADY,
    JudgedFrames,
    auroc,
    degraded,
    fit_heart,
    fit_presence,
    fit_quality,
    is_gross,
    judged_frames,
    just_above,
)
from lvedge.training.scoring import frame_of_sample, truth_of

TRUTH = np.array([8.0] * 6 + [40.0] * 3 + [1200.0, 1000.0])
NO_RV = FEATURES.index("no_rv")


# --- gross -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "limit"), [(0, 3.0), (3, 3.0), (5, 3.0), (9, 400.0), (10, 400.0)])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_value_is_gross_beyond_its_limit(place: int, limit: float, side: float) -> None:
    said = TRUTH.copy()
    said[place] = TRUTH[place] + side * limit
    assert not is_gross(said, TRUTH)
    said[place] = TRUTH[place] + side * (limit + 0.001)
    assert is_gross(said, TRUTH)


def test_diameters_are_not_judged() -> None:
    said = TRUTH.copy()
    said[6:9] += 100.0
    assert not is_gross(said, TRUTH)
    assert not is_gross(TRUTH, TRUTH)


# --- fit -------------------------------------------------------------------------------------------


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of which only the third and, half as much the other way, the fifth say what is gross."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0.4, 0.2, (count, len(FEATURES)))
    odds = 1.0 - 8.0 * (features[:, 2] - 0.4) + 4.0 * (features[:, 4] - 0.4)
    return features, rng.random(count) > 1.0 / (1.0 + np.exp(-odds))


def test_a_known_separation_is_recovered() -> None:
    features, gross = drawn(20_000)
    model = fit_quality(features, gross)
    expected = np.zeros(len(FEATURES))
    expected[[2, 4]] = -8.0, 4.0
    np.testing.assert_allclose(model.weights, expected, atol=0.4)
    assert model.bias + 0.4 * model.weights.sum() == pytest.approx(1.0, abs=0.1)
    # In the mean the model says how many frames are good.
    said = np.array([model.quality(row) for row in features])
    assert said.mean() == pytest.approx((~gross).mean(), abs=1e-6)


def test_the_fit_holds_on_other_frames() -> None:
    model = fit_quality(*drawn(10_000))
    features, gross = drawn(10_000, seed=1)
    said = np.array([model.quality(row) for row in features])
    assert auroc(said, gross) > 0.82
    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        among = (said >= low) & (said < high)
        assert (~gross[among]).mean() == pytest.approx(said[among].mean(), abs=0.04)


def test_the_worst_tenth_is_flagged() -> None:
    features, gross = drawn(1000)
    model = fit_quality(features, gross)
    flagged = np.array([model.quality(row) < model.flag_below for row in features])
    assert flagged.sum() == 1000 * FLAGGED
    assert gross[flagged].mean() > gross[~flagged].mean()


def test_where_some_frames_were_degraded_the_worst_tenth_of_the_others_is_flagged() -> None:
    features, gross = drawn(1000)
    as_is = np.arange(1000) < 300
    model = fit_quality(features, gross, as_is)
    flagged = np.array([model.quality(row) < model.flag_below for row in features])
    assert flagged[as_is].sum() == 300 * FLAGGED
    np.testing.assert_array_equal(model.weights, fit_quality(features, gross).weights)


def test_frames_that_a_feature_parts_cleanly_give_finite_weights() -> None:
    features = np.zeros((40, len(FEATURES)))
    features[20:, 3] = 1.0
    gross = features[:, 3] > 0.5
    model = fit_quality(features, gross)
    said = np.array([model.quality(row) for row in features])
    # The penalty keeps the weight finite; features that never vary have none.
    assert -20.0 < model.weights[3] < -4.0
    np.testing.assert_array_equal(np.delete(model.weights, 3), np.zeros(len(FEATURES) - 1))
    np.testing.assert_allclose(said[:20] + said[20:], 1.0, atol=1e-9)
    assert said[:20].min() > 0.9
    assert auroc(said, gross) == 1.0


def test_the_unit_of_a_feature_does_not_matter() -> None:
    features, gross = drawn(500)
    scale = np.linspace(0.1, 30.0, len(FEATURES))
    one, other = fit_quality(features, gross), fit_quality(features * scale, gross)
    np.testing.assert_allclose(other.weights * scale, one.weights, rtol=1e-6, atol=1e-9)
    assert other.bias == pytest.approx(one.bias)
    assert other.flag_below == pytest.approx(one.flag_below)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_frames_that_are_all_alike_give_a_model_all_the_same(share: float) -> None:
    features, _ = drawn(60)
    model = fit_quality(features, np.full(60, bool(share)))
    said = np.array([model.quality(row) for row in features])
    np.testing.assert_allclose(said, 1.0 - share, atol=1e-3)


def test_a_fitted_model_goes_through_the_manifest() -> None:
    model = fit_quality(*drawn(500))
    again = QualityModel.from_manifest(model.as_manifest())
    np.testing.assert_allclose(again.weights, model.weights, atol=5e-7)
    assert again.bias == pytest.approx(model.bias, abs=5e-7)


def test_the_features_are_not_written_to() -> None:
    features, gross = drawn(50)
    before = features.copy()
    features.flags.writeable = gross.flags.writeable = False
    fit_quality(features, gross)
    np.testing.assert_array_equal(features, before)


# --- auroc -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ([0.9, 0.8], [0.1, 0.2], 1.0),
        ([0.1], [0.2, 0.3], 0.0),
        ([0.5, 0.5], [0.5], 0.5),
        # Of six pairs three are higher, two are ties, one is lower.
        ([0.9, 0.5, 0.2], [0.5, 0.2], (3 + 0.5 * 2) / 6),
    ],
)
def test_auroc_counts_pairs_and_ties_half(good: list[float], bad: list[float], expected: float) -> None:
    quality = np.array([*bad, *good])
    gross = np.array([True] * len(bad) + [False] * len(good))
    assert auroc(quality, gross) == pytest.approx(expected)
    order = np.random.default_rng(0).permutation(quality.size)
    assert auroc(quality[order], gross[order]) == pytest.approx(expected)


@pytest.mark.parametrize("gross", [True, False])
def test_auroc_of_one_kind_is_unknown(gross: bool) -> None:
    assert math.isnan(auroc(np.array([0.2, 0.7]), np.array([gross, gross])))


# --- presence --------------------------------------------------------------------------------------


def present(features: np.ndarray, is_lv: np.ndarray, **changes: np.ndarray) -> JudgedFrames:
    every = np.ones(len(features), dtype=bool)
    frames = JudgedFrames(features, is_lv, every, is_lv, every, ~is_lv, every)
    return frames._replace(**changes)


def test_presence_gives_up_all_but_a_few_slices_without_an_lv() -> None:
    features, gross = drawn(4000)
    model = fit_presence(present(features, ~gross))
    assert model is not None
    given_up = np.array([model.rejects(row) for row in features])
    assert (~given_up[gross]).mean() == pytest.approx(RETURNED, abs=1.0 / gross.sum())
    assert given_up[~gross].mean() < 0.8 * given_up[gross].mean()


def test_a_degraded_frame_counts_less_for_presence_and_sets_no_limit() -> None:
    features, gross = drawn(600)
    as_is = np.arange(600) < 400
    one = fit_presence(present(features, ~gross, as_is=as_is))
    assert one is not None
    given_up = np.array([one.rejects(row) for row in features])
    assert (~given_up[gross & as_is]).sum() == int(RETURNED * (gross & as_is).sum())
    # Those degraded ones alone: as if each stood there a third of a time.
    repeated = np.concatenate([np.repeat(np.arange(400), round(1 / DEGRADED)), np.arange(400, 600)])
    every = present(features[repeated], ~gross[repeated])
    assert one.weights.shape == (len(FEATURES),)
    other = fit_presence(every)
    assert other is not None
    assert np.corrcoef(one.weights, other.weights)[0, 1] > 0.99


@pytest.mark.parametrize(("fit", "looked_at"), [(fit_presence, IN_STACK), (fit_heart, STEADY)])
def test_what_a_model_does_not_look_at_does_not_move_it(
    fit: Callable[[JudgedFrames], PresenceModel | None], looked_at: tuple[str, ...]
) -> None:
    features, gross = drawn(400)
    moving = features.copy()
    unseen = [name not in looked_at for name in FEATURES]
    moving[:, unseen] = 7.0 * gross[:, None]  # would part the two perfectly
    of = {} if fit is fit_presence else {"heart": ~gross}
    steady, model = fit(present(features, ~gross, **of)), fit(present(moving, ~gross, **of))
    assert steady is not None
    assert model is not None
    assert not model.weights[unseen].any()
    np.testing.assert_array_equal(model.weights, steady.weights)


def test_what_is_no_heart_is_told_from_lvs_alone() -> None:
    features, gross = drawn(4000)
    heart = ~gross | (np.arange(4000) % 2 == 0)  # half of what is no LV is a slice of a heart without one
    model = fit_heart(present(features, ~gross, heart=heart))
    assert model is not None
    given_up = np.array([model.rejects(row) for row in features])
    assert given_up[~gross].mean() == pytest.approx(MISSED, abs=1.0 / (~gross).sum())
    assert given_up[~heart].mean() > 5 * MISSED
    told = ~gross | ~heart
    alone = fit_heart(present(features[told], ~gross[told], heart=heart[told]))
    assert alone is not None
    np.testing.assert_array_equal(alone.weights, model.weights)


def test_without_an_empty_frame_there_is_nothing_to_tell_apart() -> None:
    features, _ = drawn(50)
    all_lv = present(features, np.ones(50, dtype=bool))
    assert fit_presence(all_lv) is None
    assert fit_heart(all_lv) is None


@pytest.mark.parametrize("value", [0.0, 0.12341, 0.1234, 0.99995])
def test_a_limit_lies_above_what_it_was_set_by_and_fits_into_a_manifest(value: float) -> None:
    limit = just_above(value)
    assert value < limit <= value + 1.0001e-4
    assert round(limit, 4) == limit


def test_a_frame_that_is_unlikely_to_show_an_lv_is_not_measured() -> None:
    frame = frame_of_sample(painted_stack(3)[1])
    nothing = np.zeros(len(FEATURES))
    for bias, measured in ((1.0, True), (-1.0, False)):
        quality = replace(DEFAULT_QUALITY, presence=PresenceModel(nothing, bias, 0.5))
        stack = Stack()
        (said,) = SliceMeasurer(PaintReader(), quality, stack).measure_closed([frame])
        assert said.measured is measured
        assert said.reason == (None if measured else NO_LV_LIKELY)
        assert said.centre_px is not None
        # What is no LV does not tell the next slice where to look.
        assert bool(stack.sightings) is measured


# --- degradation -----------------------------------------------------------------------------------


def frame(pixels: np.ndarray) -> Frame:
    pixels.flags.writeable = False  # whoever writes is told
    return Frame(pixels, (1.5, 1.4), "series", slice_index=3, frame_index=2, origin="here")


def test_the_caller_s_picture_is_not_written_to() -> None:
    pixels = preset_phantom("healthy", COARSE).pixels(0)
    before = pixels.copy()
    for seed in range(20):
        worse = degraded(frame(pixels), np.random.default_rng(seed))
        assert not np.shares_memory(worse.pixels, pixels)
        np.testing.assert_array_equal(pixels, before)


def test_a_degraded_frame_is_a_frame_of_the_same_place() -> None:
    given = frame(preset_phantom("healthy", COARSE).pixels(0))
    worse = degraded(given, np.random.default_rng(0))
    assert replace(worse, pixels=given.pixels) == given
    assert (worse.pixels.shape, worse.pixels.dtype) == (given.pixels.shape, np.float32)
    assert worse.pixels.flags.c_contiguous
    assert np.isfinite(worse.pixels).all()


def test_degradation_is_drawn_and_leaves_the_heart_to_be_seen() -> None:
    given = frame(preset_phantom("healthy", COARSE).pixels(0))
    worse = [degraded(given, np.random.default_rng(seed)).pixels for seed in (0, 0, *range(1, 20))]
    np.testing.assert_array_equal(worse[0], worse[1])
    alike = [float(np.corrcoef(w.ravel(), given.pixels.ravel())[0, 1]) for w in worse[1:]]
    assert len(set(alike)) == 20
    assert 0.3 < min(alike) < 0.9
    assert max(alike) < 0.999


@pytest.mark.parametrize("level", [0.0, 100.0, -5.0])
def test_a_flat_picture_stays_finite(level: float) -> None:
    flat = frame(np.full((20, 30), level, np.float32))
    for seed in range(5):
        assert np.isfinite(degraded(flat, np.random.default_rng(seed)).pixels).all()


# --- judged frames ---------------------------------------------------------------------------------


def measured(pixels: np.ndarray | None = None) -> Measurement:
    frame = frame_of_sample(painted_stack(3)[1])
    if pixels is not None:
        frame = replace(frame, pixels=pixels)
    (measurement,) = SliceMeasurer(PaintReader(), DEFAULT_QUALITY).measure_closed([frame])
    return measurement


def test_a_measured_frame_carries_what_it_was_judged_by() -> None:
    measurement = measured()
    row = measurement.signs
    assert row is not None
    assert row.shape == (len(FEATURES),)
    assert DEFAULT_QUALITY.quality(row) == pytest.approx(measurement.quality, rel=1e-6)
    # The stepper says half a millimetre too much of each wall, in units of 3 mm; an RV is seen.
    assert row[0] == pytest.approx(0.5 / 3.0, abs=1e-3)
    assert row[NO_RV] == 0.0
    missed = measured(np.full((64, 64), 80.0, np.float32))
    assert not missed.measured
    assert missed.signs is None


def test_every_found_lv_is_judged_as_it_is_and_degraded() -> None:
    stack = painted_stack(3)
    features, is_lv, heart, mid, judged, gross, as_is = judged_frames(PaintReader(), stack)
    assert is_lv.all()
    assert heart.all()
    assert 0 < mid.sum() < len(mid)
    assert judged.all()
    assert features.shape[1] == len(FEATURES)
    assert gross.shape == (len(features),)
    assert gross.dtype == bool
    # All six as they are, and those of the six degraded ones in which the stepper still reads an LV.
    assert 6 < len(features) <= 12
    assert as_is.sum() == 6
    assert as_is[:3].all()
    np.testing.assert_array_equal(features[:3], [features_of_alone(k) for k in range(3)])
    assert not gross[:3].any()


def features_of_alone(slice_index: int) -> np.ndarray:
    (measurement,) = SliceMeasurer(PaintReader(), DEFAULT_QUALITY).measure_closed(
        [frame_of_sample(painted_stack(3)[slice_index])]
    )
    assert measurement.signs is not None
    return measurement.signs


def test_an_lv_that_nobody_drew_is_gross_and_one_without_a_drawn_rv_is_not_judged() -> None:
    sample = painted_stack(3)[1]
    none = judged_frames(PaintReader(), [undrawn(sample)])
    assert none.gross.size >= 1
    assert none.gross.all()
    assert none.judged.all()
    assert not none.is_lv.any()
    no_rv = sample.maps.copy()
    no_rv[..., 0] = 0
    unknown = replace(sample, maps=no_rv)
    assert np.isnan(truth_of(unknown)).all()
    unjudged = judged_frames(PaintReader(), [unknown])
    assert unjudged.is_lv.size >= 1
    assert unjudged.is_lv.all()
    assert not unjudged.judged.any()
    assert not unjudged.gross.any()


def test_values_that_are_grossly_wrong_are_called_so() -> None:
    sample, larger = painted_stack(3)[1], sample_of(preset_phantom("dilated", COARSE), phase="ED")
    # The picture shows a heart of quite another size than the drawn one.
    gross = judged_frames(PaintReader(), [replace(sample, maps=larger.maps)]).gross
    assert gross.size >= 1
    assert gross.all()


def test_the_degradation_is_drawn_from_the_seed() -> None:
    stack = painted_stack(3)
    first, again, other = (judged_frames(PaintReader(), stack, seed=seed).features for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_what_shows_no_lv_is_judged_only_where_noise_is_taken_for_one() -> None:
    hidden = [blank(sample) for sample in painted_stack(2)]
    features, *_, gross, _ = judged_frames(PaintReader(), hidden)
    # Four pictures of nothing give nothing; their degraded selves may, and then it is wrong.
    assert len(features) == len(gross) <= 4
    assert gross.all()


def test_an_lv_that_is_seen_elsewhere_is_no_heart_and_its_values_are_not_judged() -> None:
    picture = frame_of_sample(painted_stack(3)[1])
    nothing = replace(picture, pixels=np.full((64, 64), 80.0, np.float32))
    found = judged_frames(PaintReader(), [], [nothing, picture, nothing])
    assert len(found.features) == 1
    assert [bool(flag[0]) for flag in found[1:]] == [False, False, False, False, False, True]


def test_nothing_can_be_fitted_to_no_frame() -> None:
    nothing = judged_frames(PaintReader(), [])
    with pytest.raises(DataError, match="no LV was found in any frame"):
        fit_quality(nothing.features, nothing.gross)
    with pytest.raises(DataError, match="no LV was found in any frame"):
        fit_presence(nothing)
    with pytest.raises(DataError, match="no LV was found in any frame"):
        fit_heart(nothing)
