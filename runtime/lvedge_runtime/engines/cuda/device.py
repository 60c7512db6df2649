"""A GPU as the engines see it: memory, one stream, and all of it given back by ``close()``."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lvedge.errors import EngineError

NO_DRIVER = "no NVIDIA driver answers here"

Self = TypeVar("Self", bound="Device")


class DeviceMemoryError(EngineError):
    """The GPU, or the host memory that it can reach, has no room left."""


@dataclass(frozen=True)
class Pinned:
    """Host memory that the GPU reaches directly; it lives until the device closes.

    Args:
        address: in the host's memory.
        size: bytes.
        on_device: the same bytes as the GPU addresses them, where both share their memory; 0 elsewhere.
    """

    address: int
    size: int
    on_device: int = 0
    bytes: NDArray[np.uint8] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        raw = (ctypes.c_uint8 * self.size).from_address(self.address)
        object.__setattr__(self, "bytes", np.ctypeslib.as_array(raw))


class Device:
    """The first GPU and one stream on it; usable between the constructor and ``close``.

    Everything that it hands out it frees itself when it closes, whatever happened in between. Calls that
    touch the GPU belong inside ``with device.current()``. A provider writes what is not implemented here; its
    methods raise an ``EngineError``, for want of room a ``DeviceMemoryError``.

    Raises:
        ImportError: if the provider's package is missing.
        EngineError: if there is no driver or no GPU.
    """

    provider = "provider"
    """The package that it is written over."""
    can_capture = False
    """Whether work can be recorded and repeated as a CUDA graph."""

    name: str
    """The GPU's own."""
    compute_capability: tuple[int, int]
    shares_memory: bool
    """Whether the GPU and the host share their memory, as on a Jetson."""
    stream: int
    """Handle of the stream that all work goes to, in order."""

    def __init__(self) -> None:
        self._allocated: set[int] = set()
        self._pinned: dict[int, Any] = {}
        self._recorded: list[Any] = []
        self._is_open = False
        try:
            self._open()
            self._is_open = True
        except BaseException:
            self._shut()
            raise

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._is_open

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this GPU the calling thread's own.

        Raises:
            EngineError: if the device is closed.
        """
        if not self._is_open:
            raise EngineError("the GPU is not in use any more: the engine was closed")
        self._push()
        try:
            yield
        finally:
            self._pop()

    def allocate(self, size: int) -> int:
        """Device memory of so many bytes, its address; freed by ``close``."""
        address = self._allocate(size)
        self._allocated.add(address)
        return address

    def allocate_pinned(self, size: int) -> Pinned:
        """Host memory of so many bytes that the GPU reaches; freed by ``close``."""
        address, on_device, kept = self._allocate_pinned(size)
        self._pinned[address] = kept
        return Pinned(address, size, on_device)

    def record(self, work: Callable[[], None]) -> Any:
        """What ``launch`` puts on the stream at once, as ``work`` would bit by bit; it is not run yet.

        Raises:
            EngineError: if some of it cannot be recorded.
        """
        graph = self._record(work)
        self._recorded.append(graph)
        return graph

    def launch(self, graph: Any) -> None:
        """Put recorded work on the stream."""
        raise NotImplementedError

    def forget(self, graph: Any) -> None:
        """Free recorded work; ``close`` does it otherwise."""
        self._recorded.remove(graph)
        self._forget(graph)

    def copy_to_device(self, address: int, pinned: Pinned, size: int) -> None:
        """Put a copy from the host on the stream; the bytes are read when the stream comes to it."""
        raise NotImplementedError

    def copy_to_host(self, pinned: Pinned, address: int, size: int) -> None:
        """Put a copy to the host on the stream; the bytes are there after ``synchronise``."""
        raise NotImplementedError

    def copy_within(self, to: int, origin: int, size: int) -> None:
        """Put a copy on the device on the stream."""
        raise NotImplementedError

    def synchronise(self) -> None:
        """Wait until all work on the stream is done."""
        raise NotImplementedError

    def close(self) -> None:
        """Free everything that was handed out; a second call does nothing.

        Raises:
            EngineError: for the first thing that could not be freed; the rest is freed all the same.
        """
        if not self._is_open:
            return
        self._is_open = False
        failed: list[EngineError] = []
        self._push()
        try:
            with contextlib.suppress(EngineError):  # its work failed: that was told by who waited for it
                self.synchronise()
            while self._recorded:
                _keep(failed, self._forget, self._recorded.pop())
            while self._allocated:
                _keep(failed, self._free, self._allocated.pop())
            while self._pinned:
                _keep(failed, self._free_pinned, *self._pinned.popitem())
        finally:
            self._pop()
            self._shut()
        if failed:
            raise failed[0]

    def _open(self) -> None:
        raise NotImplementedError

    def _shut(self) -> None:
        """Give back the stream and the context, as far as ``_open`` came."""
        raise NotImplementedError

    def _push(self) -> None:
        raise NotImplementedError

    def _pop(self) -> None:
        raise NotImplementedError

    def _allocate(self, size: int) -> int:
        raise NotImplementedError

    def _free(self, address: int) -> None:
        raise NotImplementedError

    def _allocate_pinned(self, size: int) -> tuple[int, int, Any]:
        """Address on the host, address on the device or 0, and what has to be kept for it."""
        raise NotImplementedError

    def _free_pinned(self, address: int, kept: Any) -> None:
        raise NotImplementedError

    def _record(self, work: Callable[[], None]) -> Any:
        raise NotImplementedError

    def _forget(self, graph: Any) -> None:
        raise NotImplementedError


def _keep(failed: list[EngineError], free: Callable[..., None], *what: Any) -> None:
    try:
        free(*what)
    except EngineError as err:
        failed.append(err)
