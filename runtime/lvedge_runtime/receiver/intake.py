"""Acknowledging: what happens to an instance before its sender gets an answer, in one place.

``Intake.take`` decides whether an instance is ours, keeps it, hands it on, and only then gives the status of
the C-STORE response. What the answer rests on is in the shelf: ``keep``, then ``settle``.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Condition, Lock
from typing import Protocol

from lvedge.errors import SourceError
from lvedge_runtime.receiver.rule import reason_to_drop
from lvedge_runtime.receiver.setting import Settings
from lvedge_runtime.receiver.shelf import ShelfFullError
from lvedge_runtime.sources.dicom_frames import fault_of, matches_series
from lvedge_runtime.sources.dicom_header import Header, header_from_bytes
from lvedge_runtime.sources.dicom_image import Image, images_from_header
from lvedge_runtime.sources.dicom_order import name_of_series
from lvedge_runtime.sources.source import SourceOptions

LOG = logging.getLogger("lvedge_runtime.receiver")

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
"""Statuses of a C-STORE response (DICOM PS3.4, table B.2-1)."""

QUEUED = 4096
"""Arrivals between the associations and the measuring; a full queue holds senders up, then refuses."""

HELD_UP_S = 10.0
LOOK_S = 0.02


@dataclass(frozen=True)
class Arrival:
    """An instance that was acknowledged.

    Args:
        at: when, on the receiver's clock, seconds.
        series: name of its series.
        images: its pictures that are ours; none where it was dropped.
        path: the file that holds them, or None.
        dropped: why it is not measured, or None.
        number: names it in the journal.
        again: it was delivered before, and is needed for a latecomer of its series.
    """

    at: float
    series: str
    images: tuple[Image, ...] = ()
    path: Path | None = None
    dropped: str | None = None
    number: int = 0
    again: bool = False


class Keeper(Protocol):
    """Where instances lie: a ``Shelf``, or a ``DurableShelf`` where there is a journal.

    Its length is how many are still read by somebody.
    """

    def __len__(self) -> int: ...

    def keep(self, content: bytes) -> Path: ...

    def knows(self, series: str, uid: str, /) -> bool: ...

    def settle(self, path: Path, series: str, uid: str, dropped: str | None, /) -> None: ...

    def begin(self, numbers: Sequence[int], /) -> None: ...

    def measuring(self, number: int | None, /) -> None: ...

    def discard(self, path: Path) -> None: ...

    def free(self, path: Path) -> None: ...

    def close(self) -> None: ...


class Tally:
    """How often what happened; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()

    def add(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def __getitem__(self, what: str) -> int:
        return self._counts[what]

    def as_dict(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)


class Intake:
    """Takes instances from any number of associations.

    Args:
        settings: rules and classes.
        options: what the user says of the source.
        shelf: where instances are kept.
        clock: seconds, monotonic.
        held_up_s: how long a sender waits for room in the queue.
    """

    def __init__(
        self,
        settings: Settings,
        options: SourceOptions,
        shelf: Keeper,
        clock: Callable[[], float],
        held_up_s: float = HELD_UP_S,
    ) -> None:
        self._settings = settings
        self._options = options
        self._shelf = shelf
        self._clock = clock
        self._held_up_s = held_up_s
        self.queue: Queue[Arrival] = Queue(QUEUED)
        self.tally = Tally()
        self._changed = Condition()
        self._taking: set[str] = set()

    def take(self, content: bytes) -> int:
        """The status to answer an instance with.

        Args:
            content: the instance as a file, with preamble and meta information.
        """
        try:
            header = header_from_bytes(content)
        except SourceError:
            return self._answered(CANNOT_UNDERSTAND, "damaged")
        if header.text("SOPClassUID") in self._settings.other_classes:
            return self._answered(SUCCESS, "dropped")
        uid = header.text("SOPInstanceUID")
        with self._alone(uid):
            return self._taken(content, header, uid)

    @contextmanager
    def _alone(self, uid: str) -> Iterator[None]:
        """Wait until nobody else takes an instance of this UID: only one of them is new."""
        with self._changed:
            self._changed.wait_for(lambda: uid not in self._taking)
            self._taking.add(uid)
        try:
            yield
        finally:
            with self._changed:
                self._taking.discard(uid)
                self._changed.notify_all()

    def _taken(self, content: bytes, header: Header, uid: str) -> int:
        try:
            path = self._shelf.keep(content)
        except ShelfFullError:
            return self._answered(OUT_OF_RESOURCES, "no room")
        try:
            arrival = self.arrival(path, images_from_header(path, path.name, header))
        except SourceError:
            self._shelf.discard(path)
            return self._answered(CANNOT_UNDERSTAND, "damaged")
        try:
            if self._shelf.knows(arrival.series, uid):
                self._shelf.discard(path)
                return self._answered(SUCCESS, "known")
            if not self._has_room():
                self._shelf.discard(path)
                return self._answered(OUT_OF_RESOURCES, "held up")
            self._shelf.settle(path, arrival.series, uid, arrival.dropped)
        except ShelfFullError:
            self._shelf.discard(path)
            return self._answered(OUT_OF_RESOURCES, "no room")
        # Several associations may have seen the last place: those that lost it wait for the next.
        self.queue.put(arrival)
        return self._answered(SUCCESS, "dropped" if arrival.path is None else "taken")

    def _has_room(self) -> bool:
        """Whether the queue has room, now or soon."""
        until = time.monotonic() + self._held_up_s
        while self.queue.full():
            if time.monotonic() >= until:
                return False
            time.sleep(LOOK_S)
        return True

    def now(self) -> float:
        """Seconds on the receiver's clock."""
        return self._clock()

    def arrival(self, path: Path, images: Sequence[Image]) -> Arrival:
        """A kept file as an arrival: as what its pictures are measured, or why not."""
        series, number = name_of_series(images[0]), int(path.stem)
        reasons = [self._reason(image, series) for image in images]
        ours = tuple(image for image, reason in zip(images, reasons, strict=True) if reason is None)
        if not ours:
            return Arrival(self._clock(), series, dropped=reasons[0], number=number)
        return Arrival(self._clock(), series, ours, path, number=number)

    def _reason(self, image: Image, series: str) -> str | None:
        """Why a picture is not measured, or None."""
        if not matches_series(self._options.series, series, image):
            return "not the series that was asked for"
        return fault_of(image, self._options) or reason_to_drop(image, self._settings.rules)

    def _answered(self, status: int, what: str) -> int:
        self.tally.add(what)
        LOG.debug("an instance came: %s", what, extra={"fields": {"event": "instance", "outcome": what}})
        return status
