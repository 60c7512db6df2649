"""What only a device can show of the TensorRT engine: the script fills the last column of docs/engines.md.

    python -m benchmarks.gpu_checks --out benchmarks/results/gpu_checks.json

Each check runs the bundle that ships on the first GPU, with real TensorRT, beside ONNX Runtime on the CPU.
Exit code 77 where there is no GPU or no TensorRT.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import re
import statistics
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.provenance import ROOT, provenance
from lvedge.bundle import Bundle, open_bundle
from lvedge.contract import State, Stepper
from lvedge.errors import EngineError
from lvedge.measurement import Measurement
from lvedge.phantom import HEARTS, Phantom, Placement, stack
from lvedge.quality import DEFAULT_QUALITY
from lvedge_runtime.engines import open_engine
from lvedge_runtime.engines.cache import EngineCache
from lvedge_runtime.engines.cuda import PROVIDERS, open_device
from lvedge_runtime.engines.tensorrt import TensorRt
from lvedge_runtime.engines.trt_build import BuildOptions
from lvedge_runtime.engines.trt_module import tensorrt_module
from lvedge_runtime.stream import Stream

RESULTS = ROOT / "benchmarks" / "results" / "gpu_checks.json"
PAGE = ROOT / "docs" / "engines.md"
NO_GPU = 77
FRAMES, STREAMS, BEAT, TIMED, STARTS = 1000, 3, 20, 300, 10
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2}
"""Largest difference from ONNX Runtime's FP32, as a share of an output's range over the frames. TensorRT may
compute FP32 in TF32, which keeps 10 bits of the mantissa as FP16 does."""
LEAK_MB = 8
MEASURES = (
    "lvedge/weights/default.lvedge",
    "runtime/lvedge_runtime/engines/cuda",
    "runtime/lvedge_runtime/engines/lane.py",
    "runtime/lvedge_runtime/engines/tensorrt.py",
    "runtime/lvedge_runtime/engines/trt_build.py",
    "runtime/lvedge_runtime/engines/trt_graph.py",
)

Result = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What the checks share.

    Args:
        bundle: that ships.
        cache: engines built by the first check that asks are there for the others.
    """

    bundle: Bundle
    cache: EngineCache

    def engine(self, provider: str | None = None, max_batch: int = 1) -> AbstractContextManager[TensorRt]:
        return TensorRt(
            self.bundle,
            options=BuildOptions(max_batch=max_batch),
            device=lambda: open_device(provider),
            cache=self.cache,
        )

    def frames(self, count: int, batch: int = 1) -> Any:
        shape = (count, batch, *self.bundle.shapes.tensor_shape("frame"))
        return np.random.default_rng(0).random(shape, dtype=np.float32)


def walk(stepper: Stepper, frames: Any) -> tuple[dict[str, Any], State]:
    """All outputs of a stream, and the state at its end."""
    state, steps = State.zeros(stepper.shapes, frames.shape[1]), []
    for frame in frames:
        steps.append(stepper.step(frame, state))
        state = steps[-1].state
    return {
        name: np.stack([getattr(s, name) for s in steps]) for name in ("indices", "phase", "mask", "features")
    }, state


def difference(found: Mapping[str, Any], right: Mapping[str, Any]) -> float:
    """The largest, as a share of the output's range."""
    return max(float(np.abs(found[n] - right[n]).max() / max(np.ptp(right[n]), 1e-6)) for n in right)


def within(engine: TensorRt, found: float) -> Result:
    limit = TOLERANCE[engine.precision]
    return {
        "passed": bool(found <= limit),
        "difference": found,
        "tolerance": limit,
        "precision": engine.precision,
    }


def carried_state(bench: Bench) -> Result:
    """A thousand frames with carried state against ONNX Runtime, over each provider that is installed."""
    frames, results = bench.frames(FRAMES), {}
    with open_engine(bench.bundle, "onnxruntime-cpu") as cpu:
        right, last = walk(cpu, frames)
    for provider in PROVIDERS:
        try:
            with bench.engine(provider) as engine:
                found, state = walk(engine, frames)
                found |= {"h": state.h_regression, "c": state.c_regression}
                expected = {**right, "h": last.h_regression, "c": last.c_regression}
                results[provider] = within(engine, difference(found, expected))
        except EngineError as err:
            if "cannot be imported" not in str(err):
                raise
            results[provider] = {"missing": True}
    done = [result for result in results.values() if "passed" in result]
    return {"passed": bool(done) and all(r["passed"] for r in done), "frames": FRAMES, "providers": results}


def batch(bench: Bench) -> Result:
    """Several streams as one batch against the same streams alone."""
    frames = bench.frames(20, STREAMS)
    with bench.engine(max_batch=STREAMS) as engine:
        together, _ = walk(engine, frames)
        alone = [walk(engine, np.ascontiguousarray(frames[:, k : k + 1]))[0] for k in range(STREAMS)]
        joined = {name: np.concatenate([one[name] for one in alone], axis=1) for name in together}
        return within(engine, difference(together, joined))


