"""Collects the wheels that a device installs without a network, locked by hash: one folder for each CPython.

    python wheelhouse/collect.py --wheel dist/lvedge-*.whl --out dist/wheelhouse

For each target, with an interpreter of just that version (pip evaluates markers with the one that runs it):
the wheels of the lock file are fetched, the requirements with lvedge's own hash written, an installation
without an index tried, every dependency looked up once more with the markers of aarch64, licences held
against the list, and a bill of materials written. ``--lock`` resolves anew first, and writes the lock files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

from licence import faults, licence_of, read_rules
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sbom import Wheel, sbom_text

HERE = Path(__file__).parent
ROOT_PACKAGE = "lvedge"
PLATFORMS = (*(f"manylinux_2_{minor}_aarch64" for minor in range(28, 16, -1)), "manylinux2014_aarch64")
"""JetPack 6 has glibc 2.35, JetPack 7 has 2.39; 2.28 is what the newest wheels ask for."""
HEAD = "# {python} on aarch64; made by `make lock`. Every line is one wheel.\n"


class CollectError(Exception):
    """Something that keeps the wheelhouse from being what a device can install from."""


@dataclass(frozen=True)
class Target:
    """A CPython that devices have.

    Args:
        python: its version, "3.10".
        device: what brings it.
    """

    python: str
    device: str

    @property
    def tag(self) -> str:
        return f"cp{self.python.replace('.', '')}-aarch64"

    @property
    def lock(self) -> Path:
        """The lock file: name, version and hash of each wheel but lvedge's own."""
        return HERE / f"{self.tag}.txt"

    @property
    def environment(self) -> dict[str, str]:
        """The values that markers have on the device."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": "aarch64",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
            "extra": "",
        }

    def pip(self, command: str, *arguments: str) -> None:
        """Run pip of this version for aarch64, wheels only.

        Raises:
            CollectError: if it fails; pip has said why.
        """
        run = [_interpreter(self.python), "-m", "pip", command, "--quiet", "--disable-pip-version-check"]
        platforms = [f"--platform={platform}" for platform in PLATFORMS]
        version = ["--only-binary=:all:", f"--python-version={self.python}", "--implementation=cp"]
        done = subprocess.run([*run, *version, *platforms, *arguments], check=False)
        if done.returncode:
            raise CollectError(f"pip {command} failed for {self.tag}")

    def resolve(self, wheel: Path) -> None:
        """Write the lock file anew."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            where = ("--dry-run", "--ignore-installed", f"--target={folder}/target", f"--report={report}")
            self.pip("install", *where, str(wheel))
            installed = json.loads(report.read_text("utf-8"))["install"]
        lines = []
        for item in installed:
            name = canonicalize_name(item["metadata"]["name"])
            if name != ROOT_PACKAGE:
                sha256 = item["download_info"]["archive_info"]["hashes"]["sha256"]
                lines.append(f"{name}=={item['metadata']['version']} --hash=sha256:{sha256}\n")
        self.lock.write_text(HEAD.format(python=f"CPython {self.python}") + "".join(sorted(lines)), "utf-8")

    def collect(self, wheel: Path, folder: Path) -> None:
        """Fetch, lock and try; the folder holds what a device needs afterwards."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.pip(
            "download", "--no-deps", "--require-hashes", f"--dest={folder}", f"--requirement={self.lock}"
        )
        shutil.copy(wheel, folder)
        own = f"{ROOT_PACKAGE}=={_metadata(wheel)['Version']} --hash=sha256:{_sha256(wheel)}\n"
        requirements = folder / "requirements.txt"
        requirements.write_text(self.lock.read_text("utf-8") + own, "utf-8")
        with tempfile.TemporaryDirectory() as empty:
            where = ("--dry-run", "--ignore-installed", f"--target={empty}/target")
            offline = (
                "--no-index",
                f"--find-links={folder}",
                "--require-hashes",
                f"--requirement={requirements}",
            )
            self.pip("install", *where, *offline)


def wheels_in(folder: Path, target: Target) -> list[Wheel]:
    """The wheels of a folder with what they need, their licences held against the list.

    Raises:
        CollectError: if a need is not met by exactly these wheels, or a licence is not allowed.
    """
    paths = sorted(folder.glob("*.whl"))
    metadata = {path: _metadata(path) for path in paths}
    rules = read_rules()
    refused = list(faults(metadata.values(), rules))
    if refused:
        raise CollectError("; ".join(refused))
    versions = {canonicalize_name(found["Name"]): found["Version"] for found in metadata.values()}
    wheels = []
    for path, found in metadata.items():
        needs = [Requirement(text) for text in found.get_all("Requires-Dist", [])]
        needs = [need for need in needs if need.marker is None or need.marker.evaluate(target.environment)]
        for need in needs:
            version = versions.get(canonicalize_name(need.name))
            if version is None or not need.specifier.contains(version, prereleases=True):
                raise CollectError(
                    f"{path.name} needs {need} on {target.tag}, and there is {version}: make lock"
                )
        names = sorted({str(canonicalize_name(need.name)) for need in needs})
        wheels.append(Wheel(path.name, _sha256(path), found, licence_of(found, rules) or "", names))
    _check_needed(wheels, target)
    return wheels


def _check_needed(wheels: Iterable[Wheel], target: Target) -> None:
    """Refuse what nothing needs: a device gets no more than it has to."""
    needs = {wheel.name: wheel.needs for wheel in wheels}
    reached, waiting = set(), [ROOT_PACKAGE]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += needs[name]
    surplus = sorted(needs.keys() - reached)
    if surplus:
        raise CollectError(f"nothing needs {', '.join(surplus)} on {target.tag}: make lock")


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as file:
        (name,) = (n for n in file.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(file.read(name).decode("utf-8"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _interpreter(version: str) -> str:
    """An interpreter of just that version, from pyenv or the search path."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [*map(str, sorted(pyenv.glob(f"{version}.*/bin/python"))), shutil.which(f"python{version}")]
    check = f"import sys; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    raise CollectError(f"no CPython {version} on this machine: install it with pyenv")


TARGETS = (Target("3.10", "JetPack 6"), Target("3.12", "JetPack 7"))


def main(args: Sequence[str] | None = None) -> str | None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheel", type=Path, required=True, metavar="FILE", help="lvedge's own wheel")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a folder for each target goes here"
    )
    parser.add_argument("--lock", action="store_true", help="resolve anew, and write the lock files")
    options = parser.parse_args(args)
    try:
        for target in TARGETS:
            folder: Path = options.out / target.tag
            if options.lock:
                target.resolve(options.wheel)
            target.collect(options.wheel, folder)
            wheels = wheels_in(folder, target)
            (folder / "sbom.cdx.json").write_text(sbom_text(ROOT_PACKAGE, wheels), "utf-8")
            size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            sys.stdout.write(
                f"{folder}: {len(wheels)} wheels for {target.device}, {size:.0f} MB; licences allowed\n"
            )
    except CollectError as err:
        return f"wheelhouse: {err}"
    return None


if __name__ == "__main__":
    sys.exit(main())
