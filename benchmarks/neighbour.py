"""A scanner's side of the real command: cines sent at a pace, each result timed when its line is written."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path += [str(TESTS), str(TESTS / "runtime")]
# ruff: noqa: E402

from cine_files import ge
from disc_bundle import disc_bundle
from pydicom.dataset import FileDataset
from pynetdicom import AE
from pynetdicom.association import Association
from service_process import free_port, values

from lvedge_runtime.sender.gate import stand_gate

DISCS, DEFAULT = "discs", "default"
"""A bundle that measures the scanner's discs in next to no time, and the one that ships."""

TRIES = 3
"""How often a picture is sent that gets no answer."""

SETTINGS = """
[run]
stream = "dicom://{host}:0"
sinks = ["jsonl:-"]
threads = 1
{bundle}
[service]
http = true
port = {page}
deadline_ms = {deadline_ms}
[dicom]
series_s = {series_s}
keep_s = {keep_s}
[dicom.limits]
{limits}
{tls}
{journal}
"""


@dataclass
class Box:
    """The command, running.

    Args:
        process: it.
        port: where it takes instances.
        page: where it tells of itself.
        written: when which provisional frame's line was written, by series' name, slice and frame.
    """

    process: subprocess.Popen[bytes]
    port: int
    page: str
    written: dict[tuple[str, int, int], float] = field(default_factory=dict)

    def read(self) -> None:
        """Follow its lines until there are no more."""
        for line in self.process.stdout or ():
            now = time.monotonic()
            told = json.loads(line)
            if told.get("provisional") and "frame" in told:
                self.written[told["series"], told["slice"], told["frame"]] = now


@contextmanager
def box(
    folder: Path,
    bundle: str = DISCS,
    *,
    limits: str = "",
    certificates: Path | None = None,
    series_s: float = 2.0,
    keep_s: float = 5.0,
    deadline_ms: float = 40.0,
    journal: bool = False,
) -> Iterator[Box]:
    """The command on a free port of this machine, with ``/metrics``, its log in ``folder``.

    Args:
        folder: where its settings and its log lie.
        bundle: ``discs``, ``default``, or the path of another.
        limits: lines for ``[dicom.limits]``.
        certificates: a folder with ``box.pem``, ``box.key`` and ``ca.pem`` for TLS, or None.
        series_s: as in ``[dicom]``.
        keep_s: as in ``[dicom]``.
        deadline_ms: as in ``[service]``.
        journal: whether what is acknowledged is on disk first.
    """
    named = ""
    if bundle == DISCS:
        disc_bundle(folder / "discs.lvedge")
        named = f'bundle = "{folder}/discs.lvedge"'
    elif bundle != DEFAULT:
        named = f'bundle = "{bundle}"'
    files = {"certificate": "box.pem", "key": "box.key", "clients": "ca.pem"}
    tls = [f'{key} = "{certificates / name}"' for key, name in files.items()] if certificates else []
    page, said, config = free_port(), folder / "said.txt", folder / "box.toml"
    text = SETTINGS.format(
        host="127.0.0.1",
        bundle=named,
        page=page,
        limits=limits,
        tls="\n".join(["[dicom.tls]", *tls]) if tls else "",
        series_s=series_s,
        keep_s=keep_s,
        deadline_ms=deadline_ms,
        journal=f'[journal]\nfolder = "{folder / "journal"}"' if journal else "",
    )
    config.write_text(text)
    command = [sys.executable, "-m", "lvedge_runtime.cli", "--config", str(config)]
    with said.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=dict(os.environ))
    try:
        while (found := re.search(r"listening on port (\d+)", said.read_text("utf-8"))) is None:
            if process.poll() is not None:
                raise RuntimeError(said.read_text("utf-8"))
            time.sleep(0.05)
        running = Box(process, int(found[1]), f"http://127.0.0.1:{page}")
        threading.Thread(target=running.read, daemon=True).start()
        yield running
    finally:
        process.kill()
        process.wait()


