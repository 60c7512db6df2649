"""The doctor: what is there is told, what is missing comes with its remedy, and the job is tried for real."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from signing import Maker, write_signed, write_trust

from lvedge.bundle import Bundle
from lvedge.bundle_cli import main as bundle_main
from lvedge_runtime.doctor.check import Check, Standing
from lvedge_runtime.doctor.cli import main
from lvedge_runtime.doctor.package import BASE, opencv_check
from lvedge_runtime.doctor.system import system_checks

ROOT = Path(__file__).resolve().parents[2]

RELEASE = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64,"
    " DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n"
)
DPKG = """Package: nvidia-jetpack
Status: install ok installed
Architecture: arm64
Version: 6.2+b77

Package: libnvinfer10
Status: install ok installed
Version: 10.3.0.30-1+cuda12.5

Package: libnvinfer8
Status: deinstall ok config-files
Version: 8.6.2.3-1+cuda12.2
"""
CUDA = '{"cuda": {"name": "CUDA SDK", "version": "12.6.68"}}'
MODES = "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan  1 00:00:00 UTC 2026\n"


@pytest.fixture(autouse=True)
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LVEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LVEDGE_TRUST", str(write_trust(tmp_path / "trust")))
    return tmp_path / "trust"


def jetson(folder: Path, mode: str = "15W", **files: str) -> Path:
    """The files of a Jetson, and a program in nvpmodel's place that really runs."""
    content = {
        "etc/nv_tegra_release": RELEASE,
        "var/lib/dpkg/status": DPKG,
        "usr/local/cuda/version.json": CUDA,
        "etc/nvpmodel.conf": MODES,
        "usr/sbin/nvpmodel": f"#!/bin/sh\n[ \"$1\" = -q ] && printf 'NV Power Mode: {mode}\\n2\\n'\n",
        **files,
    }
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "usr/sbin/nvpmodel").chmod(0o755)
    return folder


def system(root: Path) -> dict[str, Check]:
    return {check.name: check for check in system_checks(root)}


