"""A file of settings, and whom it names: read as a run reads it, and asked for an echo both ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lvedge.errors import LvedgeError, MissingExtraError
from lvedge_runtime.doctor.check import Check, Standing

if TYPE_CHECKING:
    from lvedge_runtime.receiver.setting import Settings
    from lvedge_runtime.uri import Uri


def service_checks(path: Path) -> Iterator[Check]:
    """Whether the settings can be meant; then an echo from each peer that has a port, and from our receiver.

    Args:
        path: the file of settings.
    """
    from lvedge_runtime.run import read_settings
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
        yield _page_packages()
    if uri.key == "dicom://" and told.receiver is not None:
        yield from _peers(uri, told.receiver)


def _page_packages() -> Check:
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        missing = MissingExtraError("prometheus-client", "service", "serving /metrics")
        return Check("metrics", Standing.FAULT, str(missing), "pip install 'lvedge[service]'")
    return Check("metrics", Standing.USED, "prometheus-client is there")


def _peers(uri: Uri, settings: Settings) -> Iterator[Check]:
    try:
        from lvedge_runtime.receiver.echo import refusal
    except ImportError:
        missing = MissingExtraError("pynetdicom", "dicom-net", "receiving DICOM")
        yield Check("DICOM network", Standing.FAULT, str(missing), "pip install 'lvedge[dicom-net]'")
        return
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
