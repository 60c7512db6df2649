"""The bound: how near a step comes to what this machine could do, in the same run, taken in turn.

A machine can be no faster than its matrix products and its copies allow (Williams, CACM 52(4):65, 2009).
The rate of matrix products is the best of ONNX Runtime's MatMul and numpy's at three sizes, the rate of
copies the best over three sizes, caches included, so that the bound is never too easy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from lvedge.bundle import Bundle
from lvedge.contract import STEP_OUTPUTS, Floats, State
from lvedge_runtime.bench.graph import Work, nodes_of, work_by_layer, work_of
from lvedge_runtime.bench.interval import Series, paired_ratio
from lvedge_runtime.bench.matmul import matmul_calls
from lvedge_runtime.bench.profile import LAYOUT, ms_by_layer, profiled_runs, shapes_of
from lvedge_runtime.bench.step import BASELINE
from lvedge_runtime.engines import open_engine

SIDES = (256, 512, 1024)
COPY_MB = (1, 8, 64)
PROFILED = 20
SLICE_MS = 20.0
"""How long each thing is repeated within a round."""


@dataclass
class Rival:
    """Something that is timed in turn with the others.

    Args:
        name: what it is.
        work: FLOP or bytes of one call.
        call: does it once.
        clock: tells seconds.
        repeats: calls a round.
        ms: milliseconds of one call, the mean of each round.
    """

    name: str
    work: int
    call: Callable[[], object]
    clock: Callable[[], float]
    repeats: int = 1
    ms: list[float] = field(default_factory=list)

    @property
    def rates(self) -> Series:
        """Work a second, round by round."""
        return np.asarray(self.work / (1e-3 * np.array(self.ms)))

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return float(np.median(self.rates))

    def settle(self) -> None:
        """Choose how often it is repeated; the first calls do not count."""
        self.call()
        begin = self.clock()
        self.call()
        self.repeats = max(1, int(SLICE_MS / max(1e3 * (self.clock() - begin), 1e-3)))

    def play(self) -> None:
        """One round."""
        begin = self.clock()
        for _ in range(self.repeats):
            self.call()
        self.ms.append(1e3 * (self.clock() - begin) / self.repeats)


def bound_of(bundle: Bundle, view: Floats, threads: int, rounds: int) -> dict[str, Any]:
    """What the step asks, what the machine gives, and how near the one comes to the other.

    Args:
        bundle: whose step.
        view: [1, 1, S, S] a view of a frame.
        threads: of the step, and of ONNX Runtime's product.
        rounds: how often everything is timed in turn.
    """
    graph, inputs = bundle.graph("step"), {"frame": view, **State.zeros(bundle.shapes).as_inputs()}
    nodes = nodes_of(graph)
    shapes = shapes_of(nodes, profiled_runs(graph, inputs, 1, threads, optimised=False)[0])
    work = work_of(nodes, shapes, STEP_OUTPUTS)
    # One thread's own time leaves out when others have its core; several are timed until all are done.
    clock = thread_time if threads == 1 else perf_counter
    products = [
        Rival(f"{name} {side}", 2 * side**3, call, clock)
        for side in SIDES
        for name, call in matmul_calls(side, threads).items()
    ]
    copies = [_copy(megabytes, clock) for megabytes in COPY_MB]
    with open_engine(bundle, BASELINE, threads) as engine:
        state = State.zeros(bundle.shapes)
        step = Rival("step", work.flop, lambda: engine.step(view, state), clock)
        _in_turn([step, *products, *copies], rounds)
    product, copy = (max(rivals, key=attrgetter("rate")) for rivals in (products, copies))
    layers = work_by_layer(nodes, shapes, STEP_OUTPUTS)
    layer_ms = ms_by_layer(nodes, profiled_runs(graph, inputs, PROFILED, threads))
    return {
        "engine": BASELINE,
        "threads": threads,
        "rounds": rounds,
        "clock": "processor" if clock is thread_time else "wall",
        "step": {"median_ms": round(float(np.median(step.ms)), 4), **asdict(work)},
        "matmul_gflop_per_s": {rival.name: round(rival.rate / 1e9, 2) for rival in products},
        "copy_gb_per_s": {rival.name: round(rival.rate / 1e9, 2) for rival in copies},
        "best_matmul": product.name,
        "best_copy": copy.name,
        "bound_ms": round(bound_ms(work, product.rate, copy.rate), 4),
        "bound_by": "matrix products"
        if work.flop / product.rate > work.bytes_least / copy.rate
        else "copies",
        "step_over_matmul": paired_ratio(step.rates, product.rates, block=2).as_json(),
        "step_over_bound": paired_ratio(
            np.array([bound_ms(work, *rates) for rates in zip(product.rates, copy.rates, strict=True)]),
            np.array(step.ms),
            block=2,
        ).as_json(),
        "layers": _layers(layers, layer_ms, product.rate, copy.rate),
    }


def bound_ms(work: Work, flop_per_s: float, bytes_per_s: float) -> float:
    """The milliseconds that some work takes at least."""
    return 1e3 * max(work.flop / flop_per_s, work.bytes_least / bytes_per_s)


def _layers(
    layers: Mapping[str, Work], layer_ms: Mapping[str, float], flop_per_s: float, bytes_per_s: float
) -> list[dict[str, Any]]:
    """Each layer's work, time and share of its bound; what ONNX Runtime adds in between has no bound."""
    rows: list[dict[str, Any]] = []
    for layer, work in layers.items():
        ms, least = layer_ms.get(layer, 0.0), bound_ms(work, flop_per_s, bytes_per_s)
        rows.append(
            {
                "layer": layer,
                **asdict(work),
                "ms": round(ms, 4),
                "bound_ms": round(least, 4),
                "of_bound": round(least / ms, 4) if ms else None,
            }
        )
    if LAYOUT in layer_ms:
        nothing = asdict(Work(0, 0, 0))
        rows.append(
            {"layer": LAYOUT, **nothing, "ms": round(layer_ms[LAYOUT], 4), "bound_ms": 0.0, "of_bound": None}
        )
    return rows


def _in_turn(rivals: Sequence[Rival], rounds: int) -> None:
    for rival in rivals:
        rival.settle()
    for _ in range(rounds):
        for rival in rivals:
            rival.play()


def _copy(megabytes: int, clock: Callable[[], float]) -> Rival:
    """A copy within memory; a byte is read and written, so it counts twice."""
    size = megabytes << 20
    source, target = np.ones(size, dtype=np.uint8), np.zeros(size, dtype=np.uint8)
    return Rival(f"{megabytes} MB", 2 * size, lambda: np.copyto(target, source), clock)
