"""A Python without one package: what is asked of it there, in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def error_without(package: str, code: str) -> str:
    """The words of the error with which a line of code names the extra that is missing."""
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from lvedge.errors import MissingExtraError\n"
        f"try:\n    {code}\n"
        "except MissingExtraError as err:\n    print(err)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout
