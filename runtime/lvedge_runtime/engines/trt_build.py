"""A TensorRT engine from an ONNX graph, built on the device that runs it."""

from __future__ import annotations

from dataclasses import dataclass

from lvedge.errors import EngineError
from lvedge_runtime.engines.trt_module import Journal, tensorrt_module


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is built. A field that shapes no engine is ``field(compare=False)``.

    Args:
        workspace_mb: memory that the builder may try kernels with.
        max_batch: streams that go as one batch at most.
    """

    workspace_mb: int = 256
    max_batch: int = 1


def build_engine(graph: bytes, options: BuildOptions) -> bytes:
    """The serialised engine of a graph: strongly typed, one profile for 1 to ``max_batch`` streams.

    The GPU's context has to be current: TensorRT asks the driver while it builds.

    Args:
        graph: checked ONNX bytes, their types in the graph, a symbol for the batch dimension of each input.
        options: how it is built.

    Raises:
        EngineError: if TensorRT is missing, or does not take the graph.
    """
    trt = tensorrt_module()
    journal = Journal(trt)
    builder = trt.Builder(journal.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, journal.logger)
    if not parser.parse(graph):
        said = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(f"TensorRT {trt.__version__} does not take the graph: {' '.join(said.split())}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        rest = tuple(tensor.shape)[1:]
        profile.set_shape(tensor.name, (1, *rest), (1, *rest), (options.max_batch, *rest))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT {trt.__version__} cannot build the graph: {journal.last or 'no reason'}")
    return bytes(plan)
