"""A journal: a folder of its own with one SQLite file and the received files, used by one run at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from lvedge.errors import JournalError
from lvedge_runtime.figure import Figure
from lvedge_runtime.journal.database import Database
from lvedge_runtime.journal.gauge import outbox_figures
from lvedge_runtime.journal.instance import Instances
from lvedge_runtime.journal.outbox import Outbox, Outgoing
from lvedge_runtime.journal.setting import JournalSettings
from lvedge_runtime.journal.underway import Underway

DATABASE, RECEIVED, UNDERWAY, LOCK = "journal.sqlite", "received", "underway", "lock"
DAY_S = 86_400.0


@dataclass
class Delivery:
    """What becomes durable at once when a series was measured.

    Args:
        numbers: the instances that were measured.
        lengths: how far each file of a sink is written and flushed to the disk, bytes.
        outgoing: objects to be sent.
        shown: (series, origin) of the provisional frames of other series that those files hold.
        whole: whether the files hold all that was written to them.
    """

    numbers: tuple[int, ...] = ()
    lengths: dict[Path, int] = field(default_factory=dict)
    outgoing: list[Outgoing] = field(default_factory=list)
    shown: frozenset[tuple[str, str]] = frozenset()
    whole: bool = True

    def then(self, later: Delivery) -> Delivery:
        """This delivery and a later one as one."""
        return Delivery(
            self.numbers + later.numbers,
            {**self.lengths, **later.lengths},
            self.outgoing + later.outgoing,
            later.shown,
            later.whole,
        )


class Journal:
    """The open journal of a folder; a context manager.

    Args:
        folder: its folder, made with mode 0700 where it is missing.
        settings: how much is kept, and whether objects wait for a release.
        now: seconds since 1970; what was delivered is removed by it, and nothing else.

    Raises:
        JournalError: if it cannot be opened, or another run uses it.
    """

    def __init__(self, folder: Path, settings: JournalSettings, now: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._now = now
        self._pending = Delivery()
        lock = _locked(folder)
        with ExitStack() as opened:
            opened.callback(os.close, lock)
            self._database = Database(folder / DATABASE)
            opened.callback(self._database.close)
            underway = Underway(folder / UNDERWAY)
            opened.callback(underway.close)
            self.instances = Instances(self._database, folder / RECEIVED, underway, settings.least_free_bytes)
            self.outbox = Outbox(self._database)
            self.tidy()
            self._opened = opened.pop_all()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def written(self, path: Path) -> int | None:
        """How long a sink's file was at the last delivery, bytes; None for one that is new to the journal."""
        with self._database.look() as rows:
            found = rows.execute("SELECT length FROM written WHERE path = ?", (str(path),)).fetchone()
        return None if found is None else int(found[0])

    def shown(self) -> frozenset[tuple[str, str]]:
        """The provisional frames that sinks' files held at the last delivery, of series that follow."""
        with self._database.look() as rows:
            return frozenset(rows.execute("SELECT series, origin FROM shown").fetchall())

    def figures(self, named: Collection[str]) -> Sequence[Figure]:
        """What can be followed of the outbox, whose destinations are those that sinks name, or others."""
        return outbox_figures(self.outbox, named, self._now)

    @property
    def is_behind(self) -> bool:
        """Whether there is a delivery that the disk did not take."""
        return self._pending != Delivery()

    def deliver(self, delivery: Delivery) -> None:
        """Make a delivery durable, all of it or nothing, with those that failed before.

        Raises:
            JournalError: if the disk does not take it; the next delivery tries it again.
        """
        self._pending = self._pending.then(delivery)
        if not self._pending.whole:
            raise JournalError("the disk of a sink's file takes nothing; free it")
        self._write(self._pending)
        self._pending = Delivery()

    def _write(self, delivery: Delivery) -> None:
        now = self._now()
        with self._database.change() as rows:
            rows.executemany(
                "UPDATE instance SET delivered = ? WHERE number = ?", [(now, n) for n in delivery.numbers]
            )
            rows.executemany(
                "INSERT INTO written VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET length = excluded.length",
                [(str(path), length) for path, length in delivery.lengths.items()],
            )
            rows.execute("DELETE FROM shown")
            rows.executemany("INSERT INTO shown VALUES (?, ?)", sorted(delivery.shown))
            for outgoing in delivery.outgoing:
                Outbox.put(rows, outgoing, self.settings.outbox.release, now)

    def tidy(self) -> None:
        """Remove what was delivered, and what was sent, more than ``keep_days`` ago; give disk back."""
        now = self._now()
        with self._database.change() as rows:
            # A clock that was put back must not keep anything for longer.
            rows.execute("UPDATE instance SET delivered = ? WHERE delivered > ?", (now, now))
            rows.execute("UPDATE item SET sent = ? WHERE sent > ?", (now, now))
            before = now - DAY_S * self.settings.keep_days
            rows.execute("DELETE FROM item WHERE state = 'sent' AND sent < ?", (before,))
        self.instances.tidy(before)
        self._database.give_back()


def outbox_of(folder: Path) -> tuple[Outbox, Database]:
    """The outbox of a journal that a run may be using, and what has to be closed.

    Raises:
        JournalError: if there is no journal.
    """
    if not (folder / DATABASE).is_file():
        raise JournalError(f"no journal in {folder}: name the folder that [journal] has in the settings")
    database = Database(folder / DATABASE)
    return Outbox(database), database


def obstacle(folder: Path) -> str | None:
    """Why no journal can lie in a folder, or None; nothing is left of the look, and a run may be using it."""
    try:
        if folder.exists() and not (folder / LOCK).exists() and any(folder.iterdir()):
            return _OTHER_FILES.format(folder)
        place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        with TemporaryDirectory(prefix=".lvedge-", dir=place):
            return None
    except OSError as err:
        return f"the journal's folder {folder} cannot be used: {err.strerror}"


_OTHER_FILES = "{} holds other files: give the journal a folder of its own"


def _locked(folder: Path) -> int:
    """The handle of a lock on a folder, until it is closed."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / LOCK).exists() and any(folder.iterdir()):
            raise JournalError(_OTHER_FILES.format(folder))
        folder.chmod(0o700)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as err:
        raise JournalError(f"the journal's folder {folder} cannot be used: {err.strerror}") from err
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        os.close(handle)
        raise JournalError(f"another run uses the journal in {folder}: give each its own folder") from err
    return handle
