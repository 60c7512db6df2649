"""TensorRT's own Python package, and what it says while it works."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lvedge.errors import EngineError


def tensorrt_module() -> Any:
    """The package ``tensorrt``; nothing of it may touch the GPU before a device is open.

    Raises:
        EngineError: if it cannot be imported.
    """
    try:
        return import_module("tensorrt")
    except (ImportError, OSError) as err:  # OSError: its own libraries are missing
        raise EngineError(
            f"TensorRT's Python package cannot be imported ({' '.join(str(err).split())}): it comes with"
            " JetPack; a virtual environment sees it with python3 -m venv --system-site-packages"
        ) from err


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
