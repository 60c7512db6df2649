"""The stream: order, state, closed and live, with a stepper whose every number can be said in advance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
from discs import BEAT, MM, WALL_MM, DiscStepper, disc_frame
from engines_here import EXACT, engines

from lvedge import measure
from lvedge.aim import view_input
from lvedge.bundle import Bundle
from lvedge.contract import State
from lvedge.frame import Frame, Rejected
from lvedge.indices import Label
from lvedge.measure import NO_HEART, SliceMeasurer
from lvedge.measurement import Cycle, Measurement, Mode
from lvedge.phantom import HEARTS, Phantom, Placement, negative_frames, stack
from lvedge.quality import DEFAULT_QUALITY, QualityModel
from lvedge.volume import StackVolumes
from lvedge_runtime.engines import Engine, open_engine
from lvedge_runtime.stream import Item, Stream


def slice_of(
    slice_index: int = 0, radii: Iterable[float] = BEAT, length: int | None = 6, series: str = "a"
) -> list[Frame]:
    return [disc_frame(r, k, slice_index, length, series) for k, r in enumerate(radii)]


def streamed(
    source: Iterable[Frame | Rejected], live: bool = False, stepper: DiscStepper | None = None
) -> list[Item]:
    return list(Stream(source, stepper or DiscStepper(), DEFAULT_QUALITY, None, live))


def outline(items: Iterable[Item]) -> list[object]:
    """What came, in order: (slice, frame) of a measurement, ("cycle", slice) of a cycle, a refusal's name."""
    said: list[object] = []
    for item in items:
        if isinstance(item, Measurement):
            said.append((item.frame.slice_index, item.frame.frame_index))
        elif isinstance(item, Cycle):
            said.append(("cycle", item.slice_index))
        elif isinstance(item, StackVolumes):
            said.append(("volumes", item.series))
        else:
            said.append(item.item)
    return said


def counts(items: Iterable[Item]) -> list[float | None]:
    """How many steps the state had seen at each measurement, None where nothing was measured."""
    return [
        round(m.indices.rwt_mm[0] / MM, 6) if m.indices is not None else None
        for m in items
        if isinstance(m, Measurement)
    ]


def values(items: Iterable[Item]) -> list[tuple[object, ...]]:
    """Everything in the measurements that the clock does not touch."""
    return [
        (
            m.frame.frame_index,
            m.measured,
            None if m.indices is None else m.indices.vector.tolist(),
            None if m.geometric is None else m.geometric.vector.tolist(),
            m.p_systole,
            m.quality,
            m.septum_deg,
            m.mode,
        )
        for m in items
        if isinstance(m, Measurement)
    ]


# --- closed ----------------------------------------------------------------------------------------


def test_a_closed_slice_reports_its_second_pass_and_then_its_cycle() -> None:
    stepper = DiscStepper()
    items = streamed(slice_of(), stepper=stepper)
    assert outline(items) == [*((0, k) for k in range(6)), ("cycle", 0)]
    assert counts(items) == [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]
    assert stepper.calls[-12:] == ["step"] * 6 + ["replay"] * 6
    measurements, cycle = items[:-1], items[-1]
    assert all(isinstance(m, Measurement) and m.measured and m.phase_settled for m in measurements)
    assert {m.mode for m in measurements if isinstance(m, Measurement)} == {Mode.CLOSED}
    assert isinstance(cycle, Cycle)
    assert (cycle.mode, cycle.frames, cycle.measured, cycle.ed_frame, cycle.es_frame) == (
        Mode.CLOSED,
        6,
        6,
        0,
        3,
    )
    first, last = measurements[0], measurements[3]
    assert isinstance(first, Measurement)
    assert isinstance(last, Measurement)
    assert cycle.ed is first.indices
    assert cycle.es is last.indices
    area = [np.pi * BEAT[k] ** 2 for k in (0, 3)]
    assert cycle.fac == pytest.approx(1 - area[1] / area[0], abs=0.02)


