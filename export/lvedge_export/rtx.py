"""TensorRT-RTX engines: built ahead of time, for named GPUs, on a machine that needs none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from lvedge.errors import EngineError, UsageError
from lvedge_runtime.engines.trt_build import BuildOptions, Progress, engine_from_graph

if TYPE_CHECKING:
    import tensorrt_rtx as trt


def load_rtx() -> Any:
    """The module ``tensorrt_rtx``, imported when it is needed.

    Raises:
        EngineError: if it cannot be imported.
    """
    try:
        import tensorrt_rtx
    except (ImportError, OSError) as err:
        reason = " ".join(str(err).split())
        raise EngineError(
            f"tensorrt_rtx cannot be imported ({reason}): pip install tensorrt-rtx-cu12 (NVIDIA's licence)"
        ) from err
    return tensorrt_rtx


def targets_from_text(trt: Any, text: str) -> tuple[str, ...]:
    """Compute capabilities as TensorRT-RTX names them, from "sm86,sm89".

    Raises:
        UsageError: for one that it does not build for.
    """
    known = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    asked = tuple(dict.fromkeys(word.strip().upper() for word in text.split(",")))
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise UsageError(
            f"TensorRT-RTX {trt.__version__} builds nothing for {', '.join(map(repr, unknown))}:"
            f" name some of {', '.join(known).lower()}"
        )
    return asked


def rtx_engine(
    trt: Any, graph: bytes, targets: Sequence[str], options: BuildOptions, progress: Progress | None = None
) -> bytes:
    """One engine for all targets; its kernels are chosen on the device, when it is first loaded.

    Args:
        trt: ``tensorrt_rtx``.
        graph: the checked bytes of an ONNX model whose types are those to compute in.
        targets: from ``targets_from_text``.
        options: what it is built for.
        progress: who is told how far it is.

    Raises:
        EngineError: if TensorRT-RTX does not take the graph, or finds no engine.
    """
    return engine_from_graph(trt, graph, options, partial(_for_targets, trt, targets), progress)


@contextmanager
def _for_targets(trt: Any, targets: Sequence[str], config: trt.IBuilderConfig) -> Iterator[None]:
    config.num_compute_capabilities = len(targets)
    for k, name in enumerate(targets):
        config.set_compute_capability(trt.ComputeCapability.__members__[name], k)
    yield
