"""Engines: what runs a bundle's graphs. Each is named, and imported when chosen."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from lvedge.bundle import Bundle
from lvedge.errors import UsageError
from lvedge_runtime.engines.base import Engine

__all__ = ["ENGINES", "Engine", "open_engine"]

ENGINES: Mapping[str, str] = {
    "onnxruntime-cpu": "lvedge_runtime.engines.onnxruntime_cpu:OnnxRuntimeCpu",
    "tensorrt": "lvedge_runtime.engines.tensorrt:TensorRt",
}
"""Name to ``module:class``; the class takes (bundle, threads)."""

AUTO = "auto"


def open_engine(bundle: Bundle, name: str = AUTO, threads: int = 1) -> Engine:
    """An engine for a bundle; it starts working with ``with``.

    Args:
        bundle: what to run.
        name: an engine by its name, or "auto" for the fastest on this machine.
        threads: threads that one call may use.

    Raises:
        UsageError: if there is no engine of that name.
        EngineError: if the engine cannot be had on this machine.
    """
    chosen = next(iter(ENGINES)) if name == AUTO else name
    if chosen not in ENGINES:
        raise UsageError(f"there is no engine {name!r}: name one of {', '.join((AUTO, *ENGINES))}")
    module, kind = ENGINES[chosen].split(":")
    engine: Engine = getattr(import_module(module), kind)(bundle, threads)
    return engine
