"""Whether the machine holds itself back: heat, power, or a mode that was changed while it worked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lvedge_runtime.machine.file import number_of, text_of
from lvedge_runtime.machine.gpu import asked, handles
from lvedge_runtime.machine.power import power_mode

_SLOWING = re.compile(r"throttl|cpufreq|devfreq|^Processor$", re.IGNORECASE)
"""Types of Linux' cooling devices that take clocks away; a fan takes none."""

GPU_REASONS = {
    0x08: "the GPU's clocks are held down by its hardware",
    0x20: "the GPU's clocks are held down by heat",
    0x40: "the GPU's clocks are held down by heat, by its hardware",
    0x80: "the GPU's clocks are held down by the power supply",
}
"""Bits of NVML's ``nvmlDeviceGetCurrentClocksThrottleReasons`` that are no wish of the user's."""


class ThrottleWatch:
    """Compares the machine with what it was when the watch began.

    It looks at cooling devices that take clocks away (a Jetson's throttle alerts, ``cpufreq`` and ``devfreq``
    governors), Intel's counts of throttling, the highest clock that the cores may reach, the power mode, and,
    with NVML, at why a GPU's clocks are down.

    Args:
        root: the folder that the system's files lie under.
        nvml: NVML's module, initialised, or None.
    """

    def __init__(self, root: Path = Path("/"), nvml: Any = None) -> None:
        self._root = root
        self._nvml = nvml
        self._counts = dict(_throttle_counts(root))
        self._mode = power_mode(root)
        self._highest = dict(_highest_clocks(root))

    def look(self) -> tuple[str, ...]:
        """Why the machine is slower than it could be, in words; nothing where it is not."""
        return (*self._cooling(), *self._counted(), *self._lowered(), *self._gpus())

    def _cooling(self) -> Iterator[str]:
        for device in sorted((self._root / "sys/class/thermal").glob("cooling_device*")):
            kind = text_of(device / "type")
            if _SLOWING.search(kind) and (number_of(device / "cur_state") or 0) > 0:
                yield f"{kind} takes clocks away: the machine is too hot"

    def _counted(self) -> Iterator[str]:
        """Throttling that was counted since the last look."""
        counts = dict(_throttle_counts(self._root))
        grown = any(count > self._counts.get(name, count) for name, count in counts.items())
        self._counts = counts
        if grown:
            yield "the processor throttled itself: the machine is too hot"

    def _lowered(self) -> Iterator[str]:
        mode = power_mode(self._root)
        if mode != self._mode:
            yield f"the power mode went from {self._mode} to {mode}"
        highest = dict(_highest_clocks(self._root))
        lower = [name for name, clock in highest.items() if clock < self._highest.get(name, clock)]
        if lower:
            yield f"the highest clock of {len(lower)} cores was lowered"

    def _gpus(self) -> Iterator[str]:
        if self._nvml is None:
            return
        for handle in handles(self._nvml):
            said = asked(self._nvml, self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
            yield from (words for bit, words in GPU_REASONS.items() if said & bit)


def _throttle_counts(root: Path) -> Iterator[tuple[str, float]]:
    for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        count = number_of(path)
        if count is not None:
            yield str(path), count


def _highest_clocks(root: Path) -> Iterator[tuple[str, float]]:
    for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_max_freq"):
        clock = number_of(path)
        if clock is not None:
            yield path.parent.parent.name, clock
