"""What a receiver may be told: one TOML file, read once and checked as a whole."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydicom import uid as uids

from lvedge.errors import UsageError
from lvedge_runtime.config import (
    Config,
    Faults,
    check_known,
    flag_in,
    number_in,
    placed,
    table_of,
)
from lvedge_runtime.journal.setting import JournalSettings, OutboxSettings
from lvedge_runtime.receiver.rule import DEFAULT_RULES, Rule, rules_from_tables

_AE_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?")
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")

MEASURED_CLASSES = (
    uids.MRImageStorage,
    uids.EnhancedMRImageStorage,
    uids.LegacyConvertedEnhancedMRImageStorage,
)
OTHER_CLASSES = (
    *sorted(
        uid
        for uid in vars(uids).values()
        if isinstance(uid, uids.UID)
        and uid.type == "SOP Class"
        and "Storage" in uid.name
        and "Commitment" not in uid.name
        and uid not in MEASURED_CLASSES
    ),
    "1.2.840.113619.4.2",  # GE, private MR
    "1.3.12.2.1107.5.9.1",  # Siemens, CSA Non-Image
    *(f"1.3.46.670589.11.0.0.12.{kind}" for kind in (1, 2, 3, 4)),  # Philips, private MR
)
"""What comes by the same route beside MR images, all that DICOM stores: a refusal would hold up the queue."""


@dataclass(frozen=True)
class Peer:
    """Who may connect.

    Args:
        ae_title: its calling AE title.
        network: the addresses that it may have; None for any.
        port: where it listens itself, or None; ``lvedge-doctor`` asks it for an echo there.
    """

    ae_title: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int | None = None

    def is_at(self, address: str) -> bool:
        found = ipaddress.ip_address(address)
        # A socket for both tells an IPv4 address as an IPv6 one (RFC 4291, 2.5.5.2).
        found = getattr(found, "ipv4_mapped", None) or found
        return self.network is None or found in self.network


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
        associations: open at once; twice as many connections, and the next are closed unheard. Half of them
            are for addresses that peers are listed with, where some are.
        peer_associations: the same for one address, so that none takes all of them.
        peer_connections_a_minute: an address that connects more often is closed unheard.
        peer_messages_a_s: an address that sends faster is answered later.
        associate_s: a connection without an association request is closed after so long.
        pdu_s: so long may one protocol data unit take from its first byte to its last.
        idle_s: an association on which nothing happens is aborted after so long.
        pdu_bytes: largest protocol data unit.
        picture_bytes: largest instance.
        kept_bytes: pictures that wait to be measured or are kept for latecomers; then 0xA700.
        kept_pictures: the same as a count of instances.
    """

    associations: int = 16
    peer_associations: int = 8
    peer_connections_a_minute: float = 300.0
    peer_messages_a_s: float = 500.0
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
        series_s: so long after a series' last picture it counts as whole and is measured; longer than the
            rest between two breath-holds, each of which may bring one slice.
        keep_s: so long a whole series is kept for pictures that come late.
        fewest_phases: a series with fewer pictures a slice is no cine.
        other_classes: SOP classes that are acknowledged and dropped; a file adds to them.
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
    series_s: float = 30.0
    keep_s: float = 300.0
    fewest_phases: int = 5
    other_classes: tuple[str, ...] = OTHER_CLASSES
    rules: tuple[Rule, ...] = DEFAULT_RULES
    journal: JournalSettings = field(default_factory=JournalSettings)


def settings_from_config(config: Config) -> Settings:
    """What a file says of receiving, ``[dicom]`` and ``[[series]]``, and of what outlives the process.

    What it leaves out keeps its default.

    Raises:
        UsageError: if it cannot be meant; all faults at once.
    """
    with placed(config.path):
        return _settings(config.tables, config.path.parent)


