"""Hostile peers of a receiver: silent, slow, many, boastful, of another mind. One thread plays all of them.

What they take of the processor themselves is taken from the receiver, too, where both share one: so they take
as little as they can.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

LIMITS = "associate_s = 2\npdu_s = 2\nidle_s = 3\n"
LIMIT_S = 3.0
"""The longest of them: a connection that stays open for longer, and some slack, is a fault."""

SLACK_S = 30.0
ADDRESS = "127.0.0.3"

Say = Callable[[socket.socket], Awaitable[None]]
"""What somebody says on a connection; it returns when the rest is up to the receiver."""


class Tally:
    """Connections that were made, and how long those stayed open that the receiver ended."""

    def __init__(self) -> None:
        self.made = 0
        self.ended_s: list[float] = []
        self.left_open = 0

    def note(self, seconds: float | None) -> None:
        self.made += 1
        if seconds is None:
            self.left_open += 1
        else:
            self.ended_s.append(seconds)

    def as_json(self) -> dict[str, Any]:
        longest = max(self.ended_s, default=0.0)
        return {"connections": self.made, "left_open": self.left_open, "longest_s": round(longest, 2)}


async def ended(port: int, say: Say) -> float | None:
    """How long the receiver bears with a connection on which this is said, or None if for too long."""
    began = time.monotonic()
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.bind((ADDRESS, 0))
        try:
            await asyncio.wait_for(_talked(connection, port, say), LIMIT_S + SLACK_S)
        except (TimeoutError, asyncio.TimeoutError):
            return None
        except OSError:
            pass
    return time.monotonic() - began


async def _talked(connection: socket.socket, port: int, say: Say) -> None:
    """Connect, say it, and hear the receiver out."""
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await say(connection)
    while await loop.sock_recv(connection, 4096):
        pass


async def silent(_connection: socket.socket) -> None:
    pass


async def slow(connection: socket.socket) -> None:
    """A byte now and then of a unit that never ends."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, struct.pack(">BBL", 1, 0, 500))
    while True:
        await loop.sock_sendall(connection, b"\0")
        await asyncio.sleep(0.3)


async def boasting(connection: socket.socket) -> None:
    await _sent(connection, struct.pack(">BBL", 4, 0, 2**31) + b"\0" * 4096)


async def web(connection: socket.socket) -> None:
    await _sent(connection, b"GET / HTTP/1.1\r\nHost: lvedge\r\n\r\n")


async def misnamed(connection: socket.socket) -> None:
    """An association request to another AE title."""
    await _sent(connection, request("ANOTHER"))


async def idle(connection: socket.socket) -> None:
    """An association on which nothing follows."""
    await _sent(connection, request("LVEDGE"))


def request(called: str, calling: str = "SCANNER") -> bytes:
    """An association request for echoes (DICOM PS3.8, 9.3.2)."""
    syntax = b"1.2.840.10008.1.2"
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    items += _item(0x20, b"\1\0\0\0" + _item(0x30, b"1.2.840.10008.1.1") + _item(0x40, syntax))
    items += _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3"))
    titles = called.encode().ljust(16), calling.encode().ljust(16)
    body = struct.pack(">HH16s16s32x", 1, 0, *titles) + items
    return struct.pack(">BBL", 1, 0, len(body)) + body


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


async def _sent(connection: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, data)


def half_a_handshake() -> Say:
    """The beginning of a TLS handshake, and nothing more."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()

    async def say(connection: socket.socket) -> None:
        await _sent(connection, hello[:-10])

    return say


def untrusted(folder: Path) -> Say:
    """A handshake with a certificate that signed itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(folder / "stranger.pem", folder / "stranger.key")

    async def say(connection: socket.socket) -> None:
        # A connection of its own, which its transport closes.
        reading, writing = await asyncio.open_connection(
            sock=connection.dup(), ssl=context, server_hostname=""
        )
        try:
            await reading.read(1)
        finally:
            writing.transport.abort()

    return say


PEOPLE: dict[str, tuple[Say, int, float]] = {
    "silent": (silent, 6, 0.5),
    "slow": (slow, 6, 0.5),
    "boasting": (boasting, 4, 0.5),
    "another protocol": (web, 4, 0.5),
    "another AE title": (misnamed, 4, 0.5),
    "idle association": (idle, 4, 0.5),
    "200 connections": (silent, 200, 3.0),
}
"""Name to what is said, how many do so at once, and the pause before they do it again."""


def people(certificates: Path | None) -> dict[str, tuple[Say, int, float]]:
    """Those who come to a plain port, or to one with TLS where there are certificates."""
    if certificates is None:
        return PEOPLE
    return {
        **PEOPLE,
        "another certificate": (untrusted(certificates), 4, 0.5),
        "half a handshake": (half_a_handshake(), 4, 0.5),
    }


def attack(port: int, seconds: float, certificates: Path | None) -> dict[str, Any]:
    """All of them at once for so long; what became of their connections."""
    return asyncio.run(_attack(port, seconds, certificates))


async def _attack(port: int, seconds: float, certificates: Path | None) -> dict[str, Any]:
    who = people(certificates)
    until, told = time.monotonic() + seconds, {name: Tally() for name in who}
    await asyncio.gather(
        *(
            _again(port, say, pause_s, until, told[name])
            for name, (say, count, pause_s) in who.items()
            for _ in range(count)
        )
    )
    return {name: tally.as_json() for name, tally in told.items()}


async def _again(port: int, say: Say, pause_s: float, until: float, tally: Tally) -> None:
    tally.note(await ended(port, say))
    while time.monotonic() + pause_s < until:
        await asyncio.sleep(pause_s)
        tally.note(await ended(port, say))
