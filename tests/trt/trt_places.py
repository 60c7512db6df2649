"""What the tests of TensorRT share: versions, places, and how a program is run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

WHEELS_VARIABLE = "LVEDGE_TENSORRT"
VERSIONS = ("10.3.0", "10.13.3.9", "11.4.0.106")
"""Of JetPack 6.1, of JetPack 7, and the newest."""
NO_WHEEL = {("10.3.0", (3, 13))}
"""What NVIDIA gives no wheel for."""
LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin")
"""What TensorRT's bindings are linked to."""

Python = Callable[..., "subprocess.CompletedProcess[str]"]
"""Takes arguments, folders of modules and folders of libraries."""
