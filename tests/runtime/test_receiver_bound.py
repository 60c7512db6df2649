"""Every byte of a peer counted and timed, at times that the test says."""

from __future__ import annotations

import socket
import struct

import pytest

from lvedge_runtime.receiver.bound import Bounds, BoundSocket, TooMuchError


def unit(kind: int, size: int) -> bytes:
    return struct.pack(">BBL", kind, 0, size) + bytes(size)


def bounds() -> Bounds:
    return Bounds(pdu_bytes=100_000, picture_bytes=250_000, pdu_s=10.0)


def test_units_in_pieces_of_any_size_are_followed() -> None:
    stream = unit(1, 300) + unit(4, 90_000) + unit(4, 0) + unit(5, 4)
    for size in (1, 5, 6, 7, 4096, len(stream)):
        following = bounds()
        for k in range(0, len(stream), size):
            following.feed(stream[k : k + size], now=k / len(stream))
        # The next head is a head again, wherever the pieces were cut.
        with pytest.raises(TooMuchError, match="data unit beyond the limit"):
            following.feed(struct.pack(">BBL", 4, 0, 100_001), now=1.0)


@pytest.mark.parametrize(("kind", "size"), [(1, (1 << 16) + 1), (4, 100_001), (7, 2**32 - 1), (71, 1 << 17)])
def test_a_length_beyond_the_limit_is_refused_by_its_head(kind: int, size: int) -> None:
    with pytest.raises(TooMuchError, match="data unit beyond the limit"):
        bounds().feed(struct.pack(">BBL", kind, 0, size), now=0.0)


def test_a_unit_may_take_so_long_however_often_bytes_come() -> None:
    following = bounds()
    following.feed(unit(4, 90)[:20], now=100.0)
    following.feed(b"\0", now=109.9)
    with pytest.raises(TooMuchError, match="took too long"):
        following.feed(b"\0", now=110.1)


def test_between_units_any_time_may_pass() -> None:
    following = bounds()
    following.feed(unit(4, 90), now=0.0)
    following.feed(unit(4, 90), now=1e6)


def test_a_message_may_have_so_many_bytes_until_it_is_answered() -> None:
    following = bounds()
    for _ in range(3):
        following.feed(unit(4, 90_000), now=0.0)
        following.feed(unit(4, 90_000), now=0.0)
        following.answered()
    following.feed(unit(4, 90_000) * 2, now=0.0)
    with pytest.raises(TooMuchError, match="message beyond the limit"):
        following.feed(unit(4, 90_000), now=0.0)


def test_a_packet_is_acknowledged_at_once() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as peer,
        BoundSocket(fileno=server.accept()[0].detach()) as connection,
    ):
        peer.sendall(b"\x05")
        assert connection.recv(16) == b"\x05"
        # That nothing is held back is said where a connection is accepted, not with every packet.
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        if hasattr(socket, "TCP_QUICKACK"):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1
