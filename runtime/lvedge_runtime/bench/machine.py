"""The machine that was measured: processor, clocks, load, what the doctor finds of the system, the packages.

Everything is read from the system's own files under a root, so that a test can lay one out.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lvedge import __version__
from lvedge_runtime.doctor.check import Standing
from lvedge_runtime.doctor.package import BASE
from lvedge_runtime.doctor.system import system_checks
from lvedge_runtime.machine.file import text_of
from lvedge_runtime.machine.gpu import gpu_records

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "bf16", "i8mm")
"""What decides whether lower precisions pay on a processor."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS")


def machine_record(root: Path = Path("/")) -> dict[str, Any]:
    """What the machine is, as JSON keeps it; names of people, hosts and places are not in it.

    Args:
        root: the folder that the system's files lie under.
    """
    cpus = _cpu_numbers()
    return {
        "processor": _processor(root),
        "architecture": platform.machine(),
        "cores_of_machine": os.cpu_count(),
        "cores_allowed": len(cpus),
        "flags": [flag for flag in FLAGS if flag in _flags(root)],
        "governors": sorted({_cpufreq(root, cpu, "scaling_governor") for cpu in cpus} - {""}),
        "clock_mhz": _clock_mhz(root, cpus),
        "memory_mb": _memory_mb(root),
        "load_1_min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": {
            check.name: check.found for check in system_checks(root) if check.standing is not Standing.ABSENT
        },
        "gpus": gpu_records(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in BASE.values()},
        "lvedge": __version__,
        "thread_settings": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
    }


def _processor(root: Path) -> str:
    """The processor's name; an ARM one states none, a board does."""
    name = _from_cpuinfo(root, "model name") or text_of(root / "proc/device-tree/model")
    return name or platform.processor() or "unknown"


def _flags(root: Path) -> set[str]:
    return set((_from_cpuinfo(root, "flags") or _from_cpuinfo(root, "Features")).split())


def _from_cpuinfo(root: Path, key: str) -> str:
    for line in text_of(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _cpu_numbers() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _cpufreq(root: Path, cpu: int, name: str) -> str:
    return text_of(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/{name}")


def _clock_mhz(root: Path, cpus: list[int]) -> dict[str, float] | None:
    """The allowed cores' clocks now, and what they may reach."""
    now = [int(text) / 1e3 for cpu in cpus if (text := _cpufreq(root, cpu, "scaling_cur_freq")).isdigit()]
    most = [int(text) / 1e3 for cpu in cpus if (text := _cpufreq(root, cpu, "scaling_max_freq")).isdigit()]
    if now and most:
        return {"lowest_now": min(now), "highest_now": max(now), "most": max(most)}
    stated = _from_cpuinfo(root, "cpu MHz")
    return {"lowest_now": float(stated)} if stated else None


def _memory_mb(root: Path) -> int | None:
    for line in text_of(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
