"""Which engines really run on this machine, for tests that go over all of them; and some that never do."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import pytest

from lvedge.contract import Floats
from lvedge.errors import EngineError
from lvedge_runtime.engines import ENGINES
from lvedge_runtime.engines.onnxruntime_cpu import OnnxRuntimeCpu
from lvedge_runtime.engines.onnxruntime_gpu import OnnxRuntimeCuda, OnnxRuntimeTensorRt
from lvedge_runtime.engines.openvino import has_bfloat16
from lvedge_runtime.engines.tensorrt import TensorRt


def absence(name: str) -> str:
    """Why an engine cannot run on this machine; one that is installed and broken is not excused."""
    if name.startswith("openvino"):
        if find_spec("openvino") is None:
            return "needs the extra openvino"
        return "this processor has no bfloat16" if name.endswith("bf16") and not has_bfloat16() else ""
    gpu = {
        "onnxruntime-cuda": OnnxRuntimeCuda,
        "onnxruntime-tensorrt": OnnxRuntimeTensorRt,
        "tensorrt": TensorRt,
    }
    return gpu[name].obstacle() if name in gpu else ""


EXACT = sorted(name for name in ENGINES if not name.endswith("bf16"))
"""The engines that compute in float32; three digits have a test of their own."""


def engines(names: Sequence[str] = EXACT) -> list[object]:
    """Parameters for a test; what cannot run here is skipped with its reason."""
    return [pytest.param(n, marks=pytest.mark.skipif(bool(absence(n)), reason=absence(n))) for n in names]


class Stale(OnnxRuntimeCpu):
    """Looks fine until it is opened."""

    name = "stale"

    def _open(self) -> None:
        raise EngineError("made for another version: build it again")


class Mute(OnnxRuntimeCpu):
    """Opens, and gives no numbers."""

    name = "mute"
    closed = 0

    def _locate(self, frame: Floats) -> tuple[Floats, Floats]:
        points, confidence = super()._locate(frame)
        return points * float("nan"), confidence

    def _close(self) -> None:
        super()._close()
        type(self).closed += 1


class Absent(OnnxRuntimeCpu):
    """Lacks what a cheap look sees."""

    name = "absent"

    def _open(self) -> None:
        pytest.fail("an engine was opened that a look had ruled out")

    @classmethod
    def obstacle(cls) -> str:
        return "no such device"


class Good(OnnxRuntimeCpu):
    """Works."""

    name = "good"
    opened = 0

    def _open(self) -> None:
        type(self).opened += 1
        super()._open()
