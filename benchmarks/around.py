"""Everything around the step, steady state, as a share of the fp32 step: the real way, source to sink.

    python -m benchmarks.around --stream ../shared/data/sunnybrook/SCD0000101 \\
        --out benchmarks/results/around.json

``lvedge-bench run --sections way`` on one thread, in that thread's own time instead of the wall's: what
others do on the core meanwhile does not count. A frame's step and all the rest (decoding, view, reading,
replay, look-up, JSON lines, what no stage accounts for) are taken beside each other: one share a frame, their
median with a 95 % bootstrap interval. Opening the source and locating the heart do not count: a slice pays
for them once. Closed beats and live, with the bundle that ships.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time
from typing import Any

import cv2

import lvedge.measure
import lvedge_runtime.bench.way
import lvedge_runtime.stream
from lvedge.bundle import open_bundle
from lvedge.casetable import open_case_table
from lvedge.quality import QualityModel
from lvedge_runtime.bench.machine import machine_record
from lvedge_runtime.bench.way import Rig, back_to_back
from lvedge_runtime.engines import open_engine
from lvedge_runtime.sinks import RunContext, Sinks
from lvedge_runtime.sources import SourceOptions, open_source

ENGINE = "onnxruntime-cpu"
CLOCKED = (lvedge.measure, lvedge_runtime.stream, lvedge_runtime.bench.way)
"""Modules that time a frame's way."""


def around(uri: str, frames: int) -> dict[str, Any]:
    """The stages' medians and the share, for closed beats and live."""
    cv2.setNumThreads(1)  # as lvedge-run
    for module in CLOCKED:
        module.perf_counter = thread_time  # type: ignore[attr-defined]
    bundle = open_bundle()
    context = RunContext(ENGINE, bundle.name, bundle.version, bundle.shapes.layout, source=uri)
    with (
        TemporaryDirectory() as folder,
        open_engine(bundle, ENGINE, threads=1) as engine,
        open_case_table() as cases,
        Sinks([f"jsonl:{folder}/results.jsonl"], context) as sink,
    ):
        rig = Rig(engine, QualityModel.from_manifest(bundle.quality), cases, sink)
        opened = partial(open_source, uri, SourceOptions())
        ways = {
            name: back_to_back(opened, rig, frames, live).as_json()
            for name, live in (("closed", False), ("live", True))
        }
    return {
        name: {
            "frames": way["total"]["n"],
            "around_over_step": way["around_over_step"],
            "median_ms": {
                **{stage: timing["median_ms"] for stage, timing in way["stages"].items()},
                "rest": way["rest_ms_a_frame"],
            },
            "state_carry": way["state_carry"],
        }
        for name, way in ways.items()
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stream", default="demo:", metavar="SOURCE", help="as lvedge-run takes it")
    parser.add_argument("--frames", type=int, default=700, help="at least so many of each kind")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args()
    found = around(options.stream, options.frames)
    command = f"python -m benchmarks.around --stream SOURCE --frames {options.frames} --out JSON"
    record = {
        "command": command,
        "machine": machine_record(),
        "source": Path(options.stream).name,
        "clock": "the thread's own time",
        **found,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: way["around_over_step"] for name, way in found.items()}))


if __name__ == "__main__":
    main()
