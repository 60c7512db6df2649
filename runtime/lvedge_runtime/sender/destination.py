"""A destination of objects: ``store://host:port?called=AE&calling=AE&tls=true&sc=true``."""

from __future__ import annotations

from dataclasses import dataclass

from lvedge.errors import UsageError
from lvedge_runtime.receiver.setting import Settings, checked_ae_title
from lvedge_runtime.uri import parse_uri

OPTIONS = ("called", "calling", "tls", "sc")
NO_JOURNAL = (
    "store:// keeps objects until they are sent: name a folder for them in a file for --config, "
    '[journal] folder = "..."'
)


@dataclass(frozen=True)
class Destination:
    """Where objects go, and how.

    Args:
        host, port: where it listens.
        called: its AE title.
        calling: ours, or None for the receiver's.
        tls: whether the connection is secured, by the receiver's certificates.
        pictures: whether it gets Secondary Captures, too.
    """

    host: str
    port: int
    called: str = "ANY-SCP"
    calling: str | None = None
    tls: bool = False
    pictures: bool = False

    @property
    def name(self) -> str:
        """What the outbox calls it; AE titles may be put right without stranding what waits."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"store://{host}:{self.port}"


def destination_from_uri(text: str) -> Destination:
    """The destination that a URI names.

    Raises:
        UsageError: if it says anything that is not known.
    """
    uri = parse_uri(text, ("store://",), "sink")
    if uri.path.strip("/") or set(uri.query) - set(OPTIONS) or not uri.host or not uri.port:
        raise UsageError(f"{text!r}: write store://host:port?called=AE&calling=AE, with &tls=true, &sc=true")
    called, calling = uri.query.get("called"), uri.query.get("calling")
    return Destination(
        uri.host,
        uri.port,
        "ANY-SCP" if called is None else checked_ae_title(called, "called"),
        None if calling is None else checked_ae_title(calling, "calling"),
        *(_flag(uri.query.get(name, "false"), name) for name in ("tls", "sc")),
    )


def usable_destination(text: str, settings: Settings | None) -> Destination:
    """The destination that a URI names, if the settings have all that it needs.

    Raises:
        UsageError: if the URI cannot be meant, there is no journal, or TLS lacks its certificates.
    """
    destination = destination_from_uri(text)
    if settings is None or settings.journal.folder is None:
        raise UsageError(NO_JOURNAL)
    if destination.tls and settings.tls is None:
        raise UsageError(f"{text}: tls=true needs the certificates of [dicom.tls] in the settings")
    return destination


def _flag(text: str, name: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{name}={text}: expected true or false")
    return text == "true"