def test_between_two_steps_of_a_closed_slice_nothing_is_viewed_or_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Views come before the first step and readings behind the last, where they find the caches filled."""
    stepper = DiscStepper()

    def noted(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any) -> Any:
            stepper.calls.append(name)
            return work(*args)

        return done

    for name in ("view_input", "read_mask"):
        monkeypatch.setattr(measure, name, noted(name, getattr(measure, name)))
    streamed(slice_of(), stepper=stepper)
    aimed = stepper.calls.index("view_input")
    assert stepper.calls[aimed:] == ["view_input"] * 6 + ["step"] * 6 + ["replay", "read_mask"] * 6


def test_the_disc_is_measured_as_what_it_is() -> None:
    (first, *_) = streamed(slice_of())
    assert isinstance(first, Measurement)
    assert first.geometric is not None
    assert first.view is not None
    np.testing.assert_allclose(first.geometric.rwt_mm, [WALL_MM] * 6, atol=0.3)
    np.testing.assert_allclose(first.geometric.dims_mm, [48.0] * 3, atol=0.3)
    np.testing.assert_allclose(first.view.centre_px, (35.0, 30.0), atol=0.2)
    assert first.septum_deg == pytest.approx(180.0, abs=3.0)
    labels = first.labels()
    assert np.sum(labels == Label.CAVITY) == pytest.approx(np.pi * 24**2 / MM**2, rel=0.02)
    assert not (labels[first.frame.pixels < 1] == Label.CAVITY).any()


def test_a_single_frame_is_reported_cold_and_is_no_beat() -> None:
    stepper = DiscStepper()
    first, cycle = streamed(slice_of(radii=BEAT[:1], length=1), stepper=stepper)
    assert isinstance(first, Measurement)
    assert isinstance(cycle, Cycle)
    assert counts([first]) == [1.0]
    assert not first.phase_settled
    assert "replay" not in stepper.calls
    assert cycle == Cycle(
        "a",
        0,
        Mode.CLOSED,
        1,
        1,
        quality=first.quality,
        slice_count=2,
        reason="1 frames are no beat; at least 5 are needed",
    )


def test_closed_frames_come_once_the_slice_is_whole() -> None:
    taken: list[int] = []

    def source() -> Iterator[Frame]:
        for frame in slice_of():
            taken.append(frame.frame_index)
            yield frame

    stream = iter(Stream(source(), DiscStepper(), DEFAULT_QUALITY, None))
    assert taken == []
    next(stream)
    assert taken == [0, 1, 2, 3, 4, 5]


def test_state_is_reset_between_slices() -> None:
    one, other = slice_of(0), slice_of(1, reversed(BEAT))
    after = streamed([*one, *other])
    assert outline(after) == [
        *((0, k) for k in range(6)),
        ("cycle", 0),
        *((1, k) for k in range(6)),
        ("cycle", 1),
    ]
    assert values(after)[6:] == values(streamed(other))
    assert values(after)[:6] == values(streamed(one))


STACK = [0.0, *(np.array([1.0, 0.95, 0.9, 0.8, 0.6, 0.3]))]
"""Sizes of a stack's slices: none beyond the base, tapering towards the apex."""


def stack_of(series: str = "a", live: bool = False, **changes: object) -> list[Frame]:
    return [
        replace(frame, slice_count=len(STACK), **changes)  # type: ignore[arg-type]
        for k, size in enumerate(STACK)
        for frame in slice_of(k, [size * r for r in BEAT], None if live else 6, series)
    ]


def test_a_whole_stack_ends_with_its_volumes() -> None:
    items = streamed([*stack_of("a"), *stack_of("b")])
    said = outline(items)
    # After the last slice's cycle, and before the next series begins: 7 slices of 6 frames and a cycle each.
    assert [k for k, what in enumerate(said) if isinstance(what, tuple) and what[0] == "volumes"] == [49, 99]
    volumes = [item for item in items if isinstance(item, StackVolumes)]
    areas = np.array([[np.pi * (size * r) ** 2 for r in BEAT] for size in STACK])
    truth = areas.sum(axis=0) * 8.0 / 1000.0
    for said_of in volumes:
        assert said_of.reason is None
        assert (said_of.slices, said_of.slice_count, said_of.distance_mm) == (6, 7, 8.0)
        assert (said_of.ed_frame, said_of.es_frame) == (0, 3)
        assert said_of.edv_ml == pytest.approx(truth[0], rel=0.03)
        assert said_of.esv_ml == pytest.approx(truth[3], rel=0.03)


