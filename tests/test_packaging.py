"""What a device gets: light modules import without the heavy packages, and the wheel holds what it should."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

import lvedge

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {"lvedge": ROOT, "lvedge_runtime": ROOT / "runtime", "lvedge_export": ROOT / "export"}
HEAVY_MODULES = ("lvedge.network", "lvedge.training", "lvedge_export")
HEAVY_PACKAGES = ("torch", "onnx", "onnxscript", "onnxslim", "scipy", "matplotlib")
LARGEST_WHEEL_BYTES = 10_000_000

PICTURES_AND_DATA = (".dcm", ".nii", ".gz", ".mat", ".png", ".jpg", ".npy", ".npz", ".pt", ".pth", ".zip")
"""Kinds of file that images, masks and checkpoints come in: none of them belongs in the wheel."""

SUBJECT_NAMES = re.compile(rb"patient\d{3}|SCD\d{7}|mr_heart_p\d+")

IMPORT_ALL = """
import importlib, sys

heavy = set({heavy!r})

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in heavy:
            raise ImportError("heavy: " + name)

sys.meta_path.insert(0, Blocker())
for name in {modules!r}:
    try:
        importlib.import_module(name)
    except ImportError as err:
        print(name, err, sep=": ")
"""


def modules_of(room: str) -> list[str]:
    """Every module of an import package, by its files."""
    base = ROOMS[room]
    names = []
    for path in sorted((base / room).rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def is_under(name: str, packages: tuple[str, ...] | list[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def light_modules() -> list[str]:
    return [name for room in ROOMS for name in modules_of(room) if not is_under(name, HEAVY_MODULES)]


def failed_imports(modules: list[str], folder: Path) -> list[str]:
    """Imports that fail in a new interpreter where the heavy packages cannot be found."""
    code = IMPORT_ALL.format(heavy=HEAVY_PACKAGES, modules=modules)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    """``pyproject.toml``."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from this checkout."""
    pytest.importorskip("build", reason="building a wheel needs the extra dev")
    pytest.importorskip("hatchling", reason="building a wheel needs the extra dev")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="session")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """The wheel's metadata."""
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode("utf-8"))


# --- light modules -----------------------------------------------------------------------------------


def test_light_modules_import_without_the_heavy_packages(tmp_path: Path):
    modules = light_modules()
    assert {"lvedge.indices", "lvedge.casetable.table", "lvedge_runtime.cli"} <= set(modules)
    assert failed_imports(modules, tmp_path) == []


def test_the_heavy_packages_are_blocked_in_that_test(tmp_path: Path):
    assert failed_imports(["lvedge.network.model"], tmp_path) == ["lvedge.network.model: heavy: torch"]


def test_the_import_contract_names_every_light_module(project: dict[str, Any]):
    contracts = project["tool"]["importlinter"]["contracts"]
    (light,) = (c for c in contracts if c["name"] == "Light code never imports torch or onnx")
    outside = [
        name for name in light_modules() if name != "lvedge" and not is_under(name, light["source_modules"])
    ]
    assert outside == []


# --- the wheel ---------------------------------------------------------------------------------------


def test_the_wheel_holds_the_three_rooms_and_nothing_else(wheel: zipfile.ZipFile):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"lvedge", "lvedge_export", "lvedge_runtime", f"lvedge-{lvedge.__version__}.dist-info"}
    written = {f"{name.replace('.', '/')}" for room in ROOMS for name in modules_of(room)}
    packed = {n.removesuffix(".py").removesuffix("/__init__") for n in wheel.namelist() if n.endswith(".py")}
    assert packed == written


def test_the_wheel_holds_no_tests_and_no_data_from_elsewhere(wheel: zipfile.ZipFile):
    names = wheel.namelist()
    assert [
        n for n in names if re.search(r"(^|/)(tests?|benchmarks|docs|\.ci)/|(^|/)(test_|conftest)", n)
    ] == []
    assert [n for n in names if n.lower().endswith(PICTURES_AND_DATA)] == []


