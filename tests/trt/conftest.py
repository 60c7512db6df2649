"""NVIDIA's wheels where they are at hand, stand-ins for the libraries beneath them, programs over both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from trt_places import HERE, WHEELS_VARIABLE, Python


@pytest.fixture(scope="session")
def wheels() -> Path:
    """The folder with a version of NVIDIA's wheels in each of its folders, for this very Python."""
    said = os.environ.get(WHEELS_VARIABLE)
    if not said:
        pytest.skip(f"no wheels of NVIDIA here: .ci/run tensorrt fetches them and sets {WHEELS_VARIABLE}")
    return Path(said)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Makes a shared library of a C file beside the tests; gives its folder."""
    made: dict[tuple[str, str], Path] = {}

    def make(source: str, library: str) -> Path:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler is here")
        if (source, library) not in made:
            folder = tmp_path_factory.mktemp("libraries")
            words = ["-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", str(HERE / source)]
            subprocess.run([compiler, *words, "-o", str(folder / library)], check=True)
            made[source, library] = folder
        return made[source, library]

    return make


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Runs this Python anew: what TensorRT's libraries do to a process stays there."""
    away = tmp_path_factory.mktemp("away")

    def run(
        arguments: Sequence[object], modules: Sequence[Path] = (), libraries: Sequence[Path] = ()
    ) -> subprocess.CompletedProcess[str]:
        paths = [*map(str, modules), *(os.path.abspath(path) for path in sys.path if path)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        }
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=away, env=environment, timeout=300
        )

    return run
