"""Asking a peer for an echo (C-ECHO), and saying in words why it does not answer."""

from __future__ import annotations

import socket
import ssl

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from lvedge.errors import UsageError
from lvedge_runtime.receiver.setting import TlsFiles
from lvedge_runtime.receiver.silence import silent
from lvedge_runtime.receiver.tls import client_context

_REASONS = {
    (1, 1): "it takes no associations now",
    (1, 2): "it does not speak this application context",
    (
        1,
        3,
    ): "it does not know {calling} at this machine's address: have both put on its list",
    (1, 7): "it is not called {called}: mend the AE title",
    (2, 1): "it takes no associations now",
    (2, 2): "it does not speak this version of the protocol",
    (3, 1): "it is overloaded: ask again later",
    (3, 2): "it has as many associations as it takes: ask again later",
}
"""(source, reason) of a rejected association (DICOM PS3.8, table 9-21)."""

TIMEOUT_S = 5.0


def refusal(
    host: str,
    port: int,
    calling: str,
    called: str,
    tls: TlsFiles | None = None,
    is_named: bool = False,
) -> str | None:
    """Why no echo came back, in words that say what to do; None where one did.

    Args:
        host: where it listens.
        port: where it listens.
        calling: the AE title to ask as.
        called: its AE title.
        tls: our certificate and whose signatures we take, or None for a plain connection.
        is_named: its certificate has to be the host's, as it has to be where objects are sent.
    """
    fault = _unreachable(host, port)
    if fault is not None:
        return fault
    try:
        secured = None if tls is None else (_context(tls, is_named), host)
    except UsageError as err:
        return str(err)
    with silent():
        return _asked(host, port, calling, called, secured)


def _unreachable(host: str, port: int) -> str | None:
    """Why no connection comes about, or None; it is closed at once."""
    try:
        with socket.create_connection((host, port), TIMEOUT_S):
            return None
    except ConnectionRefusedError:
        return "nothing listens there: start it, or mend address and port"
    except TimeoutError:
        return "no answer: is the machine on, and does a firewall let this port through?"
    except OSError as err:
        return f"it cannot be reached: {err.strerror or err}"


def _asked(
    host: str, port: int, calling: str, called: str, secured: tuple[ssl.SSLContext, str] | None
) -> str | None:
    ae = AE(calling)
    ae.add_requested_context(Verification)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = TIMEOUT_S
    association = ae.associate(host, port, ae_title=called, tls_args=secured)
    words = _heard(association, calling, called, secured is not None)
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.close()  # pynetdicom leaves one open whose peer has gone
    return words


def _heard(association: Association, calling: str, called: str, secured: bool) -> str | None:
    if association.is_established:
        status = association.send_c_echo()
        association.release()
        if getattr(status, "Status", None) == 0:
            return None
        return "it took the association and did not answer the echo"
    if association.is_rejected:
        answer = association.acceptor.primitive
        source, reason = getattr(answer, "result_source", 0), getattr(answer, "diagnostic", 0)
        words = _REASONS.get(
            (source, reason), f"it rejects the association (source {source}, reason {reason})"
        )
        return words.format(calling=calling, called=called)
    if association.requestor.primitive is None or secured:
        return "the connection did not become secure: do both sides have certificates that the other trusts?"
    return (
        "it closed the connection unheard: this machine's address is not on its list, it wants TLS, "
        "or it is no DICOM"
    )


def _context(files: TlsFiles, is_named: bool) -> ssl.SSLContext:
    """A peer is known by its signature alone, unless asked otherwise: addresses change."""
    context = client_context(files)
    context.check_hostname = context.check_hostname and is_named
    return context
