"""What a receiver may be told: one TOML file, read once and checked as a whole."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lvedge.errors import MissingExtraError, UsageError
from lvedge_runtime.journal.setting import JournalSettings, OutboxSettings
from lvedge_runtime.receiver.rule import DEFAULT_RULES, Rule, rules_from_tables

_AE_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?")
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")

OTHER_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.4.2",  # MR Spectroscopy
    "1.2.840.10008.5.1.4.1.1.4.3",  # Enhanced MR Color
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture
    "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy Presentation State
    "1.2.840.10008.5.1.4.1.1.66",  # Raw Data
    "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
    "1.3.12.2.1107.5.9.1",  # Siemens CSA Non-Image
)
"""What scanners send beside MR images: a refusal would hold up their queue."""


@dataclass(frozen=True)
class Peer:
    """Who may connect.

    Args:
        ae_title: its calling AE title.
        network: the addresses that it may have; None for any.
    """

    ae_title: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None

    def is_at(self, address: str) -> bool:
        return self.network is None or ipaddress.ip_address(address) in self.network


@dataclass(frozen=True)
class TlsFiles:
    """Files in PEM: our certificate and its key, and whose signatures on peers' certificates are taken."""

    certificate: Path
    key: Path
    clients: Path


@dataclass(frozen=True)
class Limits:
    """How much a peer may do.

    Args:
        associations: open at once; twice as many connections, and the next are closed unheard.
        associate_s: a connection without an association request is closed after so long.
        pdu_s: so long may one protocol data unit take from its first byte to its last.
        idle_s: an association on which nothing happens is aborted after so long.
        pdu_bytes: largest protocol data unit.
        picture_bytes: largest instance.
        kept_bytes: pictures that wait to be measured or are kept for latecomers; then 0xA700.
        kept_pictures: the same as a count of instances.
    """

    associations: int = 16
    associate_s: float = 10.0
    pdu_s: float = 20.0
    idle_s: float = 60.0
    pdu_bytes: int = 1 << 20
    picture_bytes: int = 1 << 30
    kept_bytes: int = 8 << 30
    kept_pictures: int = 200_000


@dataclass(frozen=True)
class Settings:
    """A receiver's settings.

    Args:
        ae_title: our AE title; associations that call another are rejected.
        peers: who may connect; without any, whoever is on this machine.
        tls: how connections are secured, or None for plain ones.
        limits: how much a peer may do.
        provisional: measure pictures as they arrive, too.
        window: pictures of a slice that wait for an earlier phase, at most.
        gap_s: so long after a slice's last picture an open gap is stepped over.
        series_s: so long after a series' last picture it counts as whole and is measured.
        keep_s: so long a whole series is kept for pictures that come late.
        fewest_phases: a series with fewer pictures a slice is no cine.
        other_classes: SOP classes that are acknowledged and dropped.
        rules: which series are ours; the first that fits decides.
        journal: what outlives the process, and how it is sent.
    """

    ae_title: str = "LVEDGE"
    peers: tuple[Peer, ...] = ()
    tls: TlsFiles | None = None
    limits: Limits = field(default_factory=Limits)
    provisional: bool = True
    window: int = 64
    gap_s: float = 1.0
    series_s: float = 5.0
    keep_s: float = 300.0
    fewest_phases: int = 5
    other_classes: tuple[str, ...] = OTHER_CLASSES
    rules: tuple[Rule, ...] = DEFAULT_RULES
    journal: JournalSettings = field(default_factory=JournalSettings)


