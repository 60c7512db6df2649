"""The lobby: where a connection waits, at next to no cost, until it has asked for an association.

pynetdicom gives every connection two threads that look for something to do a thousand times a second: silent
and slow peers would take the processor from those who send pictures. Here one thread waits for all of them.
It refuses who may not connect, secures the others, reads the first protocol data unit (DICOM PS3.8, 9.3) to
its end, and hands over only those whose unit is an association request that we take.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from lvedge_runtime.receiver.admission import Admission
from lvedge_runtime.receiver.bound import Bounds, BoundSocket, BoundTls, TooMuchError, hurry
from lvedge_runtime.receiver.setting import Limits
from lvedge_runtime.trace import places_of

BACKLOG = 4096
"""Connections that the kernel completes before they are accepted; it takes net.core.somaxconn at most. Where
they are too many it forgets some that the peer takes for open, who then waits for as long as it is silent."""

ACCEPTED_AT_ONCE = 16
ROUND_S = 0.002
"""A round takes at least so long: whatever peers do, the lobby runs 500 times a second at most."""

POLL_S = 0.1
STARVED_S = 0.1
"""How long nobody is let in where the process has no descriptors left."""

_REQUEST, _REJECT, _ABORT = 0x01, 0x03, 0x07
_HEAD = struct.Struct(">BxL")
_VERSION, _CALLED, _CALLING = slice(6, 8), slice(10, 26), slice(26, 42)
"""Protocol version and AE titles in an association request (PS3.8, table 9-11)."""

_ANSWER = struct.Struct(">BxLBBBB")
_PERMANENT = 1
_UNRECOGNIZED = _ANSWER.pack(_ABORT, 4, 0, 0, 2, 1)
_UNEXPECTED = _ANSWER.pack(_ABORT, 4, 0, 0, 2, 2)
"""A-ABORT by the provider: a data unit that there is not, or that does not come first (PS3.8, table 9-26)."""

_LEFT = "it left"
_UNREAD_BYTES = 4096
"""What a peer may have said beyond what was read: left unread, it resets the connection before the answer."""

Connection = BoundSocket | BoundTls
Address = tuple[str, int] | tuple[str, int, int, int]
"""Of a peer, as a socket gives it: over IPv4 or IPv6."""


class _EndedError(Exception):
    """A visitor has to go.

    Args:
        why: in words.
        answer: what it is told.
    """

    def __init__(self, why: str, answer: bytes = b"") -> None:
        super().__init__(why)
        self.answer = answer


@dataclass(eq=False)
class _Visitor:
    """A connection in the lobby.

    Args:
        connection: it.
        address: where it comes from.
        until: when it has to have asked.
        secured: whether nothing is left to do before it is heard.
        said: of its first data unit.
    """

    connection: Connection
    address: Address
    until: float
    secured: bool
    said: bytearray = field(default_factory=bytearray)


class Lobby:
    """Accepts connections and hands over those that ask for an association, in a thread of its own.

    Args:
        listening: a socket that listens.
        limits: in which time a peer has to ask for an association, and with how many bytes.
        admission: who may connect.
        context: how connections are secured, with ``BoundTls``; None for plain ones.
        rejection: says of an address, a protocol version, a calling and a called AE title why there is to be
            no association, as source and reason of an A-ASSOCIATE-RJ (DICOM PS3.8, table 9-21); None where
            there is.
        hand_over: takes a connection, its address, and the association request that was read from it.
    """

    def __init__(
        self,
        listening: socket.socket,
        limits: Limits,
        admission: Admission,
        context: ssl.SSLContext | None,
        rejection: Callable[[str, int, str, str], tuple[int, int] | None],
        hand_over: Callable[[Connection, Address, bytes], None],
    ) -> None:
        self._listening = listening
        self._limits = limits
        self._admission = admission
        self._context = context
        self._rejection = rejection
        self._hand_over = hand_over
        self._visitors: set[_Visitor] = set()
        self._selector = selectors.DefaultSelector()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="lobby", daemon=True)

    def open(self) -> None:
        """Let connections in, until ``close``."""
        self._listening.listen(BACKLOG)
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._thread.start()

    def close(self) -> None:
        """Let nobody in any more and close what waits; nothing is handed over afterwards."""
        self._closing = True
        self._thread.join()
        for visitor in list(self._visitors):
            self._end(visitor)
        self._selector.close()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._visitors)

    def _run(self) -> None:
        while not self._closing:
            now = time.monotonic()
            first = min((visitor.until for visitor in self._visitors), default=now + POLL_S)
            for key, _events in self._selector.select(max(0.0, min(first - now, POLL_S))):
                if key.data is None:
                    self._accept()
                else:
                    self._attend(key.data)
            self._see_off(time.monotonic())
            time.sleep(ROUND_S)

    def _accept(self) -> None:
        """Let in, or refuse, some of those who wait at the door."""
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as err:
                self._admission.starved(err.strerror or places_of(err))
                time.sleep(STARVED_S)
                return
            if self._admission.refused(str(address[0])):
                accepted.close()
            else:
                self._let_in(accepted, address)

    def _let_in(self, accepted: socket.socket, address: Address) -> None:
        limits = self._limits
        connection = BoundSocket(fileno=accepted.detach())
        connection.setblocking(False)
        hurry(connection)
        connection.bounds = Bounds(limits.pdu_bytes, limits.picture_bytes, limits.pdu_s)
        until = time.monotonic() + limits.associate_s
        visitor = _Visitor(connection, address, until, secured=self._context is None)
        self._admission.opened(connection, str(address[0]))
        self._visitors.add(visitor)
        self._selector.register(connection, selectors.EVENT_READ, visitor)

    def _attend(self, visitor: _Visitor) -> None:
        """Go on with a visitor that has said something, and hand it over where that was all."""
        try:
            if not visitor.secured and not self._secure(visitor):
                return
            if self._hear(visitor):
                self._receive(visitor)
        except _EndedError as err:
            self._end(visitor, str(err), err.answer)
        except TooMuchError as err:
            self._end(visitor, str(err))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self._end(visitor, _LEFT)
        except ssl.SSLError:
            self._end(visitor, "it speaks no TLS, or its certificate is not trusted")
        except OSError:
            self._end(visitor, _LEFT)
        except Exception as err:  # noqa: BLE001 - whatever a peer does, the others are attended to
            self._end(visitor, places_of(err))

    def _receive(self, visitor: _Visitor) -> None:
        """Hand a visitor over that has asked for an association, or reject it."""
        said = visitor.said
        calling, called = (said[place].decode("ascii", "replace").strip() for place in (_CALLING, _CALLED))
        rejection = self._rejection(
            visitor.address[0], int.from_bytes(said[_VERSION], "big"), calling, called
        )
        if rejection is not None:
            self._end(visitor, answer=_ANSWER.pack(_REJECT, 4, 0, _PERMANENT, *rejection))
            return
        self._forget(visitor)
        visitor.connection.settimeout(self._limits.pdu_s)
        self._hand_over(visitor.connection, visitor.address, bytes(said))

    def _secure(self, visitor: _Visitor) -> bool:
        """Go on with its handshake; whether it is done. A TLS connection is made of it once it speaks."""
        if isinstance(visitor.connection, BoundSocket):
            self._wrap(visitor)
        secured = visitor.connection
        try:
            secured.do_handshake()  # type: ignore[union-attr]
        except ssl.SSLWantReadError:
            self._selector.modify(secured, selectors.EVENT_READ, visitor)
            return False
        except ssl.SSLWantWriteError:
            self._selector.modify(secured, selectors.EVENT_WRITE, visitor)
            return False
        self._selector.modify(secured, selectors.EVENT_READ, visitor)
        visitor.secured = True
        return True

    def _wrap(self, visitor: _Visitor) -> None:
        plain = visitor.connection
        self._selector.unregister(plain)
        secured: BoundTls = self._context.wrap_socket(  # type: ignore[union-attr,assignment]
            plain, server_side=True, do_handshake_on_connect=False
        )
        secured.bounds = plain.bounds
        visitor.connection = secured
        self._admission.secured(secured, visitor.address[0])
        self._selector.register(secured, selectors.EVENT_READ, visitor)

    def _hear(self, visitor: _Visitor) -> bool:
        """Read of the first data unit what is there, and no byte behind it; whether it is whole.

        Raises:
            _EndedError: if it is no association request, or there will be no more of it.
            TooMuchError: if it is longer, or takes longer, than allowed.
        """
        said, was_silent = visitor.said, not visitor.said
        while missing := _missing(said):
            try:
                data = visitor.connection.recv(missing)
            except (BlockingIOError, ssl.SSLWantReadError):
                if was_silent and said:
                    limit = time.monotonic() + self._limits.pdu_s
                    visitor.until = min(visitor.until, limit)
                return False
            if not data:
                raise _EndedError(_LEFT)
            said += data
            if said[0] != _REQUEST:
                known = 0 < said[0] <= _ABORT
                raise _EndedError("it asks for no association", _UNEXPECTED if known else _UNRECOGNIZED)
        return True

    def _see_off(self, now: float) -> None:
        """End the visits of those who had their time."""
        for visitor in [visitor for visitor in self._visitors if visitor.until <= now]:
            self._end(visitor, "it took too long to ask for an association")

    def _end(self, visitor: _Visitor, why: str = "", answer: bytes = b"") -> None:
        """Close a visitor's connection, and say why; an abort is no answer to an abort."""
        self._forget(visitor)
        if why:
            # Whoever only looks whether the port is open, as some do every minute, fills no log.
            told = why != _LEFT or bool(visitor.said)
            self._admission.broken(visitor.address[0], why, told=told)
        connection = visitor.connection
        if answer and visitor.said[:1] != bytes([_ABORT]):
            with suppress(OSError):
                connection.send(answer)
                connection.recv(_UNREAD_BYTES)
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def _forget(self, visitor: _Visitor) -> None:
        self._visitors.discard(visitor)
        with suppress(KeyError, ValueError):
            self._selector.unregister(visitor.connection)


def _missing(said: bytearray) -> int:
    """How much of the first data unit is to be read next; its type by itself, since most others end there."""
    if len(said) < _HEAD.size:
        return _HEAD.size - len(said) if said else 1
    _kind, length = _HEAD.unpack_from(said)
    return _HEAD.size + int(length) - len(said)
