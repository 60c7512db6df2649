"""Damages DICOM files and whole conversations at random, and lets the receiver have them.

    python -m benchmarks.fuzz_receiver --out benchmarks/results/fuzz_receiver.json

Files go through acknowledging, putting in order and measuring; conversations over sockets to a listening
receiver. Nothing may raise, hang or stay in memory, and every item has to be counted. Seeds are written on
the spot, and taken from real files where those are at hand; a seed number damages them in the same way.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import signal
import socket
import struct
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path += [str(TESTS), str(TESTS / "runtime")]
# ruff: noqa: E402

from cine_files import content_of, ge, multi_frame, numbered, others, philips, siemens
from discs import DiscStepper
from peers import receiver
from pydicom import config, datadict, dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from reception_room import Room

from benchmarks.provenance import provenance
from lvedge.frame import Frame, Rejected
from lvedge.quality import DEFAULT_QUALITY
from lvedge_runtime.sources.dicom_header import TAGS
from lvedge_runtime.stream import Stream
from lvedge_runtime.trace import places_of

LONGEST_S = 60.0
"""No item may keep the receiver for longer; it is generous, since other work may share the core."""

SETTLE_EVERY = 100
"""After so many files the quiet time passes: series are measured as wholes and forgotten."""

MEASURES = (
    "benchmarks/fuzz_receiver.py",
    "runtime/lvedge_runtime/receiver",
    "runtime/lvedge_runtime/sources/dicom_frames.py",
    "runtime/lvedge_runtime/sources/dicom_header.py",
    "runtime/lvedge_runtime/sources/dicom_image.py",
    "runtime/lvedge_runtime/sources/dicom_order.py",
    "runtime/lvedge_runtime/sources/dicom_phase.py",
    "runtime/lvedge_runtime/sources/dicom_pixels.py",
)
TEXTS = (
    b"\0" * 64,
    b"\xff" * 300,
    b"../../../../etc/passwd",
    b"%s%n%x",
    b"\\\\\\\\",
    b"1e999",
    b"nan",
    b"-1",
    b"1e30",
)
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

TAGS_SAY = (
    *("", "0", "-1", "1", "7", "1000", "20000", "2147483647", "-2147483648", "0.001", "240000.5"),
    *("1e29", "-1e29", "1e-300", "1e999", "nan", "inf", "x", "\\", "../../etc/passwd", "999Y", "F"),
    *("1\\2\\3", "0\\0", "1\\0\\0\\0\\1\\0", "1e29\\1e29", "LOCALIZER", "MONOCHROME1"),
    "1.2.840.10008.5.1.4.1.1.4.1",
)
NUMBERS_SAY = (0, 1, 2, 3, 8, 16, 32, 64, 513, 16384, 65535)

Damage = Callable[[random.Random, bytearray, Sequence[bytes]], None]


@dataclass
class Found:
    """What damaged items came to.

    Args:
        sent: how many there were.
        faults: what raised, by type and places.
        longest_s: what the slowest one took.
        counts: what became of them, as the receiver counts.
        memory_mb: resident memory after each quarter.
    """

    sent: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    memory_mb: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "faults": dict(self.faults),
            "longest_s": round(self.longest_s, 3),
            "counts": self.counts,
            "memory_mb": self.memory_mb,
            "memory_is_flat": self.memory_mb[-1] - self.memory_mb[1] <= GROWTH_MB,
        }


BECAME = ("accepted", "rejected", "broken")
"""What a connection that was opened becomes, each of them one of these."""

GROWTH_MB = 10.0
"""More than this from the second quarter to the last is a fault: an item leaves less than 1 KB."""


def seeds(real: Path | None = None) -> list[bytes]:
    """Whole files to damage: the vendors' cines, multi-frame, not ours; real ones where they are at hand.

    Args:
        real: a folder of DICOM files, or None.
    """
    made = [*ge()[:3], *siemens()[:3], *philips()[:3], *numbered()[:2], multi_frame(), others()["late"][0]]
    implicit = ge()[4]
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    found = [content_of(data) for data in [*made, implicit]]
    if real is not None:
        found += [path.read_bytes() for path in sorted(real.rglob("*.dcm"))[:8]]
    return found


def _flip(drawn: random.Random, data: bytearray, _others: Sequence[bytes]) -> None:
    for _ in range(drawn.choice((1, 2, 8, 64))):
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)


def _cut(drawn: random.Random, data: bytearray, _others: Sequence[bytes]) -> None:
    del data[drawn.randrange(len(data)) :]


def _drop(drawn: random.Random, data: bytearray, _others: Sequence[bytes]) -> None:
    start = drawn.randrange(len(data))
    del data[start : start + drawn.choice((1, 2, 7, 64, 1000))]


def _repeat(drawn: random.Random, data: bytearray, _others: Sequence[bytes]) -> None:
    start = drawn.randrange(len(data))
    part = data[start : start + drawn.choice((4, 32, 512))]
    data[start:start] = part * drawn.choice((1, 2, 50))


def _splice(drawn: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = drawn.choice(others)
    start = drawn.randrange(len(other) + 1)
    data[drawn.randrange(len(data)) :] = other[start:]


def _number(drawn: random.Random, data: bytearray, _others: Sequence[bytes]) -> None:
    form = drawn.choice(("<H", "<L", ">L"))
    number = drawn.choice(NUMBERS) & (0xFFFF if form == "<H" else 0xFFFFFFFF)
    _put(drawn, data, struct.pack(form, number))


def _text(drawn: random.Random, data: bytearray, _others: Sequence[bytes]) -> None:
    _put(drawn, data, drawn.choice(TEXTS))


def _put(drawn: random.Random, data: bytearray, part: bytes) -> None:
    """Over what is there, mostly in the part before the pixels."""
    start = drawn.randrange(min(len(data), drawn.choice((1500, len(data)))))
    data[start : start + len(part)] = part


DAMAGES: tuple[Damage, ...] = (_flip, _cut, _drop, _repeat, _splice, _number, _text, _number, _text)


def _damage(drawn: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """Once, where something is left to damage."""
    if len(data) > 1:
        drawn.choice(DAMAGES)(drawn, data, others)


def damaged(drawn: random.Random, whole: Sequence[bytes]) -> bytes:
    """One of the items, damaged once to three times; mostly it still begins as a file, so that it is read."""
    chosen = drawn.choice(whole)
    if drawn.random() < 0.4:
        return _retagged(drawn, chosen)
    data = bytearray(chosen)
    for _ in range(drawn.choice((1, 1, 2, 3))):
        _damage(drawn, data, whole)
    if drawn.random() < 0.9 and len(data) > 132:
        data[128:132] = b"DICM"
    return bytes(data)


def _retagged(drawn: random.Random, content: bytes) -> bytes:
    """A file that is sound as a file, with one to four elements that say what they should not."""
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        return _with_tags(drawn, dcmread(BytesIO(content)))


def _with_tags(drawn: random.Random, data: FileDataset) -> bytes:
    for _ in range(drawn.choice((1, 1, 2, 4))):
        tag, (keyword, _form) = drawn.choice(list(TAGS.items()))
        if keyword == "TransferSyntaxUID":
            continue
        if keyword in data and drawn.random() < 0.1:
            del data[keyword]
        elif datadict.dictionary_VR(tag) == "US":
            data[tag] = DataElement(tag, "US", drawn.choice(NUMBERS_SAY))
        else:
            data[tag] = DataElement(tag, "UT", drawn.choice(TAGS_SAY))
    buffer = BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def fuzz_files(count: int, seed: int, whole: Sequence[bytes]) -> Found:
    """Damaged files through acknowledging, order and measuring, all in this thread."""
    drawn, found = random.Random(seed), Found()
    with Room() as room:
        stream = iter(_measured(_frames(room, drawn, found, count, whole)))
        while True:
            try:
                next(stream)
            except StopIteration:
                break
            except Exception as err:  # noqa: BLE001 - this is what is looked for
                found.faults[places_of(err)] += 1
                stream = iter(
                    Stream(_frames(room, drawn, found, count, whole), DiscStepper(), DEFAULT_QUALITY, None)
                )
        found.counts = room.intake.tally.as_dict()
        found.counts["left on the shelf"] = len(room.shelf)
    return found


def _measured(frames: Iterator[Frame | Rejected]) -> Stream:
    return Stream(frames, DiscStepper(), DEFAULT_QUALITY, None)


def _frames(
    room: Room, drawn: random.Random, found: Found, count: int, whole: Sequence[bytes]
) -> Iterator[Frame | Rejected]:
    """What the receiver makes of one damaged file after the other, until there were so many."""
    while found.sent < count:
        content = damaged(drawn, whole)
        found.sent += 1
        began = time.monotonic()
        with _limited(found):
            room.intake.take(content)
        while not room.intake.queue.empty():
            with _limited(found):
                yield from list(room.reception.take(room.intake.queue.get()))
        if found.sent % SETTLE_EVERY == 0 or found.sent == count:
            with _limited(found):
                yield from room.wait(1e4)
            room.now += 1e6
            room.reception.forget(room.now)
        found.longest_s = max(found.longest_s, time.monotonic() - began)
        if found.sent % max(1, count // 4) == 0:
            found.memory_mb.append(memory_mb())


@contextmanager
def _limited(found: Found) -> Iterator[None]:
    """What raises inside, or takes too long, is noted, and the next item comes."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    except Exception as err:  # noqa: BLE001 - this is what is looked for
        found.faults[places_of(err)] += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_long(_number: int, _frame: object) -> None:
    raise TimeoutError