def test_a_stack_played_live_or_incomplete_has_no_volumes() -> None:
    assert not [i for i in streamed(stack_of(live=True)) if isinstance(i, StackVolumes)]
    some = [frame for frame in stack_of() if frame.slice_index != 3]
    (volumes,) = (i for i in streamed(some) if isinstance(i, StackVolumes))
    assert (volumes.edv_ml, volumes.ef) == (None, None)
    assert volumes.reason == "6 of 7 slices were measured as whole beats"


def test_series_are_kept_apart() -> None:
    items = streamed([*slice_of(), *slice_of(series="b", radii=reversed(BEAT))])
    assert outline(items) == 2 * [*((0, k) for k in range(6)), ("cycle", 0)]
    assert [c.series for c in items if isinstance(c, Cycle)] == ["a", "b"]
    assert values(items)[6:] == values(streamed(slice_of(series="b", radii=reversed(BEAT))))


def test_a_refusal_in_the_middle_of_a_slice_leaves_it_whole() -> None:
    refused = Rejected("a0.2", "truncated", "a")
    frames = slice_of()
    items = streamed([*frames[:2], refused, *frames[3:], *slice_of(1)])
    assert outline(items) == [
        "a0.2",
        *((0, k) for k in (0, 1, 3, 4, 5)),
        ("cycle", 0),
        *((1, k) for k in range(6)),
        ("cycle", 1),
    ]
    assert counts(items)[:5] == [6.0, 7.0, 8.0, 9.0, 10.0]
    assert items[0] is refused


def test_only_refusals() -> None:
    refusals = [Rejected("x", "not DICOM"), Rejected("y", "1 × 1 pixels")]
    stepper = DiscStepper()
    assert streamed(refusals, stepper=stepper) == refusals
    assert streamed([], stepper=stepper) == []
    assert stepper.calls == []


def test_frames_without_a_cavity_say_so_and_the_rest_is_measured() -> None:
    items = streamed(slice_of(radii=(24.0, 22.0, 0.0, 15.0, 17.0, 21.0)))
    assert [m is not None for m in counts(items)] == [True, True, False, True, True, True]
    missing = items[2]
    assert isinstance(missing, Measurement)
    assert (missing.measured, missing.reason, missing.quality) == (False, "no LV cavity in this frame", 0.0)
    assert (missing.indices, missing.geometric, missing.phase, missing.p_systole) == (None,) * 4
    assert not missing.labels().any()
    cycle = items[-1]
    assert isinstance(cycle, Cycle)
    assert (cycle.frames, cycle.measured, cycle.ed_frame, cycle.es_frame) == (6, 5, 0, 3)


@pytest.mark.parametrize("live", [False, True])
def test_a_slice_without_a_heart(live: bool) -> None:
    items = streamed(slice_of(radii=[0.0] * 6), live)
    assert [(m.measured, m.reason) for m in items if isinstance(m, Measurement)] == [(False, NO_HEART)] * 6
    cycle = items[-1]
    assert isinstance(cycle, Cycle)
    assert (cycle.measured, cycle.ed_frame, cycle.fac) == (0, None, None)
    assert cycle.reason


# --- live ------------------------------------------------------------------------------------------


