"""Associations of those whom the lobby hands over. Over pynetdicom's server."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import TRANSITION_TABLE, StateMachine
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.transport import AssociationServer, RequestHandler

from lvedge_runtime.receiver.admission import Admission
from lvedge_runtime.receiver.intake import Tally
from lvedge_runtime.receiver.lobby import Address, Connection, Lobby
from lvedge_runtime.receiver.rest import may_rest
from lvedge_runtime.receiver.setting import Settings
from lvedge_runtime.trace import places_of


class _States(StateMachine):
    """pynetdicom's, whose thread ends with an error where a peer that has gone is still to be answered.

    What does not belong to the state (DICOM PS3.8, table 9-10) is left out; time limits end the rest.
    """

    def do_action(self, event: str) -> None:
        if (event, self.current_state) in TRANSITION_TABLE:
            super().do_action(event)


def _act_on(request: bytes, provider: DULServiceProvider) -> bool:
    """Let a provider that has not begun find a request as if it had just come; whether it is one.

    pynetdicom looks into a request's items (PS3.8, 9.3.2) when it acts on it, where an error ends the thread;
    here a value that is not allowed makes it one that cannot be decoded, which is answered with an abort.
    """
    try:
        unit, event = provider._decode_pdu(bytearray(request))
        if isinstance(unit, A_ASSOCIATE_RQ):
            unit.protocol_version = _VERSION
            unit.to_primitive()
    except Exception:  # noqa: BLE001 - as pynetdicom does: whatever a peer's bytes raise, they are no unit
        provider.event_queue.put(_NO_UNIT)
        return False
    provider._recv_pdu.put(unit)
    provider.event_queue.put(event)
    return True


_VERSION = 1
"""All that pynetdicom takes; of what a peer says, the lobby has looked at the one bit that counts."""

_NO_UNIT = "Evt19"
"""pynetdicom's name for a data unit that cannot be decoded."""


class Handler(RequestHandler):
    """Makes an association of a connection and the request that was read from it.

    A peer's nonsense does not end it with an error.
    """

    server: Server

    def __init__(self, asked: tuple[Connection, bytes], address: Address, server: Server) -> None:
        connection, self._request = asked
        super().__init__(connection, address, server)

    def _create_association(self) -> Association:
        association = super()._create_association()
        association.dul.state_machine = _States(association.dul)
        may_rest(association)
        if _act_on(self._request, association.dul):
            association.run = partial(self._serve, association)  # type: ignore[method-assign]
        else:
            self.server.admission.broken(self.client_address[0], "its request cannot be decoded")
        return association

    def _serve(self, association: Association) -> None:
        """The association's thread: it gives up where pynetdicom's other one came too late to the request."""
        Association.run(association)
        if association.requestor.primitive is None:
            self.server.admission.broken(self.client_address[0], "its request waited for too long")


class Server(AssociationServer):
    """Associations for those who ask for one, each within bounds; connections wait in the lobby until then.

    Args:
        arguments, options: as for pynetdicom's.
        settings: peers and limits.
        tally: counts connections.
        context: how connections are secured, with ``BoundTls``; None for plain ones.
        rejection: why somebody is to have no association, as the lobby asks.
    """

    def __init__(
        self,
        *arguments: Any,
        settings: Settings,
        tally: Tally,
        context: ssl.SSLContext | None,
        rejection: Callable[[str, int, str, str], tuple[int, int] | None],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.admission = Admission(settings, tally)
        self._lobby = Lobby(
            cast(socket.socket, self.socket),
            settings.limits,
            self.admission,
            context,
            rejection,
            self._make_association,
        )

    def open(self) -> None:
        """Let peers in, until ``shutdown``; in threads of its own."""
        self._lobby.open()

    def shutdown(self) -> None:
        """Let nobody in any more; associations go on."""
        self._lobby.close()
        self.server_close()

    def _make_association(self, connection: Connection, address: Address, request: bytes) -> None:
        try:
            Handler((connection, request), address, self)
        except Exception as err:  # noqa: BLE001 - the lobby goes on
            self.admission.broken(address[0], places_of(err))
            self.shutdown_request(connection)
