"""``store://host:port``: DICOM objects of a series go into the journal's outbox, and from there to a PACS."""

from __future__ import annotations

import logging

from lvedge.errors import MissingExtraError, UsageError
from lvedge_runtime.derived.objects import objects_from_series
from lvedge_runtime.derived.series import NoObjectsError, SeriesCollector
from lvedge_runtime.derived.sink import content_of
from lvedge_runtime.journal.journal import Delivery
from lvedge_runtime.journal.outbox import Outgoing
from lvedge_runtime.receiver.setting import Settings
from lvedge_runtime.sinks import BaseSink, Item, RunContext

try:
    from lvedge_runtime.sender.destination import NO_JOURNAL, usable_destination
    from lvedge_runtime.sender.sender import Sender
except ImportError as err:
    raise MissingExtraError("pynetdicom", "dicom-net", "sending DICOM") from err

LOG = logging.getLogger("lvedge_runtime.sender")
PATIENCE_S = 10.0
"""So long the end of a run waits for what can be sent at once; the rest is sent by the next run."""


class StoreSink(BaseSink):
    """Structured report and segmentations of every series that is over, and its pictures with ``sc=true``.

    Objects are fixed in the journal together with the delivery of their series, and sent from a thread: a
    destination that is slow or down holds nothing up.

    Args:
        target: ``store://host:port?called=AE&calling=AE``, with ``&tls=true`` and ``&sc=true``.
        context: bundle and engine, the images of each series, the journal and the settings.

    Raises:
        UsageError: if the source is not DICOM, there is no journal, or TLS lacks its certificates.
        MissingExtraError: without highdicom or pynetdicom.
        SinkError: if the certificates cannot be used.
    """

    def __init__(self, target: str, context: RunContext) -> None:
        settings = context.settings or Settings()
        self._destination = usable_destination(target, settings)
        if context.journal is None:
            raise UsageError(NO_JOURNAL)
        if context.origin is None:
            raise UsageError(
                f"store:// refers to DICOM images, and {context.source or 'the source'} has none: measure "
                "dicom:PATH or dicom://[host]:port"
            )
        self._kinds = ("sr", "seg", "sc") if self._destination.pictures else ("sr", "seg")
        self._collector = SeriesCollector(context)
        self._made: list[Outgoing] = []
        self._outbox = context.journal.outbox
        self._sender = Sender(
            self._outbox, self._destination, settings.journal.outbox, settings.ae_title, settings.tls
        )
        self._sender.start()
        self._is_open = True

    def write(self, item: Item) -> None:
        measured = self._collector.take(item)
        if measured is None:
            return
        try:
            made = objects_from_series(measured, self._kinds)
        except NoObjectsError as why:
            LOG.warning("%s: nothing is sent: %s", measured.name, why)
            return
        for each in made:
            syntax = str(each.file_meta.TransferSyntaxUID)
            identity = (str(each.SOPClassUID), str(each.SOPInstanceUID), syntax)
            self._made.append(Outgoing(self._destination.name, *identity, content_of(each)))

    def settle(self, delivery: Delivery) -> None:
        delivery.outgoing += self._made
        self._made = []

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            left = self._sender.stop(PATIENCE_S)
            if left:
                LOG.info("%d objects wait for %s", left, self._destination.name)
