"""How fast a step is against the same network in torch eager; all other times are ``lvedge-bench``'s.

    python -m benchmarks.speed --run runs/default --out benchmarks/results/against_torch.json

It stands here because it needs torch, which a device does not have. One core (the process pins itself), one
thread, the two timed in turn.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

WARM_UP = 5


def against_torch(run: Path, pairs: int) -> dict[str, Any]:
    """A step in ONNX Runtime and in torch eager, one thread each, timed in turn; the ratio of each pair."""
    import torch

    from lvedge.bundle import open_bundle
    from lvedge.contract import State
    from lvedge.training.stepper import stepper_from_run
    from lvedge_runtime.bench.interval import paired_ratio
    from lvedge_runtime.bench.timing import Timing
    from lvedge_runtime.engines import open_engine

    torch.set_num_threads(1)
    eager = stepper_from_run(run)
    bundle = open_bundle(None)
    frame = np.random.default_rng(0).random((1, *bundle.shapes.tensor_shape("frame")), dtype=np.float32)
    with open_engine(bundle, threads=1) as engine:
        state = State.zeros(engine.shapes)
        taken = [
            (_ms(lambda: engine.step(frame, state)), _ms(lambda: eager.step(frame, state)))
            for _ in range(pairs + WARM_UP)
        ]
        name = engine.name
    ours, theirs = np.array(taken[WARM_UP:]).T
    return {
        "engine": name,
        "torch": torch.__version__,
        "pairs": pairs,
        "step": Timing(ours).as_json(),
        "torch_eager_step": Timing(theirs).as_json(),
        "times_faster": paired_ratio(theirs, ours).as_json(),
    }


def _ms(call: Callable[[], object]) -> float:
    started = perf_counter()
    call()
    return 1e3 * (perf_counter() - started)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="a training run")
    parser.add_argument("--pairs", type=int, default=700, help="pairs of steps")
    parser.add_argument("--core", type=int, default=0, help="the core to run on")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    from lvedge_runtime.bench.machine import machine_record

    results = {
        "command": f"python -m benchmarks.speed --run RUN --pairs {options.pairs} --out JSON",
        "machine": machine_record(),
        "against_torch_eager": against_torch(options.run, options.pairs),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results["against_torch_eager"]["times_faster"]))


if __name__ == "__main__":
    main()