def test_live_frames_come_at_once_and_once_each() -> None:
    taken: list[int] = []

    def source() -> Iterator[Frame]:
        for frame in slice_of(length=None):
            taken.append(frame.frame_index)
            yield frame

    seen = []
    for item in Stream(source(), DiscStepper(), DEFAULT_QUALITY, None):
        seen.append((item, len(taken)))
    assert outline(item for item, _ in seen) == [*((0, k) for k in range(6)), ("cycle", 0)]
    assert [n for _, n in seen] == [1, 2, 3, 4, 5, 6, 6]
    assert counts(item for item, _ in seen) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_series_that_was_told_of_as_a_whole_is_forgotten() -> None:
    arriving = [replace(disc_frame(BEAT[k], k), provisional=True) for k in range(3)]
    told = Rejected("3 of a", "no cine", "a")
    once, again = counts(streamed(arriving)), counts(streamed([*arriving, told, *arriving]))
    # The second time the state begins anew, and nothing of the first is held.
    assert [count for count in again if count is not None] == [
        count for count in once if count is not None
    ] * 2


def test_live_equals_stepping_by_hand() -> None:
    frames = slice_of(radii=3 * BEAT)
    measurer = SliceMeasurer(DiscStepper(), DEFAULT_QUALITY)
    by_hand = [measurer.measure_live(frame)[0] for frame in frames]
    assert values(streamed(frames, live=True)) == values(by_hand)


def test_the_phase_settles_after_a_maximum_and_a_minimum_and_whole_beats_are_summed_up() -> None:
    items = streamed(slice_of(radii=2 * BEAT + BEAT[:3], length=None))
    said = outline(items)
    cycles = [(said[k - 1], c) for k, c in enumerate(items) if isinstance(c, Cycle)]
    # Frame 6 is the next end diastole; it is known as one when frame 8 has fallen by an eighth.
    assert [(before, c.ed_frame, c.es_frame) for before, c in cycles] == [((0, 7), 0, 3), ((0, 13), 6, 9)]
    settled = [m.phase_settled for m in items if isinstance(m, Measurement)]
    # The minimum at frame 3 is past with frame 4: from frame 5 on the phase has seen both extremes.
    assert settled == [False] * 5 + [True] * 10


def test_without_a_whole_beat_the_live_slice_says_so() -> None:
    *_, cycle = streamed(slice_of(), live=True)
    assert cycle == Cycle(
        "a",
        0,
        Mode.LIVE,
        6,
        6,
        slice_count=2,
        reason="no whole beat passed while the slice was played live",
    )


def test_a_lost_heart_is_located_afresh_and_begins_from_nothing() -> None:
    stepper = DiscStepper()
    items = streamed(slice_of(radii=(24.0, 22.0, 0.0, 20.0, 21.0), length=None), stepper=stepper)
    assert counts(items) == [1.0, 2.0, None, 1.0, 2.0]


def test_live_state_is_reset_between_slices() -> None:
    one, other = slice_of(0, length=None), slice_of(1, reversed(BEAT), length=None)
    after = streamed([*one, *other])
    assert values(after)[6:] == values(streamed(other))


# --- both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "stages"),
    [
        (False, {"source", "locate", "view", "step", "read", "replay"}),
        (True, {"source", "locate", "view", "step", "read"}),
    ],
)
def test_latency_by_stage(live: bool, stages: set[str]) -> None:
    measurements = [item for item in streamed(slice_of(), live) if isinstance(item, Measurement)]
    assert [set(m.latency_ms) for m in measurements] == [stages] * 6
    assert min(min(m.latency_ms.values()) for m in measurements) >= 0.0
    # The heart is located once a slice: its first frame pays.
    assert [m.latency_ms["locate"] > 0 for m in measurements] == [True] + [False] * 5


def test_frames_are_not_written_to() -> None:
    frames = slice_of()
    kept = [frame.pixels.copy() for frame in frames]
    streamed(frames)
    streamed(frames, live=True)
    for frame, before in zip(frames, kept, strict=True):
        np.testing.assert_array_equal(frame.pixels, before)


