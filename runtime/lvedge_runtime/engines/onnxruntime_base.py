"""ONNX Runtime: sessions from bytes, and the engine over them; an execution provider more is a class more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from lvedge.errors import EngineError
from lvedge_runtime.engines.probe import silence_reports
from lvedge_runtime.engines.session import Session, SessionEngine, one_line

if TYPE_CHECKING:
    from types import ModuleType

    from onnxruntime import InferenceSession

CPU_PROVIDER = "CPUExecutionProvider"

Provider = tuple[str, Mapping[str, str]]
"""An execution provider and its options."""

CPU_ONLY: Sequence[Provider] = ((CPU_PROVIDER, {}),)

_ERRORS_ONLY = 3


class OnnxRuntimeEngine(SessionEngine):
    """Sessions from the bundle's bytes; ONNX Runtime allocates the output arrays of each call.

    The contract hands frames and states over in host memory: binding them to a device's would save no copy.
    """

    providers: ClassVar[Sequence[Provider]] = CPU_ONLY
    """The first has to be there; what it does not take goes to the next."""

    def _session(self, name: str) -> Session:
        graph = self.bundle.graph(name)
        session: Session = session_from_bytes(graph, name, self.threads, self.providers)
        return session


def session_from_bytes(
    graph: bytes, name: str, threads: int = 1, providers: Sequence[Provider] = CPU_ONLY
) -> InferenceSession:
    """A session from ONNX bytes that were checked before.

    Args:
        graph: the ONNX model.
        name: of the graph, for messages.
        threads: threads of one run on the CPU; the caller's own is one of them.
        providers: execution providers, the best first.

    Raises:
        EngineError: if onnxruntime is missing, or lacks the first provider, or does not take the graph.
    """
    ort = import_onnxruntime()
    first = providers[0][0]
    reason = missing_provider(first)
    if reason:
        raise EngineError(reason)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _ERRORS_ONLY
    # Waiting threads sleep: between two frames the cores belong to others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The bytes were checked as ONNX, so nothing else may be read into them.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = ort.InferenceSession(
            graph, options, providers=[(key, dict(kept)) for key, kept in providers], enable_fallback=False
        )
    except Exception as err:  # onnxruntime has no common base for its errors
        raise EngineError(
            f"onnxruntime {ort.__version__} by {first} does not take the {name} graph: {one_line(err)}"
        ) from err
    got = session.get_providers()
    if first not in got:  # it goes on with the others and says so in its log only
        raise EngineError(
            f"onnxruntime {ort.__version__} has the {first} but cannot load it and takes {', '.join(got)}:"
            " it needs NVIDIA's driver and the CUDA, cuDNN and TensorRT that it was built for;"
            " pip install 'onnxruntime-gpu[cuda,cudnn]' brings CUDA and cuDNN"
        )
    return session


def import_onnxruntime() -> ModuleType:
    """The package, its telemetry off: from 1.32 on its import alone would keep an id and queue reports.

    Raises:
        EngineError: if it cannot be imported.
    """
    silence_reports()
    try:
        import onnxruntime as ort
    except ImportError as err:
        raise EngineError(f"onnxruntime cannot be imported ({err}): pip install onnxruntime") from err
    ort.disable_telemetry_events()
    module: ModuleType = ort
    return module


def missing_provider(provider: str) -> str:
    """Why the installed onnxruntime cannot have an execution provider, and what brings it; empty if it can.

    Raises:
        EngineError: if onnxruntime cannot be imported.
    """
    ort = import_onnxruntime()
    available = ort.get_available_providers()
    if provider in available:
        return ""
    return (
        f"onnxruntime {ort.__version__} here has no {provider}, only {', '.join(available)}:"
        " pip uninstall onnxruntime, then pip install onnxruntime-gpu, on a Jetson NVIDIA's own wheel"
    )
