"""The source ``dicom://[host]:port``: what scanners send, as frames."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from queue import Empty
from types import TracebackType

from lvedge.errors import MissingExtraError, UsageError
from lvedge.frame import Frame, Given, Receipt, Rejected
from lvedge_runtime.figure import Figure
from lvedge_runtime.journal.journal import Journal
from lvedge_runtime.receiver.durable import DurableShelf
from lvedge_runtime.receiver.intake import QUEUED, Arrival, Intake, Keeper, Tally
from lvedge_runtime.receiver.reception import Reception
from lvedge_runtime.receiver.replay import Replay
from lvedge_runtime.receiver.setting import Settings, settings_from_config
from lvedge_runtime.receiver.shelf import Shelf
from lvedge_runtime.sources.source import BaseSource, SourceOptions
from lvedge_runtime.trace import places_of
from lvedge_runtime.uri import Uri

try:
    from lvedge_runtime.receiver.listener import Listener
except ImportError as err:
    raise MissingExtraError("pynetdicom", "dicom-net", "receiving DICOM") from err

LOG = logging.getLogger("lvedge_runtime.receiver")
LONGEST_WAIT_S = 0.25


class ReceiverSource(BaseSource):
    """Frames of the series that peers send; goes on until ``stop``, or until it was idle as long as asked.

    ``dicom://:11112?idle_s=30`` ends half a minute after the last instance, once all is measured.

    Args:
        uri: host, port, and ``idle_s``.
        options: what the user says beyond it; ``config`` names the settings.

    Raises:
        UsageError: if the URI says more, or the settings cannot be meant.
    """

    is_dicom = True

    def __init__(self, uri: Uri, options: SourceOptions) -> None:
        super().__init__(options)
        if uri.path.strip("/") or set(uri.query) - {"idle_s"}:
            raise UsageError(f"{str(uri)!r}: write dicom://[host]:port or dicom://[host]:port?idle_s=SECONDS")
        self._idle_s = _seconds(uri.query["idle_s"]) if "idle_s" in uri.query else math.inf
        self.settings = Settings() if options.config is None else settings_from_config(options.config)
        self._uri = uri
        self._shelf: Keeper | None = None
        self._stopped = False
        self._last = time.monotonic()
        """When something came last."""

    def __enter__(self) -> ReceiverSource:
        limits = self.settings.limits
        journal: Journal | None = self.options.journal
        if journal is None:
            self._shelf = Shelf(limits.kept_bytes, limits.kept_pictures)
        else:
            self._shelf = DurableShelf(journal.instances, limits)
        try:
            self._intake = Intake(self.settings, self.options, self._shelf, time.monotonic)
            self._reception = Reception(self.settings, self.options, self._shelf)
            self._replay = None if journal is None else Replay(journal, self._intake)
            self._geometries = self._reception.geometries
            self._origins = self._reception.origins
            self._listener = Listener(self._uri, self.settings, self._intake)
            self._listener.__enter__()
        except BaseException:
            self._shelf.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shelf is not None:
            self._listener.__exit__(kind, error, trace)
            self._shelf.close()
            self._shelf = None
            counts = self.tally.as_dict()
            words = ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing"
            LOG.info("received: %s", words, extra={"fields": {"event": "received", **counts}})

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._listener.port

    @property
    def tally(self) -> Tally:
        """How often what happened."""
        return self._intake.tally

    @property
    def figures(self) -> Sequence[Figure]:
        """What came, how much of it waits, and who is connected."""
        intake, listener, shelf = self._intake, self._listener, self._shelf
        return (
            Figure(
                "instances_total",
                "Instances and echoes that came, by what became of them.",
                intake.tally.as_dict,
                kind="outcome",
                grows=True,
            ),
            Figure(
                "connections_total",
                "Connections and associations, by how they began or ended.",
                listener.tally.as_dict,
                kind="outcome",
                grows=True,
            ),
            Figure(
                "associations_open", "Associations that are open.", lambda: float(listener.open_associations)
            ),
            Figure(
                "queue_depth",
                "Acknowledged instances that wait to be measured.",
                lambda: float(intake.queue.qsize()),
                most=QUEUED / 2,
            ),
            Figure(
                "kept_instances",
                "Instances that are kept until their series is forgotten.",
                lambda: float(0 if shelf is None else len(shelf)),
                most=0.9 * self.settings.limits.kept_pictures,
            ),
        )

    def stop(self) -> bool:
        """Take nothing more in. May be called from another thread.

        What has come is still measured; under a journal a series that is arriving waits for the next run.
        """
        self._stopped = True
        return True

    def __iter__(self) -> Iterator[Given]:
        if self._replay is not None:
            for kept in self._replay.undelivered():
                self.options.turned()
                if self._stopped:  # the journal keeps what was not delivered for the next run
                    return
                yield from self._safely(self._taken(kept))
        self._last = time.monotonic()
        while True:
            self.options.turned()
            if self._stopped:
                # What an association still holds was not acknowledged, and comes again.
                self._listener.__exit__(None, None, None)
            arrival = self._next()
            if arrival is not None:
                self._last = arrival.at
                yield from self._safely(self._taken(arrival))
                continue
            # Nothing waits: only now can anything be said to be missing.
            now = time.monotonic()
            if self._is_over(now):
                # Under a journal what is still arriving is left to the next run: half a stack's slices have
                # other numbers, and an archive keeps what it was sent.
                if self._replay is None or not self._stopped:
                    yield from self._safely(self._reception.finish())
                return
            yield from self._safely(self._reception.step_over(now))
            yield from self._safely(self._by_turns(self._reception.complete(now)))
            self._reception.forget(now)
            if self._replay is not None and self._replay.is_due(now):
                yield Receipt("")

    def _taken(self, arrival: Arrival) -> Iterator[Frame | Rejected]:
        """Give an arrival to the reception, after what was delivered of its series in earlier days."""
        if self._replay is not None and arrival.path is not None and arrival.series not in self._reception:
            for earlier in self._replay.delivered(arrival.series):
                self.options.turned()
                yield from self._reception.take(earlier)
        yield from self._reception.take(arrival)

    def _by_turns(self, whole: Iterator[Given]) -> Iterator[Given]:
        """A whole series, and for each of its frames one arrival: no scanner waits for another's stack."""
        for given in whole:
            yield given
            if not isinstance(given, Frame) or self._intake.queue.empty():
                continue
            arrival = self._intake.queue.get_nowait()
            self._last = arrival.at
            yield from self._safely(self._taken(arrival))

    def _safely(self, items: Iterator[Given]) -> Iterator[Given]:
        """The items; whatever an instance does to us, the next one is measured."""
        try:
            yield from items
        except Exception as err:  # noqa: BLE001 - a bug of ours, told by its places
            words = "what came could not be put in order: %s"
            LOG.error(words, places_of(err), extra={"fields": {"event": "reception failed"}})
            self.tally.add("failed")
            yield Rejected("what came last", "a fault of lvedge's own; its places are in the log")
        # Whoever measures has come back for more, and is not in the middle of anything.
        if self._shelf is not None:
            self._shelf.measuring(None)

    def _next(self) -> Arrival | None:
        """The next arrival; None where something else is to be done first."""
        queue = self._intake.queue
        wait_s = self._reception.due() - time.monotonic()
        try:
            if wait_s <= 0 or self._stopped:
                return queue.get_nowait()
            return queue.get(timeout=min(wait_s, LONGEST_WAIT_S))
        except Empty:
            return None

    def _is_over(self, now: float) -> bool:
        if self._stopped:
            return self._intake.queue.empty()
        idle = now >= self._last + self._idle_s and not self._listener.open_associations
        return idle and self._intake.queue.empty()


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e9:
        raise UsageError(f"idle_s={text}: expected seconds above 0")
    return value
