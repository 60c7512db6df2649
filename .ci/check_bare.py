"""Checks an environment that holds the bare wheel: nothing heavy in it, and nothing taken from a checkout."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

HEAVY = ("torch", "onnx", "onnxscript", "scipy", "matplotlib")


def main() -> str | None:
    present = [name for name in HEAVY if find_spec(name) is not None]
    if present:
        return f"the base install brought {', '.join(present)}"
    for name in ("lvedge", "lvedge_runtime", "lvedge_export"):
        spec = find_spec(name)
        if spec is None:
            return f"the wheel does not hold {name}"
        place = spec.origin or next(iter(spec.submodule_search_locations or ["nowhere"]))
        if "site-packages" not in Path(place).parts:
            return f"{name} comes from {place}, not from the wheel"
    sys.stdout.write(f"CPython {sys.version.split()[0]}: the bare wheel, without {', '.join(HEAVY)}\n")
    return None


if __name__ == "__main__":
    sys.exit(main())
