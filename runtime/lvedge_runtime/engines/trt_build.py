"""TensorRT engines from ONNX graphs: built on the device that runs them, one way for TensorRT 10.3 to 11.

Types stand in the graph: the network is strongly typed, and no flag lowers a precision. FP16 graphs are typed
so when they are exported, INT8 graphs hold Q/DQ. What they keep in FP32 is computed in FP32: TF32, which
rounds as FP16 does, is off.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Protocol

from lvedge.disk import write_whole
from lvedge.errors import EngineError
from lvedge_runtime.engines.trt_module import Journal, journal_of, start_driver, tensorrt_module

if TYPE_CHECKING:
    import tensorrt as trt


LONGEST = 300
"""Characters of what TensorRT says that go into an error."""


@dataclass(frozen=True)
class BuildOptions:
    """What an engine is built for.

    Args:
        workspace_mb: device memory that a layer may use beside its tensors, MiB.
        max_batch: streams that go as one batch, from 1 to this; the engine is tuned for this many.
        dla_core: the deep learning accelerator that takes what it can, the GPU the rest; it takes exactly
            ``max_batch`` streams. None for the GPU alone.
        version_compatible: also for newer TensorRT versions of the same major one; larger and slower.
        hardware_compatible: also for other GPUs, Ampere and newer; slower. Not on a Jetson.

    Raises:
        EngineError: if the options cannot be meant.
    """

    workspace_mb: int = 256
    max_batch: int = 1
    dla_core: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False

    def __post_init__(self) -> None:
        if self.workspace_mb < 1 or self.max_batch < 1:
            raise EngineError(
                f"an engine needs at least 1 MiB of workspace and 1 stream,"
                f" not {self.workspace_mb} and {self.max_batch}"
            )
        if self.dla_core is not None and self.dla_core < 0:
            raise EngineError(f"there is no DLA core {self.dla_core}: they count from 0")
        if self.dla_core is not None and (self.version_compatible or self.hardware_compatible):
            raise EngineError("an engine for a DLA is for this device and this TensorRT only: ask for one")


class Progress(Protocol):
    """Who is told how far a build is. Phases lie inside one another; a name may come again."""

    def started(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps began, inside another one or by itself."""

    def stepped(self, phase: str, step: int) -> None:
        """A step of a phase is done, counted from 0."""

    def finished(self, phase: str) -> None:
        """A phase ended, whether or not all of its steps were taken."""


def build_engine(
    graph: bytes,
    options: BuildOptions = BuildOptions(),
    timing_cache: Path | None = None,
    progress: Progress | None = None,
) -> bytes:
    """An engine for this device and this TensorRT.

    Args:
        graph: the checked bytes of an ONNX model whose types are those to compute in.
        options: what it is built for.
        timing_cache: where measured times of kernels are kept, so that the next build is faster; a file of
            another device or version is begun anew.
        progress: who is told how far it is.

    Returns:
        The serialised engine.

    Raises:
        EngineError: if there is no TensorRT or no driver, or it does not take the graph or finds no engine.
    """
    module = tensorrt_module()
    start_driver()
    return engine_from_graph(module, graph, options, partial(_timed_by, timing_cache), progress)


def layers_of(engine: bytes) -> dict[str, Any]:
    """What TensorRT made of a graph, as its inspector tells it: layers, kernels, types, in its own words.

    Args:
        engine: what ``build_engine`` gave in this process or another that is trusted: an engine is a program.

    Raises:
        EngineError: if there is no TensorRT or no driver, or the engine is not for them.
    """
    module = tensorrt_module()
    start_driver()
    return _inspected(module, engine)


def engine_from_graph(
    trt: Any,
    graph: bytes,
    options: BuildOptions,
    around: Callable[[trt.IBuilderConfig], AbstractContextManager[None]],
    progress: Progress | None = None,
) -> bytes:
    """An engine by any builder with TensorRT's interface.

    Args:
        trt: ``tensorrt``, or ``tensorrt_rtx``.
        graph: the ONNX bytes.
        options: what it is built for.
        around: given the builder's configuration; completes it, and reads from it after the build.
        progress: who is told how far it is.

    Raises:
        EngineError: if the builder does not take the graph, or no engine fits.
    """
    journal = journal_of(trt)
    journal.last = ""
    name = _called(trt)
    try:
        builder = trt.Builder(journal.logger)
    except TypeError as err:  # what its bindings make of a library that gives nothing
        raise EngineError(f"{name} does not start here: {_reason(journal)}") from err
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, journal.logger)
    if not parser.parse(graph):
        raise EngineError(f"{name} does not take the graph: {_parser_errors(parser) or _reason(journal)}")
    config = _configured(trt, builder, options)
    config.add_optimization_profile(_profile(builder, network, options))
    monitor = _monitor(trt, progress)
    config.progress_monitor = monitor
    with around(config), _later_signals(monitor):
        serialised = builder.build_serialized_network(network, config)
    if monitor.error is not None:
        raise monitor.error
    if serialised is None:
        raise EngineError(f"{name} builds no engine within {options.workspace_mb} MiB: {_reason(journal)}")
    return bytes(serialised)