@dataclass
class Sent:
    """What a scanner sent.

    Args:
        at: when, by the result's series, slice and frame.
        answered_s: how long each C-STORE took to be answered.
        late: how often it was behind its own pace.
        refused: how many were answered with another status than 0x0000.
        unanswered: how often no answer came in the scanner's own time; the picture is then sent again.
    """

    at: dict[tuple[str, int, int], float] = field(default_factory=dict)
    answered_s: list[float] = field(default_factory=list)
    late: int = 0
    refused: int = 0
    unanswered: int = 0


class Scanner:
    """Sends one cine after the other, picture by picture, over one association.

    Args:
        running: whom to.
        rate: pictures a second.
        certificates: a folder with ``scanner.pem``, ``scanner.key`` and ``ca.pem`` for TLS, or None.
        address: from where; another one of this machine's own.
    """

    def __init__(
        self, running: Box, rate: float, certificates: Path | None = None, address: str = "127.0.0.2"
    ) -> None:
        self._running = running
        self._rate = rate
        self._address = address
        self._tls = None if certificates is None else (_client_context(certificates), "127.0.0.1")
        self._count = 0
        self._cine: Sequence[FileDataset] = ge()
        self._association = self._open()
        self._next = time.monotonic()

    def send_cine(self, sent: Sent, until: float) -> None:
        """One stack, until it is over or the time is."""
        self._count += 1
        uid = f"1.2.826.0.1.3680043.10.77.{os.getpid()}.{self._count}"
        for picture in self._cine:
            picture.SeriesInstanceUID, picture.StudyInstanceUID = uid, f"{uid}.0"
            picture.SOPInstanceUID = f"{uid}.{picture.InstanceNumber}"
            picture.SeriesNumber = self._count
        name = f"{self._count}_{sha256(uid.encode()).hexdigest()[:8]}"  # as results name a series
        phases = len(self._cine) // 3
        for k, picture in enumerate(self._cine):
            now = time.monotonic()
            if now >= until:
                return
            if now < self._next:
                time.sleep(self._next - now)
            else:
                sent.late += now - self._next > 1.0 / self._rate
            self._next = max(self._next + 1.0 / self._rate, now - 1.0)
            began = time.monotonic()
            sent.at[name, k // phases, k % phases] = began
            self._store(picture, sent)
            sent.answered_s.append(time.monotonic() - began)

    def begin(self) -> None:
        """After a pause: nothing of it is to be caught up with."""
        self._next = time.monotonic()

    def close(self) -> None:
        self._association.release()

    def _store(self, picture: FileDataset, sent: Sent) -> None:
        for _ in range(TRIES):
            if not self._association.is_established:
                self._association = self._open()
            answer = self._association.send_c_store(picture)
            if "Status" in answer:
                sent.refused += answer.Status != 0
                return
            sent.unanswered += 1
            self._association.abort()

    def _open(self) -> Association:
        ae = AE("SCANNER")
        ae.add_requested_context("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1")
        for _ in range(60):
            association = ae.associate(
                "127.0.0.1",
                self._running.port,
                ae_title="LVEDGE",
                bind_address=(self._address, 0),
                tls_args=self._tls,
            )
            if association.is_established:
                stand_gate(association)
                return association
            time.sleep(0.5)
        raise RuntimeError("the receiver takes no association")


def _client_context(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "scanner.pem", folder / "scanner.key")
    return context


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Count, median, 95th and 99th percentile and the largest, in ms."""
    if not seconds:
        return {"count": 0}
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

    return {"count": len(ordered), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "most": at(1.0)}


def latencies(running: Box, sent: Sent) -> list[float]:
    """Seconds from sending a picture to its written result, for those that were measured on the way."""
    return [running.written[place] - began for place, began in sent.at.items() if place in running.written]


def metrics(running: Box) -> dict[str, float]:
    """``/metrics``, by name and labels."""
    with urllib.request.urlopen(f"{running.page}/metrics", timeout=60) as answer:
        return values(answer.read())
