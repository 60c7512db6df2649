"""What a service tells: systemd over a real socket, Prometheus and people over real HTTP."""

from __future__ import annotations

import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from service_process import heard, values

from lvedge.errors import SourceError
from lvedge.frame import Rejected
from lvedge_runtime.figure import Figure
from lvedge_runtime.machine.throttle import ThrottleWatch
from lvedge_runtime.service import health as health_module
from lvedge_runtime.service import page as page_module
from lvedge_runtime.service.health import Health
from lvedge_runtime.service.meter import Meter
from lvedge_runtime.service.notify import Notifier, Pulse, watchdog_s
from lvedge_runtime.service.page import Page
from lvedge_runtime.service.setting import ServiceSettings
from lvedge_runtime.service.watch import Watch


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket as systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def test_systemd_hears_what_it_is_told(systemd: socket.socket) -> None:
    with Watch(ServiceSettings()) as watch:
        assert watch.is_asked
        watch.ready(())
        watch.stopping()
    assert heard(systemd) == ["READY=1", "STOPPING=1"]


def test_an_abstract_socket_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"lvedge-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        Notifier().tell("READY=1")
        assert heard(listening) == ["READY=1"]


def test_without_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not Notifier().is_asked
    Notifier().tell("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    Notifier().tell("READY=1")


def test_only_a_loop_that_turns_feeds_the_watchdog(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    clock = SimpleNamespace(now=100.0)
    pulse = Pulse(Notifier(), lambda: clock.now)
    assert heard(systemd) == []
    for clock.now in (100.0, 101.0, 109.9, 110.0, 140.0):
        pulse.beat()
    assert heard(systemd) == ["WATCHDOG=1"] * 3
    clock.now = 200.0
    assert (heard(systemd), pulse.age_s) == ([], 60.0)


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [("30000000", "", 30.0), ("30000000", "1", None), ("0", "", None), ("soon", "", None), ("", "", None)],
)
def test_whether_systemd_wants_a_watchdog_fed(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert watchdog_s() == seconds


def test_frames_are_counted_and_timed(make_measurement, make_unmeasured) -> None:
    meter = Meter(deadline_s=0.04, clock=lambda: 50.0)
    found = make_measurement()
    for item in (
        replace(found, frame=replace(found.frame, due_s=49.98)),
        replace(found, frame=replace(found.frame, due_s=49.9)),
        found,
        make_unmeasured(found),
        make_unmeasured(make_measurement(slice_index=5)),
        Rejected("7.dcm", "truncated: 40 of 8192 bytes"),
        Rejected("8.dcm", "truncated: 60 of 8192 bytes"),
    ):
        meter.saw(item)
    told = values(meter.text())
    expected = {
        "lvedge_frames_total yes": 3,
        "lvedge_frames_total no": 2,
        "lvedge_latency_seconds_count": 2,
        "lvedge_latency_seconds_bucket 0.03": 1,
        "lvedge_latency_seconds_bucket 0.12": 2,
        "lvedge_deadline_misses_total": 1,
        "lvedge_measuring_seconds_count": 5,
        "lvedge_lost_hearts_total": 1,
        "lvedge_rejects_total truncated: N of N bytes": 2,
    }
    assert {name: told[name] for name in expected} == expected
    assert told["process_open_fds"] > 0


def test_only_so_many_reasons_are_told_apart() -> None:
    meter = Meter(1.0)
    for k in range(200):
        meter.saw(Rejected("7.dcm", "x" * (k % 100)))
    told = [name for name in values(meter.text()) if name.startswith("lvedge_rejects_total")]
    assert len(told) == 65
    assert values(meter.text())["lvedge_rejects_total other"] == 200 - 2 * 64


def test_figures_of_others_are_shown_as_they_are_when_somebody_looks() -> None:
    meter, age = Meter(1.0), {"s": 1.0}
    meter.follow(
        [
            Figure("outbox_age_seconds", "How long the oldest waits.", lambda: age["s"]),
            Figure("things_total", "By kind.", lambda: {"a": 1, "b": 2}, kind="outcome", grows=True),
        ]
    )
    age["s"] = 7.0
    told = values(meter.text())
    assert (told["lvedge_outbox_age_seconds"], told["lvedge_things_total a"]) == (7.0, 1.0)
    assert b"# TYPE lvedge_things_total counter" in meter.text()


def test_health_in_words() -> None:
    age, depth = {"s": 0.0}, {"n": 3.0}
    health = Health(lambda: age["s"], hang_s=30.0)
    assert health.state() == {"status": "starting", "reasons": []}
    health.follow([Figure("queue_depth", "", lambda: depth["n"], most=10.0)])
    assert health.state() == {"status": "ok", "reasons": []}
    depth["n"] = 11.0
    assert health.state() == {"status": "degraded", "reasons": ["queue_depth is 11, more than 10"]}
    age["s"] = 31.0
    assert health.state()["status"] == "failing"
    assert health.state()["reasons"][0] == "the loop that measures has not turned for 31 s"


def lay_out(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_machine_that_holds_itself_back_is_told(tmp_path: Path) -> None:
    fan, alert, cpu = (f"sys/class/thermal/cooling_device{k}" for k in range(3))
    mode = "#!/bin/sh\necho 'NV Power Mode: {}'\n"
    root = lay_out(
        tmp_path,
        **{
            f"{fan}/type": "pwm-fan\n",
            f"{fan}/cur_state": "3\n",
            f"{alert}/type": "cpu-throttle-alert\n",
            f"{alert}/cur_state": "0\n",
            f"{cpu}/type": "cpufreq-cpu0\n",
            f"{cpu}/cur_state": "0\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "2000000\n",
            "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "5\n",
            "usr/sbin/nvpmodel": mode.format("MAXN"),
        },
    )
    (root / "usr/sbin/nvpmodel").chmod(0o755)
    watch = ThrottleWatch(root)
    assert watch.look() == ()
    lay_out(
        root,
        **{
            f"{alert}/cur_state": "1\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1500000\n",
            "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "6\n",
            "usr/sbin/nvpmodel": mode.format("15W"),
        },
    )
    assert watch.look() == (
        "cpu-throttle-alert takes clocks away: the machine is too hot",
        "the processor throttled itself: the machine is too hot",
        "the power mode went from MAXN to 15W",
        "the highest clock of 1 cores was lowered",
    )
    # Throttling is counted: where no more is counted, it is over.
    assert "the processor throttled itself: the machine is too hot" not in watch.look()


def test_health_looks_at_the_machine_and_says_so(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(health_module, "LOOK_EVERY_S", 0.01)
    alert = "sys/class/thermal/cooling_device0"
    lay_out(tmp_path, **{f"{alert}/type": "gpu-throttle-alert\n", f"{alert}/cur_state": "1\n"})
    with Health(lambda: 0.0, 30.0, tmp_path) as health:
        health.follow(())
        while health.state()["status"] != "degraded":
            pass
    assert health.state()["reasons"] == ["gpu-throttle-alert takes clocks away: the machine is too hot"]
    assert [figure.read() for figure in health.figures if figure.name == "throttled"] == [1.0]
    assert "gpu-throttle-alert takes clocks away" in caplog.text


@contextmanager
def page(state: dict[str, Any]) -> Iterator[str]:
    with Page("127.0.0.1", 0, lambda: state, lambda: b"x 1\n") as served:
        yield f"http://127.0.0.1:{served.port}"


def got(url: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as err:
        with err:
            return err.code, err.headers["Content-Type"], err.read().decode()


def test_the_page_answers_two_paths() -> None:
    with page({"status": "ok", "reasons": []}) as at:
        code, kind, text = got(f"{at}/health")
        assert (code, kind, json.loads(text)["status"]) == (200, "application/json", "ok")
        assert got(f"{at}/metrics") == (200, "text/plain; version=0.0.4; charset=utf-8", "x 1\n")
        for other in ("/", "/health/../../etc/passwd", "/metrics?x=1", "/<script>"):
            assert got(f"{at}{other}")[::2] == (404, "/health, /metrics\n")


@pytest.mark.parametrize(
    ("status", "code"), [("ok", 200), ("degraded", 200), ("starting", 503), ("failing", 503)]
)
def test_health_s_status_code_says_whether_it_measures(status: str, code: int) -> None:
    with page({"status": status, "reasons": []}) as at:
        assert got(f"{at}/health")[0] == code


def test_connections_that_say_nothing_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "LONGEST_S", 0.0)
    with page({"status": "ok", "reasons": []}) as at, ExitStack() as silent:
        port = int(at.rpartition(":")[2])
        for _ in range(3 * page_module.MOST_CONNECTIONS):
            silent.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert got(f"{at}/health")[0] == 200


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(
                SourceError, match=r"service: cannot serve on 127.0.0.1:\d+: .* choose another port"
            ),
            Watch(ServiceSettings(http=True, port=port)),
        ):
            pass
