"""How fast a step is against the same network in torch, eager and compiled; the rest is ``lvedge-bench``'s.

    python -m benchmarks.speed --out benchmarks/results/against_torch.json

It stands here because it needs torch, and a C++ compiler for ``torch.compile``, which a device does not have.
One core (the process pins itself), one thread, timed in turn, in the thread's own time: what others do on the
core meanwhile does not count. Torch compiles for some minutes, which is not timed. Without ``--run`` the
network has the package's own sizes and untrained weights: what they are changes nothing in its time.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np

WARM_UP = 5


def against_torch(run: Path | None, bundle_file: Path | None, rounds: int) -> dict[str, Any]:
    """A step in ONNX Runtime and in torch, one thread each, timed in turn; the ratio of each round."""
    import torch

    from lvedge.bundle import open_bundle
    from lvedge.contract import State
    from lvedge.errors import UsageError
    from lvedge.network.config import LocatorConfig, contract_shapes
    from lvedge.network.model import LeftVentricleNetwork
    from lvedge_export.graph import StepGraph
    from lvedge_export.pack import read_run
    from lvedge_runtime.bench.interval import paired_ratio
    from lvedge_runtime.bench.timing import Timing
    from lvedge_runtime.engines import open_engine

    torch.set_num_threads(1)
    network = LeftVentricleNetwork() if run is None else read_run(run).network
    bundle = open_bundle(bundle_file)
    if contract_shapes(network.config, network.features, LocatorConfig()) != bundle.shapes:
        raise UsageError("the bundle's network has other sizes: name the run that it was made of with --run")
    eager = StepGraph(network).eval()
    compiled = torch.compile(eager)
    frame = np.random.default_rng(0).random((1, *bundle.shapes.tensor_shape("frame")), dtype=np.float32)
    with open_engine(bundle, "onnxruntime-cpu", threads=1) as engine, torch.inference_mode():
        state = State.zeros(engine.shapes)
        tensors = [torch.from_numpy(array) for array in (frame, *state.as_inputs().values())]
        steps: dict[str, Callable[[], object]] = {
            "onnxruntime": lambda: engine.step(frame, state),
            "torch_eager": lambda: eager(*tensors),
            "torch_compile": lambda: compiled(*tensors),
        }
        taken = [[_ms(step) for step in steps.values()] for _ in range(rounds + WARM_UP)]
    ms = dict(zip(steps, np.array(taken[WARM_UP:]).T, strict=True))
    return {
        "torch": torch.__version__,
        "rounds": rounds,
        "step": {name: Timing(of).as_json(samples=False) for name, of in ms.items()},
        "times_faster_than": {
            name: paired_ratio(of, ms["onnxruntime"]).as_json()
            for name, of in ms.items()
            if name != "onnxruntime"
        },
    }


def _ms(call: Callable[[], object]) -> float:
    started = thread_time()
    call()
    return 1e3 * (thread_time() - started)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, metavar="DIR", help="a training run (default: untrained weights)")
    parser.add_argument("--bundle", type=Path, metavar="PATH", help="made of it (default: the one in use)")
    parser.add_argument("--rounds", type=int, default=300, help="steps of each")
    parser.add_argument("--core", type=int, default=0, help="the core to run on")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    from lvedge_runtime.bench.machine import machine_record

    run = "" if options.run is None else "--run RUN "
    results = {
        "command": f"python -m benchmarks.speed {run}--rounds {options.rounds} --out JSON",
        "machine": machine_record(),
        "weights": "untrained" if options.run is None else "of a run",
        "against_torch": against_torch(options.run, options.bundle, options.rounds),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results["against_torch"]["times_faster_than"]))


if __name__ == "__main__":
    main()
