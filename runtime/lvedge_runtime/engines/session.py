"""Engines that execute each graph by tensor names, made ready in the background while a source is opened."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

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

ORDER = ("locator", "step", "replay")
"""In which order a stream first needs the graphs."""


class Session(Protocol):
    """One graph that can be run; ``onnxruntime.InferenceSession`` is one as it comes."""

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Floats]) -> list[Floats]:
        """The outputs that are named, in their order; arrays of the caller's own."""


class SessionEngine(Engine):
    """One session a graph, made in the order in which a stream needs them; a backend writes ``_session``.

    What keeps a session from being made is told when it is first needed.
    """

    _maker: ThreadPoolExecutor
    _sessions: Mapping[str, Future[Session]]

    @abstractmethod
    def _session(self, name: str) -> Session:
        """The session of "locator", "step" or "replay", from the bundle's bytes; or an ``EngineError``."""

    def _open(self) -> None:
        self._maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lvedge-session")
        self._sessions = {name: self._maker.submit(self._session, name) for name in ORDER}

    def _close(self) -> None:
        self._maker.shutdown(wait=True, cancel_futures=True)
        self._sessions = {}

    def _run(self, graph: str, outputs: Sequence[str], inputs: Mapping[str, Floats]) -> list[Floats]:
        session = self._sessions[graph].result()
        try:
            return session.run(outputs, inputs)
        except Exception as err:  # neither onnxruntime nor openvino has a common base for its errors
            raise EngineError(f"{self.name} fails in the {graph} graph: {one_line(err)}") from err

    def _step(self, frame: Floats, state: State) -> StepResult:
        indices, phase, mask, features, *after = self._run(
            "step", STEP_OUTPUTS, {"frame": frame, **state.as_inputs()}
        )
        return StepResult(indices, phase, mask, features, State(*after))

    def _replay(self, features: Floats, state: State) -> ReplayResult:
        indices, phase, *after = self._run(
            "replay", REPLAY_OUTPUTS, {"features": features, **state.as_inputs()}
        )
        return ReplayResult(indices, phase, State(*after))

    def _locate(self, frame: Floats) -> tuple[Floats, Floats]:
        points, confidence = self._run("locator", LOCATOR_OUTPUTS, {"frame": frame})
        return points, confidence


def one_line(error: Exception) -> str:
    """A library's message, which may have several lines, in one."""
    return " ".join(str(error).split())
