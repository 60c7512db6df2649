"""A real archive: Orthanc in a folder of its own, spoken to by DICOM and read by its REST interface."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from peers import FOLDERS
from port import free_port

AE_TITLE = "ORTHANC"


@dataclass(frozen=True)
class Orthanc:
    """An archive that runs.

    Args:
        port: where it takes DICOM, on 127.0.0.1.
        http_port: where it is read.
    """

    port: int
    http_port: int

    def get(self, path: str) -> bytes:
        """What its REST interface answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
            return bytes(answer.read())

    def ask(self, path: str) -> Any:
        """The same as JSON."""
        return json.loads(self.get(path))

    def contents(self) -> dict[str, bytes]:
        """Every instance as a file, by SOP Instance UID."""
        tags = {i["ID"]: i["MainDicomTags"] for i in self.ask("/instances?expand")}
        found = {tag["SOPInstanceUID"]: self.get(f"/instances/{own}/file") for own, tag in tags.items()}
        assert len(found) == len(tags), "an instance is there twice"
        return found

    def clear(self) -> None:
        """Remove all that it keeps."""
        for own in self.ask("/patients"):
            address = f"http://127.0.0.1:{self.http_port}/patients/{own}"
            urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=30).close()


@contextmanager
def orthanc(folder: Path, port: int | None = None, **settings: Any) -> Iterator[Orthanc]:
    """An empty archive; what it keeps lies in the folder. Skips where Orthanc is not installed.

    Args:
        folder: a place for its settings, index and files.
        port: where it takes DICOM; a free one by default.
        settings: of Orthanc's configuration, beside ours.
    """
    program = shutil.which("Orthanc", path=f"{FOLDERS}:/usr/sbin")
    if program is None:
        pytest.skip("needs Orthanc: apt-get install orthanc")
    folder.mkdir(parents=True, exist_ok=True)
    running = Orthanc(port or free_port(), free_port())
    store = folder / "store"
    said = {
        "StorageDirectory": str(store),
        "IndexDirectory": str(store),
        "HttpPort": running.http_port,
        "DicomPort": running.port,
        "DicomAet": AE_TITLE,
        "DicomCheckCalledAet": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
        **settings,
    }
    (folder / "orthanc.json").write_text(json.dumps(said))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
        try:
            while not _answers(running):
                assert process.poll() is None, (folder / "orthanc.log").read_text("utf-8", "replace")
                time.sleep(0.1)
            yield running
        finally:
            process.terminate()
            process.wait(60)


def _answers(archive: Orthanc) -> bool:
    try:
        archive.ask("/system")
    except OSError:
        return False
    return True
