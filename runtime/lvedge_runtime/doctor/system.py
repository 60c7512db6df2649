"""The machine under Python: JetPack, CUDA, TensorRT and the power mode, as their own files state them.

L4T's release file, dpkg's list of packages (JetPack and TensorRT are Debian packages there), CUDA's
version.json, and ``nvpmodel -q``: nothing is asked of a driver, so that nothing hangs where there is none.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lvedge_runtime.doctor.check import Check, Standing
from lvedge_runtime.machine.power import power_mode

L4T_RELEASE = "etc/nv_tegra_release"
DPKG_STATUS = "var/lib/dpkg/status"
CUDA_VERSION = "usr/local/cuda/version.json"
DRIVER_VERSION = "proc/driver/nvidia/version"
NVPMODEL_CONF = "etc/nvpmodel.conf"

_RELEASE = re.compile(r"# R(\d+) \(release\), REVISION: ([\d.]+)")
_DRIVER = re.compile(r"Kernel Module.*?\s(\d+\.[\d.]+)\s")
_MODES = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")
_PACKAGE = re.compile(r"^Package: (\S+)$", re.MULTILINE)
_VERSION = re.compile(r"^Version: (\S+)$", re.MULTILINE)


def python_check() -> Check:
    """The interpreter."""
    kind, version = platform.python_implementation(), platform.python_version()
    parts = (f"{kind} {version}", platform.machine(), " ".join(platform.libc_ver()))
    return Check("Python", Standing.USED, ", ".join(part for part in parts if part))


def system_checks(root: Path) -> Iterator[Check]:
    """What the system has.

    Args:
        root: the folder that its files lie under, "/" on the machine itself.
    """
    yield Check("system", Standing.PRESENT, f"{platform.system()} {platform.release()}, {platform.machine()}")
    packages = _packages(root)
    is_jetson = (root / L4T_RELEASE).is_file()
    yield _jetpack(root, packages)
    yield _driver(root)
    yield _cuda(root)
    yield _tensorrt(packages, is_jetson)
    if is_jetson:
        yield _power_mode(root)


def _jetpack(root: Path, packages: Mapping[str, str]) -> Check:
    text = _text(root / L4T_RELEASE)
    if not text:
        return Check("JetPack", Standing.ABSENT, "none: this is no Jetson, or not its own system")
    release = _RELEASE.search(text)
    l4t = f"L4T R{release[1]}.{release[2]}" if release else "L4T of an unknown release"
    jetpack = packages.get("nvidia-jetpack")
    return Check("JetPack", Standing.PRESENT, f"{jetpack}, {l4t}" if jetpack else l4t)


def _driver(root: Path) -> Check:
    found = _DRIVER.search(_text(root / DRIVER_VERSION))
    if found is None:
        return Check("NVIDIA driver", Standing.ABSENT, "none that states its version")
    return Check("NVIDIA driver", Standing.PRESENT, found[1])


def _cuda(root: Path) -> Check:
    try:
        version = str(json.loads(_text(root / CUDA_VERSION))["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        return Check("CUDA", Standing.ABSENT, "no toolkit")
    return Check("CUDA", Standing.PRESENT, version)


def _tensorrt(packages: Mapping[str, str], is_jetson: bool) -> Check:
    versions = [version for name, version in packages.items() if re.fullmatch(r"libnvinfer\d+", name)]
    if versions:
        return Check("TensorRT", Standing.PRESENT, max(versions))
    if is_jetson:
        remedy = "sudo apt-get install nvidia-jetpack"
        return Check("TensorRT", Standing.WORTH_MENDING, "none, though this is a Jetson", remedy)
    return Check("TensorRT", Standing.ABSENT, "none among the system's packages")


def _power_mode(root: Path) -> Check:
    """The mode in use; anything but MAXN holds clocks or cores back."""
    mode = power_mode(root)
    if mode is None:
        return Check("power mode", Standing.ABSENT, "nvpmodel does not say", "sudo nvpmodel -q")
    fastest = [
        number for number, name in _MODES.findall(_text(root / NVPMODEL_CONF)) if name.startswith("MAXN")
    ]
    if mode.startswith("MAXN") or not fastest:
        return Check("power mode", Standing.PRESENT, mode)
    return Check(
        "power mode",
        Standing.WORTH_MENDING,
        f"{mode}, not the fastest",
        f"sudo nvpmodel -m {fastest[-1]}",
    )


def _packages(root: Path) -> dict[str, str]:
    """Installed Debian packages and their versions."""
    found = {}
    for paragraph in _text(root / DPKG_STATUS).split("\n\n"):
        name, version = _PACKAGE.search(paragraph), _VERSION.search(paragraph)
        if name and version and "\nStatus: install ok installed" in paragraph:
            found[name[1]] = version[1]
    return found


def _text(path: Path) -> str:
    """A file's text; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
