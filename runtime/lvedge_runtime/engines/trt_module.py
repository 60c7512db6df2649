"""TensorRT's own Python package, the driver that is started before it, and what it says while it works."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib import import_module
from typing import Any

from lvedge.errors import EngineError
from lvedge_runtime.engines.probe import DRIVER

OLDEST = (10, 3)
"""JetPack 6.1's TensorRT; what is called here exists from it to 11."""


def tensorrt_module() -> Any:
    """The package ``tensorrt``; nothing of it may touch the GPU before the driver is started.

    Raises:
        EngineError: if it cannot be imported, or is too old.
    """
    try:
        trt = import_module("tensorrt")
    except (ImportError, OSError) as err:  # OSError: its own libraries are missing
        raise EngineError(
            f"TensorRT's Python package cannot be imported ({' '.join(str(err).split())}): it comes with"
            " JetPack; a virtual environment sees it with python3 -m venv --system-site-packages"
        ) from err
    version = str(trt.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise EngineError(f"TensorRT {version} is too old: JetPack 6.1 has {oldest}, or take a newer one")
    return trt


def start_driver() -> None:
    """Start the NVIDIA driver; a second call changes nothing.

    TensorRT may end the process where it meets no driver, so nothing of it is made before.

    Raises:
        EngineError: if there is none, or it does not start.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError as err:
        raise EngineError(
            f"no NVIDIA driver answers here ({err}): TensorRT engines are built and run on the device itself"
        ) from err
    status = driver.cuInit(0)
    if status:
        raise EngineError(f"the NVIDIA driver does not start (cuInit says {status}): see nvidia-smi or dmesg")


class Journal:
    """Keeps TensorRT's last error for our own message, in place of printing it.

    Args:
        trt: the package.
    """

    def __init__(self, trt: Any) -> None:
        self.last = ""
        """The last error, on one line."""
        journal = self

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                    journal.last = " ".join(msg.split())

        self.logger: Any = Logger()


@cache
def journal_of(trt: Any) -> Journal:
    """The one journal of a process: TensorRT goes on writing to the first log that it is given.

    Args:
        trt: ``tensorrt``, or ``tensorrt_rtx``.
    """
    return Journal(trt)