def _configured(trt: Any, builder: trt.Builder, options: BuildOptions) -> trt.IBuilderConfig:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    config.clear_flag(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.dla_core is not None:
        cores = builder.num_DLA_cores
        if options.dla_core >= cores:
            has = f"it has 0 to {cores - 1}" if cores else "TensorRT sees none here"
            raise EngineError(f"there is no DLA core {options.dla_core}: {has}")
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    return config


def _profile(
    builder: trt.Builder, network: trt.INetworkDefinition, options: BuildOptions
) -> trt.IOptimizationProfile:
    """Every input's leading dimension from 1 to the largest batch; a DLA has no room for others than this."""
    profile = builder.create_optimization_profile()
    most = options.max_batch
    least = 1 if options.dla_core is None else most
    for k in range(network.num_inputs):
        tensor = network.get_input(k)
        shape = list(tensor.shape)
        if shape[:1] != [-1] or -1 in shape[1:]:
            raise EngineError(
                f"the graph takes {tensor.name} of shape {shape}: only its first dimension may be open (-1)"
            )
        profile.set_shape(tensor.name, (least, *shape[1:]), (most, *shape[1:]), (most, *shape[1:]))
    return profile


@contextmanager
def _timed_by(path: Path | None, config: trt.IBuilderConfig) -> Iterator[None]:
    """Lends the builder the times that a file keeps, and writes them back."""
    if path is None:
        yield
        return
    try:
        known = path.read_bytes() if path.exists() else b""
        if not config.set_timing_cache(config.create_timing_cache(known), False):
            config.set_timing_cache(config.create_timing_cache(b""), False)
        yield
        measured = config.get_timing_cache().serialize()
        write_whole(path, bytes(measured))
    except OSError as err:
        raise EngineError(f"the timing cache {path} cannot be kept: {err.strerror or err}") from err


def _inspected(trt: Any, data: bytes) -> dict[str, Any]:
    journal = journal_of(trt)
    journal.last = ""
    try:
        runtime = trt.Runtime(journal.logger)
    except TypeError as err:
        raise EngineError(f"{_called(trt)} does not start here: {_reason(journal)}") from err
    runtime.engine_host_code_allowed = True  # a version-compatible engine brings its own runtime
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise EngineError(f"{_called(trt)} does not take the engine: {_reason(journal)}")
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as err:
        raise EngineError(f"{_called(trt)} tells the layers in no valid JSON: {err}") from err
    return found


def _parser_errors(parser: trt.OnnxParser) -> str:
    """The first thing that the parser stumbled over, with its node, and how many more there are."""
    count = parser.num_errors
    if not count:
        return ""
    error: trt.ParserError = parser.get_error(0)
    code = error.code()
    found = [code.name, shorten(error.desc(), LONGEST)]
    if error.node_operator():
        found.insert(0, f"{error.node_operator()} {error.node_name()!r}")
    return ": ".join(found) + (f" (and {count - 1} more)" if count > 1 else "")


def _called(trt: Any) -> str:
    """The builder's name and version, for messages."""
    return f"{'TensorRT-RTX' if trt.__name__ == 'tensorrt_rtx' else 'TensorRT'} {trt.__version__}"


def _reason(journal: Journal) -> str:
    """What TensorRT said last of its failure."""
    return shorten(journal.last, LONGEST) or "it does not say why"


def _monitor(trt: Any, progress: Progress | None) -> Any:
    """Tells of the build, and ends it when ``is_stopped`` is set or whoever is told raises an ``error``."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.error: BaseException | None = None
            self.is_stopped = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._tell("started", phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell("stepped", phase_name, step)
            return not self.is_stopped

        def phase_finish(self, phase_name: str) -> None:
            self._tell("finished", phase_name)

        def _tell(self, what: str, *values: object) -> None:
            if progress is None or self.is_stopped:
                return
            try:
                getattr(progress, what)(*values)
            except Exception as err:  # noqa: BLE001 (TensorRT would print it and go on)
                self.error = err
                self.is_stopped = True

    return Monitor()


@contextmanager
def _later_signals(monitor: Any) -> Iterator[None]:
    """End the build at Ctrl-C or a request to stop, and only then let the signal do what it does.

    What a handler raises while TensorRT calls back is lost there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def keep(number: int, _frame: object) -> None:
        caught.append(number)
        monitor.is_stopped = True

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = {number: handler for number, handler in before.items() if callable(handler)}
    for number in handled:
        signal.signal(number, keep)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(caught[0])
