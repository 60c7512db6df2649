"""The doctor and a file of settings: its faults, and echoes both ways with every refusal in words."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import write_certificate
from peers import program, receiver
from port import free_port

from lvedge_runtime.cli import main as run_main
from lvedge_runtime.doctor.check import Standing
from lvedge_runtime.doctor.cli import main
from lvedge_runtime.doctor.service import service_checks
from lvedge_runtime.receiver.echo import refusal
from lvedge_runtime.receiver.setting import TlsFiles

UNHEARD = (
    "it closed the connection unheard: this machine's address is not on its list, it wants TLS, "
    "or it is no DICOM"
)


def box(folder: Path, text: str) -> Path:
    path = folder / "box.toml"
    path.write_text(text)
    return path


def told(path: Path) -> dict[str, tuple[Standing, str]]:
    return {check.name: (check.standing, check.found) for check in service_checks(path)}


@contextmanager
def storescp(*options: str) -> Iterator[int]:
    """dcmtk's receiver, called DCMTK."""
    port = free_port()
    command = [program("storescp"), "-aet", "DCMTK", "--ignore", *options, str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None
            yield port
        finally:
            process.kill()


def test_echoes_come_back_both_ways(tmp_path: Path) -> None:
    with receiver(tmp_path) as there, storescp() as port:
        text = f"""[run]
stream = "dicom://:{there.source.port}"
[service]
http = true
[[dicom.peers]]
ae_title = "DCMTK"
address = "127.0.0.1"
port = {port}
[[dicom.peers]]
ae_title = "SILENT"
address = "127.0.0.1"
"""
        assert told(box(tmp_path, text)) == {
            "settings": (Standing.USED, f"{tmp_path}/box.toml, measures dicom://:{there.source.port}"),
            "metrics": (Standing.USED, "prometheus-client is there"),
            f"receiver 127.0.0.1:{there.source.port}": (Standing.USED, "answers an echo"),
            f"peer DCMTK 127.0.0.1:{port}": (Standing.USED, "answers an echo"),
        }


def test_a_destination_is_asked_too_whatever_is_measured(tmp_path: Path) -> None:
    with storescp() as port:
        at = f"store://127.0.0.1:{port}?calling=BOX&called"
        text = f"""[run]
stream = "dicom:{tmp_path}"
sinks = ["{at}=DCMTK", "store://127.0.0.1:{free_port()}"]
[journal]
folder = "state"
"""
        path = box(tmp_path, text)
        found = list(told(path).items())
    state = tmp_path / "state"
    down = "no echo: nothing listens there: start it, or mend address and port"
    other = found[-1][0]
    assert found == [
        ("settings", (Standing.USED, f"{path}, measures dicom:{tmp_path}")),
        ("journal", (Standing.USED, f"{state} can be written to")),
        ("DICOM objects", (Standing.USED, "highdicom is there")),
        (f"destination 127.0.0.1:{port}", (Standing.USED, "answers an echo")),
        (other, (Standing.WORTH_MENDING, down)),
    ]
    assert not state.exists()


def test_a_destination_s_refusal_is_put_in_words(tmp_path: Path) -> None:
    with receiver(tmp_path) as there:
        _, port = there.at
        sink = f"store://127.0.0.1:{port}?called=PACS"
        path = box(tmp_path, f'[run]\nstream = "dicom:a"\nsinks = ["{sink}"]\n[journal]\nfolder = "state"\n')
        words = "no echo: it is not called PACS: mend the AE title"
        assert told(path)[f"destination 127.0.0.1:{port}"] == (Standing.WORTH_MENDING, words)


INSECURE = "the connection did not become secure: do both sides have certificates that the other trusts?"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", (Standing.USED, "answers an echo")),
        ("localhost", (Standing.WORTH_MENDING, f"no echo: {INSECURE}")),
    ],
)
def test_a_destination_over_tls_is_known_by_its_name(
    tmp_path: Path, host: str, expected: tuple[Standing, str]
) -> None:
    authority = write_certificate(tmp_path, "ca")
    write_certificate(tmp_path, "box", authority)  # its name is 127.0.0.1
    files = f'certificate = "{tmp_path}/box.pem"\nkey = "{tmp_path}/box.key"\nclients = "{tmp_path}/ca.pem"\n'
    tls = f"[dicom.tls]\n{files}"
    with receiver(tmp_path, tls) as there:
        _, port = there.at
        sink = f"store://{host}:{port}?called=LVEDGE&tls=true"
        text = f'[run]\nstream = "dicom:a"\nsinks = ["{sink}"]\n[journal]\nfolder = "state"\n{tls}'
        assert told(box(tmp_path, text))[f"destination {host}:{port}"] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "store:// keeps objects until they are sent: name a folder for them"),
        ('[journal]\nfolder = "state"\n', "tls=true needs the certificates of [dicom.tls] in the settings"),
    ],
)
@pytest.mark.parametrize("stream", ["dicom://127.0.0.1:{port}", "dicom:a"])
def test_what_a_destination_lacks_is_said_by_doctor_and_run_before_anything_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stream: str, text: str, words: str
) -> None:
    run = f'[run]\nstream = "{stream.format(port=free_port())}"\nsinks = ["store://127.0.0.1:104?tls=true"]\n'
    path = box(tmp_path, run + text)
    assert main(["--json", "--config", str(path)]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert words in checks["settings"]["found"]
    assert run_main(["--config", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"lvedge-run: error: {checks['settings']['found']}"


def test_a_folder_in_which_no_journal_can_lie_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "values.jsonl").touch()
    reasons = {
        "/proc/nope": "the journal's folder /proc/nope cannot be used: No such file or directory",
        f"{tmp_path}/results": f"{tmp_path}/results holds other files: give the journal a folder of its own",
        f"{tmp_path}/a/b": f"the journal's folder {tmp_path}/a/b cannot be used: Not a directory",
    }
    for folder, words in reasons.items():
        path = box(tmp_path, f'[run]\nstream = "dicom:a"\n[journal]\nfolder = "{folder}"\n')
        assert told(path)["journal"] == (Standing.FAULT, words)
        assert run_main(["--config", str(path)]) == 2


def test_nobody_is_there(tmp_path: Path) -> None:
    port = free_port()
    found = told(box(tmp_path, f'[run]\nstream = "dicom://:{port}"\n'))
    standing, words = found[f"receiver 127.0.0.1:{port}"]
    assert standing is Standing.WORTH_MENDING
    assert words == "no echo: nothing listens there: start it, or mend address and port"


def test_a_file_that_cannot_be_meant_is_a_fault_with_all_that_is_wrong(tmp_path: Path, capsys) -> None:
    path = box(tmp_path, '[run]\nstream = "demo:"\n[service]\nport = 0\n[dicom]\nwindow = 0\n')
    assert main(["--json", "--config", str(path)]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["settings"]["standing"] == "fault"
    assert "service.port: 0 is not a whole number above 0" in checks["settings"]["found"]
    assert "dicom.window: 0 is not" in checks["settings"]["found"]


@pytest.mark.parametrize(
    ("settings", "calling", "called", "words"),
    [
        ("", "BOX", "OTHER", "it is not called OTHER: mend the AE title"),
        (
            '[[dicom.peers]]\nae_title = "SCANNER"\naddress = "127.0.0.1"\n',
            "BOX",
            "LVEDGE",
            "it does not know BOX at this machine's address: have both put on its list",
        ),
        (
            '[[dicom.peers]]\nae_title = "BOX"\naddress = "10.1.2.3"\n',
            "BOX",
            "LVEDGE",
            UNHEARD,
        ),
    ],
)
def test_a_refusal_is_put_in_words(
    tmp_path: Path, settings: str, calling: str, called: str, words: str
) -> None:
    with receiver(tmp_path, settings) as there:
        assert refusal(*there.at, calling, called) == words


def test_over_tls(tmp_path: Path) -> None:
    authority = write_certificate(tmp_path, "ca")
    write_certificate(tmp_path, "box", authority)
    write_certificate(tmp_path, "stranger")
    files = f'certificate = "{tmp_path}/box.pem"\nkey = "{tmp_path}/box.key"\nclients = "{tmp_path}/ca.pem"\n'
    ours, strange = (
        TlsFiles(tmp_path / f"{name}.pem", tmp_path / f"{name}.key", tmp_path / "ca.pem")
        for name in ("box", "stranger")
    )
    with receiver(tmp_path, f"[dicom.tls]\n{files}") as there:
        assert refusal(*there.at, "BOX", "LVEDGE", ours) is None
        words = "the connection did not become secure: do both sides have certificates that the other trusts?"
        assert refusal(*there.at, "BOX", "LVEDGE", strange) == words
        assert "it wants TLS" in (refusal(*there.at, "BOX", "LVEDGE") or "")


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    files = TlsFiles(*(tmp_path / name for name in ("a.pem", "a.key", "b.pem")))
    with receiver(tmp_path) as there:
        words = f"dicom.tls: {tmp_path}/a.pem cannot be used: No such file or directory"
        assert refusal(*there.at, "BOX", "LVEDGE", files) == words


def test_several_streams_are_all_named(tmp_path: Path) -> None:
    path = box(tmp_path, '[run]\nstream = ["dicom:a", "nifti:b"]\n')
    assert told(path) == {"settings": (Standing.USED, f"{path}, measures dicom:a, nifti:b")}
