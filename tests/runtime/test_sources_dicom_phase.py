"""The order of one slice's pictures, and what is missing, from tags alone."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from cine_files import LONG, cine, ge, numbered, philips, real_time, several_beats
from dicom_files import places
from reception_room import in_folder, received, results

from lvedge.frame import Frame
from lvedge_runtime.sources.dicom_image import seconds_from_text
from lvedge_runtime.sources.dicom_phase import is_several_beats


def frames_in(folder: Path, data) -> list[Frame]:
    items = in_folder(folder, data)
    assert all(isinstance(item, Frame) for item in items)
    return [item for item in items if isinstance(item, Frame)]


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (ge, range(12)),
        (philips, range(12)),
        # Without a stated number of phases nobody knows of one before the first or after the last.
        (numbered, range(1, 11)),
        (cine, range(1, 11)),
    ],
    ids=["ge", "philips", "numbered", "timed only"],
)
@pytest.mark.parametrize("lost", [(0,), (11,), (5,), (2, 3, 9), (0, 1, 11)])
def test_phases_that_are_missing_leave_their_places_free(tmp_path: Path, make, known, lost) -> None:
    data = [d for k, d in enumerate(make(sizes=(1.0,))) if k not in lost]
    frames = frames_in(tmp_path, data)
    found = [frame.phase_index for frame in frames]
    there = [k for k in range(12) if k not in lost]
    first = there[0] if known.start else 0
    assert found == [k - first for k in there]
    assert {frame.phase_count for frame in frames} == {12 if known.start == 0 else None}
    assert places(frames) == [(0, k) for k in range(len(there))]


def test_a_number_of_phases_that_the_pictures_contradict_is_not_believed(tmp_path: Path) -> None:
    frames = frames_in(tmp_path, ge(sizes=(1.0,), CardiacNumberOfImages=8, NominalInterval=480))
    assert [frame.phase_index for frame in frames] == list(range(12))
    assert {frame.phase_count for frame in frames} == {None}


@pytest.mark.parametrize("make", [several_beats, real_time])
def test_several_beats_stay_as_they_were_taken_and_nobody_closes_them(tmp_path: Path, make) -> None:
    frames = frames_in(tmp_path, make())
    assert [int(frame.origin[:-4]) for frame in frames] == list(range(1, 37))
    assert {frame.cine_length for frame in frames} == {None}
    assert [frame.phase_index for frame in frames] == list(range(3 * len(LONG)))


def test_one_slow_beat_is_one_beat(tmp_path: Path) -> None:
    for step_ms, length in ((120.0, 12), (200.0, None)):
        frames = frames_in(tmp_path / str(length), cine(sizes=(1.0,), step_ms=step_ms))
        assert {frame.cine_length for frame in frames} == {length}


def test_pictures_of_a_gated_slice_that_share_their_clock_are_one_beat(tmp_path: Path) -> None:
    frames = frames_in(tmp_path, numbered(sizes=(1.0,), AcquisitionTime="101500"))
    assert {frame.cine_length for frame in frames} == {12}


@pytest.mark.parametrize(
    ("times", "several"),
    [
        ([0, 50, 100, 150, 200] * 2, True),
        ([0, 50, 100, 150, 200, 3, 55, 101, 149, 205, 4], True),
        ([0, 50, 100, 150, 200, 0], False),
        ([200, 150, 100, 50, 0], False),
        ([0, 100, 50, 150, 200, 300, 250, 350, 400, 500], False),
        ([0, 50, 100, 150, 200], False),
    ],
)
def test_times_that_start_afresh_are_several_beats(times: list[float], several: bool) -> None:
    assert is_several_beats(times) is several


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("101500", 36900.0),
        ("000001.25", 1.25),
        ("235959.999999+0100", 86399.999999),
        ("25", None),
        ("", None),
    ],
)
def test_a_time_of_day_is_seconds(text: str, seconds: float | None) -> None:
    assert seconds_from_text(text) == seconds


FAR = 2**31 - 1
"""The largest integer string that DICOM allows."""


@pytest.mark.parametrize(
    "tags",
    [
        {"CardiacNumberOfImages": FAR},
        {"CardiacNumberOfImages": None, "NominalInterval": None, "TriggerTime": lambda p: 60.0 * p**9},
        {"TriggerTime": None, "InstanceNumber": lambda _: 5},
        {"TriggerTime": None, "InstanceNumber": lambda p: FAR if p == 11 else p},
        {"TriggerTime": None, "TemporalPositionIdentifier": lambda p: FAR if p == 11 else p + 1},
        {"NominalInterval": 1e-300},
        {"TriggerTime": lambda p: 1e29 * (p + 1)},
        {"TriggerTime": lambda p: 1e-9 * p},
    ],
    ids=[
        "a milliard phases",
        "times far apart",
        "one number for all",
        "a number far away",
        "a position far away",
        "no time at all",
        "an age",
        "an instant",
    ],
)
def test_tags_that_cannot_be_meant_cost_no_time_and_no_memory(tmp_path: Path, tags) -> None:
    data = ge(sizes=(1.0,), **tags)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 500_000_000, hard))
    try:
        folder, arrived = results(in_folder(tmp_path, data)), results(received(data), provisional=True)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert len([line for line in folder if "frame" in line]) >= 1
    missing = [len(line["cycle"].get("missing", ())) for line in [*folder, *arrived] if "cycle" in line]
    assert max(missing) <= 1200
