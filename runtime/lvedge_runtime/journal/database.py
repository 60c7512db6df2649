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
)
"""Version by version; the file's ``user_version`` says how many it has."""

BUSY_S = 10.0


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
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            # What was removed held data of persons.
            self._connection.execute("PRAGMA secure_delete = ON")
            self._migrate()
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
