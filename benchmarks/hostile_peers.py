"""The latency of one scanner's stream while others are hostile, as a ratio to that while they are not.

    python -m benchmarks.hostile_peers --out benchmarks/results/hostile_peers.json

One scanner sends at its pace to the real command; quiet and hostile spells take turns, so that what else the
machine does falls on both. The hostile are silent, before or after an association request, slow, many, boast
of 2 GB, call another AE title, speak another protocol or, over TLS, show a certificate that nobody trusts or
stop in a handshake. Each has to be refused or timed out. They share the machine with the receiver: what they
take of it themselves is told.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.attackers import LIMITS, attack
from benchmarks.neighbour import DISCS, Box, Scanner, Sent, box, latencies, metrics, quantiles_ms
from benchmarks.provenance import provenance

# neighbour has put the tests' folder on the search path.
from certificates import write_certificates  # isort: skip

MEASURES = (
    "benchmarks/attackers.py",
    "benchmarks/hostile_peers.py",
    "benchmarks/neighbour.py",
    "runtime/lvedge_runtime/receiver",
)


def spell(running: Box, scanner: Scanner, seconds: float) -> Sent:
    """What the scanner sent in so long, all of its results written."""
    sent, until = Sent(), time.monotonic() + seconds
    scanner.begin()
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
            attacked = json.loads(said)
            rounds.append(
                {
                    "quiet_ms": quantiles_ms(latencies(running, quiet)),
                    "hostile_ms": quantiles_ms(latencies(running, hostile)),
                    "refused_of_the_scanner": quiet.refused + hostile.refused,
                    "unanswered_of_the_scanner": quiet.unanswered + hostile.unanswered,
                    **attacked,
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
        "processor_share_of_the_attackers": round(
            statistics.median(r["processor_s_of_the_attackers"] for r in rounds) / options.seconds, 3
        ),
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
        before = time.process_time()
        told = attack(options.attack, options.seconds, options.certificates)
        took_s = round(time.process_time() - before, 2)
        print(json.dumps({"attackers": told, "processor_s_of_the_attackers": took_s}))
        return
    words = f"--rounds {options.rounds} --seconds {options.seconds:g} --rate {options.rate:g}"
    command = f"python -m benchmarks.hostile_peers {words} --bundle {Path(options.bundle).name}"
    head = provenance(command, MEASURES) if options.out else None
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_certificates(folder, "box", "scanner")
        found = {"plain": compared(folder, options, None), "tls": compared(folder, options, folder)}
    if head:
        options.out.write_text(json.dumps({**head, "results": found}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    sys.exit(any(part["attackers_left_open"] for part in found.values()))


if __name__ == "__main__":
    main()
