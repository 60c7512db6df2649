"""A stand-in for the package ``tensorrt``: ONNX Runtime computes, at the addresses that it is given.

Its names are those of the real package, from 10.3 to 11; each call is as strict as the real one, or stricter.
A plan is the ONNX graph behind a line that says for which TensorRT, GPU and batch it was built. ``install``
puts it in the place of ``tensorrt``; the driver double has to be loaded.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from doubles import trt_types
from doubles.driver import HOST_FUNCTION, DriverDouble
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
from lvedge.bundle import Bundle
from lvedge.graph import GRAPHS, graph_file

MAGIC = b"fake plan "
GPU = "driver double 8.7"


class Logger(ILogger):
    def __init__(self, min_severity: ILogger.Severity = ILogger.WARNING) -> None:
        self.min_severity = min_severity

    def log(self, severity: ILogger.Severity, msg: str) -> None:
        if severity <= self.min_severity:
            sys.stderr.write(f"[TRT] {msg}\n")


class DataType(Enum):
    FLOAT = 0
    HALF = 1
    INT64 = 2


class TensorIOMode(Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


TYPES = {"tensor(float)": DataType.FLOAT, "tensor(float16)": DataType.HALF, "tensor(int64)": DataType.INT64}


class Fake:
    """What the fake is told to do, and what it saw.

    Args:
        driver: the double that it runs on.
    """

    def __init__(self, driver: DriverDouble) -> None:
        self.driver = driver
        self.version = "10.3.0"
        self.gpu = GPU
        self.deserialised: list[bytes] = []
        self.builds = 0
        self.before_run: list[Any] = []
        """Called, the last first, each for one run: to raise in the middle of a frame."""
        self.memory_for_engines = True
        self.too_late: list[str] = []
        """What was given up after the GPU's context, where the real one may crash."""

    def note_end(self, what: object) -> None:
        if not self.driver.has_context:
            self.too_late.append(type(what).__name__)

    def tensorrt(self) -> ModuleType:
        """The module."""
        fake = self
        module = ModuleType("tensorrt")
        names: dict[str, Any] = {
            "__version__": fake.version,
            "ILogger": ILogger,
            "Logger": Logger,
            "DataType": DataType,
            "TensorIOMode": TensorIOMode,
            "NetworkDefinitionCreationFlag": NetworkDefinitionCreationFlag,
            "MemoryPoolType": MemoryPoolType,
            "BuilderFlag": BuilderFlag,
            "ProfilingVerbosity": ProfilingVerbosity,
            "IProgressMonitor": IProgressMonitor,
            "Runtime": lambda logger: Runtime(fake, logger),
            "Builder": lambda logger: Builder(fake, logger),
            "OnnxParser": OnnxParser,
        }
        for name, value in names.items():
            setattr(module, name, value)
        return module

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Take the place of ``tensorrt``, in the version that is set now."""
        patch.setitem(sys.modules, "tensorrt", self.tensorrt())


class Runtime:
    def __init__(self, fake: Fake, logger: ILogger) -> None:
        if not fake.driver.is_initialised:
            os.abort()  # as the real one may
        assert isinstance(logger, ILogger)
        self._fake, self._logger = fake, logger

    def __del__(self) -> None:
        self._fake.note_end(self)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        fake = self._fake
        fake.deserialised.append(bytes(serialized_engine))
        head, _, graph = bytes(serialized_engine).removeprefix(MAGIC).partition(b"\n")
        try:
            about = json.loads(head)
            if (about["tensorrt"], about["gpu"], about["size"]) != (fake.version, fake.gpu, len(graph)):
                raise ValueError("built for another version or GPU")
        except (ValueError, KeyError, TypeError) as err:
            self._logger.log(ILogger.ERROR, f"IRuntime::deserializeCudaEngine: Error Code 1: {err}")
            return None
        if not fake.memory_for_engines:
            self._logger.log(ILogger.ERROR, "Requested amount of GPU memory could not be allocated.")
            return None
        return ICudaEngine(fake, graph, about["most"])


class ICudaEngine:
    def __init__(self, fake: Fake, graph: bytes, most: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._fake, self._most = fake, most
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        sides = (
            (TensorIOMode.INPUT, self.session.get_inputs()),
            (TensorIOMode.OUTPUT, self.session.get_outputs()),
        )
        self.tensors = {t.name: (mode, TYPES[t.type], (-1, *t.shape[1:])) for mode, ts in sides for t in ts}

    def __del__(self) -> None:
        self._fake.note_end(self)

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self.tensors[name][0]

    def get_tensor_dtype(self, name: str) -> DataType:
        return self.tensors[name][1]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name][2]

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self._fake, self, self._most)


class IExecutionContext:
    def __init__(self, fake: Fake, engine: ICudaEngine, most: int) -> None:
        self._fake, self._engine, self._most = fake, engine, most
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._is_fresh = True  # the first run after a change of shape cannot be recorded
        self._calls: list[Any] = []  # alive as long as the context, as a CUDA graph needs it

    def __del__(self) -> None:
        self._fake.note_end(self)

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        mode, _, stated = self._engine.tensors.get(name, (TensorIOMode.NONE, None, ()))
        if (
            mode is not TensorIOMode.INPUT
            or not 1 <= shape[0] <= self._most
            or tuple(shape[1:]) != stated[1:]
        ):
            return False
        self._is_fresh |= self._shapes.get(name) != tuple(shape)
        self._shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert isinstance(memory, int)
        if name not in self._engine.tensors:
            return False
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert isinstance(stream_handle, int)
        tensors = self._engine.tensors
        inputs = [name for name, (mode, _, _) in tensors.items() if mode is TensorIOMode.INPUT]
        if set(self._addresses) != set(tensors) or set(self._shapes) != set(inputs):
            return False
        if self._is_fresh and self._fake.driver.is_recording(stream_handle):
            return False
        self._is_fresh = False
        (batch,) = {shape[0] for shape in self._shapes.values()}
        places = {}
        for name, (_, _, shape) in tensors.items():
            whole = (batch, *shape[1:])
            assert self._fake.driver.holds(self._addresses[name], 4 * prod(whole)), name
            places[name] = (self._addresses[name], whole)
        if self._fake.before_run:
            stop = self._fake.before_run.pop()
            del self, tensors  # the real one is no Python: its error's frames hold nothing
            stop()
            raise AssertionError("nothing stopped the run")

        session = self._engine.session

        def compute(_: object) -> None:
            views = {name: view_of(address, shape) for name, (address, shape) in places.items()}
            given = session.run(None, {name: views[name] for name in inputs})
            for tensor, value in zip(session.get_outputs(), given, strict=True):
                views[tensor.name][...] = value

        self._calls.append(HOST_FUNCTION(compute))
        self._fake.driver.call_in_stream(stream_handle, self._calls[-1])
        return True


def graphs_taken(bundle: Bundle) -> Bundle:
    """A bundle whose FP32 graphs are those that TensorRT takes: what ONNX Runtime gives of these is right."""
    entries = {graph_file(name): bundle.graph(name, bundle.precisions[-1]) for name in GRAPHS}
    return replace(bundle, entries=entries)


def view_of(address: int, shape: tuple[int, ...]) -> Any:
    """The float32 array at an address."""
    raw = (ctypes.c_float * prod(shape)).from_address(address)
    return np.ctypeslib.as_array(raw).reshape(shape)


class Builder:
    def __init__(self, fake: Fake, logger: ILogger) -> None:
        if not fake.driver.is_initialised:
            os.abort()
        self._fake, self._logger = fake, logger

    def create_network(self, flags: int) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: Config) -> bytes | None:
        self._fake.builds += 1
        (profile,) = config.profiles
        if set(profile._shapes) != {tensor.name for tensor in network._inputs}:
            self._logger.log(ILogger.ERROR, "a dynamic input without a profile")
            return None
        (most,) = {shapes[2][0] for shapes in profile._shapes.values()}
        about = {
            "tensorrt": self._fake.version,
            "gpu": self._fake.gpu,
            "size": len(network._graph),
            "most": most,
        }
        return MAGIC + json.dumps(about).encode() + b"\n" + network._graph


class Config:
    def __init__(self) -> None:
        self.profiles: list[IOptimizationProfile] = []

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        assert pool is MemoryPoolType.WORKSPACE
        assert pool_size > 0

    def clear_flag(self, flag: BuilderFlag) -> None:
        assert flag is BuilderFlag.TF32

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1


class OnnxParser(trt_types.OnnxParser):
    def _read(self, model: bytes) -> list[ITensor] | list[ParserError]:
        try:
            session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        except Exception as err:  # noqa: BLE001
            return [ParserError(ErrorCode.UNSUPPORTED_NODE, str(err))]
        return [ITensor(t.name, t.shape) for t in session.get_inputs()]
