"""What the machine's sensors say at one moment: temperatures, clocks, power, energy.

Read from Linux' own files, which a Jetson has too: ``thermal_zone`` temperatures, the INA3221 monitor's rails
under ``hwmon`` (millivolts times milliamperes), ``devfreq`` clocks, RAPL's energy counters (for root), and
NVML for a discrete GPU. A machine that has none of them says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from lvedge_runtime.machine.file import number_of, text_of
from lvedge_runtime.machine.gpu import asked, handles


@dataclass(frozen=True)
class Reading:
    """The sensors at one moment.

    Args:
        at_s: when.
        temperature_c: sensor to degrees.
        clock_mhz: clock to megahertz.
        power_w: rail to watts.
        energy_j: counter to joules since some moment.
    """

    at_s: float
    temperature_c: Mapping[str, float] = field(default_factory=dict)
    clock_mhz: Mapping[str, float] = field(default_factory=dict)
    power_w: Mapping[str, float] = field(default_factory=dict)
    energy_j: Mapping[str, float] = field(default_factory=dict)


def read_sensors(root: Path, nvml: Any = None) -> Reading:
    """All sensors once.

    Args:
        root: the folder that the system's files lie under.
        nvml: NVML's module, initialised, or None.
    """
    reading = Reading(perf_counter(), _temperatures(root), _clocks(root), _rails(root), _rapl(root))
    return reading if nvml is None else _with_gpus(reading, nvml)


def _temperatures(root: Path) -> dict[str, float]:
    found = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value = number_of(zone / "temp")
        if value is not None and value > -40_000:  # a zone that is switched off says -256 degrees
            found[text_of(zone / "type") or zone.name] = value / 1e3
    return found


def _clocks(root: Path) -> dict[str, float]:
    found = {}
    for device in sorted((root / "sys/class/devfreq").glob("*")):
        value = number_of(device / "cur_freq")
        if value is not None:
            found[device.name] = value / 1e6
    cores = [
        number_of(path) for path in (root / "sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_cur_freq")
    ]
    known = [value / 1e3 for value in cores if value is not None]
    if known:
        found["cpu"] = sum(known) / len(known)
    return found


def _rails(root: Path) -> dict[str, float]:
    """Power of each rail of a monitor that gives voltage and current, as the Jetson's INA3221."""
    found = {}
    for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        for current in sorted(monitor.glob("curr*_input")):
            number = current.name.removeprefix("curr").removesuffix("_input")
            milliamperes, millivolts = number_of(current), number_of(monitor / f"in{number}_input")
            if milliamperes is not None and millivolts is not None:
                label = text_of(monitor / f"in{number}_label") or f"{text_of(monitor / 'name')} {number}"
                found[label] = millivolts * milliamperes / 1e6
    return found


def _rapl(root: Path) -> dict[str, float]:
    found = {}
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        value = number_of(zone / "energy_uj")
        if value is not None:
            found[text_of(zone / "name") or zone.name] = value / 1e6
    return found


def _with_gpus(reading: Reading, nvml: Any) -> Reading:
    temperature, clock = dict(reading.temperature_c), dict(reading.clock_mhz)
    power, energy = dict(reading.power_w), dict(reading.energy_j)
    for number, handle in enumerate(handles(nvml)):
        questions = (
            (temperature, nvml.nvmlDeviceGetTemperature, (handle, nvml.NVML_TEMPERATURE_GPU), 1.0),
            (clock, nvml.nvmlDeviceGetClockInfo, (handle, nvml.NVML_CLOCK_SM), 1.0),
            (power, nvml.nvmlDeviceGetPowerUsage, (handle,), 1e-3),
            (energy, nvml.nvmlDeviceGetTotalEnergyConsumption, (handle,), 1e-3),
        )
        for where, question, arguments, unit in questions:
            said = asked(nvml, question, *arguments)
            if said is not None:
                where[f"gpu {number}"] = unit * said
    return Reading(reading.at_s, temperature, clock, power, energy)
