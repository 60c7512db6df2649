"""What is durable when: instances, deliveries, the outbox's states, and disks that take no more."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from small_disk import small_disk

from lvedge.errors import JournalError
from lvedge_runtime.journal.database import MIGRATIONS, Database
from lvedge_runtime.journal.journal import DATABASE, DAY_S, Delivery, Journal, outbox_of
from lvedge_runtime.journal.outbox import ItemState, Outgoing
from lvedge_runtime.journal.setting import JournalSettings, OutboxSettings
from lvedge_runtime.receiver.durable import DurableShelf
from lvedge_runtime.receiver.setting import Limits
from lvedge_runtime.receiver.shelf import ShelfFullError

NOW = 1_800_000_000.0
SMALL = JournalSettings(least_free_bytes=1)
HELD = JournalSettings(least_free_bytes=1, outbox=OutboxSettings(release=True))


class Clock:
    """A wall clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def opened(folder: Path, clock: Clock | None = None, settings: JournalSettings = SMALL) -> Journal:
    return Journal(folder / "state", settings, clock or Clock())


def shelf_of(journal: Journal, most_bytes: int = 10**6, most_files: int = 100) -> DurableShelf:
    return DurableShelf(journal.instances, Limits(kept_bytes=most_bytes, kept_pictures=most_files))


def kept(journal: Journal, uid: str, series: str = "a", content: bytes = b"x" * 100) -> Path:
    """An instance that was acknowledged."""
    shelf = shelf_of(journal)
    path = shelf.keep(content)
    shelf.settle(path, series, uid, None)
    return path


