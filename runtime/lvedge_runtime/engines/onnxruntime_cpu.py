"""ONNX Runtime on the CPU: the engine that is always there."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from lvedge.bundle import Bundle
from lvedge.contract import (
    LOCATOR_OUTPUTS,
    REPLAY_OUTPUTS,
    STEP_OUTPUTS,
    Floats,
    ReplayResult,
    State,
    StepResult,
)
from lvedge.errors import EngineError
from lvedge_runtime.engines.base import Engine

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ORDER = ("locator", "step", "replay")
"""In which order a stream first needs the graphs."""

_ERRORS_ONLY = 3


class OnnxRuntimeCpu(Engine):
    """One session a graph, made from the bundle's bytes.

    The sessions are made in the background, in the order in which a stream needs them, so that a source can
    be opened meanwhile. Output arrays are allocated by ONNX Runtime for each call and belong to the caller.
    """

    name = "onnxruntime-cpu"

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        super().__init__(bundle, threads)
        self._sessions: dict[str, Future[InferenceSession]] = {}
        self._maker: ThreadPoolExecutor | None = None

    def _open(self) -> None:
        self._maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lvedge-session")
        for graph in ORDER:
            self._sessions[graph] = self._maker.submit(
                session_from_bytes, self.bundle.graph(graph), graph, self.threads
            )

    def _close(self) -> None:
        if self._maker is not None:
            self._maker.shutdown(wait=True, cancel_futures=True)
            self._maker = None
        self._sessions.clear()

    def _step(self, frame: Floats, state: State) -> StepResult:
        indices, phase, mask, features, *after = (
            self._sessions["step"].result().run(STEP_OUTPUTS, {"frame": frame, **state.as_inputs()})
        )
        return StepResult(indices, phase, mask, features, State(*after))

    def _replay(self, features: Floats, state: State) -> ReplayResult:
        indices, phase, *after = (
            self._sessions["replay"].result().run(REPLAY_OUTPUTS, {"features": features, **state.as_inputs()})
        )
        return ReplayResult(indices, phase, State(*after))

    def _locate(self, frame: Floats) -> tuple[Floats, Floats]:
        points, confidence = self._sessions["locator"].result().run(LOCATOR_OUTPUTS, {"frame": frame})
        return points, confidence


def session_from_bytes(graph: bytes, name: str, threads: int = 1) -> InferenceSession:
    """A session on the CPU from ONNX bytes that were checked before.

    Args:
        graph: the ONNX model.
        name: of the graph, for messages.
        threads: threads of one run; the caller's own is one of them.

    Raises:
        EngineError: if onnxruntime is missing or does not take the graph.
    """
    try:
        import onnxruntime as ort
    except ImportError as err:
        raise EngineError(f"onnxruntime cannot be imported ({err}): pip install onnxruntime") from err
    ort.disable_telemetry_events()
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
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as err:  # onnxruntime has no common base for its errors
        reason = " ".join(str(err).split())
        raise EngineError(f"onnxruntime {ort.__version__} does not take the {name} graph: {reason}") from err
