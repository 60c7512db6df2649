"""A SQLite file that has what it committed after a power cut, for several threads and processes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock

from lvedge.errors import JournalError

MIGRATIONS = (
    """
    CREATE TABLE instance (
        number INTEGER PRIMARY KEY,
        series TEXT NOT NULL,
        uid TEXT,
        size INTEGER NOT NULL,
        dropped TEXT,
        begun INTEGER NOT NULL DEFAULT 0,
        delivered REAL,
        UNIQUE (series, uid)
    );
    CREATE INDEX instance_delivered ON instance (delivered);
    CREATE TABLE written (
        path TEXT PRIMARY KEY,
        length INTEGER NOT NULL
    );
    CREATE TABLE shown (
        series TEXT NOT NULL,
        origin TEXT NOT NULL,
        PRIMARY KEY (series, origin)
    );
    CREATE TABLE item (
        number INTEGER PRIMARY KEY,
        destination TEXT NOT NULL,
        sop_class TEXT NOT NULL,
        uid TEXT NOT NULL,
        syntax TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('held', 'waiting', 'sent', 'dead')),
        attempts INTEGER NOT NULL DEFAULT 0,
        refusals INTEGER NOT NULL DEFAULT 0,
        reason TEXT NOT NULL DEFAULT '',
        made REAL NOT NULL,
        sent REAL,
        UNIQUE (destination, uid)
    );
    CREATE INDEX item_state ON item (state, destination);
    CREATE TABLE content (
        item INTEGER PRIMARY KEY REFERENCES item (number) ON DELETE CASCADE,
        bytes BLOB NOT NULL
    );
    """,
    "ALTER TABLE item ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;",
)
"""Version by version; the file's ``user_version`` says how many it has."""

BUSY_S = 10.0
INCREMENTAL = 2
"""``PRAGMA auto_vacuum``: pages that are free can be given back some at a time."""
PAGES_AT_ONCE, STEPS = 1024, 16
"""``give_back`` frees so many pages in a transaction, and so many times: 64 MB of the usual 4 KB."""
MOST_LOG_BYTES = 4 << 20
"""The log beside the file (WAL) keeps no more of the disk than this after a large transaction."""


class Database:
    """One connection, used by one thread at a time.

    Args:
        path: the file, made with mode 0600 where it is missing.

    Raises:
        JournalError: if it cannot be opened, is damaged, or was made by a later version.
    """

    def __init__(self, path: Path) -> None:
        self._lock = RLock()
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as err:
            raise _unusable(path, err) from err
        try:
            # The first counts where there is no table yet; of an older file see _make_shrinkable.
            for pragma in (
                f"auto_vacuum = {INCREMENTAL}",
                "journal_mode = WAL",
                "synchronous = FULL",
                "foreign_keys = ON",
                f"journal_size_limit = {MOST_LOG_BYTES}",
            ):
                self._connection.execute(f"PRAGMA {pragma}")
            # What was removed held data of persons.
            self._connection.execute("PRAGMA secure_delete = ON")
            self._migrate()
            self._make_shrinkable(path)
        except BaseException as err:
            if self._connection is not None:
                self._connection.close()
            if not isinstance(err, OSError | sqlite3.Error):
                raise
            raise JournalError(
                f"the journal {path} cannot be opened: {err}; free it or move it away"
            ) from err

    def _migrate(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise JournalError(
                f"the journal is of version {version}, made by a later lvedge: update this one"
            )
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            self._connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

    def _make_shrinkable(self, path: Path) -> None:
        """Rewrite a file that was made without ``auto_vacuum`` and never gives a page back.

        Its own pragma says whether that is done, no version: where there is no room for the copy, or another
        process has it open, it is done at a later start.
        """
        if self._number("auto_vacuum") == INCREMENTAL:
            return
        copy = (self._number("page_count") - self._number("freelist_count")) * self._number("page_size")
        disk = os.statvfs(path)
        if disk.f_bavail * disk.f_frsize < 2 * copy + MOST_LOG_BYTES:
            return
        with suppress(sqlite3.OperationalError):
            self._connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
            self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def give_back(self) -> None:
        """Give free pages back to the disk, at most 64 MB of them; a disk that takes nothing keeps them."""
        with self._lock, suppress(sqlite3.OperationalError):
            for _ in range(STEPS):
                if not self._number("freelist_count"):
                    break
                # A step frees a page, and execute() takes one step: of a script all are taken.
                self._connection.executescript(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})")
                # Only now the file is shorter; a log that is left as it is would grow by what was moved.
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _number(self, pragma: str) -> int:
        return int(self._connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on the disk when the block has ended, or nothing.

        Raises:
            JournalError: if the disk does not take it.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as err:
                # SQLite has rolled back by itself where its disk was full.
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                if isinstance(err, sqlite3.Error):
                    raise JournalError(f"the journal cannot be written to: {err}; make room for it") from err
                raise

    @contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read from.

        Raises:
            JournalError: if it cannot be read.
        """
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as err:
                raise JournalError(f"the journal cannot be read: {err}") from err

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _unusable(path: Path, err: Exception) -> JournalError:
    return JournalError(f"the journal {path} cannot be opened: {err}; free it or move it away")
