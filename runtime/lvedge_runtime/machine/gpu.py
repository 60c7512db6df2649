"""NVIDIA GPUs through NVML, where the driver and the package ``nvidia-ml-py`` are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def gpu_records() -> list[dict[str, Any]]:
    """Name, driver, clocks, temperature, power and its limit of each GPU; empty where NVML is not there."""
    with opened_nvml() as nvml:
        if nvml is None:
            return []
        return [_record(nvml, handle) for handle in handles(nvml)]


@contextmanager
def opened_nvml() -> Iterator[Any]:
    """NVML's module while it is initialised, or None where it cannot be."""
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - no package, no driver, one that is too old: no GPU is told
        yield None
        return
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def handles(nvml: Any) -> list[Any]:
    """One handle a GPU."""
    return [nvml.nvmlDeviceGetHandleByIndex(k) for k in range(nvml.nvmlDeviceGetCount())]


def asked(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML says, or None where this GPU does not support the question."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None


def _record(nvml: Any, handle: Any) -> dict[str, Any]:
    power = asked(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    limit = asked(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return {
        "name": _text(asked(nvml, nvml.nvmlDeviceGetName, handle)),
        "driver": _text(asked(nvml, nvml.nvmlSystemGetDriverVersion)),
        "sm_clock_mhz": asked(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": asked(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
        "temperature_c": asked(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        "power_w": None if power is None else power / 1e3,
        "power_limit_w": None if limit is None else limit / 1e3,
    }


def _text(said: Any) -> str | None:
    """Older packages give bytes."""
    return said.decode() if isinstance(said, bytes) else said
