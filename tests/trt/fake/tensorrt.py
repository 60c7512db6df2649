"""A stand-in for the half of ``tensorrt`` that builds engines and looks into them: it keeps what it is told.

Its names are the real package's; a test holds them against the real bindings. A plan is what the builder was
told, as JSON. Nothing here shows what TensorRT itself does.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum, IntEnum
from typing import Any

from lvedge.errors import BundleError
from lvedge.onnxscan import scan_graph

__version__ = "10.3.0"
FOREIGN = b"times of another device"
DLA_CORES = 2


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING

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


class HardwareCompatibilityLevel(Enum):
    NONE = 0
    AMPERE_PLUS = 1


class DeviceType(Enum):
    GPU = 0
    DLA = 1


class LayerInformationFormat(Enum):
    JSON = 1


class ErrorCode(Enum):
    UNSUPPORTED_NODE = 0
    MODEL_DESERIALIZE_FAILED = 1


class ITensor:
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape = name, shape


class INetworkDefinition:
    def __init__(self) -> None:
        self._graph = b""
        self._inputs: list[ITensor] = []

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]


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
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        assert isinstance(logger, ILogger)
        self._network, self._errors = network, list[ParserError]()

    def parse(self, model: bytes) -> bool:
        try:
            scan = scan_graph(model)
        except BundleError as err:
            self._errors = [ParserError(ErrorCode.MODEL_DESERIALIZE_FAILED, f"Failed to parse:\n{err}")] * 2
            return False
        self._network._graph = model
        self._network._inputs = [
            ITensor(t.name, tuple(-1 if isinstance(n, str) else n for n in t.shape)) for t in scan.inputs
        ]
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = [list(min), list(opt), list(max)]


class ITimingCache:
    def __init__(self, times: bytes) -> None:
        self._times = times

    def serialize(self) -> bytes:
        return self._times


class IBuilderConfig:
    def __init__(self) -> None:
        self._flags = {BuilderFlag.TF32}
        self._pools: dict[str, int] = {}
        self._profiles: list[IOptimizationProfile] = []
        self._cache: ITimingCache | None = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.default_device_type = DeviceType.GPU
        self.DLA_core = -1
        self.progress_monitor: IProgressMonitor | None = None

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._pools[pool.name] = pool_size

    def set_flag(self, flag: BuilderFlag) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._flags.remove(flag)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.serialize() == FOREIGN and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802 (the real one is called so)
        return DLA_CORES

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        monitor = config.progress_monitor
        assert monitor is not None
        monitor.phase_start("Building", None, 2)
        monitor.step_complete("Building", 0)
        if config._pools["WORKSPACE"] < 2 << 20:
            self._logger.log(ILogger.WARNING, "not this line")
            self._logger.log(ILogger.ERROR, "Error Code 10:\n no implementation for any node")
            return None
        if config._cache is not None:
            config._cache._times += b"+"
        monitor.step_complete("Building", 1)
        monitor.phase_finish("Building")
        (profile,) = config._profiles
        about = {
            "graph": hashlib.sha256(network._graph).hexdigest(),
            "pools": config._pools,
            "flags": sorted(flag.name for flag in config._flags),
            "verbosity": config.profiling_verbosity.name,
            "hardware": config.hardware_compatibility_level.name,
            "device": [config.default_device_type.name, config.DLA_core],
            "profile": profile._shapes,
        }
        return json.dumps(about).encode()


class EngineInspector:
    def __init__(self, plan: bytes) -> None:
        self._plan = plan

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        assert format is LayerInformationFormat.JSON
        return json.dumps({"Layers": [{"Name": f"of {len(self._plan)} bytes"}]})


class ICudaEngine:
    def __init__(self, plan: bytes) -> None:
        self._plan = plan

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self._plan)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        try:
            about = json.loads(serialized_engine)
        except ValueError:
            self._logger.log(ILogger.ERROR, "Error Code 1: Serialization (magic tag does not match)")
            return None
        assert self.engine_host_code_allowed or "VERSION_COMPATIBLE" not in about["flags"]
        return ICudaEngine(serialized_engine)
