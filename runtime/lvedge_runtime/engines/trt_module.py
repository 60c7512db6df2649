"""TensorRT's Python module, the driver that has to be started before it, and its one log."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from lvedge.errors import EngineError

OLDEST = (10, 3)
"""JetPack 6.1's TensorRT; what is called here exists from it to 11."""

NO_TENSORRT = (
    "on a Jetson it comes with JetPack, and a virtual environment sees it with --system-site-packages;"
    " elsewhere: pip install tensorrt"
)


def load_tensorrt() -> Any:
    """The module ``tensorrt``, imported when it is needed.

    Raises:
        EngineError: if it cannot be imported or is too old.
    """
    try:
        import tensorrt as trt
    except (ImportError, OSError) as err:
        reason = " ".join(str(err).split())
        raise EngineError(f"tensorrt cannot be imported ({reason}): {NO_TENSORRT}") from err
    version = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if version < OLDEST:
        raise EngineError(
            f"TensorRT {trt.__version__} is too old: it takes {OLDEST[0]}.{OLDEST[1]}, as JetPack 6.1 has it"
        )
    return trt


def start_driver() -> None:
    """Start the NVIDIA driver; a second call changes nothing.

    TensorRT may end the process where it meets no driver, so nothing of it is made before.

    Raises:
        EngineError: if there is none, or it does not start.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as err:
        raise EngineError(
            f"no NVIDIA driver answers here ({err}): TensorRT engines are built and run on the device itself"
        ) from err
    status = driver.cuInit(0)
    if status:
        raise EngineError(f"the NVIDIA driver does not start (cuInit says {status}): see nvidia-smi or dmesg")


@cache
def log_of(trt: Any) -> Any:
    """The log that every builder, parser and runtime of a TensorRT module is given; ``errors`` are its lines.

    There is one a process: TensorRT keeps the first that it sees, and goes on calling it.

    Args:
        trt: ``tensorrt``, or ``tensorrt_rtx``.
    """
    kept = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in kept:
                self.errors.append(" ".join(msg.split()))

    return Log()