def conversations(folder: Path) -> list[bytes]:
    """What a client says from its association request to its release, as bytes on the wire."""
    said = []
    with receiver(folder) as there:
        for data in (ge()[0], multi_frame(), None):
            with _Recorder(there.source.port) as recorder:
                ae = AE("SEED")
                ae.add_requested_context("1.2.840.10008.1.1")
                if data is not None:
                    ae.add_requested_context(data.SOPClassUID, data.file_meta.TransferSyntaxUID)
                association = ae.associate("127.0.0.1", recorder.port, ae_title="LVEDGE")
                association.send_c_echo()
                if data is not None:
                    association.send_c_store(data)
                association.release()
            said.append(bytes(recorder.said))
    return said


class _Recorder:
    """Passes one connection on and keeps what the client said."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.said = bytearray()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)

    def __enter__(self) -> _Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.join(30)
        self._listening.close()

    def _pass_on(self) -> None:
        client, _ = self._listening.accept()
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            back = threading.Thread(target=_copy, args=(server, client, None), daemon=True)
            back.start()
            _copy(client, server, self.said)
            back.join(30)


def _copy(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if kept is not None:
                kept += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


LIMITS = """[dicom]
series_s = 3600
gap_s = 3600
[dicom.limits]
associate_s = 2
pdu_s = 2
idle_s = 2
peer_connections_a_minute = 1000000
peer_messages_a_s = 1000000
"""


def fuzz_messages(count: int, seed: int, folder: Path) -> Found:
    """Damaged conversations over sockets; threads that fail are told by Python's hook."""
    drawn, found = random.Random(seed), Found()
    whole = conversations(folder)
    before = threading.excepthook
    threading.excepthook = lambda hook: found.faults.update([places_of(hook.exc_value or RuntimeError())])
    try:
        with receiver(folder, LIMITS) as there:
            for _ in range(count):
                began = time.monotonic()
                _say(there.source.port, _damaged_conversation(drawn, whole))
                found.sent += 1
                found.longest_s = max(found.longest_s, time.monotonic() - began)
                if found.sent % max(1, count // 4) == 0:
                    found.memory_mb.append(memory_mb())
            _wait_until(lambda: there.source._listener.open_associations == 0)
            # The receiver is as it was: one that speaks well is served.
            ae = AE("LAST")
            ae.add_requested_context("1.2.840.10008.1.1")
            association = ae.associate("127.0.0.1", there.source.port, ae_title="LVEDGE")
            tally = there.source._listener.tally
            _wait_until(lambda: tally["opened"] == sum(tally[how] for how in BECAME))
            found.counts = {**tally.as_dict(), **there.source.tally.as_dict()}
            uncounted = tally["opened"] - sum(tally[how] for how in BECAME)
            if uncounted:
                found.faults["connections in no counter"] = uncounted
            if not association.is_established:
                found.faults["the receiver answers nobody any more"] += 1
            else:
                association.release()
    finally:
        threading.excepthook = before
    return found


def _damaged_conversation(drawn: random.Random, whole: Sequence[bytes]) -> bytes:
    """Some of its units damaged, left out, repeated or exchanged."""
    units = list(_units(drawn.choice(whole)))
    for _ in range(drawn.choice((1, 1, 2, 3))):
        k = drawn.randrange(len(units))
        what = drawn.random()
        if what < 0.6:
            unit = bytearray(units[k])
            _damage(drawn, unit, units)
            if drawn.random() < 0.5 and len(unit) >= 6:
                unit[2:6] = struct.pack(">L", len(unit) - 6)  # so that what is inside is read
            units[k] = bytes(unit)
        elif what < 0.7 and len(units) > 1:
            del units[k]
        elif what < 0.85:
            units.insert(k, units[drawn.randrange(len(units))])
        else:
            drawn.shuffle(units)
    return b"".join(units)


def _units(said: bytes) -> Iterator[bytes]:
    while said:
        size = 6 + struct.unpack(">L", said[2:6])[0]
        yield said[:size]
        said = said[size:]


def _say(port: int, said: bytes) -> None:
    """Say it, and hear the receiver out."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), LONGEST_S) as connection:
        connection.settimeout(LONGEST_S)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass


def _wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + LONGEST_S
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)


def memory_mb() -> float:
    """Resident memory of this process, after what nobody refers to has gone."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=18_000, help="damaged files (default: 18000)")
    parser.add_argument("--messages", type=int, default=2_000, help="damaged conversations (default: 2000)")
    parser.add_argument("--seed", type=int, default=1, help="of the damages")
    parser.add_argument("--real", type=Path, help="a folder of real DICOM files to damage, too")
    parser.add_argument("--out", type=Path, help="the JSON to write (default: only print)")
    options = parser.parse_args()
    command = f"python -m benchmarks.fuzz_receiver --files {options.files} --messages {options.messages}"
    head = provenance(f"{command} --seed {options.seed}", MEASURES) if options.out else None
    whole = seeds(options.real)
    found: dict[str, Any] = {"seeds": len(whole), "real_seeds": options.real is not None}
    with TemporaryDirectory() as name:
        found["files"] = fuzz_files(options.files, options.seed, whole).as_json()
        found["messages"] = fuzz_messages(options.messages, options.seed, Path(name)).as_json()
    if head:
        options.out.write_text(json.dumps({**head, "results": found}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    sys.exit(
        any(part["faults"] or not part["memory_is_flat"] for part in (found["files"], found["messages"]))
    )


if __name__ == "__main__":
    main()
