"""The archive that a bundle is: a zip file in one canonical form, so that its content decides every byte.

Entries are stored, never deflated: float32 weights hardly shrink, and a reader that decompresses nothing
cannot be made to burst. Dates, attributes and their order are fixed. Reading takes the entries out, writes
them again, and compares: whatever differs from the canonical form, down to one byte of a header, is refused.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lvedge.errors import BundleError

MOST_ENTRIES = 32
MOST_BYTES = 256 * 1024 * 1024
MOST_RATIO = 20
"""A deflated entry beyond this ratio is told as what it is, a bomb; any deflated entry is refused."""

# PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"

_VERSION = 20
_UNIX = 3 << 8
_MIDNIGHT, _FIRST_DAY = 0, 1 << 5 | 1  # 1980-01-01, the first day that the format knows
_REGULAR_FILE = 0o100644 << 16
_ENCRYPTED = 1
_STORED, _DEFLATED = 0, 8
_FORMAT_BITS, _LINK_BITS = 0o170000, 0o120000


def archive_bytes(entries: Mapping[str, bytes]) -> bytes:
    """The archive that holds the entries in the mapping's order. Equal entries give equal bytes.

    Raises:
        BundleError: if they are too many or too large, or a name is no plain ASCII file name.
    """
    if len(entries) > MOST_ENTRIES:
        raise BundleError(f"{len(entries)} entries are more than the {MOST_ENTRIES} that a bundle may hold")
    if sum(map(len, entries.values())) > MOST_BYTES:
        raise BundleError(f"the entries exceed the {MOST_BYTES >> 20} MB that a bundle may hold")
    for name in entries:
        if not _is_plain(name):
            raise BundleError(f"{name!r} cannot name an entry: use letters, digits, '.', '-' and '_' only")
    return b"".join(_parts(entries))


def entries_from_archive(data: bytes) -> dict[str, bytes]:
    """The entries of an archive by name, in its order; the archive is in its canonical form.

    Raises:
        BundleError: for anything else. The message lacks the file's name, which the caller knows.
    """
    entries: dict[str, bytes] = {}
    for record in _records(data):
        _check_record(record, entries)
        entries[record.name] = _content(data, record)
    if not _is_canonical(data, entries):
        raise BundleError("is altered or was not packed by lvedge-export")
    return entries


def _parts(entries: Mapping[str, bytes]) -> Iterator[bytes]:
    """The archive piece by piece."""
    directory: list[bytes] = []
    offset = 0
    for name, content in entries.items():
        encoded = name.encode("ascii")
        sizes = (zlib.crc32(content), len(content), len(content))
        common = (_VERSION, 0, _STORED, _MIDNIGHT, _FIRST_DAY, *sizes, len(encoded), 0)
        yield _LOCAL.pack(_LOCAL_MAGIC, *common)
        yield encoded
        yield content
        head = (_CENTRAL_MAGIC, _UNIX | _VERSION, *common, 0, 0, 0, _REGULAR_FILE, offset)
        directory += [_CENTRAL.pack(*head), encoded]
        offset += _LOCAL.size + len(encoded) + len(content)
    yield from directory
    count, size = len(entries), sum(map(len, directory))
    yield _END.pack(_END_MAGIC, 0, 0, count, count, size, offset, 0)


def _is_canonical(data: bytes, entries: Mapping[str, bytes]) -> bool:
    """Whether an archive is, byte by byte, the one that its entries make."""
    offset = 0
    for part in _parts(entries):
        if not data.startswith(part, offset):
            return False
        offset += len(part)
    return offset == len(data)


class _Record(NamedTuple):
    """What the central directory says of an entry."""

    name: str
    flags: int
    method: int
    packed: int
    size: int
    attributes: int
    offset: int


def _records(data: bytes) -> list[_Record]:
    """The central directory, within bounds; nothing in it is believed yet."""
    if len(data) < _END.size or data[-_END.size :][:4] != _END_MAGIC:
        raise BundleError("is no bundle, or is cut short")
    count, size, offset = _END.unpack(data[-_END.size :])[4:7]
    if count > MOST_ENTRIES:
        raise BundleError(f"holds {count} entries, more than the {MOST_ENTRIES} that a bundle may hold")
    end = len(data) - _END.size
    if offset + size != end:
        raise BundleError("is altered: its table of contents is not where it should be")
    records = []
    for _ in range(count):
        if offset + _CENTRAL.size > end:
            raise BundleError("is altered: its table of contents is cut short")
        fields = _CENTRAL.unpack_from(data, offset)
        magic, flags, method, packed, full = fields[0], fields[3], fields[4], fields[8], fields[9]
        name_length, extra, comment = fields[10:13]
        start = offset + _CENTRAL.size
        offset = start + name_length + extra + comment
        if magic != _CENTRAL_MAGIC or offset > end:
            raise BundleError("is altered: its table of contents is damaged")
        name = data[start : start + name_length].decode("ascii", errors="replace")
        records.append(_Record(name, flags, method, packed, full, fields[15], fields[16]))
    return records


def _check_record(record: _Record, before: Mapping[str, bytes]) -> None:
    """Refuse an entry for what its record says, the most telling reason first."""
    shown = repr(record.name[:80])
    if record.name in before:
        raise BundleError(f"holds the entry {shown} twice")
    if not _is_plain(record.name):
        raise BundleError(f"holds the entry {shown}: folders, links and unusual names are refused")
    if record.attributes >> 16 & _FORMAT_BITS == _LINK_BITS:
        raise BundleError(f"holds the entry {shown} as a link: links are refused")
    if record.flags & _ENCRYPTED:
        raise BundleError(f"holds the entry {shown} encrypted: encrypted entries are refused")
    if record.size > MOST_RATIO * max(record.packed, 1):
        raise BundleError(
            f"holds the entry {shown} compressed more than {MOST_RATIO} times: refused as a bomb"
        )
    if record.size + sum(map(len, before.values())) > MOST_BYTES:
        raise BundleError(f"unpacks to more than the {MOST_BYTES >> 20} MB that a bundle may hold")
    if record.method == _DEFLATED:
        raise BundleError(f"holds the entry {shown} compressed: pack it with lvedge-export, which stores")
    if record.method != _STORED or record.size != record.packed:
        raise BundleError(f"is altered: the entry {shown} is not stored as it says")


def _content(data: bytes, record: _Record) -> bytes:
    """The stored bytes of an entry, behind a local header that is compared later with all the rest."""
    start = record.offset + _LOCAL.size + len(record.name)
    if start + record.size > len(data):
        raise BundleError(f"is cut short: the entry {record.name!r} is not all there")
    return data[start : start + record.size]


def _is_plain(name: str) -> bool:
    """Whether a name is a plain file name on every system: ASCII, no separators, no leading dot, not long."""
    return (
        0 < len(name) <= 64
        and name.isascii()
        and name[0] != "."
        and all(c.isalnum() or c in "._-" for c in name)
    )
