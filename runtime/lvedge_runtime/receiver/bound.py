"""Connections that cannot be held open, filled or stalled: what a peer sends is counted and timed."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from contextlib import suppress

_HEAD = struct.Struct(">BxL")
MOST_CONTROL_BYTES = 1 << 16
"""Largest unit that is no P-DATA: an association request with 128 contexts has some 20 KB."""

_DATA = 0x04


class TooMuchError(OSError):
    """A peer sends more, or for longer, than it may."""


class Bounds:
    """Follows the protocol data units (DICOM PS3.8, 9.3) in a byte stream and says when one is too much.

    Args:
        pdu_bytes: largest unit.
        picture_bytes: most bytes of units until ``answered``.
        pdu_s: longest time from a unit's first byte to its last.
    """

    def __init__(self, pdu_bytes: int, picture_bytes: int, pdu_s: float) -> None:
        self._pdu_bytes = pdu_bytes
        self._picture_bytes = picture_bytes
        self._pdu_s = pdu_s
        self._head = b""
        self._left = 0
        self._began = 0.0
        self._since_answer = 0

    def feed(self, data: bytes, now: float) -> None:
        """Take note of bytes that came.

        Raises:
            TooMuchError: if they make a unit that is too long or takes too long, or a message that is.
        """
        self._since_answer += len(data)
        if self._since_answer > self._picture_bytes:
            raise TooMuchError("a message beyond the limit")
        while data:
            if not self._left:
                if not self._head:
                    self._began = now
                missing = _HEAD.size - len(self._head)
                self._head, data = self._head + data[:missing], data[missing:]
                if len(self._head) < _HEAD.size:
                    break
                kind, self._left = _HEAD.unpack(self._head)
                self._head = b""
                most = self._pdu_bytes if kind == _DATA else MOST_CONTROL_BYTES
                if self._left > most:
                    raise TooMuchError("a data unit beyond the limit")
            taken = min(self._left, len(data))
            self._left -= taken
            data = data[taken:]
        if (self._left or self._head) and now - self._began > self._pdu_s:
            raise TooMuchError("a data unit that took too long")

    def answered(self) -> None:
        """A message was answered: the next may be as long again."""
        self._since_answer = 0


def hurry(connection: socket.socket) -> None:
    """Never wait with small packets: said once of a connection."""
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge(connection: socket.socket) -> None:
    """Acknowledge what came at once.

    A peer that holds a small packet back until its last one was acknowledged (RFC 896) would otherwise lose
    some 40 ms with every picture. Linux forgets this after a while: it is said again after every packet.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class BoundSocket(socket.socket):
    """A connection within bounds."""

    bounds: Bounds | None = None

    def shutdown(self, how: int, /) -> None:
        # pynetdicom closes a connection only where this succeeds; a peer that has gone makes it fail.
        with suppress(OSError):
            super().shutdown(how)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        acknowledge(self)
        if self.bounds is not None:
            self.bounds.feed(data, time.monotonic())
        return data


class BoundTls(ssl.SSLSocket):
    """The same over TLS."""

    bounds: Bounds | None = None

    def shutdown(self, how: int) -> None:
        with suppress(OSError):
            super().shutdown(how)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        data = super().recv(buflen, flags)
        acknowledge(self)
        if self.bounds is not None:
            self.bounds.feed(data, time.monotonic())
        return data
