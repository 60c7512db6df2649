"""ONNX Runtime sessions of the bench's own: for its matrix products, and with the profiler on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def session_of(
    model: bytes, threads: int, optimised: bool = True, profile: Path | None = None
) -> InferenceSession:
    """A session on the CPU, as the engine makes its own.

    Args:
        model: the graph, checked or made here.
        threads: of one run.
        optimised: with all that ONNX Runtime knows; otherwise node for node as the graph is.
        profile: where its profile goes, without the end of the name; None for none.
    """
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
