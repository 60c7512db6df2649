"""Acknowledging: kept before it is answered, refused before anything is lost."""

from __future__ import annotations

import resource
import stat
import threading
from pathlib import Path

import pytest
from cine_files import content_of, ge, others
from reception_room import Room

from lvedge_runtime.receiver.intake import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, SUCCESS
from lvedge_runtime.receiver.setting import Limits
from lvedge_runtime.receiver.shelf import Shelf, ShelfFullError
from lvedge_runtime.sources import SourceOptions


def test_what_is_answered_with_success_lies_on_the_shelf_and_in_the_queue() -> None:
    content = content_of(ge()[0])
    with Room() as room:
        assert room.intake.take(content) == SUCCESS
        arrival = room.intake.queue.get_nowait()
        assert arrival.path is not None
        assert arrival.path.read_bytes() == content
        assert stat.S_IMODE(arrival.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(arrival.path.parent.stat().st_mode) == 0o700
        assert (arrival.at, len(arrival.images), arrival.dropped) == (100.0, 1, None)
        # Nothing of the sender's is in its name.
        assert arrival.path.name == "00000001.dcm"
        folder = arrival.path.parent
    assert not folder.exists()


def test_no_content_makes_a_path(tmp_path: Path) -> None:
    data = ge()[0]
    uid, path = str(data.SOPInstanceUID).encode(), b"../../../../../../../tmp/name"
    content = content_of(data).replace(uid, path[: len(uid)])
    with Room() as room:
        assert room.intake.take(content) == SUCCESS
        arrival = room.intake.queue.get_nowait()
        assert arrival.path is not None
        assert arrival.path.name == "00000001.dcm"
        assert "/" not in arrival.series


@pytest.mark.parametrize(
    "damage", [b"", b"\0" * 500, "cut", "no groups", "a milliard frames", "frames of nothing"]
)
def test_what_cannot_be_read_is_refused_and_counted(damage: bytes | str) -> None:
    content = content_of(ge()[0])
    if damage == "cut":
        damage = content[:400]
    elif damage == "no groups":
        data = ge()[0]
        data.SOPClassUID, data.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.4.1", 3
        damage = content_of(data)
    elif damage == "a milliard frames":
        damage = content_of(ge(NumberOfFrames=10**9)[0])
    elif damage == "frames of nothing":
        damage = content_of(ge(NumberOfFrames=20_000)[0])
    assert isinstance(damage, bytes)
    with Room() as room:
        assert room.intake.take(damage) == CANNOT_UNDERSTAND
        assert room.intake.tally.as_dict() == {"damaged": 1}
        assert (len(room.shelf), room.intake.queue.empty()) == (0, True)


def test_a_shelf_without_room_refuses() -> None:
    content = content_of(ge()[0])
    with Room(limits=Limits(kept_bytes=2 * len(content) + 5)) as room:
        assert [room.intake.take(content) for _ in range(3)] == [SUCCESS, SUCCESS, OUT_OF_RESOURCES]
        path = room.intake.queue.get_nowait().path
        assert path is not None
        room.shelf.free(path)
        assert room.intake.take(content) == SUCCESS


def test_a_queue_that_nobody_empties_refuses_and_frees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvedge_runtime.receiver.intake.QUEUED", 2)
    content = content_of(ge()[0])
    with Room() as room:
        assert [room.intake.take(content) for _ in range(3)] == [SUCCESS, SUCCESS, OUT_OF_RESOURCES]
        assert (room.intake.tally["held up"], len(room.shelf)) == (1, 2)


def test_a_disk_that_takes_no_more_refuses_and_leaves_nothing() -> None:
    shelf = Shelf(10**6, 10)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(ShelfFullError):
            shelf.keep(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(shelf) == 0
    assert shelf.keep(bytes(2000)).stat().st_size == 2000
    assert len(list(shelf.keep(b"x").parent.iterdir())) == 2
    shelf.close()


def test_several_threads_keep_several_files() -> None:
    shelf = Shelf(10**6, 1000)
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.extend(shelf.keep(b"x") for _ in range(50))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == len(shelf) == 200
    shelf.close()


def test_only_the_series_that_was_asked_for_is_measured() -> None:
    options = SourceOptions(series="fiesta")
    with Room(options) as room:
        room.send(*ge(), *others()["still"])
        assert room.intake.tally.as_dict() == {"taken": 36, "dropped": 3}


def test_another_modality_than_the_bundle_s_is_dropped() -> None:
    with Room() as room:
        room.send(*ge(Modality="CT"))
        (rejected,) = room.wait(60.0)
        assert rejected.reason == "CT series; the bundle was trained on MR"  # type: ignore[union-attr]
