"""What the machine's sensors say while something is timed: temperatures, clocks, power, energy.

Read from Linux' own files, which a Jetson has too: ``thermal_zone`` temperatures, the INA3221 monitor's rails
under ``hwmon`` (millivolts times milliamperes), ``devfreq`` clocks, RAPL's energy counters (for root), and
NVML for a discrete GPU. A machine that has none of them says nothing. One thread reads five times a second.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

from lvedge_runtime.bench.gpu import asked, handles, opened_nvml
from lvedge_runtime.bench.machine import text_of

PERIOD_S = 0.2


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


class Sensors:
    """Reads the sensors in the background, inside ``with``.

    Args:
        root: the folder that the system's files lie under.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._readings: list[Reading] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lvedge-sensors", daemon=True)

    def __enter__(self) -> Sensors:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def as_json(self, frames: int) -> dict[str, Any]:
        """What they said, after ``with``.

        Args:
            frames: how many frames were worked on meanwhile.
        """
        return summary(self._readings, frames)

    def _watch(self) -> None:
        with opened_nvml() as nvml:
            self._readings.append(read_sensors(self._root, nvml))
            first = self._readings[0]
            if not (first.temperature_c or first.clock_mhz or first.power_w or first.energy_j):
                return  # there is nothing to read: the cores are left alone
            while not self._done.wait(PERIOD_S):
                self._readings.append(read_sensors(self._root, nvml))
            self._readings.append(read_sensors(self._root, nvml))


def summary(readings: list[Reading], frames: int) -> dict[str, Any]:
    """Highest temperatures, lowest and highest clocks, mean power, and the energy of one frame.

    Energy is a counter's difference where there is one, else power summed over time.

    Args:
        readings: in order.
        frames: how many frames were worked on meanwhile.
    """
    seconds = readings[-1].at_s - readings[0].at_s if readings else 0.0
    temperatures = _series(readings, "temperature_c")
    clocks, powers = _series(readings, "clock_mhz"), _series(readings, "power_w")
    joules = {name: _integral(points) for name, points in powers.items() if len(points) > 1}
    joules.update(
        {
            name: points[-1][1] - points[0][1]
            for name, points in _series(readings, "energy_j").items()
            if len(points) > 1 and points[-1][1] >= points[0][1]  # a counter that ran over says nothing
        }
    )
    return {
        "seconds": round(seconds, 3),
        "highest_temperature_c": {name: max(v for _, v in points) for name, points in temperatures.items()},
        "clock_mhz": {name: [min(v for _, v in p), max(v for _, v in p)] for name, p in clocks.items()},
        "mean_power_w": {name: round(j / seconds, 3) for name, j in joules.items()} if seconds else {},
        "energy_mj_a_frame": {name: round(1e3 * j / frames, 3) for name, j in joules.items()}
        if frames
        else {},
    }


def _series(readings: list[Reading], what: str) -> dict[str, list[tuple[float, float]]]:
    """Name to (moment, value)."""
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for reading in readings:
        for name, value in getattr(reading, what).items():
            series[name].append((reading.at_s, value))
    return series


def _integral(points: list[tuple[float, float]]) -> float:
    """Trapezoids under (moment, value)."""
    return sum((b - a) * (x + y) / 2 for (a, x), (b, y) in pairwise(points))


def _temperatures(root: Path) -> dict[str, float]:
    found = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value = _number(zone / "temp")
        if value is not None and value > -40_000:  # a zone that is switched off says -256 degrees
            found[text_of(zone / "type") or zone.name] = value / 1e3
    return found


def _clocks(root: Path) -> dict[str, float]:
    found = {}
    for device in sorted((root / "sys/class/devfreq").glob("*")):
        value = _number(device / "cur_freq")
        if value is not None:
            found[device.name] = value / 1e6
    cores = [
        _number(path) for path in (root / "sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_cur_freq")
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
            milliamperes, millivolts = _number(current), _number(monitor / f"in{number}_input")
            if milliamperes is not None and millivolts is not None:
                label = text_of(monitor / f"in{number}_label") or f"{text_of(monitor / 'name')} {number}"
                found[label] = millivolts * milliamperes / 1e6
    return found


def _rapl(root: Path) -> dict[str, float]:
    found = {}
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        value = _number(zone / "energy_uj")
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


def _number(path: Path) -> float | None:
    try:
        return float(text_of(path))
    except ValueError:
        return None
