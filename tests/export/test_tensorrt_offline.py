"""Streaming equals offline on TensorRT's engine, on doubles: torch over the whole clip, then step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("cuda.bindings.driver")

from doubles.fake_tensorrt import Fake  # noqa: E402
from small_run import STEPS  # noqa: E402
from test_graphs import close, walked  # noqa: E402

from lvedge.bundle import Bundle  # noqa: E402
from lvedge.contract import State  # noqa: E402
from lvedge_export.pack import read_run  # noqa: E402
from lvedge_runtime.engines.cuda import open_device  # noqa: E402
from lvedge_runtime.engines.tensorrt import TensorRt  # noqa: E402


@pytest.mark.parametrize("mode", ["live", "closed"])
def test_streaming_on_tensorrt_equals_offline(run_folder: Path, small: Bundle, fake: Fake, mode: str) -> None:
    """Live: the clip as it comes. Closed: stepped once, replayed once, against the clip twice in torch."""
    clip = np.random.default_rng(4).random((1, STEPS, *small.shapes.tensor_shape("frame")), dtype=np.float32)
    with torch.no_grad():
        _, steps = read_run(run_folder).network(torch.from_numpy(np.concatenate([clip] * 2, axis=1)))
    views = [np.ascontiguousarray(clip[:, t]) for t in range(STEPS)]
    with TensorRt(small, device=lambda: open_device("cuda-bindings")) as engine:
        stream: list[Any] = list(walked(engine, views, State.zeros(small.shapes)))
        expected, state = steps[:STEPS], stream[-1].state
        if mode == "closed":
            expected, stepped = steps[STEPS:], stream
            stream = []
            for step in stepped:
                stream.append(engine.replay(step.features, state))
                state = stream[-1].state
        for part in (small.shapes.layout.rwt, small.shapes.layout.dims, small.shapes.layout.areas):
            close([r.indices[:, part] for r in stream], [s.indices[:, part] for s in expected])
        close([r.phase for r in stream], [torch.softmax(s.phase_logits, 1) for s in expected])
        for k, array in enumerate(state.as_inputs().values()):
            close(array, expected[-1].state[k])
