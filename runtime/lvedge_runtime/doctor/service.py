"""A file of settings, and whom it names: read as a run reads it, and asked for an echo both ways."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lvedge.errors import LvedgeError, MissingExtraError
from lvedge_runtime.doctor.check import Check, Standing

if TYPE_CHECKING:
    from lvedge_runtime.receiver.setting import Settings
    from lvedge_runtime.uri import Uri


def service_checks(path: Path) -> Iterator[Check]:
    """Whether the settings can be meant; whether the journal has its place; then echoes.

    Of our receiver, of each peer that has a port, and of each destination of ``store://``.

    Args:
        path: the file of settings.
    """
    from lvedge_runtime.run import RECEIVES, destination_uris, read_settings
    from lvedge_runtime.sources import SOURCES
    from lvedge_runtime.uri import parse_uri

    try:
        told = read_settings(["--config", str(path)])
        uri = parse_uri(told.options.stream[0], SOURCES)
    except LvedgeError as err:
        yield Check("settings", Standing.FAULT, str(err), f"edit {path}; docs/service.md has every setting")
        return
    yield Check("settings", Standing.USED, f"{path}, measures {', '.join(told.options.stream)}")
    if told.service.http:
        yield _package("metrics", "prometheus-client", "service", "serving /metrics")
    settings = told.receiver
    if settings is None:
        return
    if settings.journal.folder is not None:
        yield _journal(settings.journal.folder)
    destinations = destination_uris(told.options.sink)
    if destinations:
        yield _package("DICOM objects", "highdicom", "dicom-objects", "making DICOM objects")
    if uri.key != RECEIVES and not destinations:
        return
    network = _package("DICOM network", "pynetdicom", "dicom-net", "DICOM over the network")
    if network.standing is Standing.FAULT:
        yield network
        return
    if uri.key == RECEIVES:
        yield from _peers(uri, settings)
    for text in destinations:
        yield _destination(text, settings)


def _journal(folder: Path) -> Check:
    from lvedge_runtime.journal.journal import obstacle

    why = obstacle(folder)
    if why is None:
        return Check("journal", Standing.USED, f"{folder} can be written to")
    return Check("journal", Standing.FAULT, why, f"ls -la {folder}; name another folder in [journal]")


def _package(name: str, package: str, extra: str, purpose: str) -> Check:
    """Whether a package that an extra brings is there."""
    try:
        import_module(package.replace("-", "_"))
    except ImportError:
        missing = MissingExtraError(package, extra, purpose)
        return Check(name, Standing.FAULT, str(missing), f"pip install 'lvedge[{extra}]'")
    return Check(name, Standing.USED, f"{package} is there")


def _destination(text: str, settings: Settings) -> Check:
    """An echo from where objects are sent, under the names and with the certificates they are sent with."""
    from lvedge_runtime.receiver.echo import refusal
    from lvedge_runtime.sender.destination import destination_from_uri

    there = destination_from_uri(text)
    calling = there.calling or settings.ae_title
    tls = settings.tls if there.tls else None
    why = refusal(there.host, there.port, calling, there.called, tls, is_named=True)
    remedy = f"echoscu -v -aet {calling} -aec {there.called} {there.host} {there.port}"
    return _told(f"destination {there.host}:{there.port}", why, remedy)


def _peers(uri: Uri, settings: Settings) -> Iterator[Check]:
    from lvedge_runtime.receiver.echo import refusal

    ours = settings.ae_title
    host = uri.host or ""
    if host in ("0.0.0.0", "::"):  # compared, not bound  # nosec B104
        host = "127.0.0.1"
    why = refusal(host, uri.port or 0, ours, ours, settings.tls)
    yield _told(f"receiver {host}:{uri.port}", why, "systemctl start lvedge; journalctl -u lvedge")
    for peer in settings.peers:
        if peer.network is not None and peer.port is not None:
            where = str(peer.network.network_address)
            why = refusal(where, peer.port, ours, peer.ae_title, settings.tls)
            remedy = f"echoscu -v -aet {ours} -aec {peer.ae_title} {where} {peer.port}"
            yield _told(f"peer {peer.ae_title} {where}:{peer.port}", why, remedy)


def _told(name: str, why: str | None, remedy: str) -> Check:
    if why is None:
        return Check(name, Standing.USED, "answers an echo")
    return Check(name, Standing.WORTH_MENDING, f"no echo: {why}", remedy)