def settings_from_file(path: Path) -> Settings:
    """The settings that a TOML file states; what it leaves out keeps its default.

    Raises:
        UsageError: if it cannot be read, or says anything that is not a setting.
        MissingExtraError: on CPython 3.10 without tomli.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"the settings in {path} cannot be read: {getattr(err, 'strerror', err)}") from err
    try:
        return _settings(_parsed(text), path.parent)
    except UsageError as err:
        raise UsageError(f"{path}: {err}") from err


def _parsed(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as err:
            raise MissingExtraError("tomli", "dicom-net", "a file of settings on CPython 3.10") from err
    try:
        return dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as err:
        raise UsageError(f"no TOML: {err}") from err


def _settings(tables: Mapping[str, Any], folder: Path) -> Settings:
    _known(tables, ("dicom", "series", "journal", "outbox"), "")
    dicom = dict(_table(tables, "dicom"))
    values: dict[str, Any] = {}
    if "peers" in dicom:
        peers = dicom.pop("peers")
        if not isinstance(peers, list) or not peers:
            raise UsageError("dicom.peers: write one [[dicom.peers]] with an ae_title for each")
        values["peers"] = tuple(_peer(peer) for peer in peers)
    if "tls" in dicom:
        values["tls"] = _tls(_table(dicom, "tls"), folder)
        del dicom["tls"]
    if "limits" in dicom:
        values["limits"] = Limits(**_numbers(_table(dicom, "limits"), Limits, "dicom.limits"))
        del dicom["limits"]
    if "other_classes" in dicom:
        values["other_classes"] = tuple(_uid(uid) for uid in dicom.pop("other_classes"))
    if "provisional" in dicom:
        values["provisional"] = dicom.pop("provisional")
        if not isinstance(values["provisional"], bool):
            raise UsageError("dicom.provisional: expected true or false")
    if "ae_title" in dicom:
        values["ae_title"] = checked_ae_title(dicom.pop("ae_title"), "dicom.ae_title")
    values |= _numbers(dicom, Settings, "dicom")
    if "series" in tables:
        values["rules"] = rules_from_tables(tables["series"])
    values["journal"] = _journal(tables, folder)
    return Settings(**values)


def _journal(tables: Mapping[str, Any], folder: Path) -> JournalSettings:
    """What ``[journal]`` and ``[outbox]`` say."""
    outbox = dict(_table(tables, "outbox"))
    release = outbox.pop("release", False)
    if not isinstance(release, bool):
        raise UsageError("outbox.release: expected true or false")
    journal = dict(_table(tables, "journal"))
    name = journal.pop("folder", None)
    if "journal" in tables and (not isinstance(name, str) or not name):
        raise UsageError("journal.folder: name a folder of its own for the journal")
    if "outbox" in tables and name is None:
        raise UsageError("outbox: objects wait in the journal; name a folder for it, [journal] folder = ...")
    return JournalSettings(
        None if name is None else folder / name,
        **_numbers(journal, JournalSettings, "journal"),
        outbox=OutboxSettings(release, **_numbers(outbox, OutboxSettings, "outbox")),
    )


def _numbers(table: Mapping[str, Any], kind: type[Any], where: str) -> dict[str, Any]:
    """The numbers of a table, each of its field's type and above 0."""
    types = {f.name: str(f.type) for f in fields(kind) if str(f.type) in ("int", "float")}
    _known(table, tuple(types), f"{where}.")
    for name, value in table.items():
        whole = types[name] == "int"
        right = isinstance(value, int) if whole else isinstance(value, (int, float))
        if not right or isinstance(value, bool) or not 0 < value < 1e15:
            what = "a whole number" if whole else "a number"
            raise UsageError(f"{where}.{name}: {value!r} is not {what} above 0")
    return dict(table)


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tables.get(name, {})
    if not isinstance(found, dict):
        raise UsageError(f"{name}: expected a table, [{name}]")
    return found


def _known(table: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in names:
            raise UsageError(f"{where}{name}: no such setting (known: {', '.join(names)})")


def _peer(table: Any) -> Peer:
    if not isinstance(table, dict) or "ae_title" not in table:
        raise UsageError("dicom.peers: each needs an ae_title")
    _known(table, ("ae_title", "address"), "dicom.peers.")
    network = None
    if "address" in table:
        try:
            network = ipaddress.ip_network(table["address"])
        except (ValueError, TypeError) as err:
            raise UsageError(
                f"dicom.peers.address: {table['address']!r} is none, write 10.1.2.3 or 10.1.2.0/24"
            ) from err
    return Peer(checked_ae_title(table["ae_title"], "dicom.peers.ae_title"), network)


def _tls(table: Mapping[str, Any], folder: Path) -> TlsFiles:
    names = tuple(f.name for f in fields(TlsFiles))
    _known(table, names, "dicom.tls.")
    for name in names:
        if not isinstance(table.get(name), str):
            raise UsageError(f"dicom.tls.{name}: name a PEM file; TLS needs {', '.join(names)}")
    return TlsFiles(**{name: folder / table[name] for name in names})


def checked_ae_title(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _AE_TITLE.fullmatch(value):
        raise UsageError(
            f"{where}: {value!r} is no AE title: 1 to 16 printable characters without a backslash"
        )
    return value


def _uid(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 64 or not _UID.fullmatch(value):
        raise UsageError(f"dicom.other_classes: {value!r} is no UID")
    return value
