"""Who may connect: decided by address alone, before a connection is secured or heard."""

from __future__ import annotations

import logging
import socket
import time
from weakref import WeakKeyDictionary

from lvedge_runtime.receiver.intake import Tally
from lvedge_runtime.receiver.rate import Rate
from lvedge_runtime.receiver.setting import Settings

LOG = logging.getLogger("lvedge_runtime.receiver")

CONNECTING_BURST_S = 60.0
TOLD_A_MINUTE = 6.0
"""So many lines about connections of one address are logged; all are counted. A log is not to be filled."""


class Admission:
    """Knows the connections that are open, and says whether one more may be.

    Args:
        settings: peers and limits.
        tally: counts connections.
    """

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self._settings = settings
        self._tally = tally
        self._telling = Rate(TOLD_A_MINUTE / 60.0, CONNECTING_BURST_S)
        self._connecting = Rate(settings.limits.peer_connections_a_minute / 60.0, CONNECTING_BURST_S)
        self._open: WeakKeyDictionary[socket.socket, str] = WeakKeyDictionary()

    def refused(self, address: str) -> bool:
        """Whether a connection from there is to be closed unheard; counted and told where it is."""
        why = self._reason_to_refuse(address)
        if why is None:
            return False
        self._tally.add("closed")
        self.tell(address, "connection closed", f"was closed: {why}")
        return True

    def opened(self, connection: socket.socket, address: str) -> None:
        """This one was let in, and is open until somebody closes it."""
        self._open[connection] = address
        self._tally.add("opened")

    def secured(self, connection: socket.socket, address: str) -> None:
        """This one stands for one that was let in, over TLS."""
        self._open[connection] = address

    def broken(self, address: str, why: str, *, told: bool = True) -> None:
        """One that was let in ended before its association began; told where that is worth a line."""
        self._tally.add("broken")
        if told:
            self.tell(address, "connection broken", f"ended before its association began: {why}")

    def tell(self, address: str, event: str, words: str) -> None:
        """A line in the log, unless there were too many about that address."""
        if not self._telling.wait_s(address, time.monotonic()):
            LOG.warning("a connection from %s %s", address, words, extra={"fields": {"event": event}})

    def starved(self, why: str) -> None:
        """No connection can be accepted."""
        if not self._telling.wait_s("", time.monotonic()):
            LOG.error("no connection can be accepted: %s", why, extra={"fields": {"event": "starved"}})

    def connections(self) -> list[socket.socket]:
        """Those that are open."""
        return [connection for connection in self._open if connection.fileno() != -1]

    def _reason_to_refuse(self, address: str) -> str | None:
        limits, peers = self._settings.limits, self._settings.peers
        if peers and not any(peer.is_at(address) for peer in peers):
            return "no listed peer is there"
        if self._connecting.wait_s(address, time.monotonic()):
            return "it connects too often"
        open_ones = [self._open[connection] for connection in self.connections()]
        if len(open_ones) >= 2 * limits.associations:
            return f"{len(open_ones)} are open"
        if open_ones.count(address) >= 2 * limits.peer_associations:
            return f"{open_ones.count(address)} from there are open"
        if not self._is_named(address):
            others = sum(not self._is_named(at) for at in open_ones)
            if others >= limits.associations and any(peer.network is not None for peer in peers):
                return f"{others} from addresses that no peer names are open"
        return None

    def _is_named(self, address: str) -> bool:
        """Whether a peer is listed with this address, and not with any: they have half for themselves."""
        return any(peer.network is not None and peer.is_at(address) for peer in self._settings.peers)