def _settings(tables: Mapping[str, Any], folder: Path) -> Settings:
    faults, values = Faults(), dict[str, Any]()
    with faults.noted():
        dicom = dict(table_of(tables, "dicom"))
        if "peers" in dicom:
            with faults.noted():
                values["peers"] = _peers(dicom["peers"])
        if "tls" in dicom:
            with faults.noted():
                values["tls"] = _tls(table_of(dicom, "tls"), folder)
        if "limits" in dicom:
            with faults.noted():
                values["limits"] = Limits(**_numbers(table_of(dicom, "limits"), Limits, "dicom.limits"))
        if "other_classes" in dicom:
            with faults.noted():
                added = _uids(dicom["other_classes"])
                values["other_classes"] = tuple(dict.fromkeys((*OTHER_CLASSES, *added)))
        if "provisional" in dicom:
            with faults.noted():
                values["provisional"] = flag_in(dicom["provisional"], "dicom.provisional")
        if "ae_title" in dicom:
            with faults.noted():
                values["ae_title"] = checked_ae_title(dicom["ae_title"], "dicom.ae_title")
        rest = {name: value for name, value in dicom.items() if name not in _NO_NUMBERS}
        values |= _numbers(rest, Settings, "dicom", _NO_NUMBERS)
    if "series" in tables:
        with faults.noted():
            values["rules"] = rules_from_tables(tables["series"])
    with faults.noted():
        values["journal"] = _journal(tables, folder)
    faults.tell()
    return Settings(**values)


_NO_NUMBERS = ("peers", "tls", "limits", "other_classes", "provisional", "ae_title")


def _journal(tables: Mapping[str, Any], folder: Path) -> JournalSettings:
    """What ``[journal]`` and ``[outbox]`` say."""
    outbox = dict(table_of(tables, "outbox"))
    release = flag_in(outbox.pop("release", False), "outbox.release")
    journal = dict(table_of(tables, "journal"))
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


def _numbers(
    table: Mapping[str, Any], kind: type[Any], where: str, others: Sequence[str] = ()
) -> dict[str, Any]:
    """The numbers of a table, each of its field's type and above 0; ``others`` are known there as well."""
    types = {f.name: str(f.type) for f in fields(kind) if str(f.type) in ("int", "float")}
    faults = Faults()
    with faults.noted():
        check_known(table, (*types, *others), f"{where}.")
    for name in (name for name in table if name in types):
        with faults.noted():
            number_in(table[name], f"{where}.{name}", whole=types[name] == "int")
    faults.tell()
    return dict(table)


def _peers(tables: Any) -> tuple[Peer, ...]:
    if not isinstance(tables, list) or not tables:
        raise UsageError("dicom.peers: write one [[dicom.peers]] with an ae_title for each")
    return tuple(_peer(table) for table in tables)


def _peer(table: Any) -> Peer:
    if not isinstance(table, dict) or "ae_title" not in table:
        raise UsageError("dicom.peers: each needs an ae_title")
    check_known(table, ("ae_title", "address", "port"), "dicom.peers.")
    network = None
    if "address" in table:
        try:
            network = ipaddress.ip_network(table["address"])
        except (ValueError, TypeError) as err:
            raise UsageError(
                f"dicom.peers.address: {table['address']!r} is none, write 10.1.2.3 or 10.1.2.0/24"
            ) from err
    port = number_in(table["port"], "dicom.peers.port", whole=True) if "port" in table else None
    if port is not None and (port > 65535 or network is None or network.num_addresses > 1):
        raise UsageError("dicom.peers.port: 1 to 65535, beside the one address that listens there")
    return Peer(checked_ae_title(table["ae_title"], "dicom.peers.ae_title"), network, port)


def _tls(table: Mapping[str, Any], folder: Path) -> TlsFiles:
    names = tuple(f.name for f in fields(TlsFiles))
    check_known(table, names, "dicom.tls.")
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


def _uids(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise UsageError("dicom.other_classes: expected a list of UIDs")
    return tuple(_uid(value) for value in values)


def _uid(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 64 or not _UID.fullmatch(value):
        raise UsageError(f"dicom.other_classes: {value!r} is no UID")
    return value
