"""Sinks under a journal: what they hold of a series becomes durable at once, and nothing twice."""

from __future__ import annotations

import logging

from lvedge.errors import JournalError
from lvedge.frame import Receipt
from lvedge.measurement import Cycle, Measurement
from lvedge_runtime.journal.journal import Delivery, Journal
from lvedge_runtime.sinks import Item, SharedSink

LOG = logging.getLogger("lvedge_runtime.journal")


class Deliverer:
    """Writes to sinks, and delivers what they were given when a receipt comes.

    Provisional frames that the sinks' files already held when an earlier run ended are measured again, so
    that the state of their slice is rebuilt, and not written again.

    Args:
        sinks: where results go.
        journal: remembers what was delivered; None to remember nothing.
    """

    def __init__(self, sinks: SharedSink, journal: Journal | None) -> None:
        self._sinks = sinks
        self._journal = journal
        self._before = frozenset() if journal is None else journal.shown()
        self._shown = set(self._before)
        self._passes_over = False

    def write(self, item: Item, stream: int = 0) -> None:
        if isinstance(item, Measurement) and item.frame.provisional and self._journal is not None:
            key = (item.frame.series, item.frame.origin)
            self._passes_over = key in self._before
            self._shown.add(key)
        if self._passes_over and isinstance(item, Measurement | Cycle) and _is_provisional(item):
            return
        self._sinks.write(item, stream)

    def deliver(self, receipt: Receipt) -> None:
        """Make durable what was written so far; where the disk does not take it, it is tried again later."""
        self._shown = {key for key in self._shown if key[0] != receipt.series}
        delivery = Delivery(numbers=receipt.numbers, shown=frozenset(self._shown))
        self._sinks.settle(delivery)
        if self._journal is None:
            return
        try:
            self._journal.deliver(delivery)
        except JournalError as err:
            LOG.warning("a delivery is tried again: %s", err)


def _is_provisional(item: Measurement | Cycle) -> bool:
    return item.frame.provisional if isinstance(item, Measurement) else item.provisional