def outgoing(uid: str, content: bytes = b"object") -> Outgoing:
    return Outgoing(
        "store://127.0.0.1:104", "1.2.840.10008.5.1.4.1.1.88.34", uid, "1.2.840.10008.1.2.1", content
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as folder:
        yield folder


def test_what_was_acknowledged_is_there_after_the_process(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        paths = [kept(journal, uid, content=uid.encode()) for uid in ("1.1", "1.2")]
        shelf_of(journal).keep(b"never acknowledged")
    with opened(tmp_path) as journal:
        found = journal.instances.undelivered()
        assert [(each.number, each.series, each.path) for each in found] == [
            (1, "a", paths[0]),
            (2, "a", paths[1]),
        ]
        assert paths[1].read_bytes() == b"1.2"
        # A file without a row was not acknowledged; it is gone.
        assert sorted(paths[0].parent.iterdir()) == paths
        assert journal.instances.has("a", "1.1")
        assert not journal.instances.has("b", "1.1")


def test_nobody_else_reads_the_journal(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        path = kept(journal, "1.1")
        state = tmp_path / "state"
        assert stat.S_IMODE(state.stat().st_mode) == stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        files = [each for each in state.rglob("*") if each.is_file()]
        assert {each.name for each in files} >= {DATABASE, f"{DATABASE}-wal", "lock", "00000001.dcm"}
        assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


def test_file_folder_and_row_are_flushed_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        flushed.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        real(handle)

    with opened(tmp_path) as journal:
        shelf = shelf_of(journal)
        path = shelf.keep(b"x")
        monkeypatch.setattr(os, "fsync", fsync)
        assert flushed == []
        shelf.settle(path, "a", "1.1", None)
        assert flushed == ["00000001.dcm", "received"]
        with closing(sqlite3.connect(tmp_path / "state" / DATABASE)) as other:
            assert other.execute("SELECT number, uid FROM instance").fetchall() == [(1, "1.1")]
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        with journal._database.look() as rows:
            assert rows.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_journal_has_one_run_at_a_time_and_a_folder_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(JournalError, match="another run"):
        opened(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(JournalError, match="of its own"):
        Journal(tmp_path / "mine", SMALL)
    assert (tmp_path / "mine").stat().st_mode & 0o077
    with pytest.raises(JournalError, match="no journal in"):
        outbox_of(tmp_path / "mine")


def test_a_journal_of_a_later_version_or_none_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "state" / DATABASE)) as rows:
        rows.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(JournalError, match="later lvedge"):
        opened(tmp_path)
    (tmp_path / "state" / DATABASE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(JournalError, match="cannot be opened"):
        opened(tmp_path)


def test_a_delivery_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as journal:
        kept(journal, "1.1")
        kept(journal, "1.2")
        delivery = Delivery(
            (1,), {tmp_path / "out": 77}, [outgoing("9.1")], frozenset({("b", "00000002.dcm")})
        )
        journal.deliver(delivery)
    with opened(tmp_path) as journal:
        assert [each.number for each in journal.instances.undelivered()] == [2]
        assert journal.written(tmp_path / "out") == 77
        assert journal.written(tmp_path / "other") is None
        assert journal.shown() == {("b", "00000002.dcm")}
        assert [item.uid for item in journal.outbox.items()] == ["9.1"]
        # Half of it fails: an object that cannot be stored.
        bad = Delivery((2,), {tmp_path / "out": 99}, [outgoing("9.2", content=None)])  # type: ignore[arg-type]
        with pytest.raises(JournalError):
            journal.deliver(bad)
        assert journal.written(tmp_path / "out") == 77
        assert [each.number for each in journal.instances.undelivered()] == [2]
        assert journal.is_behind


def test_a_delivery_that_failed_goes_with_the_next(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        kept(journal, "1.1")
        kept(journal, "1.2")
        behind = Delivery((1,), {tmp_path / "out": 10}, [outgoing("9.1")], whole=False)
        with pytest.raises(JournalError, match="takes nothing"):
            journal.deliver(behind)
        assert journal.is_behind
        assert len(journal.instances.undelivered()) == 2
        journal.deliver(Delivery((2,), {tmp_path / "out": 30}, [outgoing("9.2")]))
        assert not journal.is_behind
        assert journal.instances.undelivered() == []
        assert journal.written(tmp_path / "out") == 30
        assert [item.uid for item in journal.outbox.items()] == ["9.1", "9.2"]


def test_what_was_delivered_goes_in_its_time(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as journal:
        paths = [kept(journal, uid, series) for uid, series in (("1.1", "a"), ("1.2", "b"))]
        journal.deliver(Delivery((1,), outgoing=[outgoing("9.1"), outgoing("9.2")]))
        journal.outbox.confirm(1, clock())
        clock.now += 6.9 * DAY_S
        shelf_of(journal).free(paths[0])
        journal.tidy()
        assert paths[0].exists()
        clock.now += 0.2 * DAY_S
        journal.tidy()
        assert [path.exists() for path in paths] == [False, True]
        # What was not delivered, or not sent, stays for as long as it takes.
        assert [item.uid for item in journal.outbox.items()] == ["9.2"]
        assert not journal.instances.has("a", "1.1")


def test_what_was_dropped_is_told_again_for_as_long_and_has_no_file(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as journal:
        shelf = shelf_of(journal)
        path = shelf.keep(b"x")
        shelf.settle(path, "a", "1.1", "a localiser")
        (instance,) = journal.instances.undelivered()
        assert (instance.path, instance.dropped) == (None, "a localiser")
        assert list(path.parent.iterdir()) == []
        journal.deliver(Delivery((1,)))
        clock.now += 6.9 * DAY_S
        journal.tidy()
        assert shelf.knows("a", "1.1")
        clock.now += 0.2 * DAY_S
        journal.tidy()
        assert not shelf.knows("a", "1.1")


def test_what_is_being_read_is_not_removed(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as journal:
        path = kept(journal, "1.1")
        journal.deliver(Delivery((1,)))
        clock.now += 30 * DAY_S
        journal.tidy()
        assert path.exists()
        shelf_of(journal).free(path)
        journal.tidy()
        assert not path.exists()


@pytest.mark.parametrize("jump_days", [-4000, 4000])
def test_a_wall_clock_that_jumps_loses_nothing_and_keeps_nothing_for_longer(
    tmp_path: Path, jump_days: int
) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as journal:
        paths = [kept(journal, uid) for uid in ("1.1", "1.2")]
        journal.deliver(Delivery((1,)))
        for path in paths:
            shelf_of(journal).free(path)
        clock.now += jump_days * DAY_S
        journal.tidy()
        assert paths[1].exists()
        clock.now += 7.1 * DAY_S
        journal.tidy()
        assert [path.exists() for path in paths] == [False, True]


def test_delivered_series_make_room_the_oldest_first_and_whole(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as journal:
        shelf = shelf_of(journal, most_bytes=450)
        paths = [kept(journal, uid, uid[0]) for uid in ("1.1", "1.2", "2.1", "3.1")]
        for numbers in ((3,), (1, 2)):
            clock.now += 1
            journal.deliver(Delivery(numbers))
        # All are in use: nothing may go, and nothing else may come.
        with pytest.raises(ShelfFullError):
            shelf.keep(b"y" * 100)
        for path in paths:
            shelf.free(path)
        shelf.keep(b"y" * 100)
        assert [path.exists() for path in paths] == [True, True, False, True]
        shelf.settle(shelf.keep(b"y" * 100), "4", "4.1", None)
        shelf.settle(shelf.keep(b"y" * 100), "4", "4.2", None)
        assert [path.exists() for path in paths] == [False, False, False, True]
        assert journal.instances.total_bytes == 300
        with pytest.raises(ShelfFullError):
            shelf.keep(b"y" * 200)


def test_a_disk_below_the_watermark_takes_no_more_and_loses_nothing(disk: Path) -> None:
    settings = JournalSettings(least_free_bytes=200_000)
    with Journal(disk / "state", settings) as journal:
        shelf, paths = shelf_of(journal), []
        with suppress(ShelfFullError):
            while True:
                path = shelf.keep(bytes(10_000))
                shelf.settle(path, "a", f"1.{len(paths)}", None)
                paths.append(path)
        space = os.statvfs(disk)
        # Less the rows that were written since.
        assert space.f_bavail * space.f_frsize >= 150_000
        assert len(journal.instances.undelivered()) == len(paths) > 3
        # What was delivered makes room; the journal itself can still be written.
        journal.deliver(Delivery(tuple(range(1, len(paths) + 1))))
        for path in paths:
            shelf.free(path)
        shelf.settle(shelf.keep(bytes(10_000)), "b", "2.1", None)


def test_a_full_disk_refuses_and_leaves_nothing(disk: Path) -> None:
    with Journal(disk / "state", SMALL) as journal:
        shelf = shelf_of(journal)
        first = kept(journal, "1.1")
        (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096 - 4096))
        with suppress(ShelfFullError):
            shelf.settle(shelf.keep(bytes(60_000)), "a", "1.2", None)
            pytest.fail("a full disk took an instance")
        with pytest.raises(JournalError, match="cannot be written"):
            journal.deliver(Delivery((1,), outgoing=[outgoing("9.1", bytes(60_000))]))
        assert list(first.parent.iterdir()) == [first]
        assert [each.number for each in journal.instances.undelivered()] == [1]
        (disk / "filler").unlink()
        journal.deliver(Delivery())
        assert journal.instances.undelivered() == []
        assert journal.outbox.content(1) == bytes(60_000)


@pytest.mark.parametrize("at", ["write", "file", "folder", "commit"])
def test_a_failure_anywhere_before_the_answer_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real, calls = os.fsync, []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) == (1 if at == "file" else 2):
            raise full
        real(handle)

    with opened(tmp_path) as journal:
        shelf = shelf_of(journal)
        if at == "write":
            monkeypatch.setattr(os, "open", lambda *_args: (_ for _ in ()).throw(full))
        elif at == "commit":
            with journal._database.look() as rows:
                rows.execute("PRAGMA max_page_count = 1")
                pages = rows.execute("PRAGMA page_count").fetchone()[0]
                rows.execute(f"PRAGMA max_page_count = {pages}")
        else:
            monkeypatch.setattr(os, "fsync", fsync)
        taken = 0
        with suppress(ShelfFullError):
            while taken < 200:
                path = shelf.keep(b"x")
                shelf.settle(path, "a", f"1.{taken}" + ".1" * 25, None)
                taken += 1
        monkeypatch.undo()
        rows_there = journal.instances.undelivered()
        assert all(each.path is not None and each.path.exists() for each in rows_there)
        assert len(rows_there) == taken < 200


def test_objects_wait_for_their_release_and_are_dead_after_enough_refusals(tmp_path: Path) -> None:
    with opened(tmp_path, settings=HELD) as journal:
        journal.deliver(Delivery(outgoing=[outgoing("9.1"), outgoing("9.2"), outgoing("9.3")]))
        outbox = journal.outbox
        states = lambda: [item.state for item in outbox.items()]  # noqa: E731
        assert states() == [ItemState.HELD] * 3
        assert outbox.release([1, 3, 8]) == 2
        outbox.refuse(1, "refused with 0x0122", 2)
        assert states() == [ItemState.WAITING, ItemState.HELD, ItemState.WAITING]
        outbox.refuse(1, "refused with 0x0122", 2)
        outbox.confirm(3, NOW)
        assert states() == [ItemState.DEAD, ItemState.HELD, ItemState.SENT]
        assert outbox.content(3) is None
        # Nothing that was sent comes back to life, nothing held is retried.
        assert outbox.retry() == 1
        assert states() == [ItemState.WAITING, ItemState.HELD, ItemState.SENT]
        assert outbox.items()[0].refusals == 0
        assert outbox.drop([2, 3]) == 1
        assert [item.uid for item in outbox.items()] == ["9.1", "9.3"]
        assert outbox.content(2) is None


def test_an_object_is_fixed_when_it_is_put_in(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.deliver(Delivery(outgoing=[outgoing("9.1", b"first")]))
        journal.outbox.put_off([1], "no connection")
        journal.deliver(Delivery(outgoing=[outgoing("9.1", b"made again")]))
        (item,) = journal.outbox.items(ItemState.WAITING)
        assert (item.attempts, item.reason, item.size) == (1, "no connection", 5)
        assert journal.outbox.content(1) == b"first"


def test_what_was_removed_is_overwritten(tmp_path: Path) -> None:
    name = b"DOE^JANE" * 2000
    with opened(tmp_path) as journal:
        journal.deliver(Delivery(outgoing=[outgoing("9.1", name)]))
        journal.outbox.confirm(1, NOW)
        with journal._database.look() as rows:
            rows.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert b"DOE^JANE" not in (tmp_path / "state" / DATABASE).read_bytes()


def test_a_database_is_made_with_its_version(tmp_path: Path) -> None:
    database = Database(tmp_path / "j.sqlite")
    with database.look() as rows:
        assert rows.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    with suppress(ValueError), database.change() as rows:
        rows.execute("INSERT INTO written VALUES ('a', 1)")
        raise ValueError
    with database.look() as rows:
        assert rows.execute("SELECT count(*) FROM written").fetchone() == (0,)
    database.close()
