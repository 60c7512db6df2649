"""The wheelhouse: what a device gets is locked, complete, allowed and listed. The wheels here are tiny."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("the scripts run with CPython 3.11 or newer", allow_module_level=True)
pytest.importorskip("license_expression", reason="the wheelhouse needs the extra dev")
pytest.importorskip("cyclonedx", reason="the wheelhouse needs the extra dev")

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "wheelhouse"))

from collect import TARGETS, CollectError, wheels_in  # noqa: E402
from licence import faults, licence_of, read_rules  # noqa: E402
from sbom import sbom_text  # noqa: E402

JETPACK_6, JETPACK_7 = TARGETS
MIT = "License-Expression: MIT\n"


def metadata(text: str) -> Message:
    return Parser().parsestr(f"Name: some\nVersion: 1\n{text}")


def wheel(folder: Path, name: str, about: str = MIT, version: str = "1") -> Path:
    """A wheel that holds metadata only."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        text = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{about}"
        file.writestr(f"{name}-{version}.dist-info/METADATA", text)
    return path


def needing(*needs: str) -> str:
    return MIT + "".join(f"Requires-Dist: {need}\n" for need in needs)


# --- licences --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "expression"),
    [
        ("License-Expression: MIT\nLicense: GPL-3.0-only\n", "MIT"),
        ("License: BSD-3-Clause\n", "BSD-3-Clause"),
        ("License: BSD\nClassifier: License :: OSI Approved :: BSD License\n", "BSD-3-Clause"),
        (
            "Classifier: License :: OSI Approved :: MIT License\n"
            "Classifier: License :: OSI Approved :: Apache Software License\n",
            "MIT AND Apache-2.0",
        ),
        ("Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)\n", None),
        ("License: do what you like\n", None),
        ("", None),
    ],
)
def test_a_licence_is_what_the_metadata_state(about: str, expression: str | None):
    assert licence_of(metadata(about), read_rules()) == expression


@pytest.mark.parametrize(
    "expression",
    [
        "GPL-3.0-only",
        "LGPL-2.1-or-later",
        "MIT AND AGPL-3.0-only",
        "GPL-2.0-only OR LGPL-2.1-only",
        "Mine-1.0",
    ],
)
def test_a_licence_outside_the_list_is_a_fault(expression: str):
    (line,) = faults([metadata(f"License-Expression: {expression}\n")], read_rules())
    assert line == f"some 1 has the licence {expression}: not on the list of licences.toml"


@pytest.mark.parametrize(
    "expression",
    ["MIT", "Apache-2.0 OR GPL-2.0-only", "MIT AND (Zlib OR GPL-2.0-only)", "BSD-3-Clause AND 0BSD"],
)
def test_a_licence_of_the_list_is_none(expression: str):
    assert list(faults([metadata(f"License-Expression: {expression}\n")], read_rules())) == []


def test_an_unknown_licence_is_a_fault_and_an_exception_is_for_its_package_alone():
    (line,) = faults([metadata("")], read_rules())
    assert "some 1 states no licence that is understood" in line
    weights = "License-Expression: Apache-2.0 AND CC-BY-NC-SA-4.0\n"
    ours = Parser().parsestr(f"Name: lvedge\nVersion: 1\n{weights}")
    assert [line.split()[0] for line in faults([ours, metadata(weights)], read_rules())] == ["some"]


# --- what is collected ------------------------------------------------------------------------------------


def test_markers_are_those_of_the_device(tmp_path: Path):
    wheel(
        tmp_path, "lvedge", needing('arm; platform_machine == "aarch64"', 'x86; platform_machine == "x86_64"')
    )
    wheel(tmp_path, "arm", needing('old; python_version < "3.11"'))
    with pytest.raises(
        CollectError, match=r"arm-1-py3-none-any.whl needs old.* on cp310-aarch64, and there is None"
    ):
        wheels_in(tmp_path, JETPACK_6)
    found = {made.name: list(made.needs) for made in wheels_in(tmp_path, JETPACK_7)}
    assert found == {"lvedge": ["arm"], "arm": []}


@pytest.mark.parametrize(
    ("needs", "others", "words"),
    [
        (("dep>=2",), {"dep": MIT}, "needs dep>=2 on cp310-aarch64, and there is 1: make lock"),
        ((), {"dep": MIT}, "nothing needs dep on cp310-aarch64: make lock"),
        (("dep",), {"dep": "License-Expression: GPL-3.0-only\n"}, "dep 1 has the licence GPL-3.0-only"),
        (("dep",), {"dep": ""}, "dep 1 states no licence"),
    ],
)
def test_a_wheelhouse_that_does_not_fit_is_refused(tmp_path: Path, needs, others, words: str):
    wheel(tmp_path, "lvedge", needing(*needs))
    for name, about in others.items():
        wheel(tmp_path, name, about)
    with pytest.raises(CollectError) as caught:
        wheels_in(tmp_path, JETPACK_6)
    assert words in str(caught.value)


def test_the_bill_of_materials_lists_every_wheel_with_hash_licence_and_needs(tmp_path: Path):
    ours = wheel(tmp_path, "lvedge", needing("some_dep"))
    theirs = wheel(tmp_path, "Some_Dep", "License-Expression: Apache-2.0 OR BSD-3-Clause\n", "2.5")
    content = json.loads(sbom_text("lvedge", wheels_in(tmp_path, JETPACK_6)))
    (part,) = content["components"]
    assert (part["name"], part["version"]) == ("some-dep", "2.5")
    assert part["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(theirs.read_bytes()).hexdigest()}]
    assert part["licenses"] == [{"expression": "Apache-2.0 OR BSD-3-Clause"}]
    assert part["purl"] == "pkg:pypi/some-dep@2.5?file_name=Some_Dep-2.5-py3-none-any.whl"
    root = content["metadata"]["component"]
    assert (root["name"], root["hashes"][0]["content"]) == (
        "lvedge",
        hashlib.sha256(ours.read_bytes()).hexdigest(),
    )
    depends = {entry["ref"]: entry.get("dependsOn", []) for entry in content["dependencies"]}
    assert depends == {"lvedge@1": ["some-dep@2.5"], "some-dep@2.5": []}


# --- the lock files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.tag)
def test_the_lock_names_every_package_of_the_base_install_with_its_hash(target):
    head, *lines = target.lock.read_text("utf-8").splitlines()
    assert head.startswith(f"# CPython {target.python} on aarch64")
    assert [
        line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", line)
    ] == []
    assert lines == sorted(lines)
    base = (ROOT / "pyproject.toml").read_text("utf-8").split("\ndependencies = [")[1].split("]")[0]
    assert set(re.findall(r'"([\w-]+)>=', base)) <= {line.partition("==")[0] for line in lines}
