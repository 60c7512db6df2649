"""The page of commands is what the commands say of themselves."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_cli = loaded(ROOT / "docs" / "make_cli.py")


def words(text: str) -> str:
    """The text with its lines joined: versions of argparse break them differently."""
    return " ".join(text.split())


def test_every_command_of_the_package_is_on_the_page():
    scripts = (ROOT / "pyproject.toml").read_text("utf-8").split("[project.scripts]")[1].split("\n[")[0]
    assert dict(re.findall(r'^(\S+) = "(\S+)"$', scripts, re.MULTILINE)) == make_cli.COMMANDS


@pytest.mark.parametrize("command", make_cli.COMMANDS)
def test_the_page_is_in_step_with_the_help(command):
    try:
        section = make_cli.section(command)
    except ImportError as missing:
        pytest.skip(f"{command} cannot be imported here: {missing}")
    page = words((ROOT / "docs" / "cli.md").read_text("utf-8"))
    assert words(section) in page, "run: python docs/make_cli.py"
