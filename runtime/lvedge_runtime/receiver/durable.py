"""A shelf whose files outlive the process: what was acknowledged is in the journal."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from lvedge.errors import JournalError
from lvedge_runtime.journal.instance import Instances
from lvedge_runtime.receiver.setting import Limits
from lvedge_runtime.receiver.shelf import ShelfFullError

LOG = logging.getLogger("lvedge_runtime.receiver")


class DurableShelf:
    """The journal's instances as a ``Shelf``.

    Args:
        instances: the journal's.
        limits: how much there is room for; delivered files make room for new ones.
    """

    def __init__(self, instances: Instances, limits: Limits) -> None:
        self._instances = instances
        self._limits = limits
        self._lock = Lock()

    def __len__(self) -> int:
        return self._instances.in_use

    def keep(self, content: bytes) -> Path:
        """The file that now holds the content, not yet durable.

        Raises:
            ShelfFullError: if there is no room for it, or the disk has none.
        """
        limits = self._limits
        try:
            with self._lock:
                if not self._instances.make_room(len(content), limits.kept_bytes, limits.kept_pictures):
                    raise ShelfFullError
            return self._instances.write(content)
        except (OSError, JournalError) as err:
            raise ShelfFullError from err

    def knows(self, series: str, uid: str) -> bool:
        """Whether an instance came before, and is in the journal.

        Raises:
            ShelfFullError: if the disk does not say.
        """
        try:
            return bool(uid) and self._instances.has(series, uid)
        except JournalError as err:
            raise ShelfFullError from err

    def settle(self, path: Path, series: str, uid: str, dropped: str | None) -> None:
        """File and row are on the disk when this has returned.

        Raises:
            ShelfFullError: if the disk does not take them.
        """
        try:
            self._instances.record(path, series, uid, dropped)
        except (OSError, JournalError) as err:
            LOG.warning("an instance could not be made durable: %s", type(err.__cause__ or err).__name__)
            raise ShelfFullError from err
        if dropped is not None:
            self.discard(path)

    def begin(self, numbers: Sequence[int]) -> None:
        """Take note that these are measured from now on; a disk that does not take the note stops nothing."""
        try:
            self._instances.begin(numbers)
        except JournalError as err:
            LOG.warning("%s", err)

    def measuring(self, number: int | None) -> None:
        """Take note of whose series is measured just now, while it arrives."""
        self._instances.measuring(number)

    def discard(self, path: Path) -> None:
        """Remove a file that was kept and not settled."""
        path.unlink(missing_ok=True)

    def free(self, path: Path) -> None:
        """Nobody reads this file any more; it goes in its time."""
        self._instances.release(path)

    def close(self) -> None:
        """Nothing: what is left is left on purpose."""
