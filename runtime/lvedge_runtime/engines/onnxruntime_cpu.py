"""ONNX Runtime on the CPU: the engine that is always there."""

from __future__ import annotations

from lvedge_runtime.engines.onnxruntime_base import OnnxRuntimeEngine


class OnnxRuntimeCpu(OnnxRuntimeEngine):
    """All operators on the CPU."""

    name = "onnxruntime-cpu"
