"""An association as SCU, on which no peer can hold us up for longer than the time-outs say. On pynetdicom."""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association

from lvedge import __version__
from lvedge_runtime.journal.setting import OutboxSettings
from lvedge_runtime.receiver.bound import hurry
from lvedge_runtime.receiver.setting import TlsFiles
from lvedge_runtime.receiver.tls import client_context
from lvedge_runtime.sender.destination import Destination
from lvedge_runtime.sender.gate import stand_gate

_DUPLICATE = 0x0111
_PERMANENT = frozenset((0x0105, 0x0106, 0x0112, 0x0115, 0x0117, 0x0122, 0x0124))
"""Statuses of PS3.7, annex C, that a repetition does not change; beside 0xA9xx and 0xCxxx of PS3.4."""


class Verdict(Enum):
    """What a status of a C-STORE response means for an object."""

    SENT = "sent"
    LATER = "try it again later"
    BUSY = "nothing else either for a while"
    REFUSED = "refused for good"


class NoAssociationError(Exception):
    """There is no association with a destination, or no more; the message says why, in our words."""


def verdict_of(status: int) -> Verdict:
    """What a status means. A warning means that the object was stored."""
    if status in (0x0000, 0x0001, 0x0107, 0x0116, _DUPLICATE) or status >> 12 == 0xB:
        return Verdict.SENT
    if status >> 8 == 0xA7:
        return Verdict.BUSY
    if status in _PERMANENT or status >> 8 == 0xA9 or status >> 12 == 0xC:
        return Verdict.REFUSED
    return Verdict.LATER


class Link:
    """An open association with a destination."""

    def __init__(self, association: Association, settings: OutboxSettings) -> None:
        self._association = association
        self._settings = settings
        self._accepted = {
            (context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts
        }

    def takes(self, sop_class: str, syntax: str) -> bool:
        """Whether the destination takes objects of this class in this transfer syntax."""
        return (sop_class, syntax) in self._accepted

    def send(self, content: bytes) -> int:
        """The status of the answer to an object.

        Raises:
            NoAssociationError: if there was none in time.
        """
        settings = self._settings
        most_s = settings.timeout_s + len(content) / settings.slowest_bytes_s
        with _at_most(self._association, most_s):
            try:
                answer = self._association.send_c_store(dcmread(BytesIO(content)))
            except RuntimeError as err:  # pynetdicom's word for an association that has ended
                raise NoAssociationError("the association has ended") from err
        if "Status" not in answer:
            raise NoAssociationError("it did not answer in time, or hung up")
        return int(answer.Status)


@contextmanager
def linked(
    destination: Destination,
    contexts: Collection[tuple[str, str]],
    settings: OutboxSettings,
    calling: str,
    tls: TlsFiles | None,
) -> Iterator[Link]:
    """An association, released at the end.

    Args:
        destination: with whom.
        contexts: pairs of SOP class and transfer syntax.
        settings: the time-outs.
        calling: our AE title.
        tls: our certificates, where the destination wants them.

    Raises:
        NoAssociationError: if there is none.
        UsageError: if our certificates cannot be used.
    """
    ae = AE(calling)
    ae.implementation_version_name = f"LVEDGE_{__version__}"[:16]
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = settings.timeout_s
    arguments: dict[str, Any] = {}
    if destination.tls and tls is not None:
        arguments["tls_args"] = (client_context(tls), destination.host)
    watch = _Watch(settings.timeout_s)
    try:
        association = ae.associate(
            destination.host,
            destination.port,
            contexts=[build_context(sop_class, syntax) for sop_class, syntax in sorted(contexts)],
            ae_title=destination.called,
            evt_handlers=[(evt.EVT_CONN_OPEN, watch.opened)],
            **arguments,
        )
    except OSError as err:
        raise NoAssociationError(f"no connection: {err.strerror or type(err).__name__}") from err
    finally:
        watch.cancel()
    # Where no class is taken pynetdicom hangs up; each of them counts as refused.
    if not association.is_established and not association.rejected_contexts:
        raise NoAssociationError(
            "it rejects the association" if association.is_rejected else "no connection, or no answer in time"
        )
    stand_gate(association)
    try:
        yield Link(association, settings)
    finally:
        with _at_most(association, settings.timeout_s):
            if association.is_established:
                association.release()


class _Watch:
    """Hangs up after a while, whatever pynetdicom waits for: a peer may send a byte now and then.

    Args:
        seconds: how long.
        connection: on whom to hang up, once it is known.
    """

    def __init__(self, seconds: float, connection: socket.socket | None = None) -> None:
        self._seconds = seconds
        self._connection = connection
        self._timer: threading.Timer | None = None

    def opened(self, event: evt.Event) -> None:
        """A connection is there: the time runs from now on."""
        self._connection = _socket(event.assoc)
        if self._connection is not None:
            # A send that the peer does not take must not wait for ever: pynetdicom sets no time-out on it.
            self._connection.settimeout(self._seconds)
            hurry(self._connection)
        self.start()

    def start(self) -> None:
        self._timer = threading.Timer(self._seconds, self._hang_up)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _hang_up(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


def _socket(association: Association) -> socket.socket | None:
    wrapped = association.dul.socket
    return None if wrapped is None else wrapped.socket


@contextmanager
def _at_most(association: Association, seconds: float) -> Iterator[None]:
    """Hang up on a peer that needs longer than this."""
    watch = _Watch(seconds, _socket(association))
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
