"""Connections: how many may be open, from where, and within what bounds. Over pynetdicom's server."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakKeyDictionary

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import TRANSITION_TABLE, StateMachine
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from lvedge_runtime.receiver.bound import Bounds, BoundSocket, BoundTls, hurry
from lvedge_runtime.receiver.intake import Tally
from lvedge_runtime.receiver.rate import Rate
from lvedge_runtime.receiver.setting import Settings

LOG = logging.getLogger("lvedge_runtime.receiver")

CONNECTING_BURST_S = 60.0
TOLD_A_MINUTE = 6.0
"""So many closed connections of one address are logged; all are counted. A log is not to be filled."""


class _States(StateMachine):
    """pynetdicom's, whose thread ends with an error where a peer that has gone is still to be answered.

    What does not belong to the state (DICOM PS3.8, table 9-10) is left out; time limits end the rest.
    """

    def do_action(self, event: str) -> None:
        if (event, self.current_state) in TRANSITION_TABLE:
            super().do_action(event)


def _whole(provider: DULServiceProvider) -> Callable[[bytearray], tuple[Any, str]]:
    """Decodes a protocol data unit as pynetdicom does, and an association request to its end.

    pynetdicom looks into a request's items (PS3.8, 9.3.2) when it acts on it, where an error ends the thread;
    here a value that is not allowed makes it one that cannot be decoded, which is answered with an abort.
    """
    decode = provider._decode_pdu

    def decoded(content: bytearray) -> tuple[Any, str]:
        unit, event = decode(content)
        if isinstance(unit, A_ASSOCIATE_RQ):
            unit.to_primitive()
        return unit, event

    return decoded


class Handler(RequestHandler):
    """Makes associations that a peer's nonsense does not end with an error."""

    def _create_association(self) -> Association:
        association = super()._create_association()
        association.dul.state_machine = _States(association.dul)
        association.dul._decode_pdu = _whole(association.dul)  # type: ignore[assignment,method-assign]
        return association


class Server(ThreadedAssociationServer):
    """Accepts no more connections than the limits allow, each within bounds, without waiting for any.

    Args:
        arguments, options: as for pynetdicom's; with ``Handler``, and a TLS context that makes ``BoundTls``.
        settings: peers and limits.
        tally: counts connections.
    """

    def __init__(self, *arguments: Any, settings: Settings, tally: Tally, **options: Any) -> None:
        self._settings = settings
        self._tally = tally
        self._telling = Rate(TOLD_A_MINUTE / 60.0, CONNECTING_BURST_S)
        self._connecting = Rate(settings.limits.peer_connections_a_minute / 60.0, CONNECTING_BURST_S)
        self.request_queue_size = 64
        self.daemon_threads = True
        self._connections: WeakKeyDictionary[socket.socket, str] = WeakKeyDictionary()
        super().__init__(*arguments, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        accepted, address = self.socket.accept()  # type: ignore[union-attr]
        limits = self._settings.limits
        bounds = Bounds(limits.pdu_bytes, limits.picture_bytes, limits.pdu_s)
        accepted.settimeout(limits.pdu_s)
        hurry(accepted)
        if self.ssl_context is None:
            connection = BoundSocket(fileno=accepted.detach())
            connection.settimeout(limits.pdu_s)
            connection.bounds = bounds
            return connection, address
        # The handshake waits for the association's own thread: here it would hold up everybody.
        secured = self.ssl_context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        cast(BoundTls, secured).bounds = bounds
        return secured, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        address = str(client_address[0])
        why = self._reason_to_close(address)
        if why is not None:
            self._tally.add("closed")
            if not self._telling.wait_s(address, time.monotonic()):
                LOG.warning(
                    "a connection from %s was closed: %s",
                    address,
                    why,
                    extra={"fields": {"event": "connection closed"}},
                )
            return False
        self._connections[request] = address
        self._tally.add("opened")
        return True

    def _reason_to_close(self, address: str) -> str | None:
        limits, peers = self._settings.limits, self._settings.peers
        if peers and not any(peer.is_at(address) for peer in peers):
            return "no listed peer is there"
        if self._connecting.wait_s(address, time.monotonic()):
            return "it connects too often"
        open_ones = [at for connection, at in self._connections.items() if connection.fileno() != -1]
        if len(open_ones) >= 2 * limits.associations:
            return f"{len(open_ones)} are open"
        if open_ones.count(address) >= 2 * limits.peer_associations:
            return f"{open_ones.count(address)} from there are open"
        return None

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        LOG.warning(
            "a connection ended before its association began",
            extra={"fields": {"event": "connection broken"}},
        )
        self._tally.add("broken")
