"""The command, killed while it receives, measures, delivers and sends; and what is left afterwards."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from cine_files import BEAT, cine
from disc_bundle import disc_bundle
from orthanc import AE_TITLE, Orthanc
from port import free_port
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage

QUIET_S = 3.0
"""After so long without a picture a series is whole: longer than a start and the next picture take."""

SETTINGS = f"""
[service]
log_level = "debug"
[dicom]
series_s = {QUIET_S}
gap_s = 600
[journal]
folder = "state"
least_free_bytes = 1
[outbox]
first_s = 0.2
longest_s = 1
"""
PATIENCE_S = 120.0


PERSON = {
    "PatientName": "Zanzibar^Quentin",
    "PatientBirthDate": "19570411",
    "AccessionNumber": "ACCN-5519",
    "InstitutionName": "sesame hall",
}
PERSONS = ("PID-83610", "PID-83611")


def two_series() -> list[FileDataset]:
    """Two small cines that arrive by turns, as of two patients at once."""
    tags = {"NominalInterval": 720, "CardiacNumberOfImages": 6, "FrameOfReferenceUID": "1.2.77.1"}
    series = [
        cine(uid, (1.0, 0.9), BEAT, step_ms=120.0, PatientID=person, **PERSON, **tags)
        for uid, person in zip(("1.2.81.1", "1.2.81.2"), PERSONS, strict=True)
    ]
    return [data for pair in zip(*series, strict=True) for data in pair]


class Zygote:
    """Forks commands."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, args: Sequence[object], said: Path) -> int:
        """The process number of a command."""
        reader, writer = self._process.stdout, self._process.stdin
        assert reader is not None
        assert writer is not None
        writer.write(json.dumps({"args": [str(arg) for arg in args], "said": str(said)}) + "\n")
        writer.flush()
        return int(reader.readline())


