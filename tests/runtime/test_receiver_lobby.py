"""Connections in the lobby: who is handed over, with which bytes, and who has to go."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from certificates import write_certificates
from peers import QUICK, ask, receiver

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks.attackers import request
from lvedge_runtime.receiver.admission import Admission
from lvedge_runtime.receiver.bound import BoundTls
from lvedge_runtime.receiver.intake import Tally
from lvedge_runtime.receiver.lobby import Address, Connection, Lobby
from lvedge_runtime.receiver.setting import Limits, Peer, Settings, TlsFiles
from lvedge_runtime.receiver.tls import client_context, server_context

LIMITS = Limits(associate_s=1.0, pdu_s=1.0)
PATIENT = Limits(associate_s=60.0, pdu_s=60.0)
REQUEST = request("LVEDGE")
WAIT_S = 20.0


class Opened:
    """A lobby that is open, and what it handed over.

    Args:
        limits: its.
        peers: who may connect.
        context: for TLS, or None.
    """

    def __init__(self, limits: Limits, peers: tuple[Peer, ...], context: ssl.SSLContext | None) -> None:
        self.tally = Tally()
        self.handed: list[tuple[Connection, Address, bytes]] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.at = self.listening.getsockname()
        self.lobby = Lobby(
            self.listening,
            limits,
            Admission(Settings(peers=peers, limits=limits), self.tally),
            context,
            lambda _address, _version, _calling, called: None if called == "LVEDGE" else (1, 7),
            lambda *handed: self.handed.append(handed),
        )

    def connected(self, address: str = "127.0.0.1") -> socket.socket:
        connection = socket.create_connection(self.at, WAIT_S, source_address=(address, 0))
        connection.settimeout(WAIT_S)
        return connection


@contextmanager
def opened(
    limits: Limits = LIMITS, peers: tuple[Peer, ...] = (), context: ssl.SSLContext | None = None
) -> Iterator[Opened]:
    there = Opened(limits, peers, context)
    there.lobby.open()
    try:
        yield there
    finally:
        there.lobby.close()
        there.listening.close()
        for connection, *_ in there.handed:
            connection.close()


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


def heard(connection: socket.socket) -> bytes:
    """All that comes until the lobby ends it."""
    said = b""
    try:
        while data := connection.recv(4096):
            said += data
    except ConnectionError:
        pass
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    write_certificates(made, "box", "scanner")
    return made


def files(folder: Path, name: str) -> TlsFiles:
    return TlsFiles(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")


@pytest.fixture
def secure(folder: Path) -> ssl.SSLContext:
    context = server_context(files(folder, "box"))
    context.sslsocket_class = BoundTls
    return context


@pytest.mark.parametrize("size", [1, 5, 7, len(REQUEST)])
def test_a_request_in_pieces_is_handed_over_whole(size: int) -> None:
    with opened(PATIENT) as there, there.connected() as peer:
        for k in range(0, len(REQUEST), size):
            peer.sendall(REQUEST[k : k + size])
            if size == 1:
                time.sleep(0.003)  # so that each byte is a packet, and a round of the lobby
        wait_until(lambda: bool(there.handed))
        ((connection, address, said),) = there.handed
        assert (said, address) == (REQUEST, peer.getsockname())
        assert connection.gettimeout() == PATIENT.pdu_s
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert (len(there.lobby), there.tally.as_dict()) == (0, {"opened": 1})


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_what_follows_a_request_is_left_for_the_association(folder: Path, secure, secured: bool) -> None:
    after = struct.pack(">BBL", 4, 0, 30_000) + bytes(range(250)) * 120
    with opened(PATIENT, context=secure if secured else None) as there, there.connected() as plain:
        peer = plain
        if secured:
            peer = client_context(files(folder, "scanner")).wrap_socket(plain, server_hostname="127.0.0.1")
        peer.sendall(REQUEST + after)
        wait_until(lambda: bool(there.handed))
        connection, _address, said = there.handed[0]
        assert said == REQUEST
        got = b""
        while len(got) < len(after):
            got += connection.recv(4096)
        assert got == after
        connection.sendall(b"answer")
        assert peer.recv(6) == b"answer"
        peer.close()


def test_who_has_asked_may_have_nothing_more_to_say() -> None:
    with opened() as there, there.connected() as peer:
        peer.sendall(REQUEST)
        peer.shutdown(socket.SHUT_WR)
        wait_until(lambda: bool(there.handed))
        assert there.handed[0][2] == REQUEST
        assert there.handed[0][0].recv(1) == b""


@pytest.mark.parametrize(
    "said", [b"", REQUEST[:3], REQUEST[:-1]], ids=["nothing", "half a head", "half a unit"]
)
def test_who_leaves_before_having_asked_is_forgotten_at_once(said: bytes) -> None:
    with opened(PATIENT) as there, there.connected() as peer:
        peer.sendall(said)
        peer.shutdown(socket.SHUT_WR)
        assert heard(peer) == b""
        assert (len(there.lobby), there.handed) == (0, [])
        assert there.tally.as_dict() == {"opened": 1, "broken": 1}


@pytest.mark.parametrize(
    "said", [b"", REQUEST[:3], REQUEST[:-1]], ids=["silent", "half a head", "half a unit"]
)
def test_who_stalls_has_so_much_time(said: bytes) -> None:
    with opened() as there, there.connected() as peer:
        began = time.monotonic()
        peer.sendall(said)
        assert heard(peer) == b""
        assert 0.9 < time.monotonic() - began < 3.0
        assert there.tally.as_dict() == {"opened": 1, "broken": 1}


@pytest.mark.parametrize("limits", [replace(PATIENT, pdu_s=1.0), replace(PATIENT, associate_s=1.0)])
def test_bytes_now_and_then_win_no_time(limits: Limits) -> None:
    with opened(limits) as there, there.connected() as peer:
        began, ended = time.monotonic(), False
        peer.sendall(struct.pack(">BBL", 1, 0, 60_000))
        peer.settimeout(0.05)
        while not ended:
            assert time.monotonic() - began < WAIT_S
            try:
                peer.sendall(b"\0")
                ended = peer.recv(1) == b""
            except TimeoutError:
                pass
            except ConnectionError:
                ended = True
        assert 0.9 < time.monotonic() - began < 3.0
        assert (there.tally.as_dict(), there.handed) == ({"opened": 1, "broken": 1}, [])


UNRECOGNIZED, UNEXPECTED = b"\x07\0\0\0\0\4\0\0\2\1", b"\x07\0\0\0\0\4\0\0\2\2"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", UNRECOGNIZED),
        (struct.pack(">BBL", 0, 0, 4), UNRECOGNIZED),
        (struct.pack(">BBL", 5, 0, 4), UNEXPECTED),
        (struct.pack(">BBL", 4, 0, 100), UNEXPECTED),
        (struct.pack(">BBL", 7, 0, 4), b""),
        (struct.pack(">BBL", 1, 0, 2**31), b""),
        (struct.pack(">BBL", 4, 0, 2**31) + bytes(3000), UNEXPECTED),
    ],
    ids=["web", "no type", "release", "data", "abort", "2 GB request", "2 GB of data"],
)
def test_what_is_no_request_is_answered_with_an_abort_by_its_type(said: bytes, answer: bytes) -> None:
    with opened(PATIENT) as there, there.connected() as peer:
        peer.sendall(said)
        assert heard(peer) == answer
        assert (there.tally.as_dict(), there.handed) == ({"opened": 1, "broken": 1}, [])


def test_who_calls_another_ae_title_is_rejected() -> None:
    with opened(PATIENT) as there, there.connected() as peer:
        peer.sendall(request("ANOTHER"))
        # Permanent, by the user, called AE title not recognized (PS3.8, table 9-21).
        assert heard(peer) == b"\x03\0\0\0\0\4\0\1\1\7"
        assert (len(there.lobby), there.handed) == (0, [])


def test_handshakes_that_stall_hold_up_nobody(folder: Path, secure: ssl.SSLContext) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="box").do_handshake()
    hello = outgoing.read()
    with opened(replace(LIMITS, associate_s=3.0), context=secure) as there:
        stalled = [there.connected() for _ in range(3)]
        for connection, said in zip(stalled, (b"", hello[:20], hello), strict=True):
            connection.sendall(said)
        with there.connected() as plain:
            began = time.monotonic()
            peer = client_context(files(folder, "scanner")).wrap_socket(plain, server_hostname="127.0.0.1")
            peer.sendall(REQUEST)
            wait_until(lambda: bool(there.handed))
            assert time.monotonic() - began < 1.0
            peer.close()
        for connection in stalled:
            heard(connection)
            connection.close()
        assert (len(there.lobby), there.tally.as_dict()) == (0, {"opened": 4, "broken": 3})


@pytest.mark.parametrize("who", ["stranger", None])
def test_who_is_not_trusted_is_not_heard(folder: Path, secure: ssl.SSLContext, who: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if who is not None:
        context.load_cert_chain(folder / f"{who}.pem", folder / f"{who}.key")
    with opened(PATIENT, context=secure) as there, there.connected() as plain:
        try:
            with context.wrap_socket(plain) as peer:
                peer.sendall(REQUEST)
                heard(peer)
        except OSError:  # as the alert of TLS is
            pass
        wait_until(lambda: there.tally["broken"] == 1)
        assert (len(there.lobby), there.handed) == (0, [])


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_of_a_burst_all_are_refused_or_wait_and_none_is_left_open(secure, secured: bool) -> None:
    limits = replace(LIMITS, peer_connections_a_minute=1e6)
    with opened(limits, context=secure if secured else None) as there:
        several = []
        for _ in range(300):
            connection = socket.socket()
            connection.setblocking(False)
            connection.bind(("127.0.0.3", 0))
            connection.connect_ex(there.at)
            several.append(connection)
        with there.connected() as other:  # another address finds room, and is heard while they wait
            if not secured:
                other.sendall(REQUEST)
                wait_until(lambda: bool(there.handed))
            for connection in several:
                connection.settimeout(WAIT_S)
                assert heard(connection) == b""
                connection.close()
        let_in = 2 * limits.peer_associations
        wait_until(lambda: len(there.lobby) == 0)
        waited = there.tally["broken"]
        assert (there.tally["opened"], there.tally["closed"]) == (let_in + 1, 300 - let_in)
        assert waited == let_in + secured


def test_an_address_that_is_not_listed_is_closed_unheard() -> None:
    peers = (Peer("SCANNER", ip_network("127.0.0.1")),)
    with opened(PATIENT, peers) as there:
        with there.connected("127.0.0.3") as stranger:
            assert heard(stranger) == b""
        with there.connected() as peer:
            peer.sendall(REQUEST)
            wait_until(lambda: bool(there.handed))
    assert there.tally.as_dict() == {"opened": 1, "closed": 1}


def test_half_of_the_connections_are_kept_for_addresses_that_are_listed() -> None:
    peers = (Peer("SCANNER", ip_network("127.0.0.2")), Peer("ANYWHERE"))
    with opened(replace(PATIENT, associations=2), peers) as there:
        several = [there.connected(f"127.0.0.{k}") for k in (3, 4, 5, 6)]
        assert [heard(stranger) for stranger in several[2:]] == [b""] * 2
        several += [there.connected("127.0.0.2") for _ in range(3)]
        assert heard(several[-1]) == b""
        assert (len(there.lobby), there.tally.as_dict()) == (4, {"opened": 4, "closed": 3})
        for connection in several:
            connection.close()


def test_closing_ends_those_who_wait() -> None:
    with opened(PATIENT) as there:
        several = [there.connected() for _ in range(5)]
        several[0].sendall(REQUEST[:20])
        wait_until(lambda: len(there.lobby) == 5)
        there.lobby.close()
        assert [heard(connection) for connection in several] == [b""] * 5
        assert (len(there.lobby), there.handed) == (0, [])
        for connection in several:
            connection.close()
        there.lobby.close = lambda: None  # type: ignore[method-assign]


def test_a_fault_of_ours_with_one_visitor_is_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(PATIENT) as there, there.connected() as first, there.connected() as second:

        def raising(*_arguments: object) -> int:
            monkeypatch.undo()
            raise KeyError("a bug")

        monkeypatch.setattr(there.lobby, "_rejection", raising)
        first.sendall(REQUEST)
        assert heard(first) == b""
        second.sendall(REQUEST)
        wait_until(lambda: bool(there.handed))
        assert there.tally.as_dict() == {"opened": 2, "broken": 1}


def test_every_connection_is_counted_by_what_became_of_it(tmp_path: Path) -> None:
    with receiver(
        tmp_path, f"{QUICK}[dicom.limits]\nassociate_s = 1\npeer_connections_a_minute = 4\n"
    ) as there:
        tally = there.source._listener.tally
        assert ask("echoscu", "-aec", "LVEDGE", *there.at).returncode == 0
        assert ask("echoscu", "-aec", "OTHER", *there.at).returncode == 1
        for said in (b"", b"GET / "):
            with socket.create_connection(there.at, WAIT_S) as peer:
                peer.sendall(said)
                heard(peer)
        with socket.create_connection(there.at, WAIT_S) as peer:
            assert heard(peer) == b""
        wait_until(lambda: tally["released"] == 1)
        expected = {"opened": 4, "accepted": 1, "released": 1, "rejected": 1, "broken": 2, "closed": 1}
        assert tally.as_dict() == expected


@pytest.mark.parametrize(("version", "answer"), [(1, 2), (3, 2), (0, 3), (2, 3)])
def test_the_protocols_first_version_is_the_one_that_is_spoken(
    tmp_path: Path, version: int, answer: int
) -> None:
    """Others than the first bit are not to be tested (PS3.8, 9.3.2)."""
    with receiver(tmp_path, QUICK) as there, socket.create_connection(there.at, WAIT_S) as peer:
        peer.sendall(REQUEST[:6] + version.to_bytes(2, "big") + REQUEST[8:])
        heard_back = peer.recv(4096)
        assert heard_back[0] == answer
        tally = there.source._listener.tally
        if answer == 3:
            assert heard_back[7:] == bytes([1, 2, 2])  # for good, by the provider: version not supported
        wait_until(lambda: tally["accepted" if answer == 2 else "rejected"] == 1)


def test_a_request_that_is_not_acted_on_in_time_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvedge_runtime.receiver.server._act_on", lambda *_arguments: True)
    with receiver(tmp_path, f"{QUICK}[dicom.limits]\nassociate_s = 1\n") as there:
        with socket.create_connection(there.at, WAIT_S) as peer:
            peer.sendall(REQUEST)
            assert heard(peer) == b""
        tally = there.source._listener.tally
        wait_until(lambda: tally["broken"] == 1)
        assert tally.as_dict() == {"opened": 1, "broken": 1}
