"""What arrives, in whatever order, is what a folder of the same files gives."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from cine_files import (
    LONG,
    SIZES,
    cine,
    ge,
    multi_frame,
    numbered,
    others,
    philips,
    real_time,
    several_beats,
    siemens,
)
from pydicom.dataset import FileDataset
from reception_room import Room, by_series, in_folder, received, results

from lvedge.frame import Frame, Rejected

MADE = {
    "ge": ge,
    "siemens": siemens,
    "philips": philips,
    "numbered": numbered,
    "interleaved": lambda: ge(phase_major=True),
    "interleaved, numbered": lambda: numbered(phase_major=True),
    "several beats": several_beats,
    "real time": real_time,
    "enhanced": lambda: [multi_frame()],
    "enhanced, numbered": lambda: [multi_frame(temporal=True)],
    "enhanced, a slice each": lambda: [multi_frame(f"1.2.3.8.{k}", (size,)) for k, size in enumerate(SIZES)],
}


def frames_of(items: list[Frame | Rejected], provisional: bool) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame) and item.provisional is provisional]


def places(items: list[Frame | Rejected], provisional: bool = True) -> list[tuple[int, int]]:
    return [(frame.slice_index, frame.frame_index) for frame in frames_of(items, provisional)]


def shuffled(data: list[FileDataset], seed: int = 1) -> list[FileDataset]:
    return [data[k] for k in np.random.default_rng(seed).permutation(len(data))]


@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_every_kind_of_cine_gives_the_folder_s_numbers(tmp_path: Path, make) -> None:
    data = make()
    expected = results(in_folder(tmp_path / "in order", data))
    assert sum("cycle" in line for line in expected) >= (1 if len(data) > 3 else 3)
    assert all(line["measured"] for line in expected if "cycle" not in line)
    assert results(received(data)) == expected
    assert results(received(shuffled(data))) == expected


@pytest.mark.parametrize("make", [ge, siemens, philips, numbered], ids=lambda make: make.__name__)
def test_a_cine_that_comes_in_order_is_measured_on_the_way(make) -> None:
    with Room() as room:
        on_the_way = room.send(*make())
        # Without times a slice begins once three pictures are there, and none is left behind.
        assert places(on_the_way) == [(s, p) for s in range(3) for p in range(12)]
        lines = results(on_the_way, provisional=True)
        assert [line["mode"] for line in lines] == ["live"] * 36
        assert [line["time_ms"] for line in lines] == [f.time_ms for f in frames_of(on_the_way, True)]
        assert frames_of(room.wait(60.0), True) == []


@pytest.mark.parametrize("make", [ge, philips], ids=lambda make: make.__name__)
def test_interleaved_slices_are_measured_side_by_side(make) -> None:
    data = make(phase_major=True)
    on_the_way = received(data)
    assert places(on_the_way) == [(s, p) for p in range(12) for s in range(3)]
    by_slice = sorted(results(on_the_way, provisional=True), key=lambda line: line["slice"])
    apart = results(received(make()), provisional=True)
    assert [line["rwt_mm"] for line in by_slice] == [line["rwt_mm"] for line in apart]


def test_pictures_that_come_early_wait_for_those_before() -> None:
    data = ge(sizes=(1.0,))
    with Room() as room:
        assert places(room.send(data[0], data[1], data[4], data[3])) == [(0, 0), (0, 1)]
        (third, fourth, fifth) = frames_of(room.send(data[2]), True)
        assert [f.time_ms for f in (third, fourth, fifth)] == [150.0, 210.0, 270.0]
        assert [f.phase_index for f in (third, fourth, fifth)] == [2, 3, 4]


def test_a_gap_is_stepped_over_after_a_quiet_time_and_the_beat_says_so(tmp_path: Path) -> None:
    data = ge(sizes=(1.0,))
    there = [d for k, d in enumerate(data) if k not in (2, 7)]
    with Room(gap_s=1.0, series_s=5.0) as room:
        assert places(room.send(*there)) == [(0, 0), (0, 1)]
        assert room.wait(0.9) == []
        assert [f.phase_index for f in frames_of(room.wait(0.2), True)] == [3, 4, 5, 6]
        assert [f.phase_index for f in frames_of(room.wait(1.0), True)] == [8, 9, 10, 11]
        whole = room.wait(3.0)
    lines = results(whole)
    assert lines == results(in_folder(tmp_path / "some", there))
    assert lines[-1]["cycle"]["missing"] == [2, 7]
    assert (lines[-1]["cycle"]["frames"], lines[-1]["cycle"]["mode"]) == (10, "closed")


def test_what_comes_after_its_turn_is_in_the_whole_series_only(tmp_path: Path) -> None:
    data = ge(sizes=(1.0,))
    with Room(gap_s=1.0, series_s=5.0) as room:
        room.send(*data[:2], *data[3:])
        room.wait(1.0)
        assert frames_of(room.send(data[2]), True) == []
        lines = results(room.wait(5.0))
    assert lines == results(in_folder(tmp_path / "all", data))
    assert lines[-1]["cycle"]["missing"] == []


def test_the_window_is_bounded() -> None:
    data = ge(sizes=(1.0,))
    with Room(window=4) as room:
        assert places(room.send(*data[1:5])) == []
        # The fifth does not fit: the first is no longer waited for.
        given = frames_of(room.send(data[5]), True)
        assert [f.time_ms for f in given] == [90.0 + 60.0 * k for k in range(5)]


def test_a_latecomer_lets_the_whole_series_be_measured_again(tmp_path: Path) -> None:
    data = ge()
    with Room(series_s=5.0, keep_s=60.0) as room:
        room.send(*data[:-1])
        first = results(room.wait(5.0))
        room.send(data[-1])
        again = results(room.wait(5.0))
        assert room.wait(54.0) == []
        assert len(room.shelf) == len(data)
        room.wait(1.0)
        assert len(room.shelf) == 0
    assert [line["cycle"]["missing"] for line in first if "cycle" in line] == [[], [], [11]]
    assert again == results(in_folder(tmp_path / "all", data))


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_doubled_and_mixed_series_of_two_people(tmp_path: Path, seed: int) -> None:
    one, two = ge("1.2.840.113619.2.77"), siemens("1.3.12.2.1107.5.2.88", PatientID="4712", PatientSex="M")
    expected = results(in_folder(tmp_path / "both", [*one, *two]))
    items = received(shuffled([*one, *two, *one[::3], *two[::5]], seed))
    assert by_series(results(items)) == by_series(expected)
    assert [item for item in items if isinstance(item, Rejected)] == []


@pytest.mark.parametrize("seed", range(3))
def test_a_tenth_missing_gives_the_numbers_of_a_folder_without_it(tmp_path: Path, seed: int) -> None:
    data = ge()
    lost = np.random.default_rng(seed).choice(len(data), 4, replace=False)
    there = [d for k, d in enumerate(data) if k not in lost]
    lines = results(received(shuffled(there, seed)))
    assert lines == results(in_folder(tmp_path / "some", there))
    beats = [line["cycle"] for line in lines if "cycle" in line]
    missing = [(beat["slice"], k) for beat in beats for k in beat["missing"]]
    assert missing == sorted((int(k) // len(LONG), int(k) % len(LONG)) for k in lost)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("localiser", "not ours: localiser"),
        ("map", "not ours: map or other derived picture"),
        ("late", "not ours: late enhancement or another inversion recovery"),
        ("named late", "not ours: late enhancement or another inversion recovery"),
        ("long axis", "not ours: long axis, by its orientation"),
        ("named long axis", "not ours: long axis"),
        ("still", "no cine: at most 1 of 5 pictures a slice"),
    ],
)
def test_series_that_are_not_ours_are_acknowledged_counted_and_dropped(what: str, reason: str) -> None:
    data = others()[what]
    with Room() as room:
        assert room.send(*data) == []
        assert room.wait(0.5) == []
        (rejected,) = room.wait(60.0)
        assert isinstance(rejected, Rejected)
        assert rejected.reason == reason
        assert rejected.item == f"{len(data)} of {rejected.series}"
        assert room.reception.due() == (400.0 if what == "still" else math.inf)
        assert room.intake.tally["taken" if what == "still" else "dropped"] == len(data)
        room.wait(600.0)
        assert len(room.shelf) == 0


def test_a_whole_cine_is_ours_whatever_it_lies_between(tmp_path: Path) -> None:
    data = ge()
    mixed = [d for pair in zip(data, [x for xs in others().values() for x in xs], strict=False) for d in pair]
    rest = data[len(mixed) // 2 :]
    assert results(received([*mixed, *rest])) == results(in_folder(tmp_path / "ours", data))


def test_without_provisional_frames_only_the_whole_series_is_measured(tmp_path: Path) -> None:
    data = cine()
    items = received(data, provisional=False)
    assert frames_of(items, True) == []
    assert results(items) == results(in_folder(tmp_path / "all", data))


def test_nothing_is_left_of_a_series_that_was_forgotten() -> None:
    with Room(series_s=5.0, keep_s=60.0) as room:
        room.send(*ge())
        room.wait(6.0)
        assert len(room.reception.geometries) == len(room.reception.origins) == 1
        room.wait(60.0)
        assert (room.reception.geometries, room.reception.origins, len(room.shelf)) == ({}, {}, 0)
