"""The GPU over cuda-bindings: the driver API as NVIDIA's own package calls it, in wheels for every device."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from lvedge.errors import EngineError
from lvedge_runtime.engines.cuda.device import NO_DRIVER, Device, DeviceMemoryError, Pinned


class BindingsDevice(Device):
    """The first GPU, its primary context (that of TensorRT as well), and one stream."""

    provider = "cuda-bindings"
    can_capture = True

    def _open(self) -> None:
        self._context: Any = None
        self._stream: Any = None
        self._cu: Any = import_module("cuda.bindings.driver")
        cu, attribute = self._cu, self._cu.CUdevice_attribute
        try:
            self._did(cu.cuInit(0))
        except (RuntimeError, OSError) as err:  # the library itself is missing, or lacks a function
            raise EngineError(f"{NO_DRIVER}: {' '.join(str(err).split())}") from err
        except EngineError as err:
            raise EngineError(f"{NO_DRIVER}: {err}") from err
        self._device = self._did(cu.cuDeviceGet(0))
        name: bytes = self._did(cu.cuDeviceGetName(128, self._device))
        self.name = name.partition(b"\0")[0].decode("utf-8", "replace")
        major = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
        minor = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
        self.compute_capability = major, minor
        can_map = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY)
        self.shares_memory = bool(can_map and self._attribute(attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED))
        self._context = self._did(cu.cuDevicePrimaryCtxRetain(self._device))
        self._push()
        try:
            self._stream = self._did(cu.cuStreamCreate(cu.CUstream_flags.CU_STREAM_NON_BLOCKING))
        finally:
            self._pop()
        self.stream = int(self._stream)

    def _attribute(self, which: Any) -> int:
        return int(self._did(self._cu.cuDeviceGetAttribute(which, self._device)))

    def _shut(self) -> None:
        if self._stream is not None:
            self._push()
            self._cu.cuStreamDestroy(self._stream)
            self._pop()
            self._stream = None
        if self._context is not None:
            self._cu.cuDevicePrimaryCtxRelease(self._device)
            self._context = None

    def _push(self) -> None:
        self._did(self._cu.cuCtxPushCurrent(self._context))

    def _pop(self) -> None:
        self._did(self._cu.cuCtxPopCurrent())

    def _allocate(self, size: int) -> int:
        return int(self._did(self._cu.cuMemAlloc(size), size))

    def _free(self, address: int) -> None:
        self._did(self._cu.cuMemFree(address))

    def _allocate_pinned(self, size: int) -> tuple[int, int, Any]:
        flags = self._cu.CU_MEMHOSTALLOC_DEVICEMAP if self.shares_memory else 0
        address = int(self._did(self._cu.cuMemHostAlloc(size, flags), size))
        if not self.shares_memory:
            return address, 0, None
        try:
            return address, int(self._did(self._cu.cuMemHostGetDevicePointer(address, 0))), None
        except EngineError:
            self._free_pinned(address, None)
            raise

    def _free_pinned(self, address: int, kept: Any) -> None:  # noqa: ARG002
        self._did(self._cu.cuMemFreeHost(address))

    def copy_to_device(self, address: int, pinned: Pinned, size: int) -> None:
        self._did(self._cu.cuMemcpyHtoDAsync(address, pinned.address, size, self._stream))

    def copy_to_host(self, pinned: Pinned, address: int, size: int) -> None:
        self._did(self._cu.cuMemcpyDtoHAsync(pinned.address, address, size, self._stream))

    def copy_within(self, to: int, origin: int, size: int) -> None:
        self._did(self._cu.cuMemcpyDtoDAsync(to, origin, size, self._stream))

    def synchronise(self) -> None:
        self._did(self._cu.cuStreamSynchronize(self._stream))

    def _record(self, work: Callable[[], None]) -> Any:
        mode = self._cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._did(self._cu.cuStreamBeginCapture(self._stream, mode))
        try:
            work()
        except BaseException:
            _, unfinished = self._cu.cuStreamEndCapture(self._stream)
            if unfinished is not None and int(unfinished):
                self._cu.cuGraphDestroy(unfinished)
            raise
        graph = self._did(self._cu.cuStreamEndCapture(self._stream))
        try:
            return self._did(self._cu.cuGraphInstantiate(graph, 0))
        finally:
            self._cu.cuGraphDestroy(graph)

    def launch(self, graph: Any) -> None:
        self._did(self._cu.cuGraphLaunch(graph, self._stream))

    def _forget(self, graph: Any) -> None:
        self._did(self._cu.cuGraphExecDestroy(graph))

    def _did(self, answer: Any, size: int = 0) -> Any:
        """What a call gave beside its status; ``size`` is what was asked of the memory, in bytes."""
        status, *given = answer
        if status == self._cu.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise DeviceMemoryError(f"the GPU has no room for {size} bytes: close other programs that use it")
        if status != self._cu.CUresult.CUDA_SUCCESS:
            raise EngineError(f"the GPU's driver says {status.name}")
        return given[0] if given else None
