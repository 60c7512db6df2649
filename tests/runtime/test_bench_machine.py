"""The machine and its sensors, read from files laid out as Linux, a Jetson and a server lay them out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from lvedge_runtime.bench.machine import machine_record
from lvedge_runtime.bench.sensor import Sensors, summary
from lvedge_runtime.machine.gpu import gpu_records
from lvedge_runtime.machine.sensor import Reading, read_sensors

JETSON = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp bf16\n",
    "proc/meminfo": "MemTotal:        7620660 kB\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48250\n",
    "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5040\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1500\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "612000000\n",
}
SERVER = {
    "proc/cpuinfo": "model name\t: Some CPU @ 3.0GHz\ncpu MHz\t: 2999.9\nflags\t: avx2 avx512f avx512_vnni\n",
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "2500000\n",
}


def laid_out(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_jetson_is_told_by_its_board(tmp_path: Path) -> None:
    told = machine_record(laid_out(tmp_path, JETSON))
    assert told["processor"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert told["flags"] == ["asimddp", "bf16"]
    assert told["memory_mb"] == 7442
    assert told["system"]["JetPack"] == "L4T R36.4.3"
    assert told["clock_mhz"] is None


def test_a_server_is_told_by_its_processor(tmp_path: Path) -> None:
    told = machine_record(laid_out(tmp_path, SERVER))
    assert (told["processor"], told["flags"]) == ("Some CPU @ 3.0GHz", ["avx2", "avx512f", "avx512_vnni"])
    assert told["clock_mhz"] == {"lowest_now": 2999.9}
    assert "JetPack" not in told["system"]


def test_clocks_and_governors_of_the_cores_that_may_be_used(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {1, 2}, raising=False)
    for cpu, (now, governor) in enumerate(
        [(800000, "powersave"), (1500000, "schedutil"), (1700000, "schedutil")]
    ):
        files = {"scaling_cur_freq": now, "scaling_max_freq": 2000000, "scaling_governor": governor}
        laid_out(
            tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cpufreq", {k: f"{v}\n" for k, v in files.items()}
        )
    told = machine_record(tmp_path)
    assert (told["cores_allowed"], told["governors"]) == (2, ["schedutil"])
    assert told["clock_mhz"] == {"lowest_now": 1500.0, "highest_now": 1700.0, "most": 2000.0}


def test_thread_settings_are_told_since_they_decide_what_a_product_costs(monkeypatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    assert machine_record()["thread_settings"]["OPENBLAS_CORETYPE"] == "Prescott"


def test_sensors_of_a_jetson(tmp_path: Path) -> None:
    reading = read_sensors(laid_out(tmp_path, JETSON))
    assert reading.temperature_c == {"cpu-thermal": 48.25}  # the other zone is switched off
    assert reading.power_w == {"VDD_IN": 7.56}
    assert reading.clock_mhz == {"17000000.gpu": 612.0}


def test_sensors_of_a_server(tmp_path: Path) -> None:
    assert read_sensors(laid_out(tmp_path, SERVER)).energy_j == {"package-0": 2.5}


def test_energy_is_power_over_time_or_what_a_counter_says() -> None:
    readings = [
        Reading(0.0, {"cpu": 40.0}, {"gpu": 300.0}, {"VDD_IN": 4.0}, {"package": 10.0, "over": 9.0}),
        Reading(1.0, {"cpu": 55.0}, {"gpu": 900.0}, {"VDD_IN": 8.0}, {"package": 12.0, "over": 1.0}),
        Reading(2.0, {"cpu": 50.0}, {"gpu": 600.0}, {"VDD_IN": 8.0}, {"package": 17.0, "over": 2.0}),
    ]
    assert summary(readings, frames=100) == {
        "seconds": 2.0,
        "highest_temperature_c": {"cpu": 55.0},
        "clock_mhz": {"gpu": [300.0, 900.0]},
        "mean_power_w": {"VDD_IN": 7.0, "package": 3.5},
        "energy_mj_a_frame": {"VDD_IN": 140.0, "package": 70.0},
    }


def test_sensors_are_read_while_something_runs(tmp_path: Path) -> None:
    root = laid_out(tmp_path, JETSON)
    with Sensors(root) as sensors:
        pass
    told = sensors.as_json(frames=1)
    assert told["highest_temperature_c"] == {"cpu-thermal": 48.25}
    assert told["mean_power_w"]["VDD_IN"] == pytest.approx(7.56, rel=1e-3)


def test_a_machine_without_sensors_says_nothing(tmp_path: Path) -> None:
    with Sensors(tmp_path) as sensors:
        pass
    told = sensors.as_json(frames=10)
    assert {name: value for name, value in told.items() if name != "seconds"} == {
        "highest_temperature_c": {}, "clock_mhz": {}, "mean_power_w": {}, "energy_mj_a_frame": {},
    }  # fmt: skip


class NvmlError(Exception):
    """As NVML raises where a board does not know a figure."""


def refusing(_handle: object) -> int:
    raise NvmlError


NVML = SimpleNamespace(
    NVMLError=NvmlError, NVML_CLOCK_SM=1, NVML_CLOCK_MEM=2, NVML_TEMPERATURE_GPU=0,
    nvmlInit=lambda: None, nvmlShutdown=lambda: None, nvmlDeviceGetCount=lambda: 1,
    nvmlDeviceGetHandleByIndex=lambda number: number, nvmlDeviceGetName=lambda _handle: b"Some GPU",
    nvmlSystemGetDriverVersion=lambda: "570.1", nvmlDeviceGetPowerUsage=lambda _handle: 71_500,
    nvmlDeviceGetEnforcedPowerLimit=refusing, nvmlDeviceGetClockInfo=lambda _handle, which: 1000 * which,
    nvmlDeviceGetTemperature=lambda _handle, _sensor: 44, nvmlDeviceGetTotalEnergyConsumption=refusing,
)  # fmt: skip
"""NVML's functions as its own documentation has them, over a board that is not there."""


def test_a_gpu_tells_what_it_knows_and_leaves_out_what_it_does_not(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", NVML)
    assert gpu_records() == [
        {
            "name": "Some GPU", "driver": "570.1", "sm_clock_mhz": 1000, "memory_clock_mhz": 2000,
            "temperature_c": 44, "power_w": 71.5, "power_limit_w": None,
        }
    ]  # fmt: skip
    reading = read_sensors(tmp_path, NVML)
    assert (reading.temperature_c, reading.clock_mhz) == ({"gpu 0": 44.0}, {"gpu 0": 1000.0})
    assert (reading.power_w, reading.energy_j) == ({"gpu 0": 71.5}, {})


def test_every_name_of_nvml_that_is_used_is_one_of_the_packages(monkeypatch) -> None:
    pynvml = pytest.importorskip("pynvml")
    assert [name for name in vars(NVML) if not hasattr(pynvml, name)] == []
