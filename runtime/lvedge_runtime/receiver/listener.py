"""The DICOM port: who may connect, what is negotiated, and the answers. Built on pynetdicom.

pynetdicom's own log names AE titles and instances; it is kept silent, and what is worth telling is said
here, without a name or an identifier of anybody.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from weakref import WeakKeyDictionary

import pydicom
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.fsm import TRANSITION_TABLE, StateMachine
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from lvedge import __version__
from lvedge.errors import SourceError, UsageError
from lvedge_runtime.receiver.bound import Bounds, BoundSocket, BoundTls, hurry
from lvedge_runtime.receiver.intake import CANNOT_UNDERSTAND, SUCCESS, Intake, Tally
from lvedge_runtime.receiver.rate import Rate
from lvedge_runtime.receiver.setting import Settings, TlsFiles
from lvedge_runtime.sources.dicom_pixels import has_codecs
from lvedge_runtime.trace import places_of
from lvedge_runtime.uri import Uri

LOG = logging.getLogger("lvedge_runtime.receiver")

CLASSES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless)
"""Not the deflated one: a peer's few bytes could become any number."""

COMPRESSED = tuple(
    UID(f"1.2.840.10008.1.2.4.{number}") for number in ("57", "70", "80", "81", "90", "91", "50", "51")
)
"""JPEG lossless (process 14 and its first selection value), JPEG-LS, JPEG 2000, JPEG 8 and 12 bit."""

_REJECTED = 0x01
_BY_USER = 0x01
_CALLING_UNKNOWN, _CALLED_UNKNOWN = 0x03, 0x07
POLL_S = 0.1
CONNECTING_BURST_S, SENDING_BURST_S = 60.0, 1.0
TOLD_A_MINUTE = 6.0
"""So many closed connections of one address are logged; all are counted. A log is not to be filled."""


@dataclass
class _Visit:
    """What came over one association.

    Args:
        began: when, seconds.
        statuses: how often which status was answered.
        received_bytes: size of its instances.
    """

    began: float = field(default_factory=time.monotonic)
    statuses: Counter[int] = field(default_factory=Counter)
    received_bytes: int = 0


