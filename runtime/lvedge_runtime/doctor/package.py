"""The packages that Python finds: those of the base install, and which of several ``cv2`` answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from lvedge_runtime.doctor.check import Check, Standing

BASE: Mapping[str, str] = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "onnxruntime": "onnxruntime",
    "pydicom": "pydicom",
    "nibabel": "nibabel",
    "rich": "rich",
    "cryptography": "cryptography",
}
"""Module to the package of the base install that brings it."""


BROKEN = (ImportError, AttributeError, OSError, RuntimeError, SystemError, TypeError, ValueError)
"""What an import of a binary package raises that is missing, or does not fit the others."""


def package_checks() -> Iterator[Check]:
    """Each package of the base install, then ``cv2`` and ONNX Runtime looked at closely."""
    for module, package in BASE.items():
        yield _package(module, package)
    yield opencv_check(sys.path)
    yield _providers()


def _package(module: str, package: str) -> Check:
    try:
        found = import_module(module)
    except BROKEN as err:
        reason = " ".join(str(err).split())[:200]
        remedy = f"{sys.executable} -m pip install --force-reinstall {package}"
        return Check(package, Standing.FAULT, f"{module} cannot be imported: {reason}", remedy)
    return Check(package, Standing.USED, str(getattr(found, "__version__", "") or _version(package)))


def opencv_check(paths: Sequence[str]) -> Check:
    """Whether one ``cv2`` is there alone; the first on the search path answers.

    Args:
        paths: the search path, as ``sys.path``.
    """
    places = [str(place) for path in dict.fromkeys(paths) for place in _cv2_in(Path(path or "."))]
    names = sorted({dist.name for dist in distributions(path=list(paths)) if dist.name.startswith("opencv-")})
    if len(names) > 1:
        pip = f"{sys.executable} -m pip"
        remedy = f"{pip} uninstall -y {' '.join(names)} && {pip} install {BASE['cv2']}"
        found = f"{', '.join(names)} are installed over each other"
        return Check("two cv2", Standing.WORTH_MENDING, found, remedy)
    if len(places) > 1:
        found = f"{places[0]} answers and hides {', '.join(places[1:])}: one may load the other's libraries"
        remedy = f"{sys.executable} -m pip uninstall {names[0]}" if names else f"remove {places[0]}"
        return Check("two cv2", Standing.WORTH_MENDING, found, f"{remedy}  # keeps {places[-1]}")
    if not places:
        return Check("cv2", Standing.ABSENT, "none on the search path")
    return Check("cv2", Standing.USED, f"{places[0]}, the only one")


def _cv2_in(folder: Path) -> list[Path]:
    """What ``import cv2`` would take in a folder."""
    package = folder / "cv2"
    if (package / "__init__.py").is_file():
        return [package]
    return sorted(folder.glob("cv2*.so"))[:1]


def _providers() -> Check:
    try:
        providers: list[str] = import_module("onnxruntime").get_available_providers()
    except BROKEN:  # told with the package
        return Check("onnxruntime providers", Standing.ABSENT, "unknown")
    return Check("onnxruntime providers", Standing.PRESENT, ", ".join(providers))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "version unknown"
