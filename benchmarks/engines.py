"""OpenVINO against ONNX Runtime on one CPU thread: a frame's graphs, and what it takes to get there.

    python -m benchmarks.engines --out benchmarks/results/engines.json

The engines are called in turn, so that what else the machine does slows both alike, and each call is measured
in processor time, which does not count the time that others run. Ratios of the medians, with 95 % bootstrap
intervals over the rounds; above 1 the first engine is slower than the second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks.provenance import provenance
from lvedge.bundle import open_bundle
from lvedge_runtime.engines import Engine, open_engine
from lvedge_runtime.engines.onnxruntime_base import import_onnxruntime
from lvedge_runtime.engines.openvino import import_openvino

ONE, OTHER = "onnxruntime-cpu", "openvino"
WARM_UP = 10
DRAWS = 5000
MEASURES = [
    "benchmarks/engines.py",
    "runtime/lvedge_runtime/engines/openvino.py",
    "runtime/lvedge_runtime/engines/onnxruntime_base.py",
    "runtime/lvedge_runtime/engines/session.py",
]

START = """
import sys
from time import process_time
from lvedge.bundle import open_bundle
from lvedge_runtime.engines import open_engine
bundle = open_bundle()
import numpy as np
begun = process_time()
with open_engine(bundle, sys.argv[1]) as engine:
    engine.try_out()
    print(process_time() - begun)
"""
"""In a new interpreter: from opening the engine to its first located, stepped and replayed frame."""


def calls(engine: Engine) -> Mapping[str, Callable[[], object]]:
    """What a frame costs: ``frame`` is the closed mode's, a step and a replay."""
    rng, shapes = np.random.default_rng(0), engine.shapes
    view = rng.random((1, *shapes.tensor_shape("frame")), dtype=np.float32)
    picture = rng.random((1, *shapes.locator_shape), dtype=np.float32)
    state = engine.zero_state()
    features = engine.step(view, state).features

    def frame() -> None:
        engine.replay(engine.step(view, state).features, state)

    return {
        "locate": lambda: engine.locate(picture),
        "step": lambda: engine.step(view, state),
        "replay": lambda: engine.replay(features, state),
        "frame": frame,
    }


def compared(one: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """The ratio of two medians and its interval; rounds are drawn as pairs."""
    pairs = np.array([one, other])
    drawn = np.random.default_rng(0).integers(pairs.shape[1], size=(DRAWS, pairs.shape[1]))
    low, high = np.percentile(np.divide(*np.median(pairs[:, drawn], axis=2)), (2.5, 97.5))
    return {
        "rounds": pairs.shape[1],
        "ratio": round(float(np.divide(*np.median(pairs, axis=1))), 3),
        "interval_95": [round(float(low), 3), round(float(high), 3)],
    }


def paces(rounds: int) -> dict[str, Any]:
    """Each kind of call, the engines in turn."""
    bundle = open_bundle()
    with open_engine(bundle, ONE) as one, open_engine(bundle, OTHER) as other:
        both = [calls(one), calls(other)]
        taken: dict[str, list[list[float]]] = {kind: [[], []] for kind in both[0]}
        for _ in range(WARM_UP + rounds):
            for kind, times in taken.items():
                for own, call in zip(times, both, strict=True):
                    own.append(spent(call[kind]))
    return {kind: compared(*(own[WARM_UP:] for own in times)) for kind, times in taken.items()}


def spent(call: Callable[[], object]) -> float:
    """Seconds of processor time."""
    begun = process_time()
    call()
    return process_time() - begun


def starts(rounds: int) -> dict[str, Any]:
    """What it takes until all graphs have run once, in a new interpreter each time."""
    taken: dict[str, list[float]] = {ONE: [], OTHER: []}
    for _ in range(1 + rounds):
        for engine, times in taken.items():
            done = subprocess.run(
                [sys.executable, "-c", START, engine], capture_output=True, text=True, check=True
            )
            times.append(float(done.stdout))
    return compared(*(times[1:] for times in taken.values()))


def main(args: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=150, help="calls of each kind (default: 150)")
    parser.add_argument("--starts", type=int, default=6, help="starts of each engine (default: 6)")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args(args)
    onnxruntime, openvino = import_onnxruntime(), import_openvino()

    bundle = open_bundle()
    results = {
        **provenance(f"python -m benchmarks.engines --out {options.out}", MEASURES),
        "processor": processor(),
        "engines": {ONE: onnxruntime.__version__, OTHER: openvino.__version__.split("-")[0]},
        "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
        "precision": "float32",
        "threads": 1,
        "measured": "processor time",
        "ratio": f"{ONE} / {OTHER}",
        "by_call": paces(options.rounds),
        "start": starts(options.starts),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


def processor() -> dict[str, Any]:
    """Its name, and which of the vector units that matter it has."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    known = {name.strip(): value.strip() for name, value in fields.items()}
    units = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16")
    return {"name": known["model name"], "has": sorted(set(known["flags"].split()) & set(units))}


if __name__ == "__main__":
    main()
