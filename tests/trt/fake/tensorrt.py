"""A stand-in for the half of ``tensorrt`` that builds engines and looks into them: it keeps what it is told.

Its names are the real package's; a test holds them against the real bindings. A plan is what the builder was
told, as JSON. Nothing here shows what TensorRT itself does.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum

from doubles import trt_types
from doubles.trt_types import (
    BuilderFlag,
    ErrorCode,
    ILogger,
    INetworkDefinition,
    IOptimizationProfile,
    IProgressMonitor,
    ITensor,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    ParserError,
    ProfilingVerbosity,
)

from lvedge.errors import BundleError
from lvedge.onnxscan import scan_graph

__version__ = "10.3.0"
FOREIGN = b"times of another device"
DLA_CORES = 2


class HardwareCompatibilityLevel(Enum):
    NONE = 0
    AMPERE_PLUS = 1


class DeviceType(Enum):
    GPU = 0
    DLA = 1


class LayerInformationFormat(Enum):
    JSON = 1


class OnnxParser(trt_types.OnnxParser):
    def _read(self, model: bytes) -> list[ITensor] | list[ParserError]:
        try:
            scan = scan_graph(model)
        except BundleError as err:
            return [ParserError(ErrorCode.MODEL_DESERIALIZE_FAILED, f"Failed to parse:\n{err}")] * 2
        return [ITensor(t.name, t.shape) for t in scan.inputs]


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
