"""How fast a frame's way is: frames a second, time to the first line, ONNX Runtime against torch eager.

    python benchmarks/speed.py --stream FOLDER --run runs/default --out benchmarks/results/speed.json

One core (the process pins itself), one thread; medians; the two networks are timed in turn in one run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np


def end_to_end(stream_uri: str, rounds: int) -> dict[str, object]:
    """Frames a second from opening the files to looked-up results, and the median of each stage."""
    from lvedge.bundle import open_bundle
    from lvedge.casetable import open_case_table
    from lvedge.measurement import Measurement
    from lvedge.quality import QualityModel
    from lvedge_runtime.engines import open_engine
    from lvedge_runtime.sources import open_source
    from lvedge_runtime.stream import Stream

    bundle = open_bundle(None)
    quality = QualityModel.from_manifest(bundle.quality)
    rates, stages = [], defaultdict(list)
    with open_engine(bundle, threads=1) as engine, open_case_table() as cases:
        for _ in range(rounds + 1):
            started, frames = perf_counter(), 0
            with open_source(stream_uri) as source:
                for item in Stream(source, engine, quality, cases):
                    if isinstance(item, Measurement):
                        frames += 1
                        for stage, spent in item.latency_ms.items():
                            stages[stage].append(spent)
            rates.append(frames / (perf_counter() - started))
    return {
        "source": Path(stream_uri).name,
        "frames": frames,
        "rounds": rounds,
        "frames_per_second": [round(rate, 2) for rate in rates[1:]],
        "median_frames_per_second": round(statistics.median(rates[1:]), 2),
        "median_ms_by_stage": {stage: round(statistics.median(ms), 3) for stage, ms in stages.items()},
    }


def first_line(stream_uri: str, runs: int) -> dict[str, object]:
    """Seconds from starting the command to its first JSON line, files in the page cache."""
    command = [
        sys.executable,
        "-m",
        "lvedge_runtime.cli",
        "--stream",
        stream_uri,
        "--sink",
        "jsonl:-",
        "--quiet",
    ]
    seconds = []
    # As installed: pip compiles the modules, whatever this shell says of bytecode.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(runs + 1):
        started = perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as process:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError(f"{' '.join(command)} printed nothing")
            seconds.append(perf_counter() - started)
            process.kill()
    return {
        "source": stream_uri if stream_uri.endswith(":") else Path(stream_uri).name,
        "runs": runs,
        "seconds": [round(s, 3) for s in seconds[1:]],
        "median_seconds": round(statistics.median(seconds[1:]), 3),
    }


def against_torch(run: Path, rounds: int) -> dict[str, object]:
    """A step in ONNX Runtime and in torch eager, one thread each, timed in turn; the ratio of each pair."""
    import torch

    from lvedge.bundle import open_bundle
    from lvedge.contract import State
    from lvedge.training.stepper import stepper_from_run
    from lvedge_runtime.engines import open_engine

    torch.set_num_threads(1)
    eager = stepper_from_run(run)
    frame = np.random.default_rng(0).random((1, 1, 80, 80), dtype=np.float32)
    with open_engine(open_bundle(None), threads=1) as engine:
        state = State.zeros(engine.shapes)
        pairs = []
        for _ in range(rounds + 5):
            pairs.append((_ms(lambda: engine.step(frame, state)), _ms(lambda: eager.step(frame, state))))
    pairs = pairs[5:]
    ratios = np.array([theirs / ours for ours, theirs in pairs])
    draws = np.median(
        ratios[np.random.default_rng(0).integers(len(ratios), size=(2000, len(ratios)))], axis=1
    )
    low, high = np.percentile(draws, (2.5, 97.5))
    return {
        "rounds": rounds,
        "onnxruntime_step_median_ms": round(statistics.median(ours for ours, _ in pairs), 3),
        "torch_eager_step_median_ms": round(statistics.median(theirs for _, theirs in pairs), 3),
        "ratio_median": round(float(np.median(ratios)), 3),
        "ratio_interval_95": [round(float(low), 3), round(float(high), 3)],
    }


def _ms(call: Callable[[], object]) -> float:
    started = perf_counter()
    call()
    return 1e3 * (perf_counter() - started)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stream", required=True, metavar="SOURCE", help="a DICOM folder")
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="a training run, for the comparison with torch"
    )
    parser.add_argument("--rounds", type=int, default=5, help="passes over the source")
    parser.add_argument("--starts", type=int, default=10, help="starts of the command")
    parser.add_argument("--pairs", type=int, default=60, help="pairs of steps")
    parser.add_argument("--core", type=int, default=0, help="the core to run on")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    os.environ["OMP_NUM_THREADS"] = "1"
    results: dict[str, object] = {
        "command": "python benchmarks/speed.py " + " ".join(sys.argv[1:]),
        "machine": {"processor": _processor(), "python": platform.python_version(), "cores_used": 1},
        "load_before": round(os.getloadavg()[0], 2),
        "end_to_end": end_to_end(options.stream, options.rounds),
        "first_line": [first_line(uri, options.starts) for uri in (options.stream, "demo:")],
    }
    if options.run:
        results["against_torch_eager"] = against_torch(options.run, options.pairs)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