# --- with the bundle that ships --------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Engine]:
    with open_engine(bundle, "onnxruntime-cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def quality(bundle: Bundle) -> QualityModel:
    return QualityModel.from_manifest(bundle.quality) if bundle.quality else DEFAULT_QUALITY


@pytest.fixture(scope="module")
def hearts() -> list[list[Frame]]:
    """Two slices of a small cine of a phantom."""
    grid = Placement(rows=130, columns=130, spacing_mm=(2.0, 2.0), offset_mm=(-10.0, 6.0), rotation_deg=8.0)
    heart = replace(HEARTS["healthy"], frames=8)
    slices = stack(Phantom(heart=heart, placement=grid, seed=4, series="two"), 3)[1:]
    return [list(phantom.frames()) for phantom in slices]


def test_the_bundle_s_state_is_reset_between_slices(
    engine: Engine, quality: QualityModel, hearts: list[list[Frame]]
) -> None:
    alone = list(Stream(hearts[0], engine, quality, None))
    first = list(Stream(chain(*hearts), engine, quality, None))[: len(alone)]
    assert values(first) == values(alone)
    assert all(isinstance(m, Measurement) and m.measured for m in alone[:-1])
    # What is known of a neighbour may aim a view; the state may not: the same slice again gives the same.
    again = list(Stream([*hearts[0], *(replace(f, slice_index=9) for f in hearts[0])], engine, quality, None))
    np.testing.assert_array_equal(
        [m.indices.vector for m in again[len(alone) : -1] if isinstance(m, Measurement) and m.indices],
        [m.indices.vector for m in alone[:-1] if isinstance(m, Measurement) and m.indices],
    )


def test_the_bundle_live_equals_stepping_by_hand(
    engine: Engine, quality: QualityModel, hearts: list[list[Frame]]
) -> None:
    live = list(Stream(hearts[0], engine, quality, None, live=True))
    measurer = SliceMeasurer(engine, quality)
    assert values(live) == values([measurer.measure_live(frame)[0] for frame in hearts[0]])
    first = live[0]
    assert isinstance(first, Measurement)
    assert first.view is not None
    # By hand through the engine itself, from the zero state.
    picture = view_input(hearts[0][0], first.view)
    step = engine.step(picture, State.zeros(engine.shapes))
    assert first.indices is not None
    power = engine.shapes.layout.unit_power()
    np.testing.assert_allclose(
        first.indices.vector, step.indices[0] * engine.shapes.view_mm_per_px**power, rtol=1e-6
    )


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", engines([other for other in EXACT if other != "onnxruntime-cpu"]))
def test_every_engine_measures_the_same(
    bundle: Bundle, engine: Engine, quality: QualityModel, hearts: list[list[Frame]], name: str, live: bool
) -> None:
    """The whole way in both modes, against ONNX Runtime: to 0.01 mm and 0.1 mm²."""
    with open_engine(bundle, name) as other:
        found, expected = (
            [m for m in Stream(hearts[0], one, quality, None, live) if isinstance(m, Measurement)]
            for one in (other, engine)
        )
    assert len(found) == len(expected) == 8
    for one, right in zip(found, expected, strict=True):
        assert (one.measured, one.phase, one.mode) == (right.measured, right.phase, right.mode)
        assert one.indices is not None
        assert right.indices is not None
        np.testing.assert_allclose(one.indices.rwt_mm, right.indices.rwt_mm, rtol=0, atol=0.01)
        np.testing.assert_allclose(one.indices.dims_mm, right.indices.dims_mm, rtol=0, atol=0.01)
        np.testing.assert_allclose(one.indices.areas_mm2, right.indices.areas_mm2, rtol=0, atol=0.1)
        assert one.quality == pytest.approx(right.quality, abs=1e-3)


@pytest.mark.parametrize("kind", ["blank", "noise"])
def test_no_lv_is_invented_by_the_bundle(engine: Engine, quality: QualityModel, kind: str) -> None:
    grid = Placement(rows=128, columns=128, spacing_mm=(2.0, 2.0))
    for seed in range(2):
        items = list(Stream(negative_frames(kind, seed, 3, grid), engine, quality, None))
        assert [m.measured for m in items if isinstance(m, Measurement)] == [False] * 3
