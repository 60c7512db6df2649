"""What the machine's sensors say while something is timed; one thread reads them five times a second."""

from __future__ import annotations

import threading
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from lvedge_runtime.machine.gpu import opened_nvml
from lvedge_runtime.machine.sensor import Reading, read_sensors

PERIOD_S = 0.2


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
