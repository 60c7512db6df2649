"""What is done before anything heavy is imported: cheap looks at the machine, which give what is missing."""

from __future__ import annotations

import ctypes
import os
from importlib.util import find_spec

DRIVER = "libcuda.so.1"


def missing_module(module: str, remedy: str) -> str:
    """Says that a package is not installed and what brings it; empty if it is there. Imports nothing.

    Args:
        module: what would be imported.
        remedy: words for what brings it.
    """
    if find_spec(module) is None:
        return f"{module} is not installed: {remedy}"
    return ""


def silence_reports() -> None:
    """Keep onnxruntime from reporting to its maker; before its first import. What the user has set stays."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def missing_driver() -> str:
    """Says that NVIDIA's driver library cannot be loaded; empty if it can. No device is touched."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return f"no NVIDIA driver on this machine ({DRIVER} cannot be loaded)"
    return ""
