"""States that stay on the device: two banks of buffers a stream, read and written in turn.

A lane holds the four state tensors twice. A step reads one bank and writes the other, so that a state lives
on the device until two steps later. What it was then is gone: a later use is refused, never answered with
the numbers of another frame.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from lvedge.contract import STATE_NAMES, ContractShapes, Floats, State
from lvedge.errors import EngineError
from lvedge_runtime.engines.cuda.device import Device

ALIGNMENT = 256
"""Where a tensor may begin, bytes: what cuMemAlloc itself keeps to."""

FLOAT_BYTES = 4


class Lane:
    """The buffers of one stream of B.

    Args:
        device: where they lie.
        shapes: sizes of the state tensors.
        batch: B.
    """

    def __init__(self, device: Device, shapes: ContractShapes, batch: int) -> None:
        self.shapes = {name: (batch, *shapes.tensor_shape(name)) for name in STATE_NAMES}
        self.batch = batch
        self.offsets: dict[str, int] = {}
        size = 0
        for name, shape in self.shapes.items():
            self.offsets[name] = size
            size += -(-int(np.prod(shape)) * FLOAT_BYTES // ALIGNMENT) * ALIGNMENT
        self.bank_size = size
        memory = device.allocate(2 * size)
        self.banks = (memory, memory + size)
        self.holds: list[int | None] = [None, None]
        """Which step's state each bank holds; None while it is being written."""

    def bank_of(self, step: int) -> int | None:
        """Where the state after a step lies, or None where it has been overwritten."""
        return step % 2 if self.holds[step % 2] == step else None

    def addresses(self, bank: int) -> Mapping[str, int]:
        """State tensor to its address in a bank."""
        return {name: self.banks[bank] + offset for name, offset in self.offsets.items()}


class Lease:
    """A stream's hold on its lane, shared by its states; the last of them to go frees the lane."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane


class DeviceState(State):
    """A state whose arrays lie on the device; they come to the host when they are asked for.

    The engine that made it goes on from it without a copy. It lives there until two steps later, and for as
    long as the engine is open; arrays that were asked for before stay. Going on from a state that is not its
    stream's newest begins another stream from that state.

    Raises:
        EngineError: when an array is asked for that is no longer there.
    """

    def __init__(self, lanes: Lanes, lease: Lease, step: int) -> None:
        # Its fields are properties: nothing is set as State would.
        self.lanes = lanes
        self.lease = lease
        self.step = step
        self._on_host: State | None = None

    def __repr__(self) -> str:
        return f"DeviceState(batch={self.batch}, step={self.step})"

    @property
    def h_regression(self) -> Floats:
        return self.on_host().h_regression

    @property
    def c_regression(self) -> Floats:
        return self.on_host().c_regression

    @property
    def h_phase(self) -> Floats:
        return self.on_host().h_phase

    @property
    def c_phase(self) -> Floats:
        return self.on_host().c_phase

    @property
    def batch(self) -> int:
        """Streams that it is of."""
        return self.lease.lane.batch

    @property
    def is_on_device(self) -> bool:
        """Whether its buffers still hold it."""
        return self.lanes.is_open and self.lease.lane.bank_of(self.step) is not None

    def on_host(self) -> State:
        """The same state as arrays of the caller's own.

        Raises:
            EngineError: if it is gone.
        """
        if self._on_host is None:
            self._on_host = self.lanes.fetch(self)
        return self._on_host


class Lanes:
    """The lanes of one engine: handed out to streams, taken back when nobody holds a state of theirs.

    Args:
        device: where they lie; not closed here.
        shapes: sizes of the state tensors.
        most: streams that go as one batch at most.
        guard: held while the device is in use.
    """

    def __init__(
        self, device: Device, shapes: ContractShapes, most: int, guard: AbstractContextManager[object]
    ) -> None:
        self._device = device
        self._shapes = shapes
        self._guard = guard
        self._free: defaultdict[int, list[Lane]] = defaultdict(list)
        first = Lane(device, shapes, most)
        self._free[most].append(first)
        self._pinned = device.allocate_pinned(first.bank_size)

    @property
    def is_open(self) -> bool:
        """Whether the device is."""
        return self._device.is_open

    def owns(self, state: State) -> bool:
        """Whether a state is one of these, still on the device."""
        return isinstance(state, DeviceState) and state.lanes is self and state.is_on_device

    @contextmanager
    def stepping(self, state: State, batch: int) -> Iterator[tuple[Lane, int, DeviceState]]:
        """The lane to step on, the bank to read, and the state after, which holds once the block is done.

        Args:
            state: any state of B streams.
            batch: B.
        """
        lease, step = self._place(state, batch)
        lane, bank = lease.lane, step % 2
        lane.holds[1 - bank] = None
        yield lane, bank, DeviceState(self, lease, step + 1)
        lane.holds[1 - bank] = step + 1

    def fetch(self, state: DeviceState) -> State:
        """A state's arrays, copied to the host.

        Raises:
            EngineError: if it is gone.
        """
        lane = state.lease.lane
        with self._guard:
            if not self.is_open:
                raise EngineError("a state of an engine that was closed is gone: ask for its arrays before")
            bank = lane.bank_of(state.step)
            if bank is None:
                raise EngineError(
                    "this state is gone: on the device a state lasts until two steps later; go on from the"
                    " newest one, or ask for its arrays in time"
                )
            with self._device.current():
                self._device.copy_to_host(self._pinned, lane.banks[bank], lane.bank_size)
                self._device.synchronise()
            return State(*(view.copy() for view in self._views(lane).values()))

    def _place(self, state: State, batch: int) -> tuple[Lease, int]:
        """A lease whose lane holds the state, and after which step it does."""
        if isinstance(state, DeviceState) and self.owns(state):
            lane = state.lease.lane
            if max(step for step in lane.holds if step is not None) == state.step:
                return state.lease, state.step
            lease = self._lease(batch)
            self._device.copy_within(lease.lane.banks[0], lane.banks[state.step % 2], lane.bank_size)
        else:
            lease = self._lease(batch)
            for name, view in self._views(lease.lane).items():
                view[...] = getattr(state, name)
            self._device.copy_to_device(lease.lane.banks[0], self._pinned, lease.lane.bank_size)
            self._device.synchronise()  # the pinned memory is free for the next one
        lease.lane.holds[0] = 0
        return lease, 0

    def _lease(self, batch: int) -> Lease:
        """A lane that nobody uses, holding nothing yet."""
        free = self._free[batch]
        lane = free.pop() if free else Lane(self._device, self._shapes, batch)
        lane.holds = [None, None]
        lease = Lease(lane)
        weakref.finalize(lease, free.append, lane).atexit = False
        return lease

    def _views(self, lane: Lane) -> dict[str, Floats]:
        """State tensor to its place in the pinned memory."""
        found = {}
        for name, offset in lane.offsets.items():
            size = int(np.prod(lane.shapes[name])) * FLOAT_BYTES
            found[name] = (
                self._pinned.bytes[offset : offset + size].view(np.float32).reshape(lane.shapes[name])
            )
        return found
