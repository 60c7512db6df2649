"""The command as a service in a process of its own, and what it tells systemd and Prometheus."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from port import free_port
from prometheus_client.parser import text_string_to_metric_families
from test_receiver_command import tiny_bundle

SETTINGS = """
[run]
stream = "dicom://127.0.0.1:0"
sinks = ["jsonl:{folder}/out.jsonl"]
bundle = "{folder}/tiny.lvedge"

[service]
http = true
port = {port}
log_level = "debug"
log_format = "json"

[dicom]
series_s = {series_s}
gap_s = 600
"""


@dataclass
class Service:
    """A running service.

    Args:
        process: it.
        port: where it takes instances.
        page: where it tells of itself.
        said: what it writes to standard error.
    """

    process: subprocess.Popen[bytes]
    port: int
    page: str
    said: Path

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.said.read_text("utf-8").splitlines()]

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"{self.page}/metrics", timeout=30) as answer:
            return values(answer.read())

    def waits_for(self, name: str, value: float) -> None:
        while self.metrics().get(name, 0.0) < value:
            assert self.process.poll() is None, self.said.read_text("utf-8")
            time.sleep(0.1)


@contextmanager
def service(
    folder: Path, settings: str = "", series_s: float = 3600, **environment: str
) -> Iterator[Service]:
    """The command with the settings above and more."""
    tiny_bundle(folder / "tiny.lvedge")
    page, said, config = free_port(), folder / "said.txt", folder / "box.toml"
    config.write_text(SETTINGS.format(folder=folder, port=page, series_s=series_s) + settings)
    command = [sys.executable, "-m", "lvedge_runtime.cli", "--config", str(config)]
    with said.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stderr=errors, env={**os.environ, **environment})
    try:
        while (found := re.search(r'"listening", "port": (\d+)', said.read_text("utf-8"))) is None:
            assert process.poll() is None, said.read_text("utf-8")
            time.sleep(0.05)
        yield Service(process, int(found[1]), f"http://127.0.0.1:{page}", said)
    finally:
        process.kill()
        process.wait()


def heard(listening: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(listening.recv(100).decode())
        except BlockingIOError:
            return said


def values(text: bytes) -> dict[str, float]:
    """Every sample by its name and labels."""
    return {
        sample.name + "".join(f" {label}" for label in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
