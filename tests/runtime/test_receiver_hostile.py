"""All kinds of hostile peers at once: each is ended, and a scanner's stack is measured as ever."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from certificates import write_certificates
from cine_files import ge
from peers import QUICK, ask, receiver, written
from reception_room import in_folder, results

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks.attackers import LIMITS, attack, people

SECONDS = 3.0
UID = "1.2.826.0.1.88888"
PERSON = {"PatientName": "Zanzibar^Quentin", "PatientID": "PID-83610", "AccessionNumber": "ACCN-5519"}


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_hostile_peers_are_ended_and_a_scanner_is_served(
    tmp_path: Path, secured: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    files = written(tmp_path / "files", ge(UID, **PERSON))
    settings, options = f"{QUICK}[dicom.limits]\n{LIMITS}", ["-aec", "LVEDGE"]
    if secured:
        write_certificates(tmp_path, "box", "scanner")
        named = {"certificate": "box.pem", "key": "box.key", "clients": "ca.pem"}
        settings += "[dicom.tls]\n" + "".join(f'{key} = "{name}"\n' for key, name in named.items())
        options += ["+tls", str(tmp_path / "scanner.key"), str(tmp_path / "scanner.pem")]
        options += ["+cf", str(tmp_path / "ca.pem")]
    told: dict[str, Any] = {}
    with receiver(tmp_path, settings) as there:
        port = there.source.port
        attacking = threading.Thread(
            target=lambda: told.update(attack(port, SECONDS, tmp_path if secured else None))
        )
        attacking.start()
        done = ask("storescu", *options, "127.0.0.1", port, *sorted(files.iterdir()))
        attacking.join()
        assert (done.returncode, done.stderr) == (0, "")
        assert ask("echoscu", *options, "127.0.0.1", port).returncode == 0
        assert there.source.tally["taken"] == 36
        items = there.stopped()
    assert results(items) == results(in_folder(tmp_path / "ours", ge(UID, **PERSON)))
    assert set(told) == set(people(tmp_path if secured else None))
    assert [name for name, tally in told.items() if tally["left_open"] or not tally["connections"]] == []
    said = caplog.text.casefold()
    assert "connection" in said
    assert [word for word in (UID, *PERSON.values()) if word.casefold() in said] == []