def test_no_subject_is_named_beside_the_weights(wheel: zipfile.ZipFile):
    weights = [n for n in wheel.namelist() if n.startswith("lvedge/weights/")]
    assert {"lvedge/weights/LICENSE", "lvedge/weights/cases.sqlite"} <= set(weights)
    assert [n for n in weights if SUBJECT_NAMES.search(wheel.read(n))] == []


def test_the_wheel_is_typed_and_licensed(wheel: zipfile.ZipFile):
    names = set(wheel.namelist())
    assert {f"{room}/py.typed" for room in ROOMS} <= names
    info = f"lvedge-{lvedge.__version__}.dist-info/licenses"
    assert {f"{info}/LICENSE", f"{info}/lvedge/weights/LICENSE"} <= names
    assert b"Apache License" in wheel.read(f"{info}/LICENSE")
    assert b"Attribution-NonCommercial-ShareAlike 4.0" in wheel.read("lvedge/weights/LICENSE")


def test_the_wheel_holds_the_unit_and_a_file_to_begin_with(wheel: zipfile.ZipFile):
    room = "lvedge_runtime/service"
    assert {f"{room}/lvedge.service", f"{room}/gpu.conf", f"{room}/box.toml"} <= set(wheel.namelist())


def test_the_wheel_is_small(wheel: zipfile.ZipFile):
    assert wheel.filename is not None
    assert Path(wheel.filename).stat().st_size <= LARGEST_WHEEL_BYTES


# --- metadata ----------------------------------------------------------------------------------------


def test_metadata_says_licence_and_versions(metadata: Message):
    assert metadata["Name"] == "lvedge"
    assert metadata["License-Expression"] == "Apache-2.0 AND CC-BY-NC-SA-4.0"
    assert set(metadata["Requires-Python"].split(",")) == {">=3.10", "<3.14"}
    pythons = {c.rsplit(" ", 1)[1] for c in metadata.get_all("Classifier", []) if "Python :: 3." in c}
    assert pythons == {"3.10", "3.11", "3.12", "3.13"}


def test_the_base_install_brings_nothing_heavy(metadata: Message):
    required = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    names = {re.split(r"[^A-Za-z0-9_.-]", r, maxsplit=1)[0].lower() for r in required}
    assert names == {
        "numpy",
        "opencv-python-headless",
        "onnxruntime",
        "pydicom",
        "nibabel",
        "rich",
        "cryptography",
    }


def test_versions_agree(metadata: Message, project: dict[str, Any]):
    assert metadata["Version"] == project["project"]["version"] == lvedge.__version__
    assert lvedge.__version__ in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_command_is_a_function_that_the_wheel_holds(wheel: zipfile.ZipFile, project: dict[str, Any]):
    for command, target in project["project"]["scripts"].items():
        module, function = target.split(":")
        source = wheel.read(f"{module.replace('.', '/')}.py")
        functions = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
        assert function in functions, f"{command}: {target}"


def test_a_wheel_without_the_weights_can_be_made(tmp_path: Path):
    pytest.importorskip("hatchling", reason="building a wheel needs the extra dev")
    if not (ROOT / ".git").exists() or shutil.which("make") is None or shutil.which("git") is None:
        pytest.skip("needs a git checkout, git and make")
    done = subprocess.run(
        [
            "make",
            "wheel-code-only",
            f"PYTHON={sys.executable}",
            f"BUILD={tmp_path / 'build'}",
            f"DIST={tmp_path / 'dist'}",
            "BUILD_OPTIONS=--no-isolation",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MAKEFLAGS": ""},
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as made:
        assert [n for n in made.namelist() if "weights" in n] == []
        (name,) = (n for n in made.namelist() if n.endswith("/METADATA"))
        said = Parser().parsestr(made.read(name).decode("utf-8"))
    assert said["License-Expression"] == "Apache-2.0"
