"""The systemd unit: systemd itself reads it, and says how much it leaves open."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.resources import files as packaged
from pathlib import Path

import pytest

MOST_EXPOSED = 2.0
"""systemd's own scale goes to 10; from 2 on it calls a service exposed to a medium degree."""


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    return subprocess.run([found, *arguments], capture_output=True, text=True, check=False, timeout=120)


def unit(folder: Path, drop_in: str | None = None) -> Path:
    """The unit with a program that is there; with the lines of a drop-in behind its own."""
    text = packaged("lvedge_runtime.service").joinpath("lvedge.service").read_text("utf-8")
    assert "ExecStart=/opt/lvedge/bin/lvedge-run --config /etc/lvedge/box.toml\n" in text
    text = text.replace("/opt/lvedge/bin/lvedge-run", "/bin/true")
    if drop_in is not None:
        text += packaged("lvedge_runtime.service").joinpath(drop_in).read_text("utf-8")
    path = folder / "lvedge.service"
    path.write_text(text)
    return path


@pytest.mark.parametrize("drop_in", [None, "gpu.conf"])
def test_systemd_finds_nothing_wrong(tmp_path: Path, drop_in: str | None) -> None:
    done = analyze("verify", str(unit(tmp_path, drop_in)))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_word_that_systemd_does_not_know_is_found(tmp_path: Path) -> None:
    path = unit(tmp_path)
    path.write_text(path.read_text().replace("UMask=", "Umasks="))
    done = analyze("verify", str(path))
    assert "Umasks" in done.stdout + done.stderr


def test_the_service_is_hardly_exposed(tmp_path: Path) -> None:
    done = analyze("security", "--offline=yes", "--no-pager", str(unit(tmp_path)))
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd cannot rate a file: version 250 or later")
    (level,) = re.findall(r"Overall exposure level for lvedge.service: ([\d.]+)", done.stdout)
    assert float(level) <= MOST_EXPOSED


FORBIDDEN = """
import ctypes, mmap, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, Linux 6.3: what MemoryDenyWriteExecute does
    sys.exit(77)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    from lvedge_runtime.cli import main
    sys.exit(main(["--stream", "demo:", "--limit", "3", "--sink", "csv:-", "--engine", "onnxruntime-cpu"]))
"""


@pytest.mark.usefixtures("bundle")
def test_the_network_runs_where_no_memory_is_written_and_then_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORBIDDEN], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode == 77:
        pytest.skip("this kernel cannot forbid it: Linux 6.3 or later")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 4), done.stderr


def test_the_watchdog_is_slower_than_what_health_calls_hanging() -> None:
    from lvedge_runtime.service.setting import ServiceSettings

    text = packaged("lvedge_runtime.service").joinpath("lvedge.service").read_text("utf-8")
    (seconds,) = re.findall(r"^WatchdogSec=(\d+)$", text, re.MULTILINE)
    assert ServiceSettings().hang_s < float(seconds)
