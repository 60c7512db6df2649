"""The lean step graph: written otherwise, the same values, and nothing changed where nothing is to change."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from onnx import helper, numpy_helper  # noqa: E402

from lvedge.bundle import Bundle  # noqa: E402
from lvedge.contract import STATE_NAMES  # noqa: E402
from lvedge_export.engine import Exported  # noqa: E402
from lvedge_export.lean import BLOCK, lean_graph, rewritten  # noqa: E402
from lvedge_runtime.engines.onnxruntime_base import session_from_bytes  # noqa: E402

PRECISION = 2e-6
"""Of an output's range: float32's digits, for sums taken in another order."""


def outputs_of(graph: bytes, inputs: dict[str, Any]) -> list[Any]:
    return session_from_bytes(graph, "step").run(None, inputs)


def inputs_of(exported: Exported, batch: int) -> dict[str, Any]:
    rng, shapes = np.random.default_rng(batch), exported.shapes
    made = {name: rng.normal(size=(batch, *shapes.tensor_shape(name))) for name in STATE_NAMES}
    made["frame"] = rng.random((batch, *shapes.tensor_shape("frame")))
    return {name: values.astype(np.float32) for name, values in made.items()}


def operators(graph: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_values_are_those_of_the_graph_as_exported(exported: Exported, batch: int) -> None:
    step = exported.graphs["step"]
    lean = lean_graph(step, "step", exported.shapes, exported.checkpoint)
    inputs = inputs_of(exported, batch)
    for expected, found in zip(outputs_of(step, inputs), outputs_of(lean, inputs), strict=True):
        span = max(float(np.ptp(expected)), 1.0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=PRECISION * span)


def test_what_is_changed(exported: Exported) -> None:
    step = exported.graphs["step"]
    lean = lean_graph(step, "step", exported.shapes, exported.checkpoint)
    before, after = operators(step), operators(lean)
    # The mask's softmax is written out, the phase's stays; the grid's Add, Mul and Unsqueeze are one product.
    assert before["Softmax"] - after["Softmax"] == 1
    assert (after["Exp"], after["ReduceMax"]) == (1, 1)
    assert after["Gemm"] - before["Gemm"] == 1
    assert after["Conv"] == before["Conv"]  # the small run's are narrower than a block


def test_a_bundle_holds_the_lean_graph(small: Bundle, exported: Exported) -> None:
    assert small.graph("step") == lean_graph(
        exported.graphs["step"], "step", exported.shapes, exported.checkpoint
    )
    assert small.graph("replay") == exported.graphs["replay"]


def test_the_other_graphs_have_nothing_to_change(exported: Exported) -> None:
    for name in ("replay", "locator"):
        graph = exported.graphs[name]
        assert lean_graph(graph, name, exported.shapes, exported.checkpoint) == graph


@pytest.mark.parametrize("dilation", [1, 3])
def test_a_narrow_convolution_in_two_is_the_same(dilation: int) -> None:
    weights = np.random.default_rng(0).normal(size=(BLOCK, 2 * BLOCK, 3, 3)).astype(np.float32)
    bias = np.arange(BLOCK, dtype=np.float32)
    alone = helper.make_graph(
        [
            helper.make_node(
                "Conv", ["x", "w", "b"], ["y"], "layer/Conv_0", dilations=[dilation] * 2, pads=[dilation] * 4
            )
        ],
        "narrow",
        [helper.make_tensor_value_info("x", 1, ["B", 2 * BLOCK, 20, 24])],
        [helper.make_tensor_value_info("y", 1, ["B", BLOCK, 20, 24])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    whole = helper.make_model(alone, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    graph = whole.SerializeToString()
    lean = rewritten(whole).SerializeToString()
    assert operators(lean) == {"Conv": 2}
    x = {"x": np.random.default_rng(1).normal(size=(2, 2 * BLOCK, 20, 24)).astype(np.float32)}
    np.testing.assert_allclose(outputs_of(lean, x)[0], outputs_of(graph, x)[0], rtol=0, atol=1e-4)
