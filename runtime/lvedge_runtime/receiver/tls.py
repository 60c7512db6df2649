"""TLS for DICOM, either way: our certificate, and whose signatures on a peer's we take."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvedge.errors import UsageError
from lvedge_runtime.receiver.setting import TlsFiles


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For a receiver; a peer without a certificate that we trust is not heard.

    Raises:
        UsageError: if a file cannot be used; it is named.
    """
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files)


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For a sender; the peer's certificate is checked, with its name.

    Raises:
        UsageError: if a file cannot be used; it is named.
    """
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), files)


def _loaded(context: ssl.SSLContext, files: TlsFiles) -> ssl.SSLContext:
    """The context with our files, for TLS 1.2 or later."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    # What is missing is named by itself: OpenSSL does not say which of a pair it was.
    for path in (files.certificate, files.key, files.clients):
        with _named(path), path.open("rb"):
            pass
    with _named(files.certificate):
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    with _named(files.clients):
        context.load_verify_locations(files.clients)
    return context


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:  # as every error of ssl is
        raise UsageError(f"dicom.tls: {path} cannot be used: {err.strerror or err}") from err


def _no_password() -> str:
    raise OSError(0, "the key asks for a password; store it without one, readable by its owner alone")