def closed_and_live(bench: Bench) -> Result:
    """Whole streams of a phantom in both modes: the values in millimetres against ONNX Runtime."""
    grid = Placement(rows=130, columns=130, spacing_mm=(2.0, 2.0), offset_mm=(-10.0, 6.0), rotation_deg=8.0)
    heart = replace(HEARTS["healthy"], frames=BEAT)
    middle = stack(Phantom(heart=heart, placement=grid, seed=4, series="one"), 3)[1]
    frames, largest = list(middle.frames()), 0.0
    with bench.engine() as engine, open_engine(bench.bundle, "onnxruntime-cpu") as cpu:
        for live in (False, True):
            found, right = (
                [
                    item.indices.vector
                    for item in Stream(frames, stepper, DEFAULT_QUALITY, None, live)
                    if isinstance(item, Measurement) and item.indices is not None
                ]
                for stepper in (engine, cpu)
            )
            if len(found) != len(right) or not right:
                return {"passed": False, "measured": [len(found), len(right)]}
            apart = np.abs(np.array(found) - np.array(right))
            largest = max(largest, float(apart[:, :9].max()))
    return {"passed": largest <= 0.1, "largest_mm": largest, "tolerance_mm": 0.1}


def second_start(bench: Bench) -> Result:
    """Engines come from the cache at the second start, and nothing is said."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    with bench.engine():
        pass
    logging.getLogger("lvedge_runtime").addHandler(handler)
    started = perf_counter()
    with bench.engine():
        seconds = perf_counter() - started
    logging.getLogger("lvedge_runtime").removeHandler(handler)
    return {"passed": not said, "said": said, "seconds": seconds}


def memory(bench: Bench) -> Result:
    """Device memory that is free before and after many starts, an interrupted frame among them."""
    driver: Any = import_module("cuda.bindings.driver")

    def free_mb() -> float:
        device = open_device("cuda-bindings")
        with device.current():
            _, free, _ = driver.cuMemGetInfo()
        device.close()
        return float(free) / 2**20

    frame = bench.frames(1)[0]

    def start() -> None:
        with bench.engine("cuda-bindings") as engine:
            engine.step(frame, engine.zero_state())
            raise KeyboardInterrupt

    def starts(count: int) -> None:
        for _ in range(count):
            try:
                start()
            except KeyboardInterrupt:
                gc.collect()

    starts(2)
    before = free_mb()
    starts(STARTS)
    lost = before - free_mb()
    return {"passed": lost <= LEAK_MB, "lost_mb": lost, "allowed_mb": LEAK_MB}


def speed(bench: Bench) -> Result:
    """Milliseconds of a step with and without CUDA graphs; told, not judged."""
    frames, medians = bench.frames(TIMED), {}
    for graphs in (True, False):
        with bench.engine("cuda-bindings") as engine:
            assert engine._device is not None
            if not graphs:
                for graph in engine._graphs.values():
                    graph._records = False
            state, times = engine.zero_state(), []
            for frame in frames:
                started = perf_counter()
                state = engine.step(frame, state).state
                times.append(1e3 * (perf_counter() - started))
        medians["with CUDA graphs" if graphs else "without"] = statistics.median(times[len(times) // 6 :])
    return {"passed": True, "step_median_ms": medians}


CHECKS: Mapping[str, Callable[[Bench], Result]] = {
    check.__name__: check for check in (carried_state, batch, closed_and_live, second_start, memory, speed)
}


def filled(page: str, found: Mapping[str, Any]) -> str:
    """The page on engines with what the checks came to, each after its name in the last column.

    Args:
        page: its text.
        found: the content of the results' JSON; ``results`` may be empty.
    """

    def said(match: re.Match[str]) -> str:
        result = found["results"].get(match[1])
        if result is None:
            return f"`{match[1]}`: not run yet"
        verdict = "passed" if result["passed"] else "FAILED"
        return f"`{match[1]}`: {verdict}, {found['gpu']}, TensorRT {found['tensorrt']}"

    return re.sub(rf"`({'|'.join(CHECKS)})`: [^|;]*[^|; ]", said, page)


def machine() -> dict[str, str]:
    """The GPU and TensorRT.

    Raises:
        EngineError: if one of them is missing.
    """
    trt = tensorrt_module()
    device = open_device()
    device.close()
    major, minor = device.compute_capability
    return {"gpu": device.name, "compute_capability": f"{major}.{minor}", "tensorrt": str(trt.__version__)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="the JSON to write; the page as well (default: only print)")
    parser.add_argument("--check", choices=CHECKS, action="append", help="only this one; may be repeated")
    options = parser.parse_args()
    try:
        about = machine()
    except EngineError as err:
        print(f"nothing to check with: {err}", file=sys.stderr)
        return NO_GPU
    results: dict[str, Result] = {}
    with TemporaryDirectory() as folder:
        bench = Bench(open_bundle(), EngineCache(Path(folder) / "engines"))
        for name in options.check or CHECKS:
            try:
                results[name] = CHECKS[name](bench)
            except EngineError as err:
                results[name] = {"passed": False, "error": str(err)}
    if options.out:
        head = provenance(f"python -m benchmarks.gpu_checks --out {options.out}", MEASURES)
        content = {**head, **about, "results": results}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), content), encoding="utf-8")
    print(json.dumps({**about, "results": results}, indent=1))
    return 0 if all(result["passed"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
