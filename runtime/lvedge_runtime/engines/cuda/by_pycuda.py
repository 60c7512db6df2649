"""The GPU over pycuda, which is compiled where the CUDA toolkit is."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from lvedge.errors import EngineError
from lvedge_runtime.engines.cuda.device import NO_DRIVER, Device, DeviceMemoryError, Pinned

DRIVER = "libcuda.so.1"


class PyCudaDevice(Device):
    """The first GPU, its primary context (that of TensorRT as well), and one stream.

    pycuda's own objects free what they hold when they go; here that is done by name, and they are only kept.
    """

    provider = "pycuda"

    def _open(self) -> None:
        self._context: Any = None
        self._stream: Any = None
        self._memory: dict[int, Any] = {}
        self._cu: Any = import_module("pycuda.driver")
        cu, attribute = self._cu, self._cu.device_attribute
        try:
            cu.init()
            device = cu.Device(0)
        except cu.Error as err:
            raise EngineError(f"{NO_DRIVER}: {err}") from err
        with self._told():
            self.name = device.name()
            major = device.get_attribute(attribute.COMPUTE_CAPABILITY_MAJOR)
            self.compute_capability = major, device.get_attribute(attribute.COMPUTE_CAPABILITY_MINOR)
            can_map = device.get_attribute(attribute.CAN_MAP_HOST_MEMORY)
            self.shares_memory = bool(can_map and device.get_attribute(attribute.INTEGRATED))
            self._context = device.retain_primary_context()
            self._thread = threading.get_ident()
            self._push()
            try:
                self._stream = cu.Stream(1)  # CU_STREAM_NON_BLOCKING
            finally:
                self._pop()
        self.stream = int(self._stream.handle)

    def _shut(self) -> None:
        if self._stream is not None:
            self._push()
            self._stream = None
            self._pop()
        if self._context is not None:
            self._context.detach()
            self._context = None
            self._finish_detaching()

    def _finish_detaching(self) -> None:
        """What pycuda leaves undone when it detaches a primary context (2026.1, ``context::detach``).

        In the thread that retained it, it makes the context current once more and does not take that back;
        in any other it does not release it.
        """
        driver = ctypes.CDLL(DRIVER)
        if threading.get_ident() == self._thread:
            driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
            return
        device = ctypes.c_int()
        driver.cuDeviceGet(ctypes.byref(device), 0)
        driver.cuDevicePrimaryCtxRelease_v2(device)

    def _push(self) -> None:
        with self._told():
            self._context.push()

    def _pop(self) -> None:
        with self._told():
            self._cu.Context.pop()

    def _allocate(self, size: int) -> int:
        with self._told(size):
            memory = self._cu.mem_alloc(size)
        self._memory[int(memory)] = memory
        return int(memory)

    def _free(self, address: int) -> None:
        with self._told():
            self._memory.pop(address).free()

    def _allocate_pinned(self, size: int) -> tuple[int, int, Any]:
        flags = self._cu.host_alloc_flags.DEVICEMAP if self.shares_memory else 0
        with self._told(size):
            array = self._cu.pagelocked_empty(size, np.uint8, mem_flags=flags)
            on_device = int(array.base.get_device_pointer()) if self.shares_memory else 0
        return int(array.ctypes.data), on_device, array

    def _free_pinned(self, address: int, kept: Any) -> None:  # noqa: ARG002
        with self._told():
            kept.base.free()

    def copy_to_device(self, address: int, pinned: Pinned, size: int) -> None:
        with self._told():
            self._cu.memcpy_htod_async(address, pinned.bytes[:size], self._stream)

    def copy_to_host(self, pinned: Pinned, address: int, size: int) -> None:
        with self._told():
            self._cu.memcpy_dtoh_async(pinned.bytes[:size], address, self._stream)

    def copy_within(self, to: int, origin: int, size: int) -> None:
        with self._told():
            self._cu.memcpy_dtod_async(to, origin, size, self._stream)

    def synchronise(self) -> None:
        with self._told():
            self._stream.synchronize()

    @contextmanager
    def _told(self, size: int = 0) -> Iterator[None]:
        """pycuda's errors as ours; ``size`` is what was asked of the memory, in bytes."""
        try:
            yield
        except self._cu.MemoryError as err:
            raise DeviceMemoryError(
                f"the GPU has no room for {size} bytes: close other programs that use it"
            ) from err
        except self._cu.Error as err:
            raise EngineError(f"the GPU's driver says {err}") from err
