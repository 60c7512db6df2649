"""dcmtk's programs against the receiver, over sockets."""

from __future__ import annotations

import logging
import socket
import struct
import subprocess
import time
from itertools import islice
from pathlib import Path

import pytest
from absent import error_without
from certificates import write_certificates
from cine_files import NAMES_OF_PERSON, ge, multi_frame, others, siemens
from peers import QUICK, ask, program, receiver, written
from reception_room import by_series, in_folder, results

from lvedge.errors import SourceError, UsageError
from lvedge.frame import Frame, Rejected
from lvedge_runtime.config import Config, config_from_file
from lvedge_runtime.sources import SourceOptions, open_source

PEERS = QUICK + '[[dicom.peers]]\nae_title = "SCANNER"\naddress = "127.0.0.0/8"\n'


def test_an_echo_is_answered(tmp_path: Path) -> None:
    with receiver(tmp_path) as there:
        done = ask("echoscu", "-aec", "LVEDGE", *there.at)
        assert (done.returncode, done.stderr) == (0, "")
        assert there.source.tally["echo"] == 1


def test_what_storescu_sends_is_what_the_folder_gives(tmp_path: Path, caplog, capfd) -> None:
    caplog.set_level(logging.DEBUG)
    data = [*ge(), *siemens()]
    with receiver(tmp_path) as there:
        files = written(tmp_path / "files", [*data, *(d for some in others().values() for d in some)])
        done = ask("storescu", "-aec", "LVEDGE", *there.at, *sorted(files.iterdir()))
        assert (done.returncode, done.stderr) == (0, "")
        items = there.stopped()
    assert by_series(results(items)) == by_series(results(in_folder(tmp_path / "ours", data)))
    assert len([item for item in items if isinstance(item, Rejected)]) == len(others())
    said = caplog.text + "".join(capfd.readouterr())
    assert "listening on port" in said
    uids = {str(d.SOPInstanceUID) for d in data} | {str(d.SeriesInstanceUID) for d in data}
    assert [name for name in {*NAMES_OF_PERSON, *uids} if name in said] == []


def test_multi_frame_objects_and_those_that_are_none_of_ours(tmp_path: Path) -> None:
    capture = others()["still"][0]
    capture.SOPClassUID = capture.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    with receiver(tmp_path) as there:
        files = written(tmp_path / "files", [capture, multi_frame()])
        done = ask("storescu", "-aec", "LVEDGE", *there.at, *sorted(files.iterdir()))
        assert (done.returncode, done.stderr) == (0, "")
        items = there.stopped()
        tally = there.source.tally.as_dict()
    assert tally == {"dropped": 1, "taken": 1}
    assert results(items) == results(in_folder(tmp_path / "ours", [multi_frame()]))


def test_several_associations_at_once(tmp_path: Path) -> None:
    uids = [f"1.2.840.113619.2.{k}" for k in range(4)]
    with receiver(tmp_path) as there:
        command = [program("storescu"), "-aec", "LVEDGE", "+sd", "127.0.0.1", str(there.source.port)]
        senders = [subprocess.Popen([*command, str(written(tmp_path / uid, ge(uid)))]) for uid in uids]
        assert [sender.wait(120) for sender in senders] == [0] * 4
        items = there.stopped()
    together = results(in_folder(tmp_path / "together", [d for uid in uids for d in ge(uid)]))
    assert by_series(results(items)) == by_series(together)


