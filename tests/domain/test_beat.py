"""The closed beat's summary, and the beats found in a running stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvedge.beat import Beat, BeatTracker, cycle_from_measurements, in_phase
from lvedge.frame import Frame
from lvedge.indices import Indices, Phase
from lvedge.measurement import Cycle, Measurement, Mode
from lvedge.phantom import contraction_at

PIXELS = np.zeros((1, 1), np.float32)


def measured(area: float | None, index: int, quality: float = 0.5) -> Measurement:
    """A frame with a cavity area, or without an LV; the wall is as thick as 10 000 mm² / area."""
    frame = Frame(PIXELS, (1.0, 1.0), "s", slice_index=3, frame_index=index, slice_count=9)
    if area is None:
        return Measurement(frame, measured=False, reason="no LV cavity in this frame")
    wall = np.full(6, 1e4 / area)
    indices = Indices(np.concatenate([wall, np.full(3, np.sqrt(area)), [area, 1500.0]]))
    return Measurement(frame, measured=True, indices=indices, quality=quality)


def clip(*areas: float | None) -> list[Measurement]:
    return [measured(area, k, quality=0.1 * k) for k, area in enumerate(areas)]


def beats_of(frames: int, beats: float, start: float = 0.0, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Cavity areas of a running heart: 2000 mm² at ED, 1000 mm² at ES."""
    beat = (start + np.arange(int(frames * beats)) / frames) % 1.0
    rng = np.random.default_rng(seed)
    area: np.ndarray = (2000 - 1000 * contraction_at(beat, 0.38)) * (
        1 + noise * rng.standard_normal(beat.size)
    )
    return area


def followed(areas: np.ndarray) -> tuple[list[bool], list[Beat]]:
    """Whether the tracker was settled after each frame, and the beats it gave."""
    tracker = BeatTracker()
    settled, beats = [], []
    for k, area in enumerate(areas):
        beat = tracker.add(measured(float(area), k))
        settled.append(tracker.settled)
        if beat is not None:
            beats.append(beat)
    return settled, beats


# --- closed ----------------------------------------------------------------------------------------


def test_a_closed_cycle_in_full() -> None:
    frames = clip(1900, 2000, 1900, 1500, 1100, 1000, 1100, 1600)
    cycle = cycle_from_measurements(frames, Mode.CLOSED)
    ed, es = frames[1].indices, frames[5].indices
    assert cycle.ed is ed
    assert cycle.es is es
    assert cycle.thickening is not None
    np.testing.assert_allclose(cycle.thickening, np.full(6, 1.0))
    expected = Cycle(
        series="s",
        slice_index=3,
        mode=Mode.CLOSED,
        frames=8,
        measured=8,
        ed_frame=1,
        es_frame=5,
        fac=0.5,
        quality=pytest.approx(0.35),  # type: ignore[arg-type]
        slice_count=9,
    )
    # The arrays were compared above: an array has no single truth for a dataclass to compare by.
    assert replace(cycle, ed=None, es=None, thickening=None) == expected


def test_the_phases_of_a_closed_beat_are_those_of_its_cycle() -> None:
    frames = clip(1100, 1600, 1900, 2000, 1900, 1500, None, 1000)
    before = [replace(m, phase=Phase.DIASTOLE) if m.measured else m for m in frames]
    after = in_phase(before)
    cycle = cycle_from_measurements(after, Mode.CLOSED)
    assert (cycle.ed_frame, cycle.es_frame) == (3, 7)
    assert [m.phase for m in after] == [
        *[Phase.DIASTOLE] * 3, *[Phase.SYSTOLE] * 3, None, Phase.DIASTOLE,
    ]  # fmt: skip
    # Nothing else is touched, and what is right stays the very same.
    assert after[0] is before[0]
    assert replace(after[3], phase=Phase.DIASTOLE) == before[3]


def test_systole_may_go_on_over_the_cut() -> None:
    after = in_phase(clip(1500, 1100, 1000, 1300, 1700, 1900, 2000, 1900))
    assert [m.phase for m in after].index(Phase.DIASTOLE) == 2
    assert after[-1].phase is after[0].phase is Phase.SYSTOLE


def test_frames_that_are_no_beat_keep_the_phase_they_have() -> None:
    frames = [replace(m, phase=Phase.SYSTOLE) for m in clip(2000, 1000, 1500)]
    assert in_phase(frames) is frames


def test_frames_that_were_not_measured_are_left_out() -> None:
    cycle = cycle_from_measurements(
        clip(2000, 1900, 1400, None, 1000, 1200, 1700, None, 1900, 1950), Mode.CLOSED
    )
    assert (cycle.ed_frame, cycle.es_frame, cycle.frames, cycle.measured) == (0, 4, 10, 8)
    assert cycle.reason is None


@pytest.mark.parametrize(
    ("areas", "reason"),
    [
        ([2000.0] * 4, "4 frames are no beat; at least 5 are needed"),
        ([2000.0], "1 frames are no beat; at least 5 are needed"),
        ([2000.0] * 6 + [None] * 4, "an LV was measured in 6 of 10 frames only"),
        ([None] * 10, "an LV was measured in 0 of 10 frames only"),
    ],
)
def test_no_cycle_and_why(areas: list[float | None], reason: str) -> None:
    cycle = cycle_from_measurements(clip(*areas), Mode.CLOSED)
    found = sum(area is not None for area in areas)
    quality = float(np.median(0.1 * np.arange(found))) if found else 0.0
    assert cycle == Cycle(
        "s", 3, Mode.CLOSED, len(areas), found, quality=quality, slice_count=9, reason=reason
    )


