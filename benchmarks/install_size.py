"""What an install of lvedge takes on a device: the wheel, and all that it brings, unpacked.

    python -m benchmarks.install_size --out benchmarks/results/install_size.json

The wheel is built from the checkout. For each target pip resolves and downloads what that target's own pip
would (wheels only, no extras); nothing of it is run. Sizes are those of the wheels and of their files,
without pip, setuptools and bytecode. 1 MB is 1,000,000 bytes. Takes a network and a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

from benchmarks.provenance import ROOT, provenance

MEASURES = ["benchmarks/install_size.py"]
GLIBC = range(17, 36)
"""Minor versions of glibc 2 whose wheels the target takes: up to that of Ubuntu 22.04, which JetPack 6 is."""
TARGETS = {
    "x86_64, CPython 3.11": ("x86_64", "311", 400.0),
    "aarch64, CPython 3.12": ("aarch64", "312", 320.0),
}
"""Name to processor, version of CPython, and the most megabytes."""
MOST_WHEEL_MB = 10.0
WITHOUT = ("pip", "setuptools")


def built_wheel(folder: Path) -> Path:
    """The checkout's wheel."""
    _run([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)])
    (wheel,) = folder.glob("*.whl")
    return wheel


def downloaded(wheel: Path, machine: str, version: str, folder: Path) -> list[Path]:
    """The wheels that a target installs, lvedge's among them."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary=:all:",
        "--dest",
        str(folder),
    ]
    command += ["--python-version", version, "--implementation", "cp"]
    for abi in (f"cp{version}", "abi3", "none"):
        command += ["--abi", abi]
    for platform in platforms:
        command += ["--platform", platform]
    _run([*command, str(wheel)])
    return sorted(path for path in folder.glob("*.whl") if path.name.split("-")[0] not in WITHOUT)


def target_size(wheel: Path, machine: str, version: str, most_mb: float) -> dict[str, Any]:
    """What a target's install takes."""
    with TemporaryDirectory() as folder:
        wheels = downloaded(wheel, machine, version, Path(folder))
        unpacked = {_package(path): unpacked_bytes(path) for path in wheels}
        download = sum(path.stat().st_size for path in wheels)
    whole = sum(unpacked.values())
    return {
        "installed_mb": _mb(whole),
        "most_mb": most_mb,
        "holds": whole <= most_mb * 1e6,
        "download_mb": _mb(download),
        "packages_mb": {name: _mb(size) for name, size in sorted(unpacked.items(), key=lambda of: -of[1])},
    }


def unpacked_bytes(wheel: Path) -> int:
    """The sizes of a wheel's files, unpacked."""
    with ZipFile(wheel) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _package(wheel: Path) -> str:
    name, version = wheel.name.split("-")[:2]
    return f"{name} {version}"


def _mb(size: float) -> float:
    return round(size / 1e6, 2)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:4])} failed: {done.stderr.strip()}")


def main() -> None:
    """Measure and write; ends with 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args()
    head = provenance("python -m benchmarks.install_size --out JSON", MEASURES)
    with TemporaryDirectory() as folder:
        wheel = built_wheel(Path(folder))
        size = wheel.stat().st_size
        targets = {name: target_size(wheel, *target) for name, target in TARGETS.items()}
    result = {
        **head,
        "wheel": {"mb": _mb(size), "most_mb": MOST_WHEEL_MB, "holds": size <= MOST_WHEEL_MB * 1e6},
        "targets": targets,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print({name: target["installed_mb"] for name, target in targets.items()}, "wheel", _mb(size))
    if not all(part["holds"] for part in (result["wheel"], *targets.values())):
        sys.exit(1)


if __name__ == "__main__":
    main()
