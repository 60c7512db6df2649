"""What the journal holds of earlier: taken in once more, as if it arrived."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

from lvedge.errors import JournalError, SourceError
from lvedge_runtime.journal.instance import Instance
from lvedge_runtime.journal.journal import Journal
from lvedge_runtime.receiver.intake import Arrival, Intake
from lvedge_runtime.sources.dicom_header import read_header
from lvedge_runtime.sources.dicom_image import images_from_header

LOG = logging.getLogger("lvedge_runtime.receiver")
TIDY_S = 60.0
MOST_BEGUN = 10
"""A series whose measuring was begun so often and never ended ends every run: it is left out.

Begun as a whole, or while it arrived and the run ended over one of its pictures.
"""


class Replay:
    """Instances of a journal as arrivals.

    Args:
        journal: has them.
        intake: says what they are.
    """

    def __init__(self, journal: Journal, intake: Intake) -> None:
        self._journal = journal
        self._intake = intake
        self._tidied = -TIDY_S

    def undelivered(self) -> Iterator[Arrival]:
        """What was acknowledged and not delivered, in the order in which it came."""
        found = self._journal.instances.undelivered()
        if found:
            LOG.info("%d instances of an earlier run are measured", len(found))
        return self._arrivals(found)

    def delivered(self, series: str) -> Iterator[Arrival]:
        """What is still there of a series that was delivered, so that a latecomer finds it whole."""
        found = self._journal.instances.delivered(series)
        return (replace(arrival, again=True) for arrival in self._arrivals(found))

    def is_due(self, now: float) -> bool:
        """Remove what was kept for long enough, now and then; whether a delivery has to be tried again.

        Args:
            now: seconds, monotonic.
        """
        if now < self._tidied + TIDY_S:
            return False
        self._tidied = now
        try:
            self._journal.tidy()
        except JournalError as err:
            LOG.warning("%s", err)
        return self._journal.is_behind

    def _arrivals(self, instances: Iterable[Instance]) -> Iterator[Arrival]:
        for instance in instances:
            arrival = self._arrival(instance)
            if instance.path is not None and arrival.path is None:
                self._journal.instances.release(instance.path)
            yield arrival

    def _arrival(self, instance: Instance) -> Arrival:
        if instance.path is None:
            return self._left_out(instance, instance.dropped or "")
        if instance.begun >= MOST_BEGUN:
            return self._left_out(instance, f"{instance.begun} runs ended while they measured its series")
        try:
            images = images_from_header(instance.path, instance.path.name, read_header(instance.path))
            return self._intake.arrival(instance.path, images)
        except SourceError as err:
            LOG.error("instance %d of the journal is lost: %s", instance.number, err)
            return self._left_out(instance, "its file in the journal is damaged")

    def _left_out(self, instance: Instance, reason: str) -> Arrival:
        return Arrival(self._intake.now(), instance.series, dropped=reason, number=instance.number)
