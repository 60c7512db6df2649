"""TensorRT: the bundle's graphs as engines built on this GPU, the state kept there."""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from lvedge.bundle import Bundle
from lvedge.contract import Floats, ReplayResult, State, StepResult
from lvedge.errors import EngineError
from lvedge.graph import GRAPHS
from lvedge_runtime.engines.base import Engine
from lvedge_runtime.engines.cache import EngineCache, EngineKey, profile_of
from lvedge_runtime.engines.cuda import Device, open_device
from lvedge_runtime.engines.lane import DeviceState, Lanes
from lvedge_runtime.engines.probe import missing_driver, missing_module
from lvedge_runtime.engines.trt_build import BuildOptions, build_engine
from lvedge_runtime.engines.trt_graph import TrtGraph
from lvedge_runtime.engines.trt_module import Journal, journal_of, tensorrt_module

if TYPE_CHECKING:
    import tensorrt as trt


class TensorRt(Engine):
    """One TensorRT engine and context a graph, from the cache or built at the start, which takes minutes.

    The state stays in two banks of device memory a stream (``lane``): ``step`` and ``replay`` give a
    ``DeviceState``, whose arrays come to the host only when they are asked for. What else crosses goes
    through pinned memory, on a Jetson through memory that both share; a run that repeats is a CUDA graph
    where the provider can record one. One stream of work, one call at a time; several threads take turns.

    Args:
        bundle: what to run; its FP16-typed graphs where it has all three of them, else FP32.
        threads: for the host, which has next to nothing to do here.
        streams: the engines are built for batches of up to so many.
        options: how engines are built; None for the defaults and these streams.
        device: opens the GPU.
        cache: keeps engines; None for the one of this user.
    """

    name = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 1,
        streams: int = 1,
        options: BuildOptions | None = None,
        device: Callable[[], Device] = open_device,
        cache: EngineCache | None = None,
    ) -> None:
        super().__init__(bundle, threads, streams)
        self.precision = "fp16" if "fp16" in bundle.precisions else "fp32"
        self._options = BuildOptions(max_batch=streams) if options is None else options
        self._open_device = device
        self._cache = cache
        self._device: Device | None = None
        self._lanes: Lanes | None = None
        self._runtime: trt.Runtime | None = None  # its engines need it to the end
        self._graphs: dict[str, TrtGraph] = {}
        self._turn = threading.RLock()

    @classmethod
    def obstacle(cls) -> str:
        return missing_driver() or missing_module("tensorrt", "it comes with JetPack")

    @property
    def most(self) -> int:
        return self._options.max_batch

    def _open(self) -> None:
        trt = tensorrt_module()
        try:
            # The driver first: TensorRT's runtime crashes the process where there is none.
            self._device = self._open_device()
            with self._device.current():
                self._open_graphs(trt, self._device)
        except BaseException as err:
            # What they hold of TensorRT's may not outlive the context.
            traceback.clear_frames(err.__traceback__)
            self._close()
            raise

    def _open_graphs(self, trt: Any, device: Device) -> None:
        """The engines, built or from the cache, and the lanes."""
        journal = journal_of(trt)
        runtime = self._runtime = trt.Runtime(journal.logger)
        cache = EngineCache() if self._cache is None else self._cache
        most = self._options.max_batch
        for graph in GRAPHS:
            engine = self._engine(trt, runtime, journal, cache, graph)
            self._graphs[graph] = TrtGraph(trt, engine, graph, self.shapes, device, most)
        self._lanes = Lanes(device, self.shapes, most, self._turn)

    def _engine(
        self, trt: Any, runtime: trt.Runtime, journal: Journal, cache: EngineCache, graph: str
    ) -> Any:
        """A graph's engine, deserialised."""
        assert self._device is not None
        data = self.bundle.graph(graph, self.precision)
        major, minor = self._device.compute_capability
        key = EngineKey(
            graph=graph,
            sha256=hashlib.sha256(data).hexdigest(),
            tensorrt=str(trt.__version__),
            gpu=f"{self._device.name}, compute capability {major}.{minor}",
            precision=self.precision,
            profile=profile_of(self._options),
        )
        # Not a function in here: its frame would hold the runtime for as long as an error's trace is kept.
        accept = partial(_accepted, runtime, journal, graph)
        return cache.engine(key, lambda: build_engine(data, self._options), accept)

    def _close(self) -> None:
        with self._turn:
            device, self._device = self._device, None
            self._lanes = None
            if device is None:
                return
            try:
                with device.current():
                    while self._graphs:
                        self._graphs.popitem()[1].close()
                    self._runtime = None
            finally:
                device.close()

    @contextmanager
    def _running(self) -> Iterator[Lanes]:
        """The GPU for one call."""
        with self._turn:
            if self._device is None or self._lanes is None:
                raise EngineError(f"the engine {self.name} was closed while it was in use")
            with self._device.current():
                yield self._lanes

    def _checked(self, state: State, batch: int) -> State:
        lanes = self._lanes
        if lanes is None or not isinstance(state, DeviceState) or not lanes.owns(state):
            return super()._checked(state, batch)
        if state.batch != batch:
            raise EngineError(f"the state is of {state.batch} streams, the frame of {batch}")
        return state

    def _step(self, frame: Floats, state: State) -> StepResult:
        with self._running() as lanes, lanes.stepping(state, len(frame)) as (lane, bank, after):
            indices, phase, mask, features = self._graphs["step"].run(frame, lane, bank)
        return StepResult(indices, phase, mask, features, after)

    def _replay(self, features: Floats, state: State) -> ReplayResult:
        with self._running() as lanes, lanes.stepping(state, len(features)) as (lane, bank, after):
            indices, phase = self._graphs["replay"].run(features, lane, bank)
        return ReplayResult(indices, phase, after)

    def _locate(self, frame: Floats) -> tuple[Floats, Floats]:
        with self._running():
            points, confidence = self._graphs["locator"].run(frame)
        return points, confidence


def _accepted(runtime: trt.Runtime, journal: Journal, graph: str, plan: bytes) -> Any:
    """The engine of checked bytes; None where TensorRT refuses them.

    Raises:
        EngineError: if there is no memory for it.
    """
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None and "memory" in journal.last.lower():
        raise EngineError(
            f"the GPU has no room for the {graph} graph ({journal.last}): close other programs that use it"
        )
    return engine
