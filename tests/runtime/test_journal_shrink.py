"""A journal that a long outage filled gives its disk back afterwards."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from small_disk import small_disk

from lvedge_runtime.journal import database as database_module
from lvedge_runtime.journal.database import INCREMENTAL, MIGRATIONS, Database
from lvedge_runtime.journal.journal import DATABASE, Delivery, Journal
from lvedge_runtime.journal.outbox import ItemState, Outgoing
from lvedge_runtime.journal.setting import JournalSettings

MB = 1 << 20
SETTINGS = JournalSettings(least_free_bytes=8 * MB)
ROOM = (100_000, 1 << 40, 1 << 20)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "48m") as folder:
        yield folder


def free(folder: Path) -> int:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize


def outgoing(number: int) -> Outgoing:
    return Outgoing("store://127.0.0.1:104", "1.2", f"9.{number}", "1.2.840.10008.1.2.1", os.urandom(MB))


def fill(journal: Journal) -> int:
    """Objects wait until nothing more is acknowledged; gives how many."""
    count = 0
    while journal.instances.make_room(*ROOM):
        journal.deliver(Delivery(outgoing=[outgoing(count)]))
        count += 1
    return count


def drain(journal: Journal) -> None:
    for item in journal.outbox.items(ItemState.WAITING):
        journal.outbox.confirm(item.number, 1.0)


def test_instances_are_taken_again_once_the_pacs_has_its_objects(disk: Path) -> None:
    with Journal(disk / "state", SETTINGS) as journal:
        before = free(disk)
        assert fill(journal) > 20
        drain(journal)
        journal.tidy()
        assert free(disk) > before - 5 * MB
        assert journal.instances.make_room(*ROOM)


def test_an_instance_that_needs_room_waits_for_no_tidying(disk: Path) -> None:
    with Journal(disk / "state", SETTINGS) as journal:
        fill(journal)
        assert not journal.instances.make_room(*ROOM)
        drain(journal)
        assert journal.instances.make_room(20 * MB, *ROOM[1:])


def test_an_outage_after_an_outage_finds_as_much_room(disk: Path) -> None:
    counts = []
    for _ in range(3):
        with Journal(disk / "state", SETTINGS) as journal:
            counts.append(fill(journal))
            drain(journal)
            with journal._database.change() as rows:
                rows.execute("DELETE FROM item")
    assert max(counts) - min(counts) <= 4


def test_a_little_is_given_back_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "STEPS", 1)
    monkeypatch.setattr(database_module, "PAGES_AT_ONCE", 256)
    path = tmp_path / "state" / DATABASE
    with Journal(tmp_path / "state", JournalSettings(least_free_bytes=1)) as journal:
        journal.deliver(Delivery(outgoing=[outgoing(k) for k in range(4)]))
        drain(journal)
        journal.tidy()
        sizes = [path.stat().st_size]
        for _ in range(2):
            journal.tidy()
            sizes.append(path.stat().st_size)
    # 256 pages, and the pages that say where pages lie.
    assert [MB <= a - b <= MB + 8192 for a, b in itertools.pairwise(sizes)] == [True, True]


def of_before(folder: Path, megabytes: int) -> None:
    """A journal as it was made before it could shrink, with objects that wait."""
    folder.mkdir()
    (folder / "lock").touch()
    with closing(sqlite3.connect(folder / DATABASE)) as rows:
        rows.execute("PRAGMA journal_mode = WAL")
        rows.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
        for number in range(1, megabytes + 1):
            values = (number, "store://127.0.0.1:104", "1.2", f"9.{number}", "1.2", "waiting", 1.0)
            names = "number, destination, sop_class, uid, syntax, state, made"
            rows.execute(f"INSERT INTO item ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            rows.execute("INSERT INTO content VALUES (?, ?)", (number, number.to_bytes(1, "big") * MB))
        rows.commit()


def shrinks(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as rows:
        return rows.execute("PRAGMA auto_vacuum").fetchone() == (INCREMENTAL,)


def test_a_journal_of_before_learns_to_shrink_and_loses_nothing(tmp_path: Path) -> None:
    of_before(tmp_path / "state", 6)
    path = tmp_path / "state" / DATABASE
    assert not shrinks(path)
    with Journal(tmp_path / "state", JournalSettings(least_free_bytes=1)) as journal:
        assert [journal.outbox.content(k) for k in range(1, 7)] == [bytes([k]) * MB for k in range(1, 7)]
        drain(journal)
        journal.tidy()
        assert path.stat().st_size < MB
    assert shrinks(path)


def test_a_disk_without_room_for_the_copy_puts_it_off(disk: Path) -> None:
    of_before(disk / "state", 20)
    before = free(disk)
    with Journal(disk / "state", SETTINGS) as journal:
        assert free(disk) > before - MB
        assert journal.outbox.content(20) == bytes([20]) * MB
        drain(journal)
    assert not shrinks(disk / "state" / DATABASE)
    with Journal(disk / "state", SETTINGS) as journal:
        assert journal.instances.make_room(*ROOM)
    assert shrinks(disk / "state" / DATABASE)
    assert (disk / "state" / DATABASE).stat().st_size < MB


def test_a_new_file_shrinks_from_the_beginning(tmp_path: Path) -> None:
    Database(tmp_path / "j.sqlite").close()
    assert shrinks(tmp_path / "j.sqlite")