@contextmanager
def zygote() -> Iterator[Zygote]:
    path = str(Path(__file__).with_name("zygote.py"))
    process = subprocess.Popen(
        [sys.executable, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        yield Zygote(process)
        assert process.stdin is not None
        process.stdin.close()


@dataclass
class Left:
    """What a run left.

    Args:
        frames: JSON lines without times, by (series, slice, frame, provisional).
        rows: lines of the CSV file, likewise.
        objects: what the PACS holds, without times, by SOP Instance UID.
    """

    frames: list[tuple[str, str]]
    rows: list[tuple[str, str]]
    objects: dict[str, Dataset]

    def difference(self, other: Left) -> str:
        """What differs from another run, in a line."""
        said = []
        for what in ("frames", "rows"):
            ours, theirs = Counter(getattr(self, what)), Counter(getattr(other, what))
            more, less = ([place for place, _ in some] for some in (ours - theirs, theirs - ours))
            said.append(f"{what} {more} instead of {less}")
        unlike = [
            uid
            for uid in {**self.objects, **other.objects}
            if self.objects.get(uid) != other.objects.get(uid)
        ]
        return "; ".join([*said, f"objects {unlike}"])


@dataclass
class Trial:
    """One stream of pictures into a command that may be killed.

    Args:
        folder: for all that is written.
        starter: starts commands.
        pacs: where objects go.
        data: the pictures, in the order in which they are sent.
    """

    folder: Path
    starter: Zygote
    pacs: Orthanc
    data: Sequence[FileDataset] = field(default_factory=two_series)
    acknowledged: set[str] = field(default_factory=set)
    moments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        disc_bundle(self.folder / "discs.lvedge")
        (self.folder / "lvedge.toml").write_text(SETTINGS)
        self._port = free_port()
        self._number = 0
        self._stopped = False
        self._sending = threading.Thread(target=self._send)

    def start(self) -> None:
        folder = self.folder
        pacs = f"store://127.0.0.1:{self.pacs.port}?called={AE_TITLE}&calling=LVEDGE"
        self._number = self.starter.start(
            [
                *("--stream", f"dicom://127.0.0.1:{self._port}", "--config", folder / "lvedge.toml"),
                *("--bundle", folder / "discs.lvedge", "--engine", "onnxruntime-cpu"),
                *("--sink", f"jsonl:{folder}/out.jsonl", "--sink", f"csv:{folder}/out.csv", "--sink", pacs),
            ],
            folder / "said.txt",
        )

    def run(self, kills: int, drawn: random.Random) -> Left:
        """Stream everything, kill so often on the way, and wait for the end."""
        self.start()
        self._sending.start()
        try:
            for _ in range(kills):
                self._wait_for_moment(drawn)
                os.kill(self._number, signal.SIGKILL)
                self._wait_until_gone()
                self.check_journal()
                self.start()
            self._wait(self._is_over, "the end")
            os.kill(self._number, signal.SIGTERM)
            self._wait_until_gone()
        finally:
            self._stopped = True
            self._sending.join()
            with suppress(ProcessLookupError):
                os.kill(self._number, signal.SIGKILL)
        assert "Traceback" not in self._said()
        self.check_log()
        return self.left()

    def _wait_for_moment(self, drawn: random.Random) -> None:
        """While pictures come, or once they all came: while they are measured, delivered and sent."""
        if len(self.acknowledged) < len(self.data) and drawn.random() < 0.6:
            wanted = len(self.acknowledged) + drawn.randrange(len(self.data) - len(self.acknowledged) + 1)
            self._wait(lambda: len(self.acknowledged) >= wanted, "pictures")
            self.moments.append("receiving")
            time.sleep(drawn.uniform(0, 0.03))
            return
        self._wait(lambda: len(self.acknowledged) == len(self.data), "all pictures")
        wanted_lines = drawn.randrange(2 * len(self.data))
        self._wait(lambda: len(self._lines()) >= wanted_lines or self._is_over(), "results")
        self.moments.append("over" if self._is_over() else "measuring or sending")
        time.sleep(drawn.uniform(0, 0.3))

    def _send(self) -> None:
        """Send what was not acknowledged, over and over, until all was."""
        ae = AE("SCANNER")
        ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
        ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = 20
        while not self._stopped:
            missing = [data for data in self.data if str(data.SOPInstanceUID) not in self.acknowledged]
            if not missing:
                return
            association = ae.associate("127.0.0.1", self._port, ae_title="LVEDGE")
            if not association.is_established:
                time.sleep(0.02)
                continue
            with suppress(RuntimeError):  # it was killed between two pictures
                for data in missing:
                    status = association.send_c_store(data)
                    if "Status" not in status or self._stopped:
                        break
                    assert status.Status == 0x0000
                    self.acknowledged.add(str(data.SOPInstanceUID))
            if association.is_established:
                association.release()

    def check_journal(self) -> None:
        """What was acknowledged is there: a row, and its file."""
        if not self.acknowledged:
            return
        with closing(sqlite3.connect(self.folder / "state" / "journal.sqlite")) as rows:
            found = dict(rows.execute("SELECT uid, number FROM instance").fetchall())
        sizes = {uid: len(data.PixelData) for data in self.data for uid in [str(data.SOPInstanceUID)]}
        for uid in self.acknowledged:
            path = self.folder / "state" / "received" / f"{found[uid]:08d}.dcm"
            assert path.stat().st_size > sizes[uid]

    def check_log(self) -> None:
        """It was written to, and says of nobody who it is, nor what a scanner calls anything."""
        said = self._said()
        uids = {str(data[k].value) for data in self.data for k in ("SOPInstanceUID", "SeriesInstanceUID")}
        assert "series" in said
        words = (*PERSON.values(), *PERSONS, *uids)
        assert [word for word in words if word.casefold() in said.casefold()] == []

    def _is_over(self) -> bool:
        """Whether all is measured, delivered and sent."""
        if len(self.acknowledged) < len(self.data):
            return False
        with closing(sqlite3.connect(self.folder / "state" / "journal.sqlite", timeout=30)) as rows:
            (left,) = rows.execute("SELECT count(*) FROM instance WHERE delivered IS NULL").fetchone()
            (waiting,) = rows.execute("SELECT count(*) FROM item WHERE state != 'sent'").fetchone()
            (all_of_them,) = rows.execute("SELECT count(*) FROM instance").fetchone()
        return not left and not waiting and all_of_them == len(self.data)

    def _lines(self) -> list[str]:
        path = self.folder / "out.jsonl"
        return path.read_text("utf-8").splitlines() if path.exists() else []

    def left(self) -> Left:
        frames = [json.loads(line) for line in self._lines()]
        with (self.folder / "out.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return Left(
            _told(frames),
            _told(rows),
            {u: _timeless(dcmread(BytesIO(d))) for u, d in self.pacs.contents().items()},
        )

    def _wait(self, condition: Any, what: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until, f"{what} did not come: {self._said()}"
            assert self._is_alive(), self._said()
            time.sleep(0.005)

    def _said(self) -> str:
        return (self.folder / "said.txt").read_text("utf-8")

    def _is_alive(self) -> bool:
        try:
            os.kill(self._number, 0)
        except ProcessLookupError:
            return False
        return True

    def _wait_until_gone(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while self._is_alive():
            assert time.monotonic() < until, self._said()
            time.sleep(0.002)


def _told(records: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """What is said of which frame, beat or stack, without the times that the clock took; sorted."""
    told = []
    for record in records:
        kept = {name: value for name, value in record.items() if name != "latency_ms"}
        inner = next((kept[name] for name in ("cycle", "volumes") if name in kept), kept)
        place = [str(inner.get(name)) for name in ("series", "slice", "frame", "provisional")]
        told.append((" ".join(place), json.dumps(kept)))
    return sorted(told)


def _timeless(data: Dataset) -> Dataset:
    """A data set without dates and times."""
    for element in list(data):
        if element.VR in ("DA", "TM", "DT"):
            del data[element.tag]
        elif element.VR == "SQ":
            for item in element.value:
                _timeless(item)
    return data
