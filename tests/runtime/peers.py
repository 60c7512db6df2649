"""Real peers: dcmtk's programs and Orthanc, and a receiver for them to talk to."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from cine_files import content_of
from pydicom.dataset import Dataset, FileDataset

from lvedge.frame import Frame, Receipt, Rejected
from lvedge_runtime.receiver.source import ReceiverSource
from lvedge_runtime.sources import SourceOptions
from lvedge_runtime.uri import parse_uri

FOLDERS = os.pathsep.join(["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"])
QUICK = "[dicom]\nseries_s = 3600\ngap_s = 3600\n"
"""Nothing goes by the clock: what is measured is measured when the test says stop."""


def program(name: str) -> str:
    """The path of one of dcmtk's programs; pynetdicom has scripts of the same names, which are not meant."""
    found = shutil.which(name, path=FOLDERS)
    if found is None:
        pytest.skip(f"needs {name} of dcmtk: apt-get install dcmtk")
    return found


def ask(name: str, *args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of dcmtk's programs to its end."""
    command = [program(name), *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **(env or {})}
    )


def written(folder: Path, data: Iterable[FileDataset]) -> Path:
    """The data sets as files that are numbered in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(data, start=1):
        (folder / f"{number:04d}.dcm").write_bytes(content_of(each))
    return folder


class Receiver:
    """A receiver on a free port, read by a thread.

    Args:
        source: what listens.
    """

    def __init__(self, source: ReceiverSource) -> None:
        self.source = source
        self.items: list[Frame | Rejected] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        self.items.extend(item for item in self.source if not isinstance(item, Receipt))

    @property
    def at(self) -> tuple[str, int]:
        return "127.0.0.1", self.source.port

    def stopped(self) -> list[Frame | Rejected]:
        """All that came."""
        self.source.stop()
        self._reader.join(120)
        assert not self._reader.is_alive()
        return self.items


@contextmanager
def receiver(tmp_path: Path, settings: str = "", **options: Any) -> Iterator[Receiver]:
    """A receiver with settings as TOML; on leaving it is stopped."""
    path = tmp_path / "receiver.toml"
    path.write_text(settings or QUICK)
    source = ReceiverSource(
        parse_uri("dicom://127.0.0.1:0", ["dicom://"]), SourceOptions(config=path, **options)
    )
    with source:
        running = Receiver(source)
        try:
            yield running
        finally:
            running.stopped()


class Orthanc:
    """A PACS that runs.

    Args:
        dicom_port, http_port: where it listens.
        process: it.
    """

    def __init__(self, dicom_port: int, http_port: int, process: subprocess.Popen[bytes]) -> None:
        self.dicom_port = dicom_port
        self.process = process
        self._address = f"http://127.0.0.1:{http_port}"

    def _asked(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(self._address + path, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content

    @property
    def is_up(self) -> bool:
        try:
            return bool(self._asked("/system"))
        except OSError:
            return False

    def instances(self) -> dict[str, Dataset]:
        """What it holds, by SOP Instance UID; every instance counts."""
        found = [
            pydicom.dcmread(BytesIO(self._asked(f"/instances/{name}/file")))
            for name in json.loads(self._asked("/instances"))
        ]
        assert len({data.SOPInstanceUID for data in found}) == len(found)
        return {str(data.SOPInstanceUID): data for data in found}

    def clear(self) -> None:
        for name in json.loads(self._asked("/patients")):
            self._asked(f"/patients/{name}", "DELETE")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@contextmanager
def orthanc(folder: Path, dicom_port: int | None = None) -> Iterator[Orthanc]:
    """A PACS with its files in a folder; what it holds outlives its process.

    Args:
        folder: its own.
        dicom_port: where it listens; a free one by default.
    """
    found = shutil.which("Orthanc", path=os.pathsep.join(["/usr/sbin", FOLDERS]))
    if found is None:
        pytest.skip("needs Orthanc: apt-get install orthanc")
    ports = dicom_port or free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "Name": "PACS",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [],
        "DicomAet": "PACS",
        "DicomPort": ports[0],
        "HttpPort": ports[1],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": True,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "said.txt").open("ab") as said:
        process = subprocess.Popen([found, str(folder / "orthanc.json")], stdout=said, stderr=said)
    running = Orthanc(*ports, process)
    try:
        while not running.is_up:
            assert process.poll() is None, (folder / "said.txt").read_text("utf-8")
            time.sleep(0.05)
        yield running
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
