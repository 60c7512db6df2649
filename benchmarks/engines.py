"""The CPU engines against ONNX Runtime in float32 on one thread: a frame's graphs, the start, the error.

    python -m benchmarks.engines --data ../shared/data --out benchmarks/results/engines.json

OpenVINO, in bfloat16 too where the processor has it. The engines are called in turn, so that what else the
machine does slows all alike, and each call is measured in processor time, which does not count the time that
others run. Ratios of the medians, with 95 % bootstrap intervals over the rounds: how many times as fast as
ONNX Runtime the other one is.

The step in INT8 is timed beside them, though no bundle holds it: quantised over the phantom, which says
nothing of its error and changes nothing in its time; by ONNX Runtime and by OpenVINO's own INT8 kernels.

With ``--data`` acdc's watched subjects are measured by each engine as a user gets them: errors against the
experts, and by how much any value changes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks.provenance import provenance
from lvedge.bundle import Bundle, open_bundle
from lvedge.contract import State
from lvedge.quality import QualityModel
from lvedge_runtime.engines import Engine, open_engine
from lvedge_runtime.engines.onnxruntime_base import import_onnxruntime, session_from_bytes
from lvedge_runtime.engines.openvino import has_bfloat16, import_openvino

BASELINE = "onnxruntime-cpu"
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


def compared(slow: Sequence[float], fast: Sequence[float]) -> dict[str, Any]:
    """How many times as fast the second is, with its interval; rounds are drawn as pairs."""
    pairs = np.array([slow, fast])
    drawn = np.random.default_rng(0).integers(pairs.shape[1], size=(DRAWS, pairs.shape[1]))
    low, high = np.percentile(np.divide(*np.median(pairs[:, drawn], axis=2)), (2.5, 97.5))
    before, after = (1e3 * float(np.median(of)) for of in pairs)
    return {
        "rounds": pairs.shape[1],
        "median_ms": [round(before, 3), round(after, 3)],
        "times_as_fast": round(before / after, 3),
        "interval_95": [round(float(low), 3), round(float(high), 3)],
    }


def paces(bundle: Bundle, names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Each kind of call by each engine against the baseline, all in turn."""
    with ExitStack() as things:
        by_name = {name: calls(things.enter_context(open_engine(bundle, name))) for name in names}
        taken = in_turn(
            {(name, kind): call for name, kinds in by_name.items() for kind, call in kinds.items()}, rounds
        )
        return {
            name: {kind: compared(taken[BASELINE, kind], taken[name, kind]) for kind in by_name[name]}
            for name in names
            if name != BASELINE
        }


def in_turn(by_key: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, list[float]]:
    """Seconds of processor time of each call, one after another in every round."""
    taken: dict[Any, list[float]] = {key: [] for key in by_key}
    for _ in range(WARM_UP + rounds):
        for key, call in by_key.items():
            begun = process_time()
            call()
            taken[key].append(process_time() - begun)
    return {key: times[WARM_UP:] for key, times in taken.items()}


def int8_paces(bundle: Bundle, rounds: int) -> dict[str, Any]:
    """The step in INT8 against the baseline's in float32."""
    from lvedge_export.clip import phantom_clips
    from lvedge_export.engine import Exported
    from lvedge_export.int8 import int8_from_onnx

    graphs = {name: bundle.graph(name) for name in ("step", "replay", "locator")}
    exported = Exported(bundle.shapes, {"bundle": bundle.sha256}, graphs)
    int8 = int8_from_onnx(exported, "step", phantom_clips(bundle.shapes))
    inputs = {
        "frame": np.zeros((1, *bundle.shapes.tensor_shape("frame")), np.float32),
        **State.zeros(bundle.shapes).as_inputs(),
    }
    in_float, in_int8 = (session_from_bytes(graph, "step") for graph in (graphs["step"], int8))
    core = import_openvino().Core()
    model = core.read_model(int8)
    model.reshape({tensor.any_name: [1, *list(tensor.partial_shape)[1:]] for tensor in model.inputs})
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    taken = in_turn(
        {
            BASELINE: lambda: in_float.run(None, inputs),
            "onnxruntime-cpu, int8": lambda: in_int8.run(None, inputs),
            "openvino, int8": lambda: request.infer(inputs, share_outputs=True),
        },
        rounds,
    )
    return {name: compared(taken[BASELINE], times) for name, times in taken.items() if name != BASELINE}


def starts(names: Sequence[str], rounds: int) -> dict[str, Any]:
    """What it takes until all graphs have run once, in a new interpreter each time."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(1 + rounds):
        for engine, times in taken.items():
            done = subprocess.run(
                [sys.executable, "-c", START, engine], capture_output=True, text=True, check=True
            )
            times.append(float(done.stdout))
    return {
        name: compared(taken[BASELINE][1:], times[1:]) for name, times in taken.items() if name != BASELINE
    }


def errors(bundle: Bundle, names: Sequence[str], root: Path) -> dict[str, Any]:
    """What each engine's measurements are worth, and by how much they differ from the baseline's."""
    from lvedge_export.error import change_as_measured, error_table, growth, measured_on_acdc

    quality = QualityModel.from_manifest(bundle.quality)
    with ExitStack() as things:
        engines = {name: things.enter_context(open_engine(bundle, name)) for name in names}
        measured = measured_on_acdc(engines, quality, root)
    table, others = error_table(measured), [name for name in names if name != BASELINE]
    return {
        "error": table,
        "growth": {name: growth(table, BASELINE, name) for name in others},
        "largest_change": {name: change_as_measured(measured[BASELINE], measured[name]) for name in others},
    }


def main(args: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=150, help="calls of each kind (default: 150)")
    parser.add_argument("--starts", type=int, default=6, help="starts of each engine (default: 6)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="real images, for the errors")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args(args)
    onnxruntime, openvino = import_onnxruntime(), import_openvino()

    bundle = open_bundle()
    names = [BASELINE, "openvino", *(["openvino-bf16"] if has_bfloat16() else [])]
    command = "python -m benchmarks.engines --data DATA --out benchmarks/results/engines.json"
    results = {
        **provenance(command, MEASURES),
        "processor": processor(),
        "packages": {"onnxruntime": onnxruntime.__version__, "openvino": openvino.__version__.split("-")[0]},
        "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
        "threads": 1,
        "measured": "processor time",
        "against": f"{BASELINE}, float32",
        "by_call": paces(bundle, names, options.rounds),
        "step_in_int8": int8_paces(bundle, options.rounds),
        "start": starts(names, options.starts),
        **({} if options.data is None else errors(bundle, names, options.data)),
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
