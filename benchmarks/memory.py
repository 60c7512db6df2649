"""How a process's memory grows with the frames that it measures: through the whole way, source to sink.

    python -m benchmarks.memory --out benchmarks/results/memory.json

A cine is played again and again, live, as frames from a scanner come; results go to JSON lines that are
thrown away, rules and reference cases are looked up. The tiny bundle sees no hearts, so one is drawn into its
masks: a frame goes the whole way, through reading, quality and look-up. A new series begins with each pass,
as it does beside a scanner. Resident memory is read every few hundred frames; what the first 2,000 bring
(code, arenas, caches) does not count, and the growth is the slope of a line through the rest, times the
frames.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.provenance import ROOT, provenance
from lvedge.bundle import Bundle, open_bundle, write_bundle
from lvedge.casetable import open_case_table
from lvedge.contract import ContractShapes, Floats, ReplayResult, State, Stepper, StepResult
from lvedge.frame import Frame
from lvedge.indices import Label
from lvedge.measurement import Measurement
from lvedge.quality import DEFAULT_QUALITY, QualityModel
from lvedge_runtime.engines import open_engine
from lvedge_runtime.sinks import RunContext, Sinks
from lvedge_runtime.sources import SourceOptions, open_source
from lvedge_runtime.stream import Stream

MEASURES = (
    "benchmarks/memory.py",
    "lvedge/aim.py",
    "lvedge/beat.py",
    "lvedge/casetable",
    "lvedge/measure.py",
    "lvedge/quality.py",
    "lvedge/reading.py",
    "lvedge/view.py",
    "runtime/lvedge_runtime/engines",
    "runtime/lvedge_runtime/sinks",
    "runtime/lvedge_runtime/stream.py",
)
"""What keeps something from one frame to the next, or hands it on."""
WARM_UP = 2_000
READINGS = 200
ENGINE = "onnxruntime-cpu"
CAVITY_MM, WALL_MM = 4.5, 9.0
"""Radii of the heart that is drawn for the tiny bundle, whose view is 24 mm wide."""


def endless(cine: list[Frame]) -> Iterator[Frame]:
    """The cine over and over, each time as a new series."""
    for turn in count():
        for frame in cine:
            yield replace(frame, series=f"{frame.series}-{turn}", cine_length=None)


class Drawn:
    """An engine that runs its graphs and then sees a heart in the middle of every picture.

    Args:
        engine: of a bundle whose view holds a small one.
    """

    def __init__(self, engine: Stepper) -> None:
        self._engine = engine
        size, mm = self.shapes.view_px, self.shapes.view_mm_per_px
        rows, columns = np.indices((size, size)) - (size - 1) / 2
        away_mm = np.hypot(rows, columns) * mm
        self._mask = np.zeros((1, len(Label), size, size), np.float32)
        self._mask[0, Label.CAVITY] = away_mm < CAVITY_MM
        self._mask[0, Label.MYOCARDIUM] = (away_mm >= CAVITY_MM) & (away_mm < WALL_MM)
        self._mask[0, Label.RV] = (away_mm >= WALL_MM) & (columns < -np.abs(rows))
        self._mask[0, Label.BACKGROUND] = 1.0 - self._mask.sum(axis=1)[0]

    @property
    def shapes(self) -> ContractShapes:
        return self._engine.shapes

    def step(self, frame: Floats, state: State) -> StepResult:
        return replace(self._engine.step(frame, state), mask=self._mask.copy())

    def replay(self, features: Floats, state: State) -> ReplayResult:
        return self._engine.replay(features, state)

    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        points, confidence = self._engine.locate(frame)
        around = np.array([[0, 0], [-1, -1], [-1, 1]], np.float32)
        return 0 * points + (self.shapes.locator_px - 1) / 2 + around, np.full_like(confidence, 0.9)


def grown(bundle: Bundle, frames: int, out: Path, is_drawn: bool) -> dict[str, Any]:
    """Memory over so many frames, after the first ones; ``is_drawn`` where the bundle sees no hearts."""
    with open_source("demo:", SourceOptions()) as source:
        cine = [item for item in source if isinstance(item, Frame)]
    readings, every, measured = [], max(1, frames // READINGS), 0
    quality = QualityModel.from_manifest(bundle.quality) if "weights" in bundle.quality else DEFAULT_QUALITY
    context = RunContext(ENGINE, bundle.name, bundle.version, bundle.shapes.layout, source="demo:")
    with (
        open_engine(bundle, ENGINE) as engine,
        open_case_table() as cases,
        Sinks([f"jsonl:{out}"], context) as sink,
    ):
        done, stepper = 0, Drawn(engine) if is_drawn else engine
        for item in Stream(endless(cine), stepper, quality, cases, live=True):
            sink.write(item)
            if not isinstance(item, Measurement):
                continue
            done += 1
            measured += item.measured
            if done >= WARM_UP and (done - WARM_UP) % every == 0:
                gc.collect()
                readings.append((done, resident_mb()))
                os.truncate(out, 0)
            if done == WARM_UP + frames:
                break
    at, mb = np.array(readings).T
    slope = float(np.polyfit(at, mb, 1)[0])
    return {
        "frames": frames,
        "measured": measured,
        "growth_mb": round(slope * frames, 3),
        "first_mb": round(float(mb[0]), 2),
        "last_mb": round(float(mb[-1]), 2),
        "highest_mb": round(float(mb.max()), 2),
        "readings_mb": np.round(mb, 2).tolist(),
    }


def resident_mb() -> float:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def tiny_bundle() -> Bundle:
    """The tests' bundle: graphs of a few numbers, so that what is left is the way around them."""
    sys.path.insert(0, str(ROOT / "tests"))
    from tiny_bundle import ABOUT, SHAPES, tiny_graphs

    with TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.lvedge"
        return write_bundle(
            path, shapes=SHAPES, graphs=tiny_graphs(), about=ABOUT, licence="CC0", model_card="tiny"
        )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tiny", type=int, default=200_000, help="frames with the tests' tiny bundle")
    parser.add_argument("--shipped", type=int, default=20_000, help="frames with the bundle that ships")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args()
    command = f"python -m benchmarks.memory --tiny {options.tiny} --shipped {options.shipped} --out JSON"
    head = provenance(command, MEASURES)
    with TemporaryDirectory() as folder:
        out = Path(folder) / "results.jsonl"
        results = {
            "tiny": grown(tiny_bundle(), options.tiny, out, is_drawn=True),
            "shipped": grown(open_bundle(), options.shipped, out, is_drawn=False),
        }
    options.out.write_text(json.dumps({**head, "warm_up": WARM_UP, **results}, indent=1) + "\n", "utf-8")
    print({name: (of["growth_mb"], of["measured"]) for name, of in results.items()})


if __name__ == "__main__":
    main()
