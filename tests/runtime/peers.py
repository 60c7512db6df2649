"""Real peers: dcmtk's programs, and a receiver for them to talk to."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cine_files import content_of
from pydicom.dataset import FileDataset

from lvedge.frame import Frame, Receipt, Rejected, SeriesEnd
from lvedge_runtime.config import config_from_file
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
        self.items.extend(item for item in self.source if not isinstance(item, SeriesEnd | Receipt))

    @property
    def at(self) -> tuple[str, int]:
        return "127.0.0.1", self.source.port

    def asked_to_stop(self) -> list[Frame | Rejected]:
        """What was given until the end, where somebody asks for it."""
        self.source.stop()
        self._reader.join(120)
        assert not self._reader.is_alive()
        return self.items

    def stopped(self) -> list[Frame | Rejected]:
        """All that came: also what a quiet time would have made of series that were still arriving."""
        self.asked_to_stop()
        rest = self.source._reception.finish()
        self.items.extend(item for item in rest if not isinstance(item, SeriesEnd | Receipt))
        return self.items


@contextmanager
def receiver(tmp_path: Path, settings: str = "", **options: Any) -> Iterator[Receiver]:
    """A receiver with settings as TOML; on leaving it is stopped."""
    path = tmp_path / "receiver.toml"
    path.write_text(settings or QUICK)
    source = ReceiverSource(
        parse_uri("dicom://127.0.0.1:0", ["dicom://"]),
        SourceOptions(config=config_from_file(path), **options),
    )
    with source:
        running = Receiver(source)
        try:
            yield running
        finally:
            running.stopped()