class Listener:
    """Listens on a port and gives every instance to the intake; a context manager.

    Args:
        uri: host and port; port 0 takes a free one.
        settings: AE titles, peers, TLS, limits.
        intake: acknowledges.

    Raises:
        UsageError: if others than this machine could connect and no peer is listed.
        SourceError: on entering, if the port or the certificates cannot be used.
    """

    def __init__(self, uri: Uri, settings: Settings, intake: Intake) -> None:
        self._host, self._port = uri.host or "", uri.port or 0
        if not settings.peers and not _is_this_machine(self._host):
            raise UsageError(
                f"{uri} lets other machines connect: list them as [[dicom.peers]] in a file for --config"
            )
        self._settings = settings
        self._intake = intake
        self._server: _Server | None = None
        self._entered = ExitStack()
        self._visits: WeakKeyDictionary[Association, _Visit] = WeakKeyDictionary()
        self._sending = Rate(settings.limits.peer_messages_a_s, SENDING_BURST_S)
        self.tally = Tally()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.server_address[1] if self._server is not None else self._port

    def __enter__(self) -> Listener:
        with ExitStack() as entered:
            entered.enter_context(silent())
            self._listen()
            self._entered = entered.pop_all()
        LOG.info(
            "listening on port %d as %s",
            self.port,
            self._settings.ae_title,
            extra={"fields": {"event": "listening", "port": self.port}},
        )
        return self

    def _listen(self) -> None:
        limits = self._settings.limits
        ae = AE(self._settings.ae_title)
        ae.implementation_version_name = f"LVEDGE_{__version__}"[:16]
        ae.maximum_associations = 2 * limits.associations
        ae.maximum_pdu_size = limits.pdu_bytes - 6
        ae.acse_timeout = limits.associate_s
        ae.dimse_timeout = ae.network_timeout = limits.idle_s
        ae.add_supported_context(Verification)
        for uid in CLASSES:
            ae.add_supported_context(uid, [*PLAIN, *(COMPRESSED if has_codecs() else ())])
        for text in self._settings.other_classes:
            ae.add_supported_context(UID(text), AllTransferSyntaxes)
        context = None if self._settings.tls is None else _tls_context(self._settings.tls)
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_ABORTED, self._aborted),
            (evt.EVT_C_STORE, self._stored),
            (evt.EVT_C_ECHO, self._echoed),
        ]
        try:
            self._server = _Server(
                ae,
                (self._host, self._port),
                self._settings.ae_title,
                ae.supported_contexts,
                ssl_context=context,
                evt_handlers=handlers,
                settings=self._settings,
                tally=self.tally,
                request_handler=_Handler,
            )
        except OSError as err:
            why = err.strerror or str(err)
            raise SourceError(
                f"cannot listen on {self._host}:{self._port}: {why}; choose another port or free this one"
            ) from err
        ae._servers.append(self._server)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": POLL_S}, daemon=True
        ).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        open_ones = server.active_associations
        server.shutdown()
        for association in open_ones:
            if association.is_established:
                association.abort()
        self._entered.close()

    @property
    def open_associations(self) -> int:
        """How many associations are open."""
        return 0 if self._server is None else len(self._server.active_associations)

    def _requested(self, event: evt.Event) -> None:
        """Reject who is not on the list, or calls another."""
        association = event.assoc
        request = association.requestor.primitive
        calling, called = (
            str(getattr(request, name, "")).strip() for name in ("calling_ae_title", "called_ae_title")
        )
        address = _address(association)
        if called != self._settings.ae_title:
            self._reject(association, _CALLED_UNKNOWN, "it calls another AE title than ours")
        elif self._settings.peers and not any(
            peer.ae_title == calling and peer.is_at(address) for peer in self._settings.peers
        ):
            self._reject(association, _CALLING_UNKNOWN, "its AE title is not listed with its address")

    def _reject(self, association: Association, diagnostic: int, why: str) -> None:
        LOG.warning(
            "an association from %s was rejected: %s",
            _address(association),
            why,
            extra={"fields": {"event": "association rejected"}},
        )
        self._intake.tally.add("rejected")
        self.tally.add("rejected")
        association.acse.send_reject(_REJECTED, _BY_USER, diagnostic)
        association.kill()

    def _accepted(self, event: evt.Event) -> None:
        self._visits[event.assoc] = _Visit()
        self.tally.add("accepted")
        LOG.debug(
            "an association from %s began",
            _address(event.assoc),
            extra={"fields": {"event": "association began"}},
        )

    def _released(self, event: evt.Event) -> None:
        self._ended(event.assoc, "released")

    def _aborted(self, event: evt.Event) -> None:
        self._ended(event.assoc, "aborted")

    def _ended(self, association: Association, how: str) -> None:
        visit = self._visits.pop(association, None)
        if visit is None:
            return
        self.tally.add(how)
        count, right = visit.statuses.total(), visit.statuses[SUCCESS]
        seconds = time.monotonic() - visit.began
        fields = {
            "event": f"association {how}",
            "instances": count,
            "refused": count - right,
            "bytes": visit.received_bytes,
            "seconds": round(seconds, 3),
        }
        LOG.info(
            "an association from %s was %s after %.1f s: %d instances, %d of them refused",
            _address(association),
            how,
            seconds,
            count,
            count - right,
            extra={"fields": fields},
        )

    def _stored(self, event: evt.Event) -> int:
        self._hold_back(event.assoc)
        visit = self._visits.setdefault(event.assoc, _Visit())
        try:
            content = event.encoded_dataset()
            visit.received_bytes += len(content)
            status = self._intake.take(content)
        except Exception as err:  # noqa: BLE001 - whatever a peer's instance does, the next one is served
            LOG.error(
                "an instance could not be taken in: %s",
                places_of(err),
                extra={"fields": {"event": "instance failed"}},
            )
            self._intake.tally.add("failed")
            status = CANNOT_UNDERSTAND
        visit.statuses[status] += 1
        _answered(event)
        if status != SUCCESS:
            LOG.warning(
                "an instance was answered with 0x%04X",
                status,
                extra={"fields": {"event": "instance refused", "status": status}},
            )
        return status

    def _echoed(self, event: evt.Event) -> int:
        self._hold_back(event.assoc)
        self._intake.tally.add("echo")
        _answered(event)
        return SUCCESS

    def _hold_back(self, association: Association) -> None:
        """Let a peer that sends too fast wait: its own association's thread sleeps."""
        while wait_s := self._sending.wait_s(_address(association), time.monotonic()):
            time.sleep(wait_s)


class _States(StateMachine):
    """pynetdicom's, whose thread ends with an error where a peer that has gone is still to be answered.

    What does not belong to the state (DICOM PS3.8, table 9-10) is left out; time limits end the rest.
    """

    def do_action(self, event: str) -> None:
        if (event, self.current_state) in TRANSITION_TABLE:
            super().do_action(event)


