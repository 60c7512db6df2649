"""Warm stills: the beat that leads to the drawn frames, and that nothing but the beat is other than cold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from painted_hearts import PaintReader, blank, painted_stack, undrawn

from lvedge.contract import Floats, ReplayResult, State
from lvedge.indices import DEFAULT_LAYOUT
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.data.sample import Sample
from lvedge.training.evaluation.still import score_acdc
from lvedge.training.evaluation.still_figure import differences
from lvedge.training.evaluation.warm import WARM_FRAMES, score_warm, synthetic_beats

MEANS = np.array([6.0] * 6 + [40.0] * 3 + [1200.0, 1100.0])


def mid_of(stack: tuple[Sample, ...], slice_index: int = 1) -> list[Sample]:
    return [sample for sample in stack if sample.slice_index == slice_index]


def cavity_px(pixels: np.ndarray) -> int:
    return int((pixels > 200).sum())


def test_the_beat_passes_through_both_drawn_frames() -> None:
    ed, es = mid_of(painted_stack(4))
    (beat,) = synthetic_beats([ed, es])
    assert len(beat.frames) == WARM_FRAMES
    assert [frame.frame_index for frame in beat.frames] == list(range(WARM_FRAMES))
    assert {(f.cine_length, f.slice_index, f.spacing_mm) for f in beat.frames} == {(12, 1, (2.5, 2.5))}
    (ed_at, first), (es_at, second) = beat.true
    assert (ed_at, first.key, second.key) == (0, ed.key, es.key)
    np.testing.assert_array_equal(beat.frames[ed_at].pixels, ed.pixels)
    np.testing.assert_array_equal(beat.frames[es_at].pixels, es.pixels)
    # Systole takes 28 to 45 % of the beat; on the way the cavity shrinks, and comes back afterwards.
    assert 3 <= es_at <= 5
    sizes = [cavity_px(frame.pixels) for frame in beat.frames]
    assert sizes[: es_at + 1] == sorted(sizes[: es_at + 1], reverse=True)
    assert sizes[es_at] == min(sizes)
    assert sizes[-1] > (sizes[0] + sizes[es_at]) / 2


def test_the_same_slice_has_the_same_beat_every_time() -> None:
    samples = mid_of(painted_stack(4))
    (first,), (second,) = synthetic_beats(samples), synthetic_beats(samples[::-1])
    for one, other in zip(first.frames, second.frames, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_without_an_lv_at_one_end_each_end_stands_still() -> None:
    ed, es = mid_of(painted_stack(4))
    beats = synthetic_beats([ed, undrawn(es)])
    assert [[(k, s.phase) for k, s in beat.true] for beat in beats] == [[(11, "ED")], [(11, "ES")]]
    for beat, sample in zip(beats, (ed, es), strict=True):
        for frame in beat.frames:
            np.testing.assert_array_equal(frame.pixels, sample.pixels)


def test_every_slice_is_scored_once_and_in_the_same_way_as_cold() -> None:
    stack = painted_stack(4)
    cold = score_acdc(PaintReader(), DEFAULT_QUALITY, stack, MEANS)
    warm = score_warm(PaintReader(), DEFAULT_QUALITY, stack, MEANS)
    assert sorted((s.slice_index, s.phase) for s in warm) == sorted((s.slice_index, s.phase) for s in cold)
    assert all(s.found for s in warm)
    truth = {(s.slice_index, s.phase): s.truth for s in cold}
    for said in warm:
        np.testing.assert_array_equal(said.truth, truth[said.slice_index, said.phase])
        np.testing.assert_allclose(said.geometric[6:10], said.truth[6:10], rtol=0.03)


def test_a_reader_without_memory_gains_nothing_from_a_heart_that_stands_still() -> None:
    """Both ends alike: the beat is one picture twelve times, and warm is what cold is."""
    stack = painted_stack(4)
    ends = [s for s in stack if s.phase == "ED"]
    still = [*ends, *(replace(s, phase="ES", frame_index=8) for s in ends)]
    cold = score_acdc(PaintReader(), DEFAULT_QUALITY, still, MEANS)
    warm = score_warm(PaintReader(), DEFAULT_QUALITY, still, MEANS)
    found = differences(warm, cold)
    for reading in ("regressed", "geometric"):
        for figure in found[reading].values():
            assert figure["mean"] == pytest.approx(0.0, abs=1e-3)


class WithMemory(PaintReader):
    """Regresses walls right once its state is warm, 0.5 mm too thick on the first frame."""

    def replay(self, features: Floats, state: State) -> ReplayResult:
        result = super().replay(features, state)
        if state.h_phase.any():
            result.indices[:, DEFAULT_LAYOUT.rwt] -= np.float32(0.25)  # 2 mm a pixel
        return result


def test_a_reader_with_memory_is_better_warm() -> None:
    stack = painted_stack(4)
    cold = score_acdc(WithMemory(), DEFAULT_QUALITY, stack, MEANS)
    warm = score_warm(WithMemory(), DEFAULT_QUALITY, stack, MEANS)
    mid = {(s.slice_index, s.phase): s for s in warm if s.mid}
    for said in cold:
        if said.mid:
            other = mid[said.slice_index, said.phase]
            np.testing.assert_allclose((said.regressed - said.geometric)[:6], 0.5, atol=1e-3)
            np.testing.assert_allclose((other.regressed - other.geometric)[:6], 0.0, atol=1e-3)


def test_where_nothing_is_returned_the_means_are_scored() -> None:
    hidden = [blank(sample) for sample in mid_of(painted_stack(4))]
    scored = score_warm(PaintReader(), DEFAULT_QUALITY, hidden, MEANS)
    assert [(s.phase, s.found, s.mid) for s in scored] == [("ED", False, True), ("ES", False, True)]
    np.testing.assert_array_equal([s.regressed for s in scored], [MEANS] * 2)