def told(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and the checks of --json by name."""
    code = main(["--json", *args])
    content = json.loads(capsys.readouterr().out)
    assert content["can_run"] is (code == 0)
    return code, {check["name"]: check for check in content["checks"]}


# --- the system ------------------------------------------------------------------------------------------


def test_a_jetson_is_told_by_its_files(tmp_path: Path):
    found = system(jetson(tmp_path))
    assert found["JetPack"] == Check("JetPack", Standing.PRESENT, "6.2+b77, L4T R36.4.3")
    assert found["CUDA"] == Check("CUDA", Standing.PRESENT, "12.6.68")
    assert found["TensorRT"] == Check("TensorRT", Standing.PRESENT, "10.3.0.30-1+cuda12.5")
    assert found["power mode"] == Check(
        "power mode", Standing.WORTH_MENDING, "15W, not the fastest", "sudo nvpmodel -m 2"
    )


def test_a_jetson_at_its_fastest_has_nothing_to_mend(tmp_path: Path):
    assert system(jetson(tmp_path, "MAXN_SUPER"))["power mode"].remedy == ""


def test_a_jetson_that_lacks_things_says_what_brings_them(tmp_path: Path):
    found = system(jetson(tmp_path, **{"var/lib/dpkg/status": "", "usr/local/cuda/version.json": "{"}))
    assert found["JetPack"].found == "L4T R36.4.3"
    assert found["CUDA"].standing is Standing.ABSENT
    assert (found["TensorRT"].standing, found["TensorRT"].remedy) == (
        Standing.WORTH_MENDING,
        "sudo apt-get install nvidia-jetpack",
    )


def test_a_power_mode_that_is_not_told_is_asked_for_by_hand(tmp_path: Path):
    root = jetson(tmp_path)
    (root / "usr/sbin/nvpmodel").unlink()
    assert system(root)["power mode"] == Check(
        "power mode", Standing.ABSENT, "nvpmodel does not say", "sudo nvpmodel -q"
    )


def test_another_machine_has_none_of_it(tmp_path: Path):
    found = system(tmp_path)
    assert {name: check.standing for name, check in found.items()} == {
        "system": Standing.PRESENT,
        "JetPack": Standing.ABSENT,
        "NVIDIA driver": Standing.ABSENT,
        "CUDA": Standing.ABSENT,
        "TensorRT": Standing.ABSENT,
    }
    assert platform.machine() in found["system"].found


def test_a_driver_is_told_by_its_version(tmp_path: Path):
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(DRIVER)
    assert system(tmp_path)["NVIDIA driver"].found == "570.86.15"


# --- the packages ----------------------------------------------------------------------------------------


def test_every_package_of_the_base_install_is_looked_at():
    text = (ROOT / "pyproject.toml").read_text("utf-8").split("\ndependencies = [")[1].split("]")[0]
    assert set(re.findall(r'"([\w-]+)>=', text)) == set(BASE.values())


def test_two_cv2_are_told_and_which_one_answers(tmp_path: Path):
    for name in ("ours", "jetpack"):
        (tmp_path / name / "cv2").mkdir(parents=True)
        (tmp_path / name / "cv2" / "__init__.py").write_text("")
    ours, jetpack = str(tmp_path / "ours"), str(tmp_path / "jetpack")
    assert opencv_check([ours]).standing is Standing.USED
    found = opencv_check([ours, jetpack, ours])
    assert (found.name, found.standing) == ("two cv2", Standing.WORTH_MENDING)
    assert found.found.startswith(f"{ours}/cv2 answers and hides {jetpack}/cv2")
    assert found.remedy == f"remove {ours}/cv2  # keeps {jetpack}/cv2"


def test_a_cv2_of_the_system_is_one_library_file(tmp_path: Path):
    for name in ("ours", "jetpack"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"cv2.{name}.so").write_text("")
    assert "two cv2" in opencv_check([str(tmp_path / "ours"), str(tmp_path / "jetpack")]).name


def test_opencv_packages_that_lie_over_each_other_are_told(tmp_path: Path):
    for name in ("opencv_python-4.12.0", "opencv_python_headless-4.12.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
        package = name.partition("-")[0].replace("_", "-")
        (tmp_path / f"{name}.dist-info" / "METADATA").write_text(f"Name: {package}\nVersion: 4.12.0\n")
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text("")
    found = opencv_check([str(tmp_path)])
    assert found.found == "opencv-python, opencv-python-headless are installed over each other"
    assert found.remedy.endswith("pip install opencv-python-headless")
    assert "uninstall -y opencv-python opencv-python-headless &&" in found.remedy


def test_a_broken_package_is_a_fault_with_its_remedy(tmp_path: Path):
    """The command itself, where the first cv2 on the path is no OpenCV that can be loaded."""
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text("raise ImportError('libGL.so.1: cannot open')")
    paths = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    done = subprocess.run(
        [sys.executable, "-m", "lvedge_runtime.doctor.cli", "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert (done.returncode, done.stderr) == (1, "")
    content = json.loads(done.stdout)
    (fault,) = [check for check in content["checks"] if check["standing"] == "fault"]
    assert fault["found"] == "cv2 cannot be imported: libGL.so.1: cannot open"
    assert fault["remedy"].endswith("-m pip install --force-reinstall opencv-python-headless")
    assert content["can_run"] is False


# --- the job ---------------------------------------------------------------------------------------------


def test_on_this_machine_the_default_job_can_run(bundle: Bundle, capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert text.endswith("\nlvedge-run can run here\n")
    for words in (
        "onnxruntime-cpu, took a step",
        "CPUExecutionProvider",
        f"{bundle.name} {bundle.version}, ",
    ):
        assert words in text
    assert platform.python_version() in text


def test_text_and_json_say_the_same(bundle: Bundle, capsys, tmp_path: Path):
    root = str(jetson(tmp_path / "root"))
    _, checks = told(capsys, "--root", root)
    assert main(["--root", root]) == 0
    text = capsys.readouterr().out
    for check in checks.values():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{check['name']}  ")]
        assert line.split(maxsplit=1)[1].endswith(check["found"])
        assert (f"  {check['name']}: {check['remedy']}\n" in text) is bool(check["remedy"])


def test_an_installed_bundle_is_told_with_its_key(capsys, tmp_path: Path, trust: Path):
    maker = Maker()
    write_trust(trust, maker, revoked="0" * 16, lowest="2")
    write_signed(tmp_path / "tiny.lvedge", maker, "3")
    assert bundle_main(["update", str(tmp_path / "tiny.lvedge")]) == 0
    capsys.readouterr()
    code, checks = told(capsys)
    assert code == 0
    assert checks["bundle"]["found"].startswith("tiny 3, ")
    assert checks["signature"]["found"] == f"by the trusted key {maker.key}"
    assert checks["trusted keys"]["found"] == f"{maker.key}, 1 revoked, lowest version 2"
    write_trust(trust, revoked=maker.key)
    code, checks = told(capsys)
    assert (code, checks["bundle"]["standing"]) == (1, "fault")
    assert "which was revoked" in checks["bundle"]["found"]
    assert "lvedge-bundle update FILE" in checks["bundle"]["remedy"]


def test_an_installed_bundle_that_is_older_than_the_one_that_ships_is_told(
    bundle: Bundle, capsys, monkeypatch, tmp_path: Path, trust: Path
):
    maker = Maker()
    write_trust(trust, maker)
    write_signed(tmp_path / "old.lvedge", maker, "0.9", bundle.name)
    with monkeypatch.context() as patch:  # installed when lvedge did not ship that one yet
        patch.setattr("lvedge.bundle.DEFAULT_PATH", tmp_path / "none.lvedge")
        assert bundle_main(["update", str(tmp_path / "old.lvedge")]) == 0
    capsys.readouterr()
    code, checks = told(capsys)
    assert (code, checks["bundle"]["standing"]) == (0, "worth mending")
    assert checks["bundle"]["found"].endswith(f"; lvedge ships the newer {bundle.version}")
    assert bundle_main(checks["bundle"]["remedy"].split()[1:]) == 0
    capsys.readouterr()
    assert told(capsys)[1]["bundle"]["standing"] == "used"


def test_a_trust_folder_that_others_may_write_to_is_told(capsys, trust: Path):
    maker = Maker()
    write_trust(trust, maker).chmod(0o775)
    found = told(capsys)[1]["trusted keys"]
    assert (found["standing"], found["remedy"]) == ("worth mending", f"sudo chmod go-w {trust}")
    trust.chmod(0o755)
    assert told(capsys)[1]["trusted keys"]["found"] == maker.key


def test_settings_that_cannot_be_understood_are_a_fault(capsys, trust: Path):
    (trust / "lowest-version").write_text("newest")
    code, checks = told(capsys)
    assert (code, checks["trusted keys"]["standing"]) == (1, "fault")
    assert "'newest' is no version" in checks["trusted keys"]["found"]


def test_a_build_without_weights_cannot_run_the_default_job(capsys, monkeypatch, tmp_path: Path):
    monkeypatch.setattr("lvedge.bundle.DEFAULT_PATH", tmp_path / "none.lvedge")
    monkeypatch.setattr("lvedge.casetable.table.DEFAULT_PATH", tmp_path / "none.sqlite")
    code, checks = told(capsys)
    assert (code, checks["bundle"]["standing"], checks["case table"]["standing"]) == (
        1,
        "fault",
        "worth mending",
    )
    assert checks["case table"]["remedy"] == "lvedge-cases update FILE"


def test_wrong_usage_is_code_2(capsys):
    assert main(["--colour"]) == 2
    assert "unrecognized arguments: --colour" in capsys.readouterr().err
