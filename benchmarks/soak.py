"""Hours of a scanner's pictures through the real command: memory, latency, descriptors, deadlines over time.

    python -m benchmarks.soak --out benchmarks/results/soak.json --plot benchmarks/results/soak.png
    python -m benchmarks.soak --seconds 28800 --bundle default --out soak.json --plot soak.png  # on a device

Stacks of 36 pictures follow each other over the network at a steady pace; the box measures each picture as
it comes, and each stack as a whole. What it tells in ``/metrics`` is read at even distances. With ``--pause``
the scanner waits between stacks, as it does while the patient breathes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.neighbour import DISCS, Box, Scanner, Sent, box, latencies, metrics, quantiles_ms
from benchmarks.provenance import provenance

MEASURES = (
    "benchmarks/soak.py",
    "benchmarks/neighbour.py",
    "runtime/lvedge_runtime/receiver",
    "runtime/lvedge_runtime/service",
)
GAUGES = {
    "memory_mb": ("process_resident_memory_bytes", 1e-6),
    "descriptors": ("process_open_fds", 1.0),
    "frames": ("lvedge_frames_total no", 1.0),
    "frames_with_lv": ("lvedge_frames_total yes", 1.0),
    "deadline_misses": ("lvedge_deadline_misses_total", 1.0),
    "queue_depth": ("lvedge_queue_depth", 1.0),
    "kept_instances": ("lvedge_kept_instances", 1.0),
    "associations_open": ("lvedge_associations_open", 1.0),
}
INSTANCES = "lvedge_instances_total"
"""What became of each picture, by outcome."""

FLAT_MB, FLAT_SHARE = 20.0, 0.05
"""Memory is flat where it grows by no more than the larger of these, from the first quarter to the last."""


def soaked(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What was seen at even distances."""
    seen: list[dict[str, Any]] = []
    with box(folder, options.bundle, deadline_ms=options.deadline_ms, journal=True) as running:
        scanner, began = Scanner(running, options.rate), time.monotonic()
        for k in range(max(1, round(options.seconds / options.every))):
            sent, until = Sent(), began + (k + 1) * options.every
            while time.monotonic() < until:
                scanner.send_cine(sent, until)
                if options.pause:
                    time.sleep(max(0.0, min(options.pause, until - time.monotonic())))
                    scanner.begin()
            seen.append(_look(running, sent, time.monotonic() - began))
            print(json.dumps(seen[-1]), file=sys.stderr, flush=True)
        scanner.close()
    return seen


def _look(running: Box, sent: Sent, at_s: float) -> dict[str, Any]:
    told = metrics(running)
    found = {name: round(told.get(metric, 0.0) * unit, 2) for name, (metric, unit) in GAUGES.items()}
    found |= {
        "instances": {name: told[f"{INSTANCES} {name}"] for name in _outcomes(told)},
        "at_s": round(at_s, 1),
        "sent": len(sent.answered_s),
        "refused": sent.refused,
        "unanswered": sent.unanswered,
        "behind_pace": sent.late,
        "latency_ms": quantiles_ms(latencies(running, sent)),
        "answer_ms": quantiles_ms(sent.answered_s),
    }
    for place in list(running.written):
        del running.written[place]  # this side's memory is to stay flat, too
    return found


def _outcomes(told: dict[str, float]) -> list[str]:
    return sorted(name.removeprefix(f"{INSTANCES} ") for name in told if name.startswith(f"{INSTANCES} "))


def summary(seen: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first and last quarter side by side, and whether memory and descriptors stayed as they were.

    Args:
        seen: in order; the first is left out, since all is still being loaded.
    """
    later = seen[1:] or seen
    quarter = max(1, len(later) // 4)
    first, last = later[:quarter], later[-quarter:]

    def most(part: Sequence[dict[str, Any]], name: str) -> float:
        return max(look[name] for look in part)

    memory = most(first, "memory_mb"), most(last, "memory_mb")
    descriptors = most(first, "descriptors"), most(last, "descriptors")
    measured = seen[-1]["frames"] + seen[-1]["frames_with_lv"]
    return {
        "sent": sum(look["sent"] for look in seen),
        "refused": sum(look["refused"] for look in seen),
        "unanswered": sum(look["unanswered"] for look in seen),
        "instances": seen[-1]["instances"],
        "behind_pace": sum(look["behind_pace"] for look in seen),
        "frames_measured": measured,
        "deadline_misses": seen[-1]["deadline_misses"],
        "memory_mb": {"first_quarter": memory[0], "last_quarter": memory[1]},
        "descriptors": {"first_quarter": descriptors[0], "last_quarter": descriptors[1]},
        "latency_ms_p50": {
            name: sorted(look["latency_ms"].get("p50", 0.0) for look in part)[len(part) // 2]
            for name, part in (("first_quarter", first), ("last_quarter", last))
        },
        "memory_is_flat": memory[1] - memory[0] <= max(FLAT_MB, FLAT_SHARE * memory[0]),
        "descriptors_are_flat": descriptors[1] <= descriptors[0] + 4,
    }


def plot(seen: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Four curves over time, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes = [look["at_s"] / 60 for look in seen]
    figure, axes = plt.subplots(4, 1, sharex=True, figsize=(8, 9), layout="constrained")
    for name in ("p50", "p95", "p99"):
        axes[0].plot(minutes, [look["latency_ms"].get(name) for look in seen], label=name)
    axes[0].set(ylabel="latency, ms", yscale="log", title=title)
    axes[0].legend()
    for axis, name, label in (
        (axes[1], "memory_mb", "memory, MB"),
        (axes[2], "descriptors", "descriptors"),
        (axes[3], "deadline_misses", "deadline misses"),
    ):
        axis.plot(minutes, [look[name] for look in seen])
        axis.set(ylabel=label)
        axis.set_ylim(bottom=0)
    axes[3].set(xlabel="minutes")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (default: an hour)")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two looks")
    parser.add_argument("--rate", type=float, default=25.0, help="pictures a second")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two stacks")
    parser.add_argument("--deadline-ms", type=float, default=40.0, help="as in [service]")
    parser.add_argument("--bundle", default=DISCS, help="discs (default), default, or the path of one")
    parser.add_argument("--out", type=Path, help="the JSON to write (default: only print)")
    parser.add_argument("--plot", type=Path, help="the PNG to write")
    options = parser.parse_args()
    words = f"--seconds {options.seconds:g} --every {options.every:g} --rate {options.rate:g}"
    words += f" --pause {options.pause:g} --deadline-ms {options.deadline_ms:g}"
    words += f" --bundle {Path(options.bundle).name}"
    head = provenance(f"python -m benchmarks.soak {words}", MEASURES) if options.out else None
    with TemporaryDirectory() as name:
        seen = soaked(Path(name), options)
    told = summary(seen)
    if head:
        content = {**head, "summary": told, "over_time": seen}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        title = f"{options.rate:g} pictures a second, bundle {Path(options.bundle).stem}"
        plot(seen, options.plot, title)
    print(json.dumps(told, indent=1))
    sys.exit(not (told["memory_is_flat"] and told["descriptors_are_flat"] and not told["refused"]))


if __name__ == "__main__":
    main()
