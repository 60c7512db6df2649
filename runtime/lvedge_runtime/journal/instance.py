"""Instances that were acknowledged: each with a file and a row until after its delivery."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from lvedge.disk import sync_folder
from lvedge.errors import JournalError
from lvedge_runtime.journal.database import Database
from lvedge_runtime.journal.underway import Underway

SUFFIX = ".dcm"
_COLUMNS = "number, series, dropped, begun"


@dataclass(frozen=True)
class Instance:
    """An instance that the journal holds.

    Args:
        number: names it; in the order of arrival.
        series: its series' name.
        path: its file, or None where it was dropped.
        dropped: why it is not measured, or None.
        begun: how often its series was begun to be measured as a whole, or ended a run while it arrived.
    """

    number: int
    series: str
    path: Path | None
    dropped: str | None
    begun: int


class Instances:
    """Files named by a count in a folder of the journal (0700, files 0600), and their rows.

    Args:
        database: has the rows.
        folder: has the files; those without a row are removed.
        underway: what the run before was measuring when it ended.
        least_free_bytes: so much of the disk stays free.

    Raises:
        JournalError: if the folder cannot be used.
    """

    def __init__(self, database: Database, folder: Path, underway: Underway, least_free_bytes: int) -> None:
        self._database = database
        self._underway = underway
        self._folder = folder
        self._least_free_bytes = least_free_bytes
        self._lock = Lock()
        self._in_use: set[int] = set()
        with database.look() as rows:
            known = {int(number) for (number,) in rows.execute("SELECT number FROM instance")}
            found = rows.execute("SELECT coalesce(sum(size), 0), count(nullif(size, 0)) FROM instance")
            self._total, self._files = map(int, found.fetchone())
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            for path in folder.iterdir():
                if path.stem.isdigit() and int(path.stem) not in known:
                    path.unlink()
        except OSError as err:
            raise JournalError(f"the journal's folder {folder} cannot be used: {err.strerror}") from err
        self._last = max(known, default=0)
        self._count_what_ended()

    def _count_what_ended(self) -> None:
        """The series over which the run before ended was begun once more."""
        number = self._underway.number
        if number is not None:
            with self._database.change() as rows:
                rows.execute(
                    "UPDATE instance SET begun = begun + 1 WHERE delivered IS NULL "
                    "AND series = (SELECT series FROM instance WHERE number = ?)",
                    (number,),
                )
        self.measuring(None)

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return self._total

    @property
    def in_use(self) -> int:
        """Files that somebody still reads; of these none is removed."""
        with self._lock:
            return len(self._in_use)

    def make_room(self, size: int, most_bytes: int, most_files: int) -> bool:
        """Whether another file may be written.

        What the database's file holds and does not use goes first, then delivered series, the oldest first.

        Args:
            size: of the file, bytes.
            most_bytes, most_files: how much may lie here.
        """
        if not self._has_disk(size):
            self._database.give_back()
        while not self._has_room(size, most_bytes, most_files):
            if not self._remove_oldest():
                return False
        return True

    def _has_room(self, size: int, most_bytes: int, most_files: int) -> bool:
        if self._total + size > most_bytes or self._files >= most_files:
            return False
        return self._has_disk(size)

    def _has_disk(self, size: int) -> bool:
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize >= self._least_free_bytes + size

    def write(self, content: bytes) -> Path:
        """A new file with this content; nothing is durable yet.

        Raises:
            OSError: if the disk does not take it; nothing is left of it then.
        """
        with self._lock:
            self._last += 1
            path = self._folder / f"{self._last:08d}{SUFFIX}"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "wb") as file:
                file.write(content)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path

    def has(self, series: str, uid: str) -> bool:
        """Whether an instance of that SOP Instance UID came before."""
        with self._database.look() as rows:
            found = rows.execute("SELECT 1 FROM instance WHERE series = ? AND uid = ?", (series, uid or None))
            return found.fetchone() is not None

    def record(self, path: Path, series: str, uid: str, dropped: str | None = None) -> None:
        """Make a file durable with its row; of what is dropped only the row stays.

        Raises:
            OSError: if the disk does not take the file.
            JournalError: if it does not take the row.
        """
        number, size = int(path.stem), 0
        if dropped is None:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
                size = os.fstat(handle).st_size
            finally:
                os.close(handle)
            sync_folder(self._folder)
        with self._database.change() as rows:
            rows.execute(
                "INSERT INTO instance (number, series, uid, size, dropped) VALUES (?, ?, ?, ?, ?)",
                (number, series, uid or None, size, dropped),
            )
        with self._lock:
            self._total += size
            if dropped is None:
                self._in_use.add(number)
                self._files += 1

    def begin(self, numbers: Sequence[int]) -> None:
        """Note that these are measured from now on: a series that ends every run is not tried for ever.

        Raises:
            JournalError: if the disk does not take it.
        """
        with self._database.change() as rows:
            rows.executemany(
                "UPDATE instance SET begun = begun + 1 WHERE number = ?", [(n,) for n in numbers]
            )

    def measuring(self, number: int | None) -> None:
        """Note whose series is measured just now, while it arrives; None for nobody's.

        A run that ends meanwhile counts as ``begin`` does. A disk that does not take the note stops nothing.
        """
        with suppress(OSError):
            self._underway.note(number)

    def release(self, path: Path) -> None:
        """Nobody reads this file any more: once delivered, it may go."""
        with self._lock:
            self._in_use.discard(int(path.stem))

    def undelivered(self) -> list[Instance]:
        """What was acknowledged and not delivered, in the order of arrival."""
        return self._found("delivered IS NULL", ())

    def delivered(self, series: str) -> list[Instance]:
        """What is still here of a series that was delivered."""
        return self._found("delivered IS NOT NULL AND dropped IS NULL AND series = ?", (series,))

    def _found(self, which: str, values: Sequence[object]) -> list[Instance]:
        with self._database.look() as rows:
            # The condition is one of ours, never a peer's.
            query = f"SELECT {_COLUMNS} FROM instance WHERE {which} ORDER BY number"  # nosec B608
            found = rows.execute(query, tuple(values)).fetchall()
        with self._lock:
            self._in_use.update(number for number, _, dropped, _ in found if dropped is None)
        return [
            Instance(
                number, series, None if dropped else self._folder / f"{number:08d}{SUFFIX}", dropped, begun
            )
            for number, series, dropped, begun in found
        ]

    def tidy(self, before: float) -> None:
        """Remove what was delivered before this time (seconds since 1970) and is not in use."""
        with self._database.look() as rows:
            found = rows.execute("SELECT number FROM instance WHERE delivered < ?", (before,)).fetchall()
        self._remove([number for (number,) in found if number not in self._in_use])

    def _remove_oldest(self) -> bool:
        """Remove the series that was delivered first and of which nothing is in use or undelivered."""
        with self._database.look() as rows:
            series = rows.execute(
                "SELECT series FROM instance GROUP BY series HAVING count(*) = count(delivered) "
                "AND sum(size) > 0 ORDER BY max(delivered)"
            ).fetchall()
            for (name,) in series:
                found = rows.execute("SELECT number FROM instance WHERE series = ?", (name,)).fetchall()
                numbers = [number for (number,) in found]
                if self._in_use.isdisjoint(numbers):
                    self._remove(numbers)
                    return True
        return False

    def _remove(self, numbers: Iterable[int]) -> None:
        """Rows first: a file without a row is removed at the next start, a row without a file is a loss."""
        numbers = list(numbers)
        if not numbers:
            return
        freed = [0, 0]
        with self._database.change() as rows:
            for number in numbers:
                found = rows.execute("SELECT size FROM instance WHERE number = ?", (number,)).fetchone()
                if found is not None:
                    rows.execute("DELETE FROM instance WHERE number = ?", (number,))
                    freed = [freed[0] + found[0], freed[1] + (found[0] > 0)]
        with self._lock:
            self._total -= freed[0]
            self._files -= freed[1]
            self._in_use.difference_update(numbers)
        for number in numbers:
            (self._folder / f"{number:08d}{SUFFIX}").unlink(missing_ok=True)
