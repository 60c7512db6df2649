"""The latency of one scanner's stream while others are hostile, as a ratio to that while they are not.

    python -m benchmarks.hostile_peers --out benchmarks/results/hostile_peers.json

One scanner sends at its pace to the real command; quiet and hostile spells take turns, so that what else the
machine does falls on both. The hostile are silent, slow, many, boast of 2 GB, call another AE title, speak
another protocol or, over TLS, show a certificate that nobody trusts. Each has to be refused or timed out.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.neighbour import DISCS, Box, Scanner, Sent, box, latencies, metrics, quantiles_ms
from benchmarks.provenance import provenance

# neighbour has put the tests' folder on the search path.
from certificates import write_certificate  # isort: skip

MEASURES = (
    "benchmarks/hostile_peers.py",
    "benchmarks/neighbour.py",
    "runtime/lvedge_runtime/receiver",
)
LIMITS = "associate_s = 2\npdu_s = 2\nidle_s = 3\n"
LIMIT_S = 3.0
"""The longest of them: a connection that stays open for longer, and some slack, is a fault."""

SLACK_S = 30.0
ATTACKER = "127.0.0.3"


class Tally:
    """Connections that were made, and how long those stayed open that the receiver ended."""

    def __init__(self) -> None:
        self.made = 0
        self.ended_s: list[float] = []
        self.left_open = 0
        self._lock = threading.Lock()

    def note(self, seconds: float | None) -> None:
        with self._lock:
            self.made += 1
            if seconds is None:
                self.left_open += 1
            else:
                self.ended_s.append(seconds)

    def as_json(self) -> dict[str, Any]:
        longest = max(self.ended_s, default=0.0)
        return {"connections": self.made, "left_open": self.left_open, "longest_s": round(longest, 2)}


def connected(port: int) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(LIMIT_S + SLACK_S)
    connection.bind((ATTACKER, 0))
    connection.connect(("127.0.0.1", port))
    return connection


def ended(port: int, say: Callable[[socket.socket], None]) -> float | None:
    """How long the receiver bears with a connection on which this is said, or None if for too long."""
    began = time.monotonic()
    try:
        with connected(port) as connection:
            say(connection)
            while connection.recv(4096):
                pass
    except TimeoutError:
        return None
    except (OSError, ssl.SSLError):
        pass
    return time.monotonic() - began


def silent(_connection: socket.socket) -> None:
    pass


def slow(connection: socket.socket) -> None:
    """A byte now and then of a unit that never ends."""
    connection.sendall(struct.pack(">BBL", 1, 0, 500))
    until = time.monotonic() + LIMIT_S + SLACK_S
    while time.monotonic() < until:
        connection.sendall(b"\0")
        time.sleep(0.3)
    raise TimeoutError


def boasting(connection: socket.socket) -> None:
    connection.sendall(struct.pack(">BBL", 4, 0, 2**31) + b"\0" * 4096)


def web(connection: socket.socket) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: lvedge\r\n\r\n")


def misnamed(connection: socket.socket) -> None:
    """An association request to another AE title (DICOM PS3.8, 9.3.2)."""
    syntax = b"1.2.840.10008.1.2"
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    items += _item(0x20, b"\1\0\0\0" + _item(0x30, b"1.2.840.10008.1.1") + _item(0x40, syntax))
    items += _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3"))
    body = struct.pack(">HH16s16s32x", 1, 0, b"ANOTHER".ljust(16), b"SCANNER".ljust(16)) + items
    connection.sendall(struct.pack(">BBL", 1, 0, len(body)) + body)


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def untrusted(folder: Path) -> Callable[[socket.socket], None]:
    """A handshake with a certificate that signed itself."""

    def say(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(folder / "stranger.pem", folder / "stranger.key")
        with context.wrap_socket(connection, do_handshake_on_connect=False) as secured:
            try:
                secured.do_handshake()
                secured.recv(1)
            except AttributeError as err:  # what Python says where the connection was closed before
                raise ConnectionError from err

    return say


PEOPLE: dict[str, tuple[Callable[[socket.socket], None], int, float]] = {
    "silent": (silent, 6, 0.5),
    "slow": (slow, 6, 0.5),
    "boasting": (boasting, 4, 0.5),
    "another protocol": (web, 4, 0.5),
    "another AE title": (misnamed, 4, 0.5),
    "200 connections": (silent, 200, 3.0),
}
"""Name to what is said, how many do so at once, and the pause before they do it again."""


def attack(port: int, seconds: float, certificates: Path | None) -> dict[str, Any]:
    """All of them at once for so long; what became of their connections."""
    people = dict(PEOPLE)
    if certificates is not None:
        people["another certificate"] = (untrusted(certificates), 4, 0.5)
    until, told = time.monotonic() + seconds, {name: Tally() for name in people}
    threads = []
    for name, (say, count, pause_s) in people.items():
        for _ in range(count):
            arguments = (port, say, pause_s, until, told[name])
            threads.append(threading.Thread(target=_again, args=arguments, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: tally.as_json() for name, tally in told.items()}


def _again(
    port: int, say: Callable[[socket.socket], None], pause_s: float, until: float, tally: Tally
) -> None:
    tally.note(ended(port, say))
    while time.monotonic() + pause_s < until:
        time.sleep(pause_s)
        tally.note(ended(port, say))


def spell(running: Box, scanner: Scanner, seconds: float) -> Sent:
    """What the scanner sent in so long, all of its results written."""
    sent, until = Sent(), time.monotonic() + seconds
    while time.monotonic() < until:
        scanner.send_cine(sent, until)
    waiting = time.monotonic() + 60
    while len(latencies(running, sent)) < len(sent.at) - 1 and time.monotonic() < waiting:
        time.sleep(0.1)
    return sent


def compared(folder: Path, options: argparse.Namespace, certificates: Path | None) -> dict[str, Any]:
    """Quiet and hostile spells by turns against one receiver, over TLS where there are certificates."""
    rounds: list[dict[str, Any]] = []
    with box(folder, options.bundle, limits=LIMITS, certificates=certificates, series_s=1e4) as running:
        scanner = Scanner(running, options.rate, certificates)
        spell(running, scanner, 3.0)  # all is warm
        for _ in range(options.rounds):
            quiet = spell(running, scanner, options.seconds)
            command = [sys.executable, "-m", "benchmarks.hostile_peers", "--attack", str(running.port)]
            if certificates is not None:
                command += ["--certificates", str(certificates)]
            with subprocess.Popen(
                [*command, "--seconds", str(options.seconds)], stdout=subprocess.PIPE, env=dict(os.environ)
            ) as attacker:
                time.sleep(1.5)  # until it has begun
                hostile = spell(running, scanner, options.seconds - 1.5)
                said, _ = attacker.communicate(timeout=300)
            rounds.append(
                {
                    "quiet_ms": quantiles_ms(latencies(running, quiet)),
                    "hostile_ms": quantiles_ms(latencies(running, hostile)),
                    "refused_of_the_scanner": quiet.refused + hostile.refused,
                    "attackers": json.loads(said),
                }
            )
        with suppress(OSError):
            scanner.close()
        counts = {name: value for name, value in metrics(running).items() if "connections" in name}
    ratios = {
        which: statistics.median(r["hostile_ms"][which] / r["quiet_ms"][which] for r in rounds)
        for which in ("p50", "p95")
    }
    left = sum(tally["left_open"] for r in rounds for tally in r["attackers"].values())
    return {
        "ratio_of_latency": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "attackers_left_open": left,
        "connections": counts,
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="a quiet and a hostile spell each")
    parser.add_argument("--seconds", type=float, default=12.0, help="of a spell")
    parser.add_argument("--rate", type=float, default=25.0, help="pictures a second")
    parser.add_argument("--bundle", default=DISCS, help="discs (default), default, or the path of one")
    parser.add_argument("--out", type=Path, help="the JSON to write (default: only print)")
    parser.add_argument("--certificates", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--attack", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack is not None:
        os.nice(5)
        print(json.dumps(attack(options.attack, options.seconds, options.certificates)))
        return
    words = f"--rounds {options.rounds} --seconds {options.seconds:g} --rate {options.rate:g}"
    command = f"python -m benchmarks.hostile_peers {words} --bundle {Path(options.bundle).name}"
    head = provenance(command, MEASURES) if options.out else None
    with TemporaryDirectory() as name:
        folder = Path(name)
        authority = write_certificate(folder, "ca")
        for whose in ("box", "scanner"):
            write_certificate(folder, whose, authority)
        write_certificate(folder, "stranger")
        found = {"plain": compared(folder, options, None), "tls": compared(folder, options, folder)}
    if head:
        options.out.write_text(json.dumps({**head, "results": found}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    sys.exit(any(part["attackers_left_open"] for part in found.values()))


if __name__ == "__main__":
    main()
