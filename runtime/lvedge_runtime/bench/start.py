"""Cold start: from starting the command to its first result, beside importing what it needs and nothing else.

This module imports no package, and neither may the process before it is done: what a running process has
open stays in the page cache.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess  # our own command, without a shell  # nosec B404
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from lvedge.errors import EngineError

IMPORTS = ("numpy", "onnxruntime", "cv2", "pydicom")
PACKAGES = (*IMPORTS, "nibabel", "rich", "lvedge", "lvedge_runtime")


def start_of(arguments: Sequence[str], files: Sequence[Path], warm: int, cold: int) -> dict[str, Any]:
    """Seconds from starting ``lvedge-run`` to its first result, in turn with the imports alone.

    Beside the wall's seconds stand the processes' own, of all threads, as fine as they are counted: on a
    busy machine these are what to look at.

    Args:
        arguments: of the command: its source and what to measure with.
        files: what it reads beside its packages: bundle, case table, source.
        warm: starts with all files in the page cache.
        cold: starts after they were dropped from it.

    Raises:
        EngineError: if the command gives no result.
    """
    run = [sys.executable, "-m", "lvedge_runtime.cli", *arguments, "--sink", "jsonl:-", "--quiet"]
    alone = [sys.executable, "-c", f"import {', '.join(IMPORTS)}; print('there')"]
    _first_line(run)  # fills the page cache
    _first_line(alone)
    ours, theirs = [], []
    for _ in range(warm):
        ours.append(_first_line(run))
        theirs.append(_first_line(alone))
    cold_s = []
    for _ in range(cold):
        drop_from_cache([*_package_files(), *files])
        cold_s.append(_first_line(run)[0])
    taken = {
        f"{what}{kind}_s": [spent[k] for spent in all_spent]
        for what, all_spent in (("first_result", ours), ("imports_alone", theirs))
        for k, kind in enumerate(("", "_cpu"))
    }
    ratios = [mine[0] / other[0] for mine, other in zip(ours, theirs, strict=True)]
    return {
        **{name: _seconds(values) for name, values in taken.items()},
        "over_imports_median": round(median(ratios), 3),
        "cold_first_result_s": _seconds(cold_s) if cold_s else None,
        "imports": list(IMPORTS),
    }


def drop_from_cache(files: Sequence[Path]) -> int:
    """Drop files from the page cache, but for what a running process has mapped; gives how many.

    Where the system has no ``posix_fadvise``, nothing is dropped.
    """
    if not hasattr(os, "posix_fadvise"):
        return 0
    os.sync()  # what is not written yet cannot be dropped
    dropped = 0
    for path in files:
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            dropped += 1
        except OSError:  # a pipe, a folder on some file systems
            continue
        finally:
            os.close(handle)
    return dropped


def _first_line(command: Sequence[str]) -> tuple[float, float]:
    """Seconds from starting a command to its first line on standard output, the wall's and its own."""
    # As installed: pip compiles the modules, whatever this shell says of bytecode.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, begin = os.times(), perf_counter()
    with subprocess.Popen(  # nosec B603
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as process:
        if process.stdout is None or process.stderr is None:
            raise AssertionError("both were asked to be pipes")
        line = process.stdout.readline()
        spent = perf_counter() - begin
        process.kill()
        if not line:
            reason = process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
            raise EngineError(f"{' '.join(command[1:4])} gave no result: {' '.join(reason)}")
    after = os.times()
    own = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, own


def _package_files() -> Iterator[Path]:
    """The files of the packages, of the libraries beside them, and of the standard library."""
    roots = {Path(sysconfig.get_paths()["stdlib"])}
    files: list[Path] = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            roots.add(Path(place))
            roots.update(Path(place).parent.glob(f"{name}*.libs"))
    for root in roots:
        for folder, subfolders, names in os.walk(root):
            subfolders[:] = [name for name in subfolders if name not in ("site-packages", "dist-packages")]
            files += (Path(folder) / name for name in names)
    yield from files


def _seconds(values: Sequence[float]) -> dict[str, Any]:
    return {"median": round(median(values), 4), "all": [round(value, 4) for value in values]}
