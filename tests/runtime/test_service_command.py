"""The command as a service, in a process of its own: one file of settings, watched and stopped."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from cine_files import content_of, ge
from peers import ask, written
from pydicom.uid import UID
from service_process import heard, service
from test_receiver_command import lines_of, run_on_folder, whole

from lvedge_runtime.opening import NO_JOURNAL


def test_what_is_measured_is_told_and_a_request_to_stop_finishes_it(tmp_path: Path) -> None:
    files = written(tmp_path / "files", ge())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000"}
        with service(tmp_path, **told) as there:
            done = ask("storescu", "-aec", "LVEDGE", "127.0.0.1", there.port, *sorted(files.iterdir()))
            assert (done.returncode, done.stderr) == (0, "")
            there.waits_for("lvedge_frames_total no", 36)
            metrics = there.metrics()
            assert metrics["lvedge_instances_total taken"] == 36
            assert metrics["lvedge_connections_total released"] == 1
            assert (metrics["lvedge_queue_depth"], metrics["lvedge_kept_instances"]) == (0, 36)
            assert metrics["lvedge_latency_seconds_count"] == 36
            with urllib.request.urlopen(f"{there.page}/health", timeout=30) as answer:
                assert json.loads(answer.read())["status"] == "ok"
            said = heard(systemd)
            # The series is not whole yet by the clock; a request to stop lets it be measured.
            there.process.send_signal(signal.SIGTERM)
            assert there.process.wait(120) == 143
            log = there.log()
        # On a busy machine the watchdog is fed before all is open.
        assert (said.count("READY=1"), set(said)) == (1, {"READY=1", "WATCHDOG=1"})
        assert "STOPPING=1" in heard(systemd)
    events = [line["event"] for line in log if "event" in line]
    assert {"serving", "listening", "association released", "stopping", "received"} <= set(events)
    assert events.count("instance") == 36
    (ended,) = (line for line in log if line.get("event") == "association released")
    assert (ended["instances"], ended["refused"]) == (36, 0)
    (series,) = (line for line in log if line.get("event") == "series whole")
    assert (series["pictures"], series["instances"], series["dropped"]) == (36, 36, 0)
    run_on_folder(files, tmp_path / "folder.jsonl", "--bundle", tmp_path / "tiny.lvedge")
    assert whole(lines_of(tmp_path / "out.jsonl")) == whole(lines_of(tmp_path / "folder.jsonl"))


@pytest.mark.parametrize("journal", ["", '[journal]\nfolder = "state"\nleast_free_bytes = 1\n'])
def test_a_service_without_a_journal_is_warned_of_it(tmp_path: Path, journal: str) -> None:
    with service(tmp_path, journal) as there:
        warned = [line["message"] for line in there.log() if line["level"] == "warning"]
    assert warned == ([] if journal else [NO_JOURNAL])


def test_after_a_request_to_stop_nobody_is_let_in(tmp_path: Path) -> None:
    with service(tmp_path) as there:
        with socket.create_connection(("127.0.0.1", there.port)):
            there.process.send_signal(signal.SIGTERM)
            assert there.process.wait(60) == 143
        assert ask("echoscu", "-aec", "LVEDGE", "127.0.0.1", there.port).returncode == 1


PERSON = ("Zanzibar^Quentin", "PID-83610", "19570411", "ACCN-5519")
WORDS = ("WhisperStation", "MARYTITLE", "sesame words")
UIDS = ("1.2.826.0.1.55555", "1.2.826.0.1.66666", "1.2.826.0.1.77777")


def test_no_name_identifier_or_word_of_a_peer_is_logged(tmp_path: Path) -> None:
    person = {
        "PatientName": PERSON[0],
        "PatientID": PERSON[1],
        "PatientBirthDate": PERSON[2],
        "AccessionNumber": PERSON[3],
        "StationName": WORDS[0],
        "InstitutionName": WORDS[2],
        "StudyInstanceUID": UIDS[1],
    }
    good = ge(UIDS[0], **person)
    foreign = ge(UIDS[2], sizes=(1.0,), Modality="SESAME WORDS", **person)
    damaged = ge(f"{UIDS[0]}.9", sizes=(1.0,), SeriesDescription=WORDS[2], **person)
    for data in damaged:
        data.PixelData = data.PixelData[:40]
    files = written(tmp_path / "files", [*good, *foreign, *damaged])
    cut = content_of(good[0])[:700]
    (files / "9999.dcm").write_bytes(cut)
    with service(tmp_path, "ae_title = 'LVEDGE'\n", series_s=1) as there:
        at = "127.0.0.1", there.port
        ask("storescu", "-nh", "-aet", "MARYTITLE", "-aec", "LVEDGE", *at, *sorted(files.iterdir()))
        assert ask("echoscu", "-aet", "MARYTITLE", "-aec", "MARYTITLE", *at).returncode == 1
        strange = b"\x01\x00\x00\x00\x00\x51" + b"MARYTITLE" * 9
        for words in (b"GET /" + WORDS[2].encode() + b" HTTP/1.1\r\n\r\n", strange):
            with socket.create_connection(at) as connection:
                connection.sendall(words)
                connection.settimeout(5)
                with suppress(OSError):
                    connection.recv(100)
        there.waits_for("lvedge_frames_total no", 72)
        there.waits_for(
            "lvedge_rejects_total a series of an unknown Modality; the bundle was trained on MR", 1
        )
        there.process.send_signal(signal.SIGTERM)
        assert there.process.wait(120) == 143
        log, said = there.log(), there.said.read_text("utf-8")
    events = {line.get("event") for line in log}
    assert {"association rejected", "refused", "association released"} <= events
    assert [word for word in (*PERSON, *WORDS, *UIDS) if word.casefold() in said.casefold()] == []
    assert [uid for uid in re.findall(r"\d+(?:\.\d+){4,}", said) if UID(uid).is_valid] == []