def test_a_scanner_does_not_wait_for_the_whole_stack_of_another(tmp_path: Path) -> None:
    first, second = ge("1.2.840.113619.2.1"), ge("1.2.840.113619.2.2")[:3]
    (tmp_path / "receiver.toml").write_text("[dicom]\nseries_s = 0.5\ngap_s = 3600\n")
    options = SourceOptions(config=config_from_file(tmp_path / "receiver.toml"))
    with open_source("dicom://127.0.0.1:0", options) as source:
        send = ("storescu", "-aec", "LVEDGE", "+sd", "127.0.0.1", source.port)
        items = (item for item in source if isinstance(item, Frame))
        assert ask(*send, written(tmp_path / "first", first)).returncode == 0
        arrived = list(islice(items, len(first)))
        assert all(frame.provisional for frame in arrived)
        begun = next(items)
        assert not begun.provisional
        assert ask(*send, written(tmp_path / "second", second)).returncode == 0
        rest = list(islice(items, len(first) - 1 + len(second)))
    # One arrival for a frame of the stack; the first alone does not tell whether it is of a cine.
    assert sum(frame.provisional for frame in rest[: 2 * len(second)]) == len(second)
    of_the_first = [frame for frame in (begun, *rest) if frame.series == begun.series]
    assert [(f.slice_index, f.frame_index) for f in of_the_first] == [
        (place, phase) for place in range(3) for phase in range(12)
    ]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["-aet", "SCANNER", "-aec", "LVEDGE"], 0),
        (["-aet", "STRANGER", "-aec", "LVEDGE"], 1),
        (["-aet", "SCANNER", "-aec", "OTHER"], 1),
    ],
)
def test_ae_titles_are_held_against_the_list(tmp_path: Path, caplog, args: list[str], code: int) -> None:
    with receiver(tmp_path, PEERS) as there:
        done = ask("echoscu", *args, *there.at)
        assert done.returncode == code
        assert there.source.tally["rejected"] == code
    assert ("Rejected Permanent" in done.stderr) is bool(code)
    assert "STRANGER" not in caplog.text


