"""Ports for servers that are started later."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives: it stays free until it is used."""
    lowest = int(_GIVEN.read_text(encoding="ascii").split()[0])
    for port in SystemRandom().sample(range(lowest // 2, lowest), 100):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
    raise RuntimeError(f"100 ports below {lowest} are taken")
