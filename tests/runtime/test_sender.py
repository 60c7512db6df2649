"""The outbox against peers: a PACS that is down, refuses, is slow, hangs up half-way; and one over TLS."""

from __future__ import annotations

import logging
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from certificates import write_certificates
from cine_files import content_of, ge
from orthanc import orthanc
from peers import ask, program
from port import free_port
from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, evt

from lvedge.errors import JournalError, UsageError
from lvedge_runtime.journal.journal import Delivery, Journal
from lvedge_runtime.journal.outbox import ItemState, Outgoing
from lvedge_runtime.journal.setting import JournalSettings, OutboxSettings
from lvedge_runtime.receiver.setting import TlsFiles
from lvedge_runtime.sender.association import Verdict, verdict_of
from lvedge_runtime.sender.backoff import Backoff
from lvedge_runtime.sender.destination import Destination, destination_from_uri
from lvedge_runtime.sender.sender import Sender

QUICK = OutboxSettings(timeout_s=0.4, slowest_bytes_s=1e6, refusals=3)
PATIENT = OutboxSettings(timeout_s=20.0, refusals=3)


PERSON = {"PatientName": "Zanzibar^Quentin", "PatientID": "PID-83610", "AccessionNumber": "ACCN-5519"}


@pytest.fixture(autouse=True)
def _nobody_is_named(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever a peer does, no log and no line on standard error names a person or an object."""
    caplog.set_level(logging.DEBUG, "lvedge_runtime")
    yield
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    said = "\n".join([*(record.getMessage() for record in records), *capfd.readouterr()]).casefold()
    uids = {str(data[k].value) for data in ge() for k in ("SOPInstanceUID", "SeriesInstanceUID")}
    assert [word for word in (*PERSON.values(), *uids) if word.casefold() in said] == []


class Bench:
    """An outbox with objects for a destination, and its sender, on a clock that stands where it is put."""

    def __init__(
        self,
        journal: Journal,
        port: int,
        settings: OutboxSettings = PATIENT,
        tls: TlsFiles | None = None,
        count: int = 3,
        **said: Any,
    ) -> None:
        self.now = 1000.0
        self.journal = journal
        self.destination = Destination("127.0.0.1", port, "PACS", tls=tls is not None, **said)
        self.data = ge(**PERSON)[:count]
        made = [
            Outgoing(
                self.destination.name,
                str(data.SOPClassUID),
                str(data.SOPInstanceUID),
                str(data.file_meta.TransferSyntaxUID),
                content_of(data),
            )
            for data in self.data
        ]
        journal.deliver(Delivery(outgoing=made))
        self.sender = Sender(
            journal.outbox,
            self.destination,
            settings,
            "LVEDGE",
            tls,
            clock=lambda: self.now,
            drawn=random.Random(1),
        )

    def states(self) -> list[ItemState]:
        return [item.state for item in self.journal.outbox.items()]

    def reasons(self) -> list[str]:
        return [item.reason for item in self.journal.outbox.items()]

    def attempts(self) -> int:
        return sum(item.attempts for item in self.journal.outbox.items())


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "state", JournalSettings(least_free_bytes=1)) as opened:
        yield opened


@contextmanager
def peer(answer: Callable[[evt.Event], int], title: str = "PACS", **said: Any) -> Iterator[int]:
    """A PACS that answers as it is told; gives its port."""
    ae = AE(title)
    ae.require_called_aet = True
    for uid in said.pop("classes", (MRImageStorage,)):
        ae.add_supported_context(uid, ExplicitVRLittleEndian)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)], **said)
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A bare socket; each connection is served by a function."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        open_ones: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    open_ones.append(connection)
                    threading.Thread(target=quietly, args=(connection,), daemon=True).start()

        def quietly(connection: socket.socket) -> None:
            with suppress(OSError):
                serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        port: int = server.getsockname()[1]
        try:
            yield port
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(30)
            for connection in open_ones:
                connection.close()


def test_everything_goes_over_one_association(journal: Journal) -> None:
    associations: list[object] = []
    came: list[str] = []

    def answer(event: evt.Event) -> int:
        associations.append(event.assoc)
        came.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    with peer(answer) as port:
        bench = Bench(journal, port)
        bench.sender.send_due()
        assert bench.states() == [ItemState.SENT] * 3
        assert came == [str(data.SOPInstanceUID) for data in bench.data]
        assert len(set(associations)) == 1
        bench.sender.send_due()
        assert len(came) == 3


def test_a_pacs_that_is_down_for_an_hour_gets_everything_afterwards(journal: Journal, tmp_path: Path) -> None:
    port = free_port()
    bench = Bench(journal, port)
    tries = []
    for _ in range(3600):
        before = bench.attempts()
        bench.sender.send_due()
        if bench.attempts() > before:
            tries.append(bench.now)
        bench.now += 1.0
    # One, two, four ... seconds up to five minutes, each between half and whole: no more than asked for.
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[0] <= 2
    assert all(gap <= 301 for gap in gaps)
    assert 16 <= len(tries) <= 34
    assert bench.states() == [ItemState.WAITING] * 3
    assert bench.reasons()[0] == "no connection, or no answer in time"
    with orthanc(tmp_path / "pacs", port) as pacs:
        bench.now += 301
        bench.sender.send_due()
        assert bench.states() == [ItemState.SENT] * 3
        found = {uid: dcmread(BytesIO(content)) for uid, content in pacs.contents().items()}
        assert {uid: data.PixelData for uid, data in found.items()} == {
            str(data.SOPInstanceUID): data.PixelData for data in bench.data
        }


def test_what_was_sent_and_not_noted_is_sent_again_and_is_there_once(
    journal: Journal, tmp_path: Path
) -> None:
    with orthanc(tmp_path / "pacs") as pacs:
        bench = Bench(journal, pacs.port)
        bench.sender.send_due()
        with journal._database.change() as rows:  # as if the process had died before its note
            rows.execute("UPDATE item SET state = 'waiting'")
            for number, data in enumerate(bench.data, start=1):
                rows.execute("INSERT INTO content VALUES (?, ?)", (number, content_of(data)))
        bench.sender.send_due()
        assert bench.states() == [ItemState.SENT] * 3
        assert len(pacs.contents()) == 3


def test_a_rejected_association_is_tried_again(journal: Journal) -> None:
    with peer(lambda _event: 0x0000, title="OTHER") as port:
        bench = Bench(journal, port)
        for _ in range(20):
            bench.sender.send_due()
            bench.now += 400
        assert bench.states() == [ItemState.WAITING] * 3
        assert bench.reasons()[0] == "it rejects the association"


def test_out_of_resources_holds_everything_back_and_kills_nothing(journal: Journal) -> None:
    statuses = [0xA700] * 8
    asked: list[float] = []

    def answer(_event: evt.Event) -> int:
        asked.append(bench.now)
        return statuses.pop() if statuses else 0x0000

    with peer(answer) as port:
        bench = Bench(journal, port)
        while statuses:
            bench.sender.send_due()
            bench.now += 0.5
        assert bench.states() == [ItemState.WAITING] * 3
        assert bench.reasons()[0] == "out of resources, 0xA700"
        gaps = [later - earlier for earlier, later in pairwise(asked)]
        # One object an attempt, and later each time.
        assert gaps == sorted(gaps)
        assert gaps[-1] >= 32
        bench.now += 400
        bench.sender.send_due()
        assert bench.states() == [ItemState.SENT] * 3


@pytest.mark.parametrize("status", [0x0122, 0xA900, 0xC000, 0x0124])
def test_what_is_refused_for_good_is_dead_and_the_rest_goes(journal: Journal, status: int) -> None:
    refused = str(ge()[1].SOPInstanceUID)
    asked: list[str] = []

    def answer(event: evt.Event) -> int:
        asked.append(event.request.AffectedSOPInstanceUID)
        return status if asked[-1] == refused else 0x0000

    with peer(answer) as port:
        bench = Bench(journal, port)
        for _ in range(10):
            bench.sender.send_due()
            bench.now += 400
        assert bench.states() == [ItemState.SENT, ItemState.DEAD, ItemState.SENT]
        assert asked.count(refused) == QUICK.refusals
        assert bench.reasons()[1] == f"refused with 0x{status:04X}"
        assert bench.journal.outbox.retry() == 1
        bench.now += 400
        bench.sender.send_due()
        assert asked.count(refused) == QUICK.refusals + 1


def test_a_passing_failure_never_kills(journal: Journal) -> None:
    statuses = [0x0110] * 30

    with peer(lambda _event: statuses.pop() if statuses else 0x0000) as port:
        bench = Bench(journal, port, count=1)
        while statuses:
            bench.sender.send_due()
            bench.now += 400
        assert bench.states() == [ItemState.WAITING]
        bench.sender.send_due()
        assert bench.states() == [ItemState.SENT]


def test_a_failure_that_does_not_pass_is_dead_in_the_end(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    fails, came = [True], [0]

    def answer(_event: evt.Event) -> int:
        came[0] += 1
        return 0x0110 if fails[0] else 0x0000

    with peer(answer) as port:
        bench = Bench(journal, port, replace(PATIENT, failures=4), count=1)
        for _ in range(10):
            bench.sender.send_due()
            bench.now += 400
        assert (bench.states(), bench.reasons(), came) == ([ItemState.DEAD], ["failed with 0x0110"], [4])
        dead = f"{bench.destination.name}: object 1 is dead: failed with 0x0110"
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [dead]
        # Tried anew it has all its attempts again.
        assert journal.outbox.retry() == 1
        for _ in range(3):
            bench.sender.send_due()
            bench.now += 400
        assert bench.states() == [ItemState.WAITING]
        fails[0] = False
        bench.sender.send_due()
        assert bench.states() == [ItemState.SENT]


def test_a_pacs_that_is_down_for_ever_kills_nothing(journal: Journal) -> None:
    bench = Bench(journal, free_port(), replace(PATIENT, failures=2, refusals=2))
    for _ in range(10):
        bench.sender.send_due()
        bench.now += 400
    assert bench.states() == [ItemState.WAITING] * 3


def test_about_a_day_of_failures_is_enough() -> None:
    most_s = OutboxSettings().failures * OutboxSettings().longest_s
    assert (most_s / 2 >= 12 * 3600, most_s <= 26 * 3600) == (True, True)


def test_a_class_that_is_not_taken_is_refused(journal: Journal) -> None:
    with peer(lambda _event: 0x0000, classes=(ComprehensiveSRStorage,)) as port:
        bench = Bench(journal, port, count=1)
        for _ in range(3):
            bench.sender.send_due()
            bench.now += 400
        assert bench.states() == [ItemState.DEAD]
        assert bench.reasons() == ["the destination does not take objects of this class"]


def test_an_object_on_which_the_peer_hangs_up_keeps_no_other_back(journal: Journal) -> None:
    fatal = str(ge()[0].SOPInstanceUID)

    def answer(event: evt.Event) -> int:
        if event.request.AffectedSOPInstanceUID == fatal:
            event.assoc.abort()
        return 0x0000

    with peer(answer) as port:
        bench = Bench(journal, port)
        for _ in range(2):
            bench.sender.send_due()
            bench.now += 400
        assert bench.states() == [ItemState.WAITING, ItemState.SENT, ItemState.SENT]
        assert bench.reasons()[0] == "it did not answer in time, or hung up"


def silent(connection: socket.socket) -> None:
    """Accepts and says nothing."""
    while connection.recv(65536):
        pass


def half_closed(connection: socket.socket) -> None:
    """Says that it will say nothing more, and stays."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass


def dripping(connection: socket.socket) -> None:
    """An association acceptance of which a byte comes now and then."""
    connection.recv(65536)
    for byte in b"\x02\x00\x00\x00\x10\x00" + bytes(4096):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


@pytest.mark.parametrize("serve", [silent, half_closed, dripping])
def test_a_peer_that_does_not_answer_is_given_up(
    journal: Journal, serve: Callable[[socket.socket], None]
) -> None:
    with listening(serve) as port:
        bench = Bench(journal, port, QUICK)
        bench.sender.send_due()
        assert bench.states() == [ItemState.WAITING] * 3
        assert bench.reasons()[0] != ""
        # The next attempt waits for its time.
        before = bench.attempts()
        bench.sender.send_due()
        assert bench.attempts() == before


@pytest.mark.parametrize("wait_s", [1.5])
def test_a_peer_that_answers_an_object_too_late_is_given_up(journal: Journal, wait_s: float) -> None:
    slow = [True]

    def answer(_event: evt.Event) -> int:
        if slow[0]:
            time.sleep(wait_s)
        return 0x0000

    with peer(answer) as port:
        bench = Bench(journal, port, QUICK)
        bench.sender.send_due()
        assert bench.states() == [ItemState.WAITING] * 3
        slow[0] = False
        bench.now += 400
        bench.sender.send_due()
        assert bench.states() == [ItemState.SENT] * 3


def test_a_thread_empties_the_outbox_and_another_process_may_release(journal: Journal) -> None:
    with peer(lambda _event: 0x0000) as port:
        bench = Bench(journal, port)
        with journal._database.change() as rows:
            rows.execute("UPDATE item SET state = 'held' WHERE number > 1")
        bench.sender.start()
        assert bench.sender.stop(30) == 0
        assert bench.states() == [ItemState.SENT, ItemState.HELD, ItemState.HELD]


def test_tls_with_certificates_from_both_sides(journal: Journal, tmp_path: Path) -> None:
    write_certificates(tmp_path, "box", "pacs")
    port, out = free_port(), tmp_path / "out"
    out.mkdir()
    command = [program("storescp"), "-aet", "PACS", "+tls", tmp_path / "pacs.key", tmp_path / "pacs.pem"]
    command += ["+cf", tmp_path / "ca.pem", "-od", out, port]
    process = subprocess.Popen([str(part) for part in command])
    try:
        while ask("echoscu", "127.0.0.1", port).returncode == 0:
            raise AssertionError("a plain connection was taken")
        good = TlsFiles(tmp_path / "box.pem", tmp_path / "box.key", tmp_path / "ca.pem")
        bench = Bench(journal, port, tls=good, count=2)
        for _ in range(100):
            bench.sender.send_due()
            if bench.states() == [ItemState.SENT] * 2:
                break
            bench.now += 400
            time.sleep(0.05)
        assert len(list(out.iterdir())) == 2
        # Whose certificate nobody signed gets nothing.
        other = TlsFiles(tmp_path / "box.pem", tmp_path / "box.key", tmp_path / "stranger.pem")
        with Journal(tmp_path / "second", JournalSettings(least_free_bytes=1)) as second:
            wary = Bench(second, port, tls=other, count=1)
            wary.sender.send_due()
            assert wary.states() == [ItemState.WAITING]
    finally:
        process.kill()
        process.wait()


def test_certificates_that_cannot_be_used_are_told_at_the_start(journal: Journal, tmp_path: Path) -> None:
    files = TlsFiles(*(tmp_path / name for name in ("box.pem", "box.key", "ca.pem")))
    with pytest.raises(UsageError, match=r"^dicom.tls: .*/box\.pem cannot be used: No such file"):
        Bench(journal, 104, tls=files)


def test_a_journal_that_cannot_be_written_to_stops_nothing(journal: Journal) -> None:
    came: list[int] = []

    def answer(_event: evt.Event) -> int:
        came.append(1)
        return 0x0000

    with peer(answer) as port:
        bench = Bench(journal, port, count=1)
        with journal._database.look() as rows:
            rows.execute("PRAGMA query_only = ON")
        with pytest.raises(JournalError):
            bench.sender.send_due()
        with journal._database.look() as rows:
            rows.execute("PRAGMA query_only = OFF")
        bench.sender.send_due()
        assert bench.states() == [ItemState.SENT]
        assert len(came) == 2


def test_delays_double_up_to_the_longest_with_jitter() -> None:
    backoff = Backoff(1.0, 300.0, random.Random(3))
    for failures, whole in ((1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (10_000, 300)):
        drawn = {backoff.delay_s(failures) for _ in range(200)}
        assert whole / 2 <= min(drawn) < 0.6 * whole
        assert 0.9 * whole < max(drawn) <= whole


def test_what_a_status_means() -> None:
    meant = {
        Verdict.SENT: (0x0000, 0xB000, 0xB006, 0xB007, 0x0111),
        Verdict.BUSY: (0xA700, 0xA7FF),
        Verdict.REFUSED: (0xA900, 0xC000, 0xCFFF, 0x0122, 0x0124, 0x0117),
        Verdict.LATER: (0x0110, 0x0210, 0xFE00),
    }
    assert {verdict: {verdict_of(status) for status in statuses} for verdict, statuses in meant.items()} == {
        verdict: {verdict} for verdict in meant
    }


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("store://pacs:104/folder", "write store://"),
        ("store://pacs:104?cold=AE", "write store://"),
        ("store://pacs:104?called=A%5CB", "no AE title"),
        ("store://pacs:104?tls=yes", "true or false"),
        ("store://pacs:0", "write store://"),
    ],
)
def test_a_destination_that_cannot_be_meant_is_named(uri: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        destination_from_uri(uri)


def test_a_destination_is_read() -> None:
    assert destination_from_uri("store://pacs?called=MAIN&calling=BOX&tls=true&sc=true") == Destination(
        "pacs", 11112, "MAIN", "BOX", True, True
    )
    assert destination_from_uri("store://[::1]:104").name == "store://[::1]:104"
