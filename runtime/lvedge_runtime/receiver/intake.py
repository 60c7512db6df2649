"""Acknowledging: what happens to an instance before its sender gets an answer, in one place.

``Intake.take`` decides whether an instance is ours, keeps it, hands it on, and only then gives the status of
the C-STORE response. What has to be durable before the answer belongs into ``Shelf.keep``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from threading import Lock

from lvedge.errors import SourceError
from lvedge_runtime.receiver.rule import reason_to_drop
from lvedge_runtime.receiver.setting import Settings
from lvedge_runtime.receiver.shelf import Shelf, ShelfFullError
from lvedge_runtime.sources.dicom_frames import fault_of, matches_series
from lvedge_runtime.sources.dicom_header import header_from_bytes
from lvedge_runtime.sources.dicom_image import Image, images_from_header
from lvedge_runtime.sources.dicom_order import name_of_series
from lvedge_runtime.sources.source import SourceOptions

LOG = logging.getLogger("lvedge_runtime.receiver")

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
"""Statuses of a C-STORE response (DICOM PS3.4, table B.2-1)."""

QUEUED = 4096
"""Arrivals between the associations and the measuring; a full queue holds senders up, then refuses."""

HELD_UP_S = 10.0


@dataclass(frozen=True)
class Arrival:
    """An instance that was acknowledged.

    Args:
        at: when, on the receiver's clock, seconds.
        series: name of its series.
        images: its pictures that are ours; none where it was dropped.
        path: the file that holds them, or None.
        dropped: why it is not measured, or None.
    """

    at: float
    series: str
    images: tuple[Image, ...] = ()
    path: Path | None = None
    dropped: str | None = None


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
        shelf: Shelf,
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
        try:
            path = self._shelf.keep(content)
        except ShelfFullError:
            return self._answered(OUT_OF_RESOURCES, "no room")
        try:
            arrival = self._arrival(path, images_from_header(path, path.name, header))
        except SourceError:
            self._shelf.free(path)
            return self._answered(CANNOT_UNDERSTAND, "damaged")
        if arrival.path is None:
            self._shelf.free(path)
        try:
            self.queue.put(arrival, timeout=self._held_up_s)
        except Full:
            self._shelf.free(path)
            return self._answered(OUT_OF_RESOURCES, "held up")
        return self._answered(SUCCESS, "dropped" if arrival.path is None else "taken")

    def _arrival(self, path: Path, images: Sequence[Image]) -> Arrival:
        series = name_of_series(images[0])
        reasons = [self._reason(image, series) for image in images]
        ours = tuple(image for image, reason in zip(images, reasons, strict=True) if reason is None)
        if not ours:
            return Arrival(self._clock(), series, dropped=reasons[0])
        return Arrival(self._clock(), series, ours, path)

    def _reason(self, image: Image, series: str) -> str | None:
        """Why a picture is not measured, or None."""
        if not matches_series(self._options.series, series, image):
            return "not the series that was asked for"
        return fault_of(image, self._options) or reason_to_drop(image, self._settings.rules)

    def _answered(self, status: int, what: str) -> int:
        self.tally.add(what)
        LOG.debug("an instance came: %s", what, extra={"fields": {"event": "instance", "outcome": what}})
        return status
