"""ONNX Runtime on an NVIDIA GPU, by its CUDA or its TensorRT execution provider."""

from __future__ import annotations

from lvedge_runtime.engines.onnxruntime_base import (
    CPU_ONLY,
    OnnxRuntimeEngine,
    Provider,
    missing_provider,
)
from lvedge_runtime.engines.probe import missing_driver, missing_module

# Without TF32 products keep float32's digits, as on a CPU; the algorithms are looked up, not tried out.
CUDA: Provider = ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})

# It keeps no engine on disk: its cache would be read back unchecked.
TENSORRT: Provider = ("TensorrtExecutionProvider", {"trt_engine_cache_enable": "0"})


class _Gpu(OnnxRuntimeEngine):
    """Looks for a driver before onnxruntime is imported."""

    @classmethod
    def obstacle(cls) -> str:
        return (
            missing_module("onnxruntime", "pip install onnxruntime-gpu")
            or missing_driver()
            or missing_provider(cls.providers[0][0])
        )


class OnnxRuntimeCuda(_Gpu):
    """CUDA and cuDNN; what they lack runs on the CPU."""

    name = "onnxruntime-cuda"
    providers = (CUDA, *CPU_ONLY)


class OnnxRuntimeTensorRt(_Gpu):
    """TensorRT, built anew at every start; what it lacks runs by CUDA, then on the CPU."""

    name = "onnxruntime-tensorrt"
    providers = (TENSORRT, CUDA, *CPU_ONLY)

    @property
    def most(self) -> int:
        """One: at the first batch of another size it would be built anew, amid the frames."""
        return 1
