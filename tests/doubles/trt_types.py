"""What both stand-ins for ``tensorrt`` share: the small types, networks, profiles and the parser's errors.

The names and the calls are those of the real package, from 10.3 to 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Any


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING
    INFO, VERBOSE = Severity.INFO, Severity.VERBOSE

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(Enum):
    TF32 = 0
    VERSION_COMPATIBLE = 1
    GPU_FALLBACK = 2


class MemoryPoolType(Enum):
    WORKSPACE = 0


class ProfilingVerbosity(Enum):
    LAYER_NAMES_ONLY = 0
    DETAILED = 1


class ErrorCode(Enum):
    UNSUPPORTED_NODE = 0
    MODEL_DESERIALIZE_FAILED = 1


class ITensor:
    def __init__(self, name: str, shape: Sequence[Any]) -> None:
        self.name, self.shape = name, tuple(n if isinstance(n, int) else -1 for n in shape)


class INetworkDefinition:
    def __init__(self) -> None:
        self._graph = b""
        self._inputs: list[ITensor] = []

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        self._shapes[input] = [list(min), list(opt), list(max)]


class ParserError:
    def __init__(self, code: ErrorCode, desc: str, operator: str = "", node: str = "") -> None:
        self._code, self._desc, self._operator, self._node = code, desc, operator, node

    def code(self) -> ErrorCode:
        return self._code

    def desc(self) -> str:
        return self._desc

    def node_operator(self) -> str:
        return self._operator

    def node_name(self) -> str:
        return self._node


class OnnxParser:
    """Parses by ``_read``, which gives the inputs, or what is wrong."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        assert isinstance(logger, ILogger)
        self._network, self._errors = network, list[ParserError]()

    def _read(self, model: bytes) -> list[ITensor] | list[ParserError]:
        raise NotImplementedError

    def parse(self, model: bytes) -> bool:
        found = self._read(model)
        self._errors = [error for error in found if isinstance(error, ParserError)]
        if self._errors:
            return False
        self._network._graph = model
        self._network._inputs = [tensor for tensor in found if isinstance(tensor, ITensor)]
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]
