"""OpenVINO on the CPU, in float32 or bfloat16; for x86 scanners above all."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lvedge.contract import Floats
from lvedge.errors import EngineError
from lvedge_runtime.engines.probe import missing_module
from lvedge_runtime.engines.session import Session, SessionEngine, one_line

if TYPE_CHECKING:
    from types import ModuleType

    from openvino import CompiledModel

EXTRA = "lvedge[openvino]"

F32, BF16 = "f32", "bf16"

_REPORTING = "openvino.tools.ovc"
"""The model converter: when it is imported it reports to Google Analytics, unless somebody has declined."""


class OpenVino(SessionEngine):
    """Models compiled from the bundle's bytes, in float32 whatever the processor has."""

    name = "openvino"
    hint: ClassVar[str] = F32
    reservation: ClassVar[str] = "its start costs more than its frames save"

    @classmethod
    def obstacle(cls) -> str:
        return (
            missing_module("openvino", f"pip install '{EXTRA}'")
            or f"{cls.reservation}: taken by its name only"
        )

    def _session(self, name: str) -> Session:
        return _Compiled(compiled_from_bytes(self.bundle.graph(name), name, self.threads, self.hint))


class OpenVinoBf16(OpenVino):
    """The same in bfloat16, where the processor has it: three digits instead of seven."""

    name = "openvino-bf16"
    precision = "bf16"
    hint = BF16
    reservation = "it computes with three digits"


class _Compiled:
    """A compiled graph as a session: every call uses the same request and the same tensors.

    Streams go through it one by one: with two or more at once OpenVINO 2026.4 gives other features than the
    graph says, though the masks before them are right.
    """

    def __init__(self, compiled: CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self._alone = Lock()
        # Looked up once: a tensor by its name takes longer than copying most of them.
        self._inputs, self._outputs = (
            {port.any_name: self._request.get_tensor(port).data for port in ports}
            for ports in (compiled.inputs, compiled.outputs)
        )

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Floats]) -> list[Floats]:
        """The outputs that are named, copied out; one call at a time."""
        batch = len(next(iter(inputs.values())))
        with self._alone:
            rows = [self._row(outputs, inputs, k) for k in range(batch)]
        return rows[0] if batch == 1 else [np.concatenate(column) for column in zip(*rows, strict=True)]

    def _row(self, outputs: Sequence[str], inputs: Mapping[str, Floats], k: int) -> list[Floats]:
        for name, array in inputs.items():
            self._inputs[name][0] = array[k]
        self._request.infer(share_outputs=True)  # otherwise it copies them too
        return [self._outputs[name].copy() for name in outputs]


def compiled_from_bytes(graph: bytes, name: str, threads: int = 1, precision: str = F32) -> CompiledModel:
    """A graph compiled for one stream on the CPU, from ONNX bytes that were checked before.

    Args:
        graph: the ONNX model.
        name: of the graph, for messages.
        threads: threads of one inference.
        precision: "f32" or "bf16".

    Raises:
        EngineError: if openvino is missing, or does not take the graph, or the processor has no bfloat16.
    """
    ov = import_openvino()
    core = ov.Core()
    if precision == BF16 and not has_bfloat16():
        # Asked for it, OpenVINO computes in float32 there and does not say so.
        raise EngineError("this processor has no bfloat16: take --engine openvino, which computes in float32")
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Which core runs what is the system's to decide: others run here too.
        "ENABLE_CPU_PINNING": False,
        # INT8 graphs as they are written, in float32: its own INT8 kernels gave another mask without VNNI.
        "LP_TRANSFORMS_MODE": False,
    }
    try:
        model = core.read_model(graph)
        model.reshape({tensor.any_name: [1, *list(tensor.partial_shape)[1:]] for tensor in model.inputs})
        return core.compile_model(model, "CPU", settings)
    except Exception as err:  # openvino has no common base for its errors
        raise EngineError(
            f"openvino {ov.__version__} does not take the {name} graph: {one_line(err)}"
        ) from err


def has_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this processor.

    Raises:
        EngineError: if openvino cannot be imported.
    """
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def import_openvino() -> ModuleType:
    """The package, without its model converter: that takes half of the import's time, and reports it.

    Raises:
        EngineError: if it cannot be imported.
    """
    is_hidden = _REPORTING not in sys.modules
    if is_hidden:
        sys.modules[_REPORTING] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as err:
        raise EngineError(f"openvino cannot be imported ({err}): pip install '{EXTRA}'") from err
    finally:
        if is_hidden:
            del sys.modules[_REPORTING]
    module: ModuleType = openvino
    return module
