"""The power mode of a Jetson, which decides its clocks and how many cores it has."""

from __future__ import annotations

import re
import subprocess  # one program of the system's, by its whole path, without a shell  # nosec B404
from pathlib import Path

NVPMODEL = "usr/sbin/nvpmodel"

_MODE = re.compile(r"NV Power Mode:\s*(\S+)")
_TIMEOUT_S = 10.0


def power_mode(root: Path = Path("/")) -> str | None:
    """The name of the mode in use, as ``nvpmodel -q`` says it; None where it does not.

    Args:
        root: the folder that the system's files lie under.
    """
    command = [str(root / NVPMODEL), "-q"]
    try:
        done = subprocess.run(  # nosec B603
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _MODE.search(done.stdout)
    return None if found is None else found[1]