def test_a_listed_title_from_another_address_is_not_heard(tmp_path: Path) -> None:
    with receiver(tmp_path, PEERS.replace("127.0.0.0/8", "10.1.2.3")) as there:
        assert ask("echoscu", "-aet", "SCANNER", "-aec", "LVEDGE", *there.at).returncode == 1
        assert there.source.tally["echo"] == 0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, and certificates with keys: server, scanner (by that authority), stranger (by itself)."""
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder, "server", "scanner")
    return folder


@pytest.mark.parametrize(("who", "heard"), [("scanner", True), ("stranger", False), (None, False)])
def test_tls_takes_peers_with_a_certificate_that_is_trusted(
    tmp_path: Path, certificates: Path, who: str | None, heard: bool
) -> None:
    files = {"certificate": "server.pem", "key": "server.key", "clients": "ca.pem"}
    named = "\n".join(f'{key} = "{certificates / name}"' for key, name in files.items())
    with receiver(tmp_path, f"{QUICK}[dicom.tls]\n{named}\n") as there:
        # A client that says nothing holds up nobody else's handshake.
        with socket.create_connection(there.at):
            secured = ["+tls", certificates / f"{who}.key", certificates / f"{who}.pem"] if who else ["+tla"]
            done = ask("echoscu", *secured, "+cf", certificates / "ca.pem", "-aec", "LVEDGE", *there.at)
            assert (done.returncode == 0) is heard
            assert ask("echoscu", "-to", 3, "-ta", 3, "-aec", "LVEDGE", *there.at).returncode != 0
        assert there.source.tally["echo"] == heard


@pytest.mark.parametrize("secured", [False, True])
def test_nothing_is_held_back_on_a_connection_that_was_accepted(
    tmp_path: Path, certificates: Path, secured: bool
) -> None:
    files = {"certificate": "server.pem", "key": "server.key", "clients": "ca.pem"}
    named = "".join(f'{key} = "{certificates / name}"\n' for key, name in files.items())
    with receiver(tmp_path, QUICK + (f"[dicom.tls]\n{named}" if secured else "")) as there:
        listener = there.source._listener
        with socket.create_connection(there.at) as connection:
            while not listener.tally["opened"]:
                time.sleep(0.01)
            (accepted,) = listener._server.admission.connections()
            assert accepted.getsockname() == connection.getpeername()
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


LIMITS = QUICK + "[dicom.limits]\nassociate_s = 1\npdu_s = 1\nidle_s = 1\nassociations = 2\n"


def closed_after(connection: socket.socket, *sent: bytes) -> bool:
    """Whether the receiver ends a connection on which so much is sent and no more."""
    connection.settimeout(30)
    try:
        for part in sent:
            connection.sendall(part)
        while connection.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [b"\x01\x00\x00"],
        [struct.pack(">BBL", 1, 0, 2**31)],
        [struct.pack(">BBL", 4, 0, 2**31), b"\0" * 4096],
        [struct.pack(">BBL", 1, 0, 500), b"\0" * 20],
        [b"GET / HTTP/1.1\r\n\r\n"],
    ],
    ids=["silent", "half a head", "2 GB request", "2 GB of data", "half a request", "another protocol"],
)
def test_a_peer_that_stalls_or_boasts_is_cut_off_and_others_are_served(tmp_path: Path, sent) -> None:
    with receiver(tmp_path, LIMITS) as there, socket.create_connection(there.at) as connection:
        assert closed_after(connection, *sent)
        assert ask("echoscu", "-aec", "LVEDGE", *there.at).returncode == 0


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


@pytest.mark.parametrize(("number", "answer"), [(1, 2), (2, 7)], ids=["odd, accepted", "even, aborted"])
def test_a_request_with_a_value_that_is_not_allowed_is_aborted(
    tmp_path: Path, number: int, answer: int
) -> None:
    # PS3.8, 9.3.2.2: the numbers of presentation contexts are odd.
    syntaxes = item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2")
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, bytes([number, 0, 0, 0]) + syntaxes)
    items += item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"))
    body = struct.pack(">HH16s16s32x", 1, 0, b"LVEDGE".ljust(16), b"SCANNER".ljust(16)) + items
    with receiver(tmp_path, LIMITS) as there, socket.create_connection(there.at) as connection:
        connection.settimeout(30)
        connection.sendall(struct.pack(">BBL", 1, 0, len(body)) + body)
        assert connection.recv(1) == bytes([answer])
        assert ask("echoscu", "-aec", "LVEDGE", *there.at).returncode == 0


def test_no_more_connections_are_open_than_the_limit(tmp_path: Path) -> None:
    with receiver(tmp_path, LIMITS.replace("associate_s = 1", "associate_s = 60")) as there:
        several = [socket.create_connection(there.at) for _ in range(8)]
        try:
            # Twice two wait to be heard, the others are closed at once.
            assert [closed_after(connection) for connection in several[4:]] == [True] * 4
            several[0].settimeout(0.2)
            with pytest.raises(TimeoutError):
                several[0].recv(1)
        finally:
            for connection in several:
                connection.close()


def test_one_address_does_not_take_the_connections_of_all(tmp_path: Path) -> None:
    limits = LIMITS.replace("associations = 2", "associations = 4\npeer_associations = 1")
    with receiver(tmp_path, limits.replace("associate_s = 1", "associate_s = 60")) as there:
        several = [socket.create_connection(there.at) for _ in range(4)]
        try:
            assert [closed_after(connection) for connection in several[2:]] == [True] * 2
            # Another address of this machine's own.
            with socket.create_connection(there.at, source_address=("127.0.0.2", 0)) as other:
                other.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    other.recv(1)
        finally:
            for connection in several:
                connection.close()
        tally = there.source._listener.tally
        assert (tally["opened"], tally["closed"]) == (3, 2)


def test_who_connects_too_often_is_closed_unheard(tmp_path: Path) -> None:
    with receiver(tmp_path, LIMITS + "peer_connections_a_minute = 3\n") as there:
        codes = [ask("echoscu", "-aec", "LVEDGE", *there.at).returncode for _ in range(4)]
        assert codes == [0, 0, 0, 1]
        with socket.create_connection(there.at, source_address=("127.0.0.2", 0)) as other:
            other.settimeout(0.2)
            with pytest.raises(TimeoutError):
                other.recv(1)


def test_who_sends_too_fast_is_answered_later_and_loses_nothing(tmp_path: Path) -> None:
    data = ge(sizes=(1.0,))
    with receiver(tmp_path, LIMITS + "peer_messages_a_s = 5\n") as there:
        files = written(tmp_path / "files", data)
        began = time.monotonic()
        assert ask("storescu", "-aec", "LVEDGE", *there.at, *sorted(files.iterdir())).returncode == 0
        # Five at once, and the other seven at five a second.
        assert time.monotonic() - began >= 1.4
        assert there.source.tally["taken"] == 12


def test_an_instance_beyond_the_limit_ends_the_association(tmp_path: Path) -> None:
    data = ge(sizes=(1.0,))
    with receiver(tmp_path, LIMITS + "picture_bytes = 5000\n") as there:
        files = written(tmp_path / "files", data)
        assert ask("storescu", "-aec", "LVEDGE", *there.at, *sorted(files.iterdir())).returncode != 0
        assert there.source.tally["taken"] == 0


def test_a_full_shelf_refuses_before_anything_is_lost(tmp_path: Path) -> None:
    data = ge(sizes=(1.0,))
    with receiver(tmp_path, LIMITS + "kept_pictures = 7\n") as there:
        files = written(tmp_path / "files", data)
        done = ask("storescu", "-v", "-nh", "-aec", "LVEDGE", *there.at, *sorted(files.iterdir()))
        assert "Refused: OutOfResources" in done.stdout + done.stderr
        items = there.stopped()
        assert (there.source.tally["taken"], there.source.tally["no room"]) == (7, 5)
    assert results(items) == results(in_folder(tmp_path / "seven", data[:7]))


def test_others_are_let_in_only_by_name() -> None:
    with (
        pytest.raises(UsageError, match=r"list them as \[\[dicom.peers\]\]"),
        open_source("dicom://0.0.0.0:0"),
    ):
        pass


@pytest.mark.parametrize(
    "uri", ["dicom://:11112/folder", "dicom://:11112?idle=3", "dicom://:11112?idle_s=soon"]
)
def test_a_uri_that_says_more_is_refused(uri: str) -> None:
    with pytest.raises(UsageError):
        open_source(uri)


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with (
        receiver(tmp_path) as there,
        pytest.raises(SourceError, match="choose another port or free this one"),
        open_source(f"dicom://:{there.source.port}", SourceOptions()),
    ):
        pass


def test_settings_without_a_receiver_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--config has the settings of a receiver"):
        open_source("demo:", SourceOptions(config=Config(tmp_path / "lvedge.toml", {})))


def test_without_pynetdicom_the_extra_is_named() -> None:
    code = "from lvedge_runtime.sources import open_source; open_source('dicom://:11112')"
    assert "pip install 'lvedge[dicom-net]'" in error_without("pynetdicom", code)


@pytest.mark.parametrize(
    ("name", "content"), [("server.pem", b""), ("ca.pem", b"none"), ("server.key", None)]
)
def test_certificates_that_cannot_be_used_are_named(
    tmp_path: Path, certificates: Path, name: str, content: bytes | None
) -> None:
    for file in ("server.pem", "server.key", "ca.pem"):
        (tmp_path / file).write_bytes((certificates / file).read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    settings = tmp_path / "lvedge.toml"
    settings.write_text('[dicom.tls]\ncertificate = "server.pem"\nkey = "server.key"\nclients = "ca.pem"\n')
    with (
        pytest.raises(UsageError, match=rf"^dicom.tls: .*/{name} cannot be used: "),
        open_source("dicom://:0", SourceOptions(config=config_from_file(settings))),
    ):
        pass