def test_a_cycle_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        cycle_from_measurements([], Mode.CLOSED)


# --- live ------------------------------------------------------------------------------------------


def test_a_running_heart_gives_each_whole_beat_between_two_end_diastoles() -> None:
    settled, beats = followed(beats_of(20, 3.5))
    assert [(b.cycle.ed_frame, b.cycle.es_frame) for b in beats] == [(0, 7), (20, 27), (40, 47)]
    assert [[m.frame.frame_index for m in b.measurements] for b in beats] == [
        list(range(20)),
        list(range(20, 40)),
        list(range(40, 60)),
    ]
    assert {b.cycle.mode for b in beats} == {Mode.LIVE}
    assert [b.cycle.fac for b in beats] == pytest.approx([0.5] * 3, abs=0.01)
    # Settled for good once the minimum at frame 7 or 8 is past, not before.
    first = settled.index(True)
    assert 8 < first <= 12
    assert all(settled[first:])


def test_one_beat_is_settled_but_not_yet_whole() -> None:
    settled, beats = followed(beats_of(20, 1.0))
    assert settled[-1]
    assert beats == []


@pytest.mark.parametrize(("start", "eds"), [(0.15, [17]), (0.2, [16, 36]), (0.25, [15, 35])])
def test_a_stream_that_begins_in_mid_systole_waits_for_a_real_end_diastole(
    start: float, eds: list[int]
) -> None:
    _, beats = followed(beats_of(20, 3.0, start))
    # What was left of the beat that was running would halve FAC and thickening.
    assert [(b.cycle.ed_frame, len(b.measurements)) for b in beats] == [(ed, 20) for ed in eds]
    assert beats[0].cycle.fac == pytest.approx(0.5, abs=0.02)


def test_a_stream_that_begins_in_diastole_gives_the_first_whole_beat() -> None:
    _, beats = followed(beats_of(20, 3.0, 0.5))
    assert [(b.cycle.ed_frame, len(b.measurements)) for b in beats] == [(10, 20), (30, 20)]


@settings(max_examples=60)
@given(
    frames=st.integers(12, 40),
    beats=st.integers(1, 3),
    start=st.floats(0.0, 0.999),
    noise=st.floats(0.0, 0.012),
    seed=st.integers(0, 99),
)
def test_noisy_beats(frames: int, beats: int, start: float, noise: float, seed: int) -> None:
    areas = beats_of(frames, beats + 0.5, start, noise, seed)
    settled, found = followed(areas)
    assert settled == sorted(settled)
    turns = 0  # from the truth: how many extremes have passed at each frame
    phase = (start + np.arange(areas.size) / frames) % 1.0
    if any(settled):
        first = settled.index(True)
        passed = phase[: first + 1]
        turns += bool((np.diff(passed) < 0).any() or passed[0] < 0.38)
        turns += bool(((passed[:-1] < 0.38) & (passed[1:] >= 0.38)).any() or (passed[0] >= 0.38))
        assert turns == 2
    assert len(found) <= beats + 1
    for beat in found:
        assert beat.cycle.ed_frame is not None
        assert beat.cycle.es_frame is not None
        assert abs(len(beat.measurements) - frames) <= 0.3 * frames + 2
        at = phase[beat.cycle.es_frame]
        assert abs(at - 0.38) <= 0.08 + 1.5 / frames
        at = phase[beat.cycle.ed_frame]
        assert min(at, 1 - at) <= 0.16 + 1.5 / frames  # the atrial kick's plateau is flat


@settings(max_examples=40)
@given(noise=st.floats(0.0, 0.02), count=st.integers(1, 120), seed=st.integers(0, 99))
def test_no_beat_is_invented_on_a_flat_curve(noise: float, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    settled, beats = followed(1500 * (1 + np.clip(noise * rng.standard_normal(count), -0.05, 0.05)))
    assert not any(settled)
    assert beats == []


def test_frames_without_an_lv_belong_to_the_beat_they_lie_in() -> None:
    areas: list[float | None] = list(beats_of(20, 2.5))
    areas[25] = areas[30] = None
    tracker = BeatTracker()
    found = [beat for k, area in enumerate(areas) if (beat := tracker.add(measured(area, k))) is not None]
    assert [(b.cycle.frames, b.cycle.measured, b.cycle.ed_frame, b.cycle.es_frame) for b in found] == [
        (20, 20, 0, 7),
        (20, 18, 20, 27),
    ]


def test_nothing_measured_gives_nothing() -> None:
    tracker = BeatTracker()
    assert [tracker.add(measured(None, k)) for k in range(30)] == [None] * 30
    assert not tracker.settled


@pytest.mark.parametrize(
    ("places", "count", "mode", "missing"),
    [
        ((0, 1, 3, 4, 6), 8, Mode.CLOSED, (2, 5, 7)),
        ((1, 2, 3, 4, 5), None, Mode.CLOSED, (0,)),
        ((0, 1, 2, 3, 4), 5, Mode.CLOSED, ()),
        ((7, 8, 10, 11, 12), None, Mode.LIVE, (9,)),
        ((None,) * 5, 8, Mode.CLOSED, ()),
    ],
)
def test_a_beat_names_the_phases_that_the_tags_know_of(places, count, mode, missing):
    frames = [
        replace(
            m, frame=replace(m.frame, phase_index=place, phase_count=count, provisional=mode is Mode.LIVE)
        )
        for m, place in zip(clip(20.0, 18.0, 12.0, 14.0, 19.0), places, strict=True)
    ]
    cycle = cycle_from_measurements(frames, mode)
    assert (cycle.missing, cycle.provisional) == (missing, mode is Mode.LIVE)
