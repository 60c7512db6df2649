"""Engines: what runs a bundle's graphs. Each is named, and imported when chosen."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from lvedge.bundle import Bundle
from lvedge.errors import EngineError, UsageError
from lvedge_runtime.engines.base import Engine, PassedOver

__all__ = ["ENGINES", "Engine", "PassedOver", "open_engine"]

ENGINES: Mapping[str, str] = {
    "tensorrt": "lvedge_runtime.engines.tensorrt:TensorRt",
    "onnxruntime-tensorrt": "lvedge_runtime.engines.onnxruntime_gpu:OnnxRuntimeTensorRt",
    "onnxruntime-cuda": "lvedge_runtime.engines.onnxruntime_gpu:OnnxRuntimeCuda",
    "openvino-bf16": "lvedge_runtime.engines.openvino:OpenVinoBf16",
    "openvino": "lvedge_runtime.engines.openvino:OpenVino",
    "onnxruntime-cpu": "lvedge_runtime.engines.onnxruntime_cpu:OnnxRuntimeCpu",
}
"""Name to ``module:class``, the best first; it takes (bundle, threads, streams), its module is light."""

AUTO = "auto"


def open_engine(bundle: Bundle, name: str = AUTO, threads: int = 1, streams: int = 1) -> Engine:
    """An engine for a bundle; it starts working with ``with``.

    Args:
        bundle: what to run.
        name: an engine by its name, or "auto" for the first of ``ENGINES`` that works on this machine; it
            knows which were passed over.
        threads: threads that one call may use.
        streams: so many will go as one batch.

    Raises:
        UsageError: if there is no engine of that name.
        EngineError: if the engine cannot be had on this machine.
    """
    if name == AUTO:
        return _first_that_works(bundle, threads, streams)
    return _kind(name)(bundle, threads, streams)


def _first_that_works(bundle: Bundle, threads: int, streams: int) -> Engine:
    """The best engine; the last is taken untried, and gets ready while a source is opened."""
    passed_over: list[PassedOver] = []
    *better, last = ENGINES
    engine = _kind(last)(bundle, threads, streams)
    for name in better:
        kind = _kind(name)
        reason = kind.obstacle()
        if reason:
            passed_over.append(PassedOver(name, reason, was_tried=False))
            continue
        candidate = kind(bundle, threads, streams)
        try:
            candidate.prepare()
        except EngineError as err:
            passed_over.append(PassedOver(name, str(err), was_tried=True))
            continue
        engine = candidate
        break
    engine.passed_over = tuple(passed_over)
    return engine


def _kind(name: str) -> type[Engine]:
    """The class of an engine."""
    if name not in ENGINES:
        raise UsageError(f"there is no engine {name!r}: name one of {', '.join((AUTO, *ENGINES))}")
    module, kind = ENGINES[name].split(":")
    found: type[Engine] = getattr(import_module(module), kind)
    return found
