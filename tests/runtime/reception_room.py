"""A receiver without a network: contents are taken in at stated times, and what comes is measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cine_files import content_of
from discs import DiscStepper
from pydicom.dataset import FileDataset

from lvedge.frame import Frame, Given, Receipt, Rejected, SeriesEnd
from lvedge.quality import DEFAULT_QUALITY
from lvedge_runtime.receiver.intake import Intake
from lvedge_runtime.receiver.reception import Reception
from lvedge_runtime.receiver.setting import Limits, Settings
from lvedge_runtime.receiver.shelf import Shelf
from lvedge_runtime.sinks.record import Record, record_of
from lvedge_runtime.sources import SourceOptions, open_source
from lvedge_runtime.stream import Stream


class Room:
    """An intake and a reception with a clock that stands where it is put."""

    def __init__(
        self, options: SourceOptions | None = None, limits: Limits | None = None, **said: Any
    ) -> None:
        limits = limits or Limits()
        self.settings = Settings(limits=limits, **said)
        self.now = 100.0
        self.shelf = Shelf(limits.kept_bytes, limits.kept_pictures)
        given = options or SourceOptions()
        self.intake = Intake(self.settings, given, self.shelf, lambda: self.now, held_up_s=0.01)
        self.reception = Reception(self.settings, given, self.shelf)

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_error: object) -> None:
        self.shelf.close()

    def send(self, *data: FileDataset) -> list[Frame | Rejected]:
        """What comes out while these are taken in, one after the other and at once."""
        items: list[Frame | Rejected] = []
        for each in data:
            assert self.intake.take(content_of(each)) == 0
            while not self.intake.queue.empty():
                items += self.reception.take(self.intake.queue.get())
        return items

    def wait(self, seconds: float) -> list[Frame | Rejected]:
        """What comes out after so many quiet seconds."""
        self.now += seconds
        items = list(self.reception.step_over(self.now))
        while more := list(self.reception.complete(self.now)):
            items += without_ends(more)
        self.reception.forget(self.now)
        return items


def received(data: Iterable[FileDataset], **said: Any) -> list[Frame | Rejected]:
    """All that comes of instances sent one after the other."""
    with Room(**said) as room:
        items = room.send(*data)
        return items + room.wait(60.0)


def in_folder(folder: Path, data: Iterable[FileDataset]) -> list[Frame | Rejected]:
    """What a folder of the same instances gives, in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(data, start=1):
        (folder / f"{number}.dcm").write_bytes(content_of(each))
    with open_source(f"dicom:{folder}", SourceOptions()) as source:
        return without_ends(source)


def without_ends(items: Iterable[Given]) -> list[Frame | Rejected]:
    """The frames and refusals."""
    return [item for item in items if not isinstance(item, SeriesEnd | Receipt)]


def results(items: Iterable[Frame | Rejected], provisional: bool = False) -> list[Record]:
    """The measured frames and beats, without times that the clock took."""
    records = []
    for item in Stream(items, DiscStepper(), DEFAULT_QUALITY, None):
        record = record_of(item, "discs", "discs 1")
        if "rejected" not in record and record.get("cycle", record).get("provisional", False) is provisional:
            record.pop("latency_ms", None)
            records.append(record)
    return records


def by_series(records: Iterable[Record]) -> list[Record]:
    """The records of each series together, in their own order."""
    return sorted(records, key=lambda line: str(line.get("cycle", line)["series"]))
