"""pycuda, compiled from source against a double of the driver, under lvedge's TensorRT engine.

    python -m benchmarks.pycuda_double --out benchmarks/results/pycuda_double.json

It needs a C++ compiler and the CUDA toolkit's headers, no GPU and no driver. pycuda is compiled (minutes),
the tests that have a part for it are run, and frames of the bundle that ships go through the engine over
pycuda and over cuda-bindings, with carried state, beside ONNX Runtime.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

import numpy as np
import pytest
from doubles.driver import DriverDouble, compiled, functions, missing_functions, pycuda_libraries, stubs
from doubles.fake_tensorrt import Fake, graphs_taken

from benchmarks.gpu_checks import Bench, difference, walk
from benchmarks.provenance import ROOT, provenance
from lvedge.bundle import open_bundle
from lvedge_runtime.engines import open_engine
from lvedge_runtime.engines.cache import EngineCache
from lvedge_runtime.engines.cuda import PROVIDERS

VERSION = "2026.1"
TESTS = ("tests/runtime/test_cuda_device.py", "tests/runtime/test_tensorrt.py")
MEASURES = (
    "runtime/lvedge_runtime/engines/cuda",
    "runtime/lvedge_runtime/engines/lane.py",
    "runtime/lvedge_runtime/engines/tensorrt.py",
    "runtime/lvedge_runtime/engines/trt_graph.py",
    "tests/doubles",
)


def install(site: Path, folder: Path, cuda: Path) -> None:
    """Compile pycuda against the double.

    Args:
        site: where it goes, with what it needs.
        folder: for the double and pycuda's settings.
        cuda: the CUDA toolkit.

    Raises:
        SystemExit: if there is no toolkit, or pip fails.
    """
    if not (cuda / "include" / "cuda.h").is_file():
        raise SystemExit(f"no CUDA toolkit at {cuda}: name its folder with --cuda")
    compiled(folder)
    settings = {
        "CUDA_ENABLE_CURAND": False,
        "CUDA_INC_DIR": [str(cuda / "include")],
        "CUDADRV_LIB_DIR": [str(folder)],
        "CXXFLAGS": ["-O1", "-w"],
    }
    lines = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    (folder / ".aksetup-defaults.py").write_text(lines, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--target", str(site)]
    wanted = ["--no-binary", "pycuda", f"pycuda=={VERSION}"]
    environment = {**os.environ, "HOME": str(folder), "LIBRARY_PATH": str(folder)}
    if subprocess.run([*command, *wanted], env=environment, check=False).returncode:
        raise SystemExit("pycuda could not be compiled: see above")


def tests_over_pycuda(site: Path, folder: Path) -> dict[str, int]:
    """What lvedge's tests over pycuda came to, in a process of their own."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-k", "pycuda", f"--junitxml={report}", *TESTS]
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=False, stdout=sys.stderr)
    suite = next(ElementTree.parse(report).iter("testsuite"))
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    return {**counts, "passed": counts["tests"] - sum(counts[n] for n in ("failures", "errors", "skipped"))}


def thousand_frames(driver: DriverDouble, frames: int, folder: Path) -> dict[str, Any]:
    """The largest difference from ONNX Runtime over each provider, and what is alive afterwards."""
    fake, bench = Fake(driver), Bench(open_bundle(), EngineCache(folder / "engines"))
    views, found = bench.frames(frames), {}
    with pytest.MonkeyPatch.context() as patch:
        fake.install(patch)
        with open_engine(graphs_taken(bench.bundle), "onnxruntime-cpu") as cpu:
            right, last = walk(cpu, views)
        for provider in PROVIDERS:
            with bench.engine(provider) as engine:
                values, state = walk(engine, views)
                at_end = max(
                    float(np.abs(one - other).max())
                    for one, other in zip(state.as_inputs().values(), last.as_inputs().values(), strict=True)
                )
            found[provider] = {
                "largest_difference": max(difference(values, right), at_end),
                "alive_afterwards": driver.live,
                "faults": driver.faults,
            }
    return found


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--cuda", type=Path, default=Path("/usr/local/cuda"), help="the CUDA toolkit")
    parser.add_argument("--site", type=Path, help="where pycuda was compiled against the double before")
    parser.add_argument("--out", type=Path, help="the JSON to write (default: only print)")
    options = parser.parse_args(args)
    head = provenance("make long", MEASURES) if options.out else {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        site = options.site or folder / "site"
        if options.site is None:
            install(site, folder, options.cuda)
        sys.path.append(str(site))
        libraries, bare = pycuda_libraries(), compiled(folder)
        missing = missing_functions(libraries, bare)
        driver = DriverDouble(compiled(folder, stubs(missing, folder / "stubs.c")))
        asked = {function for library in libraries for function in functions(library, "--undefined-only")}
        packages = {d.metadata["Name"]: d.version for d in distributions() if "cuda" in d.metadata["Name"]}
        found = {
            "packages": {n: packages[n] for n in ("pycuda", "cuda-bindings")},
            "functions": {"asked": len(asked), "by the double": len(asked) - len(missing)},
            "tests": tests_over_pycuda(site, folder),
            "frames": options.frames,
            "engine": thousand_frames(driver, options.frames, folder),
        }
    text = json.dumps({**head, "results": found}, indent=1)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    tests, engines = found["tests"], found["engine"].values()
    wrong = [
        result["largest_difference"] + result["alive_afterwards"] + result["faults"] for result in engines
    ]
    return 0 if tests["passed"] and not (tests["failures"] + tests["errors"] or any(wrong)) else 1


if __name__ == "__main__":
    sys.exit(main())