class _Handler(RequestHandler):
    """Makes associations with these states."""

    def _create_association(self) -> Association:
        association = super()._create_association()
        association.dul.state_machine = _States(association.dul)
        return association


class _Server(ThreadedAssociationServer):
    """Accepts no more connections than the limits allow, each within bounds, without waiting for any."""

    def __init__(self, *arguments: Any, settings: Settings, tally: Tally, **options: Any) -> None:
        self._settings = settings
        self._tally = tally
        self._telling = Rate(TOLD_A_MINUTE / 60.0, CONNECTING_BURST_S)
        self._connecting = Rate(settings.limits.peer_connections_a_minute / 60.0, CONNECTING_BURST_S)
        self.request_queue_size = 64
        self.daemon_threads = True
        self._connections: WeakKeyDictionary[socket.socket, str] = WeakKeyDictionary()
        super().__init__(*arguments, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        accepted, address = self.socket.accept()  # type: ignore[union-attr]
        limits = self._settings.limits
        bounds = Bounds(limits.pdu_bytes, limits.picture_bytes, limits.pdu_s)
        accepted.settimeout(limits.pdu_s)
        hurry(accepted)
        if self.ssl_context is None:
            connection = BoundSocket(fileno=accepted.detach())
            connection.settimeout(limits.pdu_s)
            connection.bounds = bounds
            return connection, address
        # The handshake waits for the association's own thread: here it would hold up everybody.
        secured = self.ssl_context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        cast(BoundTls, secured).bounds = bounds
        return secured, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        address = str(client_address[0])
        why = self._reason_to_close(address)
        if why is not None:
            self._tally.add("closed")
            if not self._telling.wait_s(address, time.monotonic()):
                LOG.warning(
                    "a connection from %s was closed: %s",
                    address,
                    why,
                    extra={"fields": {"event": "connection closed"}},
                )
            return False
        self._connections[request] = address
        self._tally.add("opened")
        return True

    def _reason_to_close(self, address: str) -> str | None:
        limits, peers = self._settings.limits, self._settings.peers
        if peers and not any(peer.is_at(address) for peer in peers):
            return "no listed peer is there"
        if self._connecting.wait_s(address, time.monotonic()):
            return "it connects too often"
        open_ones = [at for connection, at in self._connections.items() if connection.fileno() != -1]
        if len(open_ones) >= 2 * limits.associations:
            return f"{len(open_ones)} are open"
        if open_ones.count(address) >= 2 * limits.peer_associations:
            return f"{open_ones.count(address)} from there are open"
        return None

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        LOG.warning(
            "a connection ended before its association began",
            extra={"fields": {"event": "connection broken"}},
        )
        self._tally.add("broken")


def _address(association: Association) -> str:
    """Where an association comes from."""
    peer = association.requestor.address_info
    return "" if peer is None else peer.address


def _answered(event: evt.Event) -> None:
    connection = event.assoc.dul.socket
    bounds = getattr(connection.socket if connection is not None else None, "bounds", None)
    if bounds is not None:
        bounds.answered()


def _tls_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or later; a peer without a certificate that we trust is not heard."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.sslsocket_class = BoundTls
    loads: Sequence[tuple[Path, Callable[[], None]]] = (
        (
            files.certificate,
            lambda: context.load_cert_chain(files.certificate, files.key, password=no_password),
        ),
        (files.clients, lambda: context.load_verify_locations(files.clients)),
    )
    for what, load in loads:
        try:
            load()
        except (OSError, ssl.SSLError) as err:
            raise SourceError(
                f"dicom.tls: {what} cannot be used: {getattr(err, 'strerror', None) or err}"
            ) from err
    return context


def no_password() -> str:
    raise OSError(0, "the key asks for a password; store it without one, readable by its owner alone")


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def silent() -> Iterator[None]:
    """Neither pynetdicom nor pydicom says anything: what they would say repeats what peers sent."""
    loggers = [logging.getLogger(name) for name in ("pynetdicom", "pydicom")]
    checks = pydicom.config.settings
    before = checks.reading_validation_mode, checks.writing_validation_mode, [log.level for log in loggers]
    handlers, _config.LOG_HANDLER_LEVEL = _config.LOG_HANDLER_LEVEL, "none"
    checks.reading_validation_mode = checks.writing_validation_mode = pydicom.config.IGNORE
    for log in loggers:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        checks.reading_validation_mode, checks.writing_validation_mode, levels = before
        _config.LOG_HANDLER_LEVEL = handlers
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
