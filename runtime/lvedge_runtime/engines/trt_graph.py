"""One of the three graphs as TensorRT executes it, with the buffers of what the host gives and takes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lvedge.contract import NEXT_SUFFIX, STATE_NAMES, ContractShapes, Floats
from lvedge.errors import EngineError
from lvedge.graph import GRAPHS
from lvedge_runtime.engines.cuda.device import Device, Pinned
from lvedge_runtime.engines.lane import FLOAT_BYTES, Lane

if TYPE_CHECKING:
    import tensorrt as trt

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exchange:
    """A tensor that crosses between host and device.

    Args:
        pinned: its place on the host.
        address: its place on the device; the same bytes where both share their memory.
        shape: without the batch dimension.
        is_mapped: whether it needs no copy.
    """

    pinned: Pinned
    address: int
    shape: tuple[int, ...]
    is_mapped: bool

    @classmethod
    def on(cls, device: Device, shape: tuple[int, ...], most: int) -> Exchange:
        """Buffers for up to so many streams."""
        size = most * int(np.prod(shape)) * FLOAT_BYTES
        pinned = device.allocate_pinned(size)
        if device.shares_memory:
            return cls(pinned, pinned.on_device, shape, True)
        return cls(pinned, device.allocate(size), shape, False)

    def size(self, batch: int) -> int:
        """Bytes of B streams."""
        return batch * int(np.prod(self.shape)) * FLOAT_BYTES

    def view(self, batch: int) -> Floats:
        """[B, ...] the bytes on the host; the next run writes to them."""
        return self.pinned.bytes[: self.size(batch)].view(np.float32).reshape(batch, *self.shape)


class TrtGraph:
    """A deserialised engine, its context, and its buffers on a device.

    Args:
        trt: the package ``tensorrt``.
        engine: deserialised.
        name: "step", "replay" or "locator".
        shapes: sizes of all tensors.
        device: where it runs; its context is current. What is allocated there it frees.
        most: streams that go as one batch at most.

    Raises:
        EngineError: if the engine has other tensors than the contract, or there is no memory for it.
    """

    def __init__(
        self, trt: Any, engine: trt.ICudaEngine, name: str, shapes: ContractShapes, device: Device, most: int
    ) -> None:
        self._trt = trt
        self._engine = engine
        self._name = name
        self._device = device
        self._most = most
        self._states = [tensor for tensor in GRAPHS[name][0] if tensor in STATE_NAMES]
        self._shapes = {t: shapes.tensor_shape(t) for side in GRAPHS[name] for t in side}
        if name == "locator":
            self._shapes["frame"] = shapes.locator_shape
        self._check_tensors()
        self._context = engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"the GPU has no room for the {name} graph: close other programs that use it")
        (self._taken,) = (t for t in GRAPHS[name][0] if t not in self._states)
        self._given = [t for t in GRAPHS[name][1] if not t.endswith(NEXT_SUFFIX)]
        self._buffers: dict[str, Exchange] = {}
        for tensor in (self._taken, *self._given):
            self._buffers[tensor] = Exchange.on(device, self._shapes[tensor], most)
        self._batch = 0
        self._is_warm = False
        self._recorded: dict[tuple[int, int], Any] = {}
        self._records = device.can_capture

    def run(self, array: Floats, lane: Lane | None = None, bank: int = 0) -> list[Floats]:
        """What the graph gives beside the state, in the contract's order; the arrays are the caller's.

        Args:
            array: [B, ...] what the graph takes beside the state.
            lane: where the state lies.
            bank: which of its banks is read; the other is written.

        Raises:
            EngineError: if there are too many streams, or the device fails.
        """
        batch = len(array)
        if batch > self._most:
            raise EngineError(
                f"the engine was built for at most {self._most} streams at a time, not {batch}: build it with"
                f" BuildOptions(max_batch={batch})"
            )
        self._set_batch(batch)
        np.copyto(self._buffers[self._taken].view(batch), array)
        place = (id(lane), bank)
        if place not in self._recorded and self._is_warm and self._records:
            self._record(place, lane, bank)
        if place in self._recorded:
            self._device.launch(self._recorded[place])
        else:
            self._enqueue(lane, bank)
            self._is_warm = True
        self._device.synchronise()
        return [self._buffers[tensor].view(batch).copy() for tensor in self._given]

    def close(self) -> None:
        """Let go of TensorRT's objects: they may not outlive the GPU's context, as this one may."""
        self._context = self._engine = None

    def _set_batch(self, batch: int) -> None:
        """Fix the inputs' shapes; what was recorded for others is of no use any more."""
        if batch == self._batch:
            return
        self._batch = 0
        self._is_warm = False
        while self._recorded:
            self._device.forget(self._recorded.popitem()[1])
        for tensor in GRAPHS[self._name][0]:
            if not self._context.set_input_shape(tensor, (batch, *self._shapes[tensor])):
                raise EngineError(f"TensorRT refuses a batch of {batch} for the {self._name} graph")
        self._batch = batch

    def _record(self, place: tuple[int, int], lane: Lane | None, bank: int) -> None:
        """Make a CUDA graph of the run, which spares the host most of a launch; else it runs as before."""
        try:
            self._recorded[place] = self._device.record(lambda: self._enqueue(lane, bank))
        except EngineError as err:
            self._records = False
            _log.warning("the %s graph runs without CUDA graphs: %s", self._name, err)

    def _enqueue(self, lane: Lane | None, bank: int) -> None:
        """Put one run on the stream: copies in, the graph, copies out."""
        batch, addresses = self._batch, {name: b.address for name, b in self._buffers.items()}
        if lane is not None:
            addresses |= lane.addresses(bank)
            addresses |= {name + NEXT_SUFFIX: at for name, at in lane.addresses(1 - bank).items()}
        for tensor, address in addresses.items():
            if not self._context.set_tensor_address(tensor, address):
                raise EngineError(f"TensorRT refuses an address for {tensor} of the {self._name} graph")
        taken = self._buffers[self._taken]
        if not taken.is_mapped:
            self._device.copy_to_device(taken.address, taken.pinned, taken.size(batch))
        if not self._context.execute_async_v3(self._device.stream):
            raise EngineError(f"TensorRT could not run the {self._name} graph")
        for tensor in self._given:
            buffer = self._buffers[tensor]
            if not buffer.is_mapped:
                self._device.copy_to_host(buffer.pinned, buffer.address, buffer.size(batch))

    def _check_tensors(self) -> None:
        """Refuse an engine whose tensors are not the contract's, by name, direction, type and shape."""
        engine, modes = self._engine, self._trt.TensorIOMode
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs, outputs = GRAPHS[self._name]
        for what, mode, expected in (("takes", modes.INPUT, inputs), ("gives", modes.OUTPUT, outputs)):
            stated = [name for name in names if engine.get_tensor_mode(name) == mode]
            if sorted(stated) != sorted(expected):
                raise EngineError(
                    f"the engine of the {self._name} graph {what} {_listed(stated)} and not"
                    f" {_listed(expected)}: it belongs to another bundle"
                )
        for name in names:
            if engine.get_tensor_dtype(name) != self._trt.DataType.FLOAT:
                raise EngineError(f"the engine of the {self._name} graph has {name} not in float32")
            if tuple(engine.get_tensor_shape(name))[1:] != self._shapes[name]:
                raise EngineError(
                    f"the engine of the {self._name} graph has {name} in the shape"
                    f" {list(engine.get_tensor_shape(name))}, the bundle {['B', *self._shapes[name]]}"
                )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"
