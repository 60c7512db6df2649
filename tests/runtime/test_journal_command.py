"""The receiver and the command under a journal: repetitions, latecomers, full disks, objects for a PACS."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cine_files import NAMES_OF_PERSON, ge, others, siemens
from disc_bundle import disc_bundle
from orthanc import AE_TITLE, Orthanc, orthanc
from peers import QUICK, Receiver, ask, receiver, written
from port import free_port
from pydicom.dataset import FileDataset
from reception_room import in_folder, results
from small_disk import small_disk

from lvedge.errors import JournalError, SinkError, UsageError
from lvedge.frame import Frame, Receipt, Rejected
from lvedge_runtime.cli import main
from lvedge_runtime.config import config_from_file
from lvedge_runtime.delivery import Deliverer
from lvedge_runtime.journal.cli import main as outbox_main
from lvedge_runtime.journal.journal import Delivery, Journal, outbox_of
from lvedge_runtime.journal.outbox import ItemState
from lvedge_runtime.journal.setting import JournalSettings, OutboxSettings
from lvedge_runtime.receiver.replay import MOST_BEGUN, Replay
from lvedge_runtime.receiver.setting import settings_from_config
from lvedge_runtime.receiver.source import ReceiverSource
from lvedge_runtime.sinks import RunContext, Sinks, check_uris, textfile
from lvedge_runtime.sinks.textfile import JournaledFile
from lvedge_runtime.sources import SourceOptions
from lvedge_runtime.uri import parse_uri

SMALL = JournalSettings(least_free_bytes=1)
FRAME = {"FrameOfReferenceUID": "1.2.77.1"}


def send(at: tuple[str, int], folder: Path, data: list[FileDataset]) -> None:
    done = ask("storescu", "-aec", "LVEDGE", *at, *sorted(written(folder, data).iterdir()))
    assert (done.returncode, done.stderr) == (0, "")


@contextmanager
def taken_in(folder: Path, journal: Journal) -> Iterator[Receiver]:
    """A receiver that has taken in what the journal held; a request to stop before would leave it there."""
    turns: list[None] = []
    count = len(journal.instances.undelivered())
    with receiver(folder, journal=journal, turned=lambda: turns.append(None)) as there:
        while len(turns) <= count:
            time.sleep(0.01)
        yield there


def deliver(journal: Journal) -> None:
    """As if all that is there had been measured."""
    journal.deliver(Delivery(tuple(each.number for each in journal.instances.undelivered())))


def test_what_was_acknowledged_before_is_measured_by_the_next_run(tmp_path: Path) -> None:
    data = [*ge(), *others()["localiser"]]
    with Journal(tmp_path / "state", SMALL) as journal, receiver(tmp_path, journal=journal) as there:
        send(there.at, tmp_path / "files", data)
        assert there.source.tally.as_dict() == {"taken": 36, "dropped": 3}
        # It ends without a delivery, as if it were killed.
    with Journal(tmp_path / "state", SMALL) as journal:
        assert len(journal.instances.undelivered()) == 39
        with taken_in(tmp_path, journal) as there:
            # The answers may have been lost: everything is sent once more, and told.
            send(there.at, tmp_path / "again", data)
            assert there.source.tally.as_dict() == {"known": 39}
            items = there.stopped()
    assert results(items) == results(in_folder(tmp_path / "ours", ge()))
    assert results(items, provisional=True) != []
    (rejected,) = [item for item in items if isinstance(item, Rejected)]
    assert rejected.item.startswith("3 of ")


def test_a_series_that_is_arriving_when_the_run_is_stopped_waits_for_the_next(tmp_path: Path) -> None:
    """Half a stack has other slice numbers and levels; what is made of it would stay in an archive."""
    data = ge()
    with Journal(tmp_path / "state", SMALL) as journal:
        with receiver(tmp_path, journal=journal) as there:
            send(there.at, tmp_path / "files", data[:20])
            items = list(there.asked_to_stop())
        assert len(journal.instances.undelivered()) == 20
    assert [item for item in items if not (isinstance(item, Frame) and item.provisional)] == []
    with Journal(tmp_path / "state", SMALL) as journal, receiver(tmp_path, journal=journal) as there:
        send(there.at, tmp_path / "rest", data[20:])
        items = there.stopped()
    assert results(items) == results(in_folder(tmp_path / "ours", data))


def test_a_latecomer_of_another_day_is_measured_with_its_whole_series(tmp_path: Path) -> None:
    data = ge()
    late = data.pop(17)
    with Journal(tmp_path / "state", SMALL) as journal:
        with receiver(tmp_path, journal=journal) as there:
            send(there.at, tmp_path / "files", data)
            there.stopped()
            deliver(journal)
        with receiver(tmp_path, journal=journal) as there:
            assert there.items == []
            send(there.at, tmp_path / "late", [late])
            items = there.stopped()
    assert results(items) == results(in_folder(tmp_path / "ours", [*data, late]))
    # What was shown then is not shown again.
    assert len([item for item in items if isinstance(item, Frame) and item.provisional]) <= 1


def test_a_file_that_was_lost_is_told_and_the_rest_measured(tmp_path: Path) -> None:
    data = ge()
    with Journal(tmp_path / "state", SMALL) as journal:
        with receiver(tmp_path, journal=journal) as there:
            send(there.at, tmp_path / "files", data)
            there.stopped()
        journal.instances.undelivered()[5].path.write_bytes(b"rubbish")  # type: ignore[union-attr]
        with taken_in(tmp_path, journal) as there:
            items = there.stopped()
    assert [item.reason for item in items if isinstance(item, Rejected)] == [
        "its file in the journal is damaged"
    ]
    assert results(items) == results(in_folder(tmp_path / "ours", [*data[:5], *data[6:]]))


def test_a_series_that_ends_every_run_is_left_out_in_the_end(tmp_path: Path) -> None:
    fatal, other = ge(), siemens()
    with Journal(tmp_path / "state", SMALL) as journal:
        with receiver(tmp_path, journal=journal) as there:
            send(there.at, tmp_path / "files", [*fatal, *other])
            there.stopped()
        numbers = [each.number for each in journal.instances.undelivered()]
        assert {each.begun for each in journal.instances.undelivered()} == {1}
        for _ in range(MOST_BEGUN - 1):
            journal.instances.begin(numbers[: len(fatal)])
        with taken_in(tmp_path, journal) as there:
            items = there.stopped()
    (rejected,) = [item for item in items if isinstance(item, Rejected)]
    assert rejected.reason == f"{MOST_BEGUN} runs ended while they measured its series"
    assert results(items) == results(in_folder(tmp_path / "ours", other))


def test_a_series_that_ends_every_run_while_it_arrives_is_left_out_too(tmp_path: Path) -> None:
    fatal, other = ge(), siemens()
    path = tmp_path / "receiver.toml"
    path.write_text(QUICK)

    def source(journal: Journal) -> ReceiverSource:
        options = SourceOptions(config=config_from_file(path), journal=journal)
        return ReceiverSource(parse_uri("dicom://127.0.0.1:0", ["dicom://"]), options)

    with Journal(tmp_path / "state", SMALL) as journal, source(journal) as there:
        # Acknowledged, and nothing is measured yet.
        send(("127.0.0.1", there.port), tmp_path / "files", [*fatal, *other])
    for run in range(MOST_BEGUN):
        with Journal(tmp_path / "state", SMALL) as journal:
            begun = [each.begun for each in journal.instances.undelivered()]
            assert begun == [run] * len(fatal) + [0] * len(other)
            with source(journal) as there:
                # Whoever measures this frame never comes back for the next: an engine that died, a kill.
                first = next(iter(there))
                assert isinstance(first, Frame)
                assert first.provisional
    with Journal(tmp_path / "state", SMALL) as journal, taken_in(tmp_path, journal) as there:
        items = there.stopped()
    (rejected,) = [item for item in items if isinstance(item, Rejected)]
    assert rejected.reason == f"{MOST_BEGUN} runs ended while they measured its series"
    assert results(items) == results(in_folder(tmp_path / "ours", other))


def test_a_run_that_ends_while_it_waits_counts_against_nobody(tmp_path: Path) -> None:
    turns: list[None] = []
    with (
        Journal(tmp_path / "state", SMALL) as journal,
        receiver(tmp_path, journal=journal, turned=lambda: turns.append(None)) as there,
    ):
        send(there.at, tmp_path / "files", ge())
        # A turn may be about to begin while the queue becomes empty; the one after it has nothing to do.
        while there.source._intake.queue.qsize():
            time.sleep(0.01)
        until = len(turns) + 2
        while len(turns) < until:
            time.sleep(0.01)
        assert any(isinstance(item, Frame) and item.provisional for item in there.items)
        assert (tmp_path / "state" / "underway").read_bytes() == b"0" * 20
        assert {each.begun for each in journal.instances.undelivered()} == {0}


def test_a_full_disk_is_answered_with_0xa700_and_what_came_is_measured(tmp_path: Path) -> None:
    data = [*ge(), *siemens()]
    with small_disk(tmp_path / "disk") as disk:
        settings = JournalSettings(least_free_bytes=100_000)
        with Journal(disk / "state", settings) as journal, receiver(tmp_path, journal=journal) as there:
            files = sorted(written(tmp_path / "files", data).iterdir())
            done = ask("storescu", "-v", "-aec", "LVEDGE", *there.at, *files)
            assert "Refused: OutOfResources" in done.stderr + done.stdout
            taken = there.source.tally["taken"]
            assert 0 < taken < 36
            assert there.source.tally["no room"] == 1  # then storescu stops
            items = there.stopped()
            frames = [item for item in items if isinstance(item, Frame) and not item.provisional]
            assert len(frames) == taken
            # Once it was delivered there is room again.
            deliver(journal)
        with Journal(disk / "state", settings) as journal, receiver(tmp_path, journal=journal) as there:
            done = ask("storescu", "-aec", "LVEDGE", *there.at, *files[36:46])
            assert (done.returncode, there.source.tally["taken"]) == (0, 10)


def test_a_sink_s_file_waits_for_its_disk_and_no_delivery_goes_by(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, Journal(tmp_path / "state", SMALL) as journal:
        path = disk / "out.jsonl"
        file = JournaledFile(path, journal)
        for number in range(20):
            file.write(f"{number:05d} {'x' * 50_000}\n")
            file.flush()
        delivery = Delivery((1,))
        file.settle(delivery)
        assert not delivery.whole
        assert path.stat().st_size < 20 * 50_007
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        delivery = Delivery((1,))
        file.settle(delivery)
        file.close()
        assert delivery.whole
        assert delivery.lengths == {path.resolve(): 20 * 50_007}
        assert [line[:5] for line in path.read_text().splitlines()] == [f"{k:05d}" for k in range(20)]


def test_a_disk_that_takes_nothing_for_too_long_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textfile, "MOST_BEHIND", 100)
    with Journal(tmp_path / "state", SMALL) as journal:
        file = JournaledFile(tmp_path / "out", journal)

        def full(*_args: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        file.write("x" * 90)
        file.flush()
        file.write("x" * 90)
        with pytest.raises(SinkError, match="No space"):
            file.flush()
        file.close()


def test_a_delivery_that_failed_is_tried_again_once_a_minute(tmp_path: Path) -> None:
    with Journal(tmp_path / "state", SMALL) as journal, receiver(tmp_path, journal=journal) as there:
        with pytest.raises(JournalError):
            journal.deliver(Delivery(lengths={tmp_path / "out": 7}, whole=False))
        replay = Replay(journal, there.source._intake)
        assert [replay.is_due(now) for now in (0.0, 59.0, 61.0, 62.0)] == [True, False, True, False]
        journal.deliver(Delivery())
        assert journal.written(tmp_path / "out") == 7
        assert not replay.is_due(200.0)


def test_a_file_that_was_emptied_meanwhile_has_no_hole(tmp_path: Path) -> None:
    with Journal(tmp_path / "state", SMALL) as journal:
        file = JournaledFile(tmp_path / "out", journal)
        for text in ("one\n", "two\n"):
            file.write(text)
            file.flush()
        os.truncate(tmp_path / "out", 0)
        file.write("three\n")
        delivery = Delivery()
        file.settle(delivery)
        file.close()
    assert (tmp_path / "out").read_text() == "three\n"
    assert delivery.lengths == {tmp_path / "out": 6}


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_file_is_cut_back_to_what_was_delivered(
    tmp_path: Path, make_beat: Callable[..., tuple[list, object]], kind: str
) -> None:
    measurements, _ = make_beat()
    path = tmp_path / f"out.{kind}"
    path.write_text("of an earlier run, without a journal\n")

    def run(*slices: int, cut_off: bool = False) -> None:
        with Journal(tmp_path / "state", SMALL) as journal:
            context = RunContext("engine", "bundle", "1", journal=journal)
            with Sinks([f"{kind}:{path}"], context) as sinks:
                deliverer = Deliverer(sinks, journal)
                for index in slices:
                    for item in make_beat(slice_index=index)[0]:
                        deliverer.write(item)
                    if not (cut_off and index == slices[-1]):
                        deliverer.deliver(Receipt("phantom"))

    run(0, 1, cut_off=True)
    run(1)
    whole = path.read_text()
    other = tmp_path / "second"
    other.mkdir()
    with Sinks([f"{kind}:{other}/out"], RunContext("engine", "bundle", "1")) as sinks:
        for index in (0, 1):
            for item in make_beat(slice_index=index)[0]:
                sinks.write(item)
    assert whole == (other / "out").read_text()
    # A file that somebody took away begins anew.
    path.unlink()
    run(1)
    assert len(path.read_text().splitlines()) == len(measurements) + (kind == "csv")


class Command:
    """``lvedge-run`` on a folder, with a PACS.

    Args:
        folder: for all that is written.
        pacs: where objects go.
        release: they wait for a release.
    """

    def __init__(self, folder: Path, port: int, release: bool = False) -> None:
        self.folder = folder
        disc_bundle(folder / "discs.lvedge")
        written(folder / "files", ge(**FRAME))
        (folder / "lvedge.toml").write_text(
            '[journal]\nfolder = "state"\nleast_free_bytes = 1\n'
            f"[outbox]\nrelease = {str(release).lower()}\nfirst_s = 0.1\n"
        )
        self.sink = f"store://127.0.0.1:{port}?called={AE_TITLE}&calling=LVEDGE"

    def run(self, *more: str) -> int:
        return main(
            [
                *("--stream", str(self.folder / "files"), "--config", str(self.folder / "lvedge.toml")),
                *("--bundle", str(self.folder / "discs.lvedge"), "--quiet", "--sink", self.sink, *more),
            ]
        )

    def states(self) -> list[ItemState]:
        outbox, database = outbox_of(self.folder / "state")
        try:
            return [item.state for item in outbox.items()]
        finally:
            database.close()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    pytest.importorskip("highdicom")
    with orthanc(tmp_path_factory.mktemp("pacs")) as running:
        yield running


def test_objects_of_a_folder_reach_the_pacs_once(tmp_path: Path, pacs: Orthanc) -> None:
    pacs.clear()
    command = Command(tmp_path, pacs.port)
    assert command.run() == 0
    assert command.states() == [ItemState.SENT] * 3
    before = pacs.contents()
    assert len(before) == 3
    # Measured again, they are the same objects, and fixed.
    assert command.run() == 0
    assert command.states() == [ItemState.SENT] * 3
    assert pacs.contents() == before


def test_objects_wait_for_a_release(
    tmp_path: Path, pacs: Orthanc, capsys: pytest.CaptureFixture[str]
) -> None:
    pacs.clear()
    command = Command(tmp_path, pacs.port, release=True)
    assert command.run() == 0
    state = ("--state", str(tmp_path / "state"))
    assert outbox_main(["list", *state]) == 0
    said = capsys.readouterr().out
    assert [line.split()[:2] for line in said.splitlines()] == [
        ["number", "state"],
        *([str(number), "held"] for number in (1, 2, 3)),
    ]
    assert "Comprehensive SR" in said
    uids = {str(data[k].value) for data in ge() for k in ("SOPInstanceUID", "SeriesInstanceUID", "PatientID")}
    assert [name for name in (*NAMES_OF_PERSON, *uids) if name in said] == []
    assert pacs.contents() == {}
    assert outbox_main(["release", *state]) == 2
    assert "--all" in capsys.readouterr().err
    assert outbox_main(["release", "1", "9", *state]) == 2
    assert outbox_main(["drop", "2", *state]) == 0
    assert capsys.readouterr().out == "1 released\n1 dropped\n"
    # The same series again: what was released goes, what was dropped is held anew.
    assert command.run() == 0
    assert sorted(command.states()) == sorted([ItemState.SENT, ItemState.HELD, ItemState.HELD])
    assert len(pacs.contents()) == 1
    assert outbox_main(["release", "--all", *state]) == 0
    assert command.run() == 0
    assert len(pacs.contents()) == 3
    assert outbox_main(["retry", "--all", *state]) == 0
    assert capsys.readouterr().out == "2 released\n0 tried again\n"


def test_a_pacs_that_is_down_holds_up_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("highdicom")
    command = Command(tmp_path, free_port())
    out = tmp_path / "out.jsonl"
    assert command.run("--sink", f"jsonl:{out}") == 0
    assert len(out.read_text().splitlines()) >= 36 + 3
    assert command.states() == [ItemState.WAITING] * 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[journal]\nkeep_days = 3", "journal.folder: name a folder"),
        ('[journal]\nfolder = ""', "journal.folder: name a folder"),
        ('[journal]\nfolder = "s"\nkeep_days = 0', "journal.keep_days: 0 is not a number above 0"),
        ('[journal]\nfolder = "s"\nkeep = 1', "journal.keep: no such setting"),
        ("[outbox]\nrelease = true", "outbox: objects wait in the journal"),
        ('[journal]\nfolder = "s"\n[outbox]\nrelease = 1', "outbox.release: expected true or false"),
        ('[journal]\nfolder = "s"\n[outbox]\nrefusals = 1.5', "outbox.refusals: 1.5 is not a whole number"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "lvedge.toml").write_text(text)
    with pytest.raises(UsageError, match=words):
        settings_from_config(config_from_file(tmp_path / "lvedge.toml"))


def test_settings_are_read_and_folders_are_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "lvedge.toml").write_text(
        QUICK + '[journal]\nfolder = "state"\nkeep_days = 2\n[outbox]\nrelease = true\nrefusals = 9\n'
    )
    assert settings_from_config(config_from_file(tmp_path / "lvedge.toml")).journal == JournalSettings(
        tmp_path / "state", 2, outbox=OutboxSettings(release=True, refusals=9)
    )


def test_the_settings_are_read_once(tmp_path: Path) -> None:
    disc_bundle(tmp_path / "discs.lvedge")
    files = written(tmp_path / "files", ge())
    # What comes out of a pipe can be read once; a second reading would find no journal.
    reader, writer = os.pipe()
    os.write(writer, f'[journal]\nfolder = "{tmp_path / "state"}"\nleast_free_bytes = 1\n'.encode())
    os.close(writer)
    try:
        args = ("--stream", str(files), "--bundle", str(tmp_path / "discs.lvedge"), "--quiet")
        assert main([*args, "--config", f"/dev/fd/{reader}", "--sink", f"jsonl:{tmp_path}/out.jsonl"]) == 0
    finally:
        os.close(reader)
    with Journal(tmp_path / "state", SMALL) as journal:
        assert journal.written(tmp_path / "out.jsonl") == (tmp_path / "out.jsonl").stat().st_size


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        ("store://127.0.0.1:104", "name a folder for them"),
        ("store://127.0.0.1:104?tls=true", "name a folder for them"),
    ],
)
def test_store_says_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sink: str, words: str
) -> None:
    pytest.importorskip("highdicom")
    disc_bundle(tmp_path / "discs.lvedge")
    written(tmp_path / "files", ge())
    files = ("--stream", str(tmp_path / "files"), "--bundle", str(tmp_path / "discs.lvedge"))
    assert main([*files, "--sink", sink]) == 2
    assert words in capsys.readouterr().err
    (tmp_path / "lvedge.toml").write_text('[journal]\nfolder = "state"\n')
    config = ("--config", str(tmp_path / "lvedge.toml"))
    assert main([*files, *config, "--sink", "store://127.0.0.1:104?tls=true"]) == 2
    assert "needs the certificates of [dicom.tls]" in capsys.readouterr().err


def test_two_sinks_for_one_destination_are_refused() -> None:
    with pytest.raises(UsageError, match="once"):
        check_uris(["store://pacs:104?called=A", "store://pacs:104?called=B"])
