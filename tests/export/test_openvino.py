"""OpenVINO against ONNX Runtime and the network: FP32, INT8 and BF16, a thousand steps, and its settings."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxslim")
pytest.importorskip("openvino")

from engines_here import engines
from small_run import clips

from lvedge.contract import State
from lvedge.errors import EngineError
from lvedge.training.stepper import TorchStepper
from lvedge_export.drift import STEPS, drift_of
from lvedge_export.engine import Exported
from lvedge_export.half import emulated_in_bfloat16
from lvedge_export.int8 import emulated_from_int8, int8_from_onnx
from lvedge_export.parity import TOLERANCE, compare
from lvedge_runtime.engines import open_engine
from lvedge_runtime.engines.openvino import BF16, compiled_from_bytes, has_bfloat16

INT8_TOLERANCE = 0.03
"""Part of each output's range: where a value lies between two of 255 steps, either may be taken."""

BF16_TOLERANCE = 0.03
"""Part of each output's range, in the mean: BF16 keeps 8 bits of a number."""


def worst_of(found: Any, expected: Any) -> dict[str, float]:
    """Output to the largest difference as a part of its range, frame by frame with carried state."""
    worst = {}
    for name in ("indices", "phase", "mask", "features"):
        pair = [np.array([getattr(result, name) for result in results]) for results in (found, expected)]
        worst[name] = float(np.abs(pair[0] - pair[1]).max() / np.ptp(pair[1]))
    return worst


def walk(exported: Exported, name: str, **instead: bytes) -> list[Any]:
    """Steps through a clip, each with the state that the one before gave."""
    with open_engine(exported.bundle(**instead), name) as engine:
        state, results = engine.zero_state(), []
        for view in clips(exported.shapes, 1)[0].views:
            results.append(engine.step(view[None], state))
            state = results[-1].state
    return results


def test_fp32_is_the_same_in_every_output(exported: Exported) -> None:
    """All three graphs, over whole clips with carried state; TOLERANCE is the export's own."""
    with exported.engine() as reference, open_engine(exported.bundle(), "openvino") as engine:
        parity = compare(reference, engine, clips(exported.shapes))
    assert parity.failures == []
    assert 0 < parity.worst[1].relative <= TOLERANCE


def test_a_thousand_steps_do_not_drift(exported: Exported, reference: TorchStepper) -> None:
    clip = clips(exported.shapes, 1)[0]
    with open_engine(exported.bundle(), "openvino") as engine:
        drift = drift_of(reference, {"openvino": engine}, clip)["openvino"]
    assert drift.by_kind["state"].shape == (STEPS,) == (1000,)
    assert drift.is_bounded
    assert drift.largest["thickness_mm"] < 1e-3
    assert drift.largest["area_mm2"] < 0.1
    assert drift.largest["phase"] < 1e-4


def test_int8_is_the_graph_as_it_is_written(exported: Exported) -> None:
    """The same rounding in float32, but for a few values; its own INT8 kernels miss by 0.4 without VNNI."""
    int8 = int8_from_onnx(exported, "step", clips(exported.shapes))
    found = walk(exported, "openvino", step=int8)
    written = walk(exported, "onnxruntime-cpu", step=emulated_from_int8(int8))
    full = walk(exported, "onnxruntime-cpu")
    assert max(worst_of(found, written).values()) <= INT8_TOLERANCE
    apart = [
        np.mean([np.abs(a.mask - b.mask).mean() for a, b in zip(found, right, strict=True)])
        for right in (written, full)
    ]
    assert apart[0] < apart[1] / 20


def test_threads_and_precision_are_what_was_asked_for(exported: Exported) -> None:
    for threads in (1, 2):
        compiled = compiled_from_bytes(exported.graphs["replay"], "replay", threads)
        # No more than the processors that this process may use.
        assert compiled.get_property("INFERENCE_NUM_THREADS") == min(threads, len(os.sched_getaffinity(0)))
        assert compiled.get_property("NUM_STREAMS") == 1
        assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
        assert compiled.get_property("ENABLE_CPU_PINNING") is False
        # Before the next one: a model gives the thread back the signal stack of the one made before it, which
        # has to be there still, or the next signal ends the process.
        del compiled


@pytest.mark.parametrize("name", engines(["openvino-bf16"]))
def test_bf16_is_near_and_not_equal(exported: Exported, name: str) -> None:
    found, full = walk(exported, name), walk(exported, "openvino")
    for output in ("indices", "phase", "mask", "features"):
        one, other = (np.array([getattr(result, output) for result in results]) for results in (found, full))
        assert 0 < np.abs(one - other).mean() <= BF16_TOLERANCE * np.ptp(other)


def test_bf16_as_it_rounds_at_most_is_within_its_tolerance(exported: Exported) -> None:
    """Emulated, on any processor."""
    rounded = {name: emulated_in_bfloat16(graph) for name, graph in exported.graphs.items()}
    found, full = walk(exported, "onnxruntime-cpu", **rounded), walk(exported, "onnxruntime-cpu")
    for output in ("indices", "phase", "mask", "features"):
        one, other = (np.array([getattr(result, output) for result in results]) for results in (found, full))
        assert 0 < np.abs(one - other).mean() <= BF16_TOLERANCE * np.ptp(other)


def test_bf16_is_refused_where_openvino_would_leave_it_out(exported: Exported) -> None:
    """Asked for BF16 on a processor without it, OpenVINO computes in float32 and says nothing."""
    if has_bfloat16():
        pytest.skip("this processor has bfloat16")
    import openvino

    core, graph = openvino.Core(), exported.graphs["step"]
    asked = core.compile_model(core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": BF16})
    assert asked.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    view = clips(exported.shapes, 1)[0].views[:1]
    loose = asked.create_infer_request().infer({"frame": view, **State.zeros(exported.shapes).as_inputs()})
    (full, *_) = walk(exported, "openvino")
    np.testing.assert_allclose(loose["indices"], full.indices, rtol=1e-5, atol=1e-5)
    with (
        open_engine(exported.bundle(), "openvino-bf16") as engine,
        pytest.raises(EngineError, match="this processor has no bfloat16: take --engine openvino"),
    ):
        engine.step(view, engine.zero_state())
