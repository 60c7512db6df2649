"""The DICOM port: what is negotiated there, and when it opens and closes. Built on pynetdicom.

pynetdicom's own log names AE titles and instances; it is kept silent, and what is worth telling is said
here, in ``admission`` and in ``association``, without a name or an identifier of anybody.
"""

from __future__ import annotations

import ipaddress
import logging
from contextlib import ExitStack
from types import TracebackType

from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from lvedge import __version__
from lvedge.errors import SourceError, UsageError
from lvedge_runtime.receiver.association import Associations
from lvedge_runtime.receiver.bound import BoundTls
from lvedge_runtime.receiver.intake import Intake, Tally
from lvedge_runtime.receiver.server import Server
from lvedge_runtime.receiver.setting import MEASURED_CLASSES, Settings
from lvedge_runtime.receiver.silence import silent
from lvedge_runtime.receiver.tls import server_context
from lvedge_runtime.sources.dicom_pixels import has_codecs
from lvedge_runtime.uri import Uri

LOG = logging.getLogger("lvedge_runtime.receiver")

PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless)
"""Not the deflated one: a peer's few bytes could become any number."""

COMPRESSED = tuple(
    UID(f"1.2.840.10008.1.2.4.{number}") for number in ("57", "70", "80", "81", "90", "91", "50", "51")
)
"""JPEG lossless (process 14 and its first selection value), JPEG-LS, JPEG 2000, JPEG 8 and 12 bit."""


class Listener:
    """Listens on a port and gives every instance to the intake; a context manager.

    Args:
        uri: host and port; port 0 takes a free one.
        settings: AE titles, peers, TLS, limits.
        intake: acknowledges.

    Raises:
        UsageError: if others than this machine could connect and no peer is listed; on entering, if the
            certificates cannot be used.
        SourceError: on entering, if the port cannot be used.
    """

    def __init__(self, uri: Uri, settings: Settings, intake: Intake) -> None:
        self._host, self._port = uri.host or "", uri.port or 0
        if not settings.peers and not _is_this_machine(self._host):
            raise UsageError(
                f"{uri} lets other machines connect: list them as [[dicom.peers]] in a file for --config"
            )
        self._settings = settings
        self._server: Server | None = None
        self._entered = ExitStack()
        self.tally = Tally()
        self._associations = Associations(settings, intake, self.tally)

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
        for uid in MEASURED_CLASSES:
            ae.add_supported_context(uid, [*PLAIN, *(COMPRESSED if has_codecs() else ())])
        for text in self._settings.other_classes:
            ae.add_supported_context(UID(text), AllTransferSyntaxes)
        context = None
        if self._settings.tls is not None:
            context = server_context(self._settings.tls)
            context.sslsocket_class = BoundTls
        try:
            self._server = Server(
                ae,
                (self._host, self._port),
                self._settings.ae_title,
                ae.supported_contexts,
                evt_handlers=self._associations.handlers,
                settings=self._settings,
                tally=self.tally,
                context=context,
                rejection=self._associations.rejection,
            )
        except OSError as err:
            why = err.strerror or str(err)
            raise SourceError(
                f"cannot listen on {self._host}:{self._port}: {why}; choose another port or free this one"
            ) from err
        self._server.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        for association in server.active_associations:
            if association.is_established:
                association.abort()
        self._entered.close()

    @property
    def open_associations(self) -> int:
        """How many associations are open."""
        return 0 if self._server is None else len(self._server.active_associations)


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
