"""The double of the CUDA driver, compiled once and loaded before anything asks for ``libcuda.so.1``.

The loader knows libraries by their soname: once the double is in the process, cuda-bindings and pycuda get
it, and a real driver, where there is one, is out of this process's reach. Whoever wants the real one
(``pytest -m gpu``) asks in another process.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("libcuda.c")
SONAME = "libcuda.so.1"
FLAGS = ("-shared", "-fPIC", "-O1", "-w", f"-Wl,-soname,{SONAME}")


def compiler() -> str | None:
    """A C compiler, where there is one."""
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def compiled(folder: Path, *more: Path) -> Path:
    """The double as ``libcuda.so.1`` in a folder, with a link for who builds against it.

    Args:
        folder: where it goes.
        more: further C sources that go into it.
    """
    command = compiler()
    if command is None:
        pytest.skip("the driver double is compiled when the tests run, and there is no C compiler")
    library = folder / SONAME
    done = subprocess.run(
        [command, *FLAGS, "-o", str(library), str(SOURCE), *map(str, more), "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    link = folder / "libcuda.so"
    if not link.exists():
        link.symlink_to(SONAME)
    return library


def pycuda_libraries() -> list[Path]:
    """The compiled part of pycuda, where it is installed; nothing is imported."""
    spec = find_spec("pycuda")
    places = (spec and spec.submodule_search_locations) or ()
    return [path for place in places for path in Path(place).glob("_driver*.so")]


def missing_functions(libraries: Sequence[Path], ours: Path) -> list[str]:
    """Functions of the driver that libraries ask for and a double lacks."""
    wanted = {name for library in libraries for name in functions(library, "--undefined-only")}
    return sorted(wanted - set(functions(ours, "--defined-only")))


def stubs(names: Sequence[str], path: Path) -> Path:
    """A C source of functions that say CUDA_ERROR_NOT_SUPPORTED."""
    path.write_text("".join(f"int {name}(void) {{ return 801; }}\n" for name in names), encoding="ascii")
    return path


def functions(library: Path, which: str) -> list[str]:
    """The driver's functions that a library asks for ("--undefined-only") or brings ("--defined-only")."""
    command = ["nm", "-D", which, str(library)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1].partition("@")[0] for line in told.splitlines() if line.strip()]
    return [name for name in names if name.startswith("cu")]


class DriverDouble:
    """The double in this process: what it counted, and what it is told to do.

    Args:
        library: the compiled double; its place in the process is taken for good.
    """

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library), mode=os.RTLD_GLOBAL | os.RTLD_NOW)
        for name in ("double_bytes_to_host", "double_bytes_to_device"):
            getattr(self.library, name).restype = ctypes.c_size_t
        self.library.double_set_limit.argtypes = [ctypes.c_size_t]
        self.library.double_holds.argtypes = [ctypes.c_uint64, ctypes.c_size_t]
        self.library.cuLaunchHostFunc.argtypes = [ctypes.c_void_p, HOST_FUNCTION, ctypes.c_void_p]

    @property
    def live(self) -> int:
        """Allocations, streams, graphs and held contexts."""
        return int(self.library.double_live())

    @property
    def faults(self) -> int:
        """Overruns, wrong frees, copies out of bounds."""
        return int(self.library.double_faults())

    @property
    def is_idle(self) -> bool:
        """Whether this thread holds no context."""
        return bool(self.library.double_is_idle())

    @property
    def has_context(self) -> bool:
        """Whether anybody holds the GPU's primary context."""
        return bool(self.library.double_has_context())

    @property
    def is_initialised(self) -> bool:
        return bool(self.library.double_is_initialised())

    @property
    def bytes_to_host(self) -> int:
        return int(self.library.double_bytes_to_host())

    @property
    def bytes_to_device(self) -> int:
        return int(self.library.double_bytes_to_device())

    @property
    def allocations(self) -> int:
        """Ever asked for."""
        return int(self.library.double_allocations())

    @property
    def captures(self) -> int:
        """CUDA graphs ever recorded."""
        return int(self.library.double_captures())

    @property
    def launches(self) -> int:
        """CUDA graphs ever launched."""
        return int(self.library.double_launches())

    def holds(self, address: int, size: int) -> bool:
        """Whether so many bytes there are one allocation's."""
        return bool(self.library.double_holds(address, size))

    def is_recording(self, stream: int) -> bool:
        """Whether a stream is recording a CUDA graph."""
        answer = ctypes.c_int()
        assert self.library.cuStreamIsCapturing(ctypes.c_void_p(stream), ctypes.byref(answer)) == 0
        return bool(answer.value)

    def call_in_stream(self, stream: int, call: ctypes._FuncPointer) -> None:
        """Put a Python function on a stream, as TensorRT puts its kernels."""
        assert self.library.cuLaunchHostFunc(stream, call, None) == 0

    @contextmanager
    def failing_allocation(self, nth: int) -> Iterator[None]:
        """The nth allocation from now fails, and all after it: pycuda clears up and tries once more."""
        self.library.double_fail_allocation(nth)
        try:
            yield
        finally:
            self.library.double_fail_allocation(0)

    @contextmanager
    def as_jetson(self) -> Iterator[None]:
        """Host and device share their memory."""
        self.library.double_set_integrated(1)
        try:
            yield
        finally:
            self.library.double_set_integrated(0)

    @contextmanager
    def without_capture(self) -> Iterator[None]:
        """No CUDA graph can be recorded."""
        self.library.double_set_capturable(0)
        try:
            yield
        finally:
            self.library.double_set_capturable(1)

    @contextmanager
    def with_memory(self, size: int) -> Iterator[None]:
        """A GPU of so many bytes."""
        self.library.double_set_limit(size)
        try:
            yield
        finally:
            self.library.double_set_limit(1 << 30)


HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
