"""The command on a port: from storescu to JSON lines, with the tiny bundle and, on real images, with ours."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files as packaged
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from cine_files import NAMES_OF_PERSON, ge
from peers import ask, written
from tiny_bundle import ABOUT, SHAPES, tiny_graphs

from lvedge.bundle import Bundle, write_bundle


@contextmanager
def listening(
    folder: Path, *options: object, quiet_s: float = 1.0, idle_s: float = 6.0, more_settings: str = ""
) -> Iterator[Running]:
    """The command in a process of its own; it ends when nothing comes for long enough."""
    settings, said = folder / "receiver.toml", folder / "said.txt"
    settings.write_text(f"[dicom]\nseries_s = {quiet_s}\ngap_s = 600\n{more_settings}")
    command = [
        *(sys.executable, "-c", STARTER),
        *("--stream", f"dicom://:0?idle_s={idle_s}", "--config", str(settings)),
        *map(str, options),
    ]
    with said.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stderr=errors, env=dict(os.environ))
    try:
        while (found := re.search(r"on port (\d+)", said.read_text("utf-8"))) is None:
            assert process.poll() is None, said.read_text("utf-8")
            time.sleep(0.05)
        yield Running(process, int(found[1]), said)
    finally:
        process.kill()
        process.wait()


@dataclass
class Running:
    """A command that listens.

    Args:
        process: it.
        port: where.
        said: what it writes to standard error.
    """

    process: subprocess.Popen[bytes]
    port: int
    said: Path

    def send(self, files: Sequence[Path]) -> None:
        done = ask("storescu", "-aec", "LVEDGE", "127.0.0.1", self.port, *files)
        assert (done.returncode, done.stderr) == (0, "")


STARTER = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, format="%(message)s")
from lvedge_runtime.cli import main
sys.exit(main())
"""


def tiny_bundle(path: Path) -> None:
    """A bundle that finds nothing, in no time."""
    about = {**ABOUT, "quality": {}}
    write_bundle(
        path, shapes=SHAPES, graphs=tiny_graphs(), about=about, licence="CC0.\n", model_card="# Tiny\n"
    )


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def validate(lines: list[dict[str, Any]]) -> None:
    """Hold lines against the published schema."""
    text = packaged("lvedge_runtime.sinks").joinpath("result.schema.json").read_text("utf-8")
    validator = jsonschema.Draft202012Validator(json.loads(text))
    for line in lines:
        validator.validate(line)


def whole(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is said of whole series, without the times that it took."""
    kept = [line for line in lines if not line.get("cycle", line).get("provisional", False)]
    for line in kept:
        line.pop("latency_ms", None)
    return kept


def test_the_command_measures_what_arrives(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "tiny.lvedge")
    files = written(tmp_path / "files", ge())
    out, expected = tmp_path / "out.jsonl", tmp_path / "folder.jsonl"
    tiny = ("--bundle", tmp_path / "tiny.lvedge")
    with listening(tmp_path, *tiny, "--sink", f"jsonl:{out}") as running:
        running.send(sorted(files.iterdir()))
        assert running.process.wait(120) == 0
        said = running.said.read_text("utf-8")
    assert [name for name in NAMES_OF_PERSON if name in said + out.read_text("utf-8")] == []
    lines = lines_of(out)
    validate(lines)
    places = [(line["slice"], line["frame"]) for line in lines if line.get("provisional")]
    assert places == [(s, p) for s in range(3) for p in range(12)]
    run_on_folder(files, expected, *tiny)
    assert whole(lines) == whole(lines_of(expected))


def test_a_request_to_end_is_heard_while_nothing_comes(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "tiny.lvedge")
    options = ("--bundle", tmp_path / "tiny.lvedge", "--sink", f"jsonl:{tmp_path}/out.jsonl")
    with listening(tmp_path, *options) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 143


def run_on_folder(files: Path, out: Path, *options: object) -> None:
    command = [sys.executable, "-m", "lvedge_runtime.cli", "--stream", str(files), "--sink", f"jsonl:{out}"]
    done = subprocess.run([*command, *map(str, options)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.real
def test_a_whole_stack_from_storescu_is_what_the_folder_gives(
    tmp_path: Path, data_root: Path, bundle: Bundle
) -> None:
    stack = sorted((data_root / "sunnybrook" / "SCD0000101").iterdir())
    rng = np.random.default_rng(7)
    order = [stack[k] for k in rng.permutation(len(stack))]
    twice = [*order, *order[:24]]
    out, expected = tmp_path / "out.jsonl", tmp_path / "folder.jsonl"
    with listening(tmp_path, "--sink", f"jsonl:{out}", quiet_s=10.0, idle_s=20.0) as running:
        for part in (twice[:132], twice[132:]):
            running.send(part)
        assert running.process.wait(400) == 0
        said = running.said.read_text("utf-8")
    assert "SCD" not in said
    run_on_folder(stack[0].parent, expected)
    lines = lines_of(out)
    validate(lines)
    found = whole(lines)
    assert found == whole(lines_of(expected))
    assert sum("frame" in line for line in found) == 240
