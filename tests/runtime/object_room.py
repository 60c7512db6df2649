"""Objects made in the tests, and how they are read back: without highdicom where numbers are compared."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from discs import DiscStepper
from peers import FOLDERS, written
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileDataset

from lvedge.quality import DEFAULT_QUALITY
from lvedge_runtime.derived.objects import objects_from_series
from lvedge_runtime.derived.series import MeasuredSeries, SeriesCollector
from lvedge_runtime.sinks import RunContext
from lvedge_runtime.sources import SourceOptions, open_source
from lvedge_runtime.stream import Stream

NOW = datetime(2024, 5, 6, 7, 8, 9)
STATED = {
    "PatientBirthDate": "19610203",
    "StudyDate": "20240229",
    "StudyTime": "101500.25",
    "StudyID": "S1",
    "AccessionNumber": "ACC77",
    "ReferringPhysicianName": "Roe^Richard",
    "StudyDescription": "Heart",
    "FrameOfReferenceUID": "1.2.3.99",
}
"""What the pictures of ``cine_files`` lack of a conformant image, as far as objects take it over."""


def conformant(data: Iterable[FileDataset], **tags: Any) -> list[FileDataset]:
    """The pictures with all that objects take over, valid or not; a tag of None is left out."""
    pictures = list(data)
    with disable_value_validation():
        for picture in pictures:
            for keyword, value in {**STATED, **tags}.items():
                picture.pop(keyword, None)
                if value is not None:
                    setattr(picture, keyword, value)
    return pictures


def measured(folder: Path, data: Iterable[FileDataset] = (), **context: Any) -> list[MeasuredSeries]:
    """The series of a folder as discs; the pictures are written there first."""
    written(folder, data)
    said = {"bundle_sha256": "ab" * 32, **context}
    with open_source(f"dicom:{folder}", SourceOptions()) as source:
        collector = SeriesCollector(RunContext("discs", "discs", "1", origin=source.origin, **said))
        stream = Stream(source, DiscStepper(), DEFAULT_QUALITY, None)
        return [series for item in stream if (series := collector.take(item)) is not None]


def made(folder: Path, data: Iterable[FileDataset], kind: str) -> list[Dataset]:
    """The objects of one kind of one series."""
    (series,) = measured(folder / "pictures", data)
    return objects_from_series(series, [kind], NOW)


def saved(folder: Path, objects: Iterable[Dataset]) -> list[Path]:
    """The objects as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, each in enumerate(objects):
        paths.append(folder / f"{number:02d}.dcm")
        each.save_as(paths[-1], enforce_file_format=True)
    return paths


def faults(path: Path) -> list[str]:
    """What ``dciodvfy`` of dicom3tools finds wrong with a file."""
    program = shutil.which("dciodvfy", path=FOLDERS)
    if program is None:
        pytest.skip("needs dciodvfy: apt-get install dicom3tools")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=120, check=False)
    said = (done.stdout + done.stderr).splitlines()
    assert said, f"{program} said nothing of {path}"
    return [line for line in said if line.startswith("Error")]


def groups_of(report: Path | Dataset) -> dict[str, Dataset]:
    """The measurement groups of a report by their tracking identifier."""
    data = report if isinstance(report, Dataset) else dcmread(report)
    (container,) = [item for item in data.ContentSequence if code_of(item) == "126010"]
    groups = list(container.ContentSequence)
    assert {code_of(group) for group in groups} == {"125007"}
    named = {next(i.TextValue for i in g.ContentSequence if code_of(i) == "112039"): g for g in groups}
    assert len(named) == len(groups)
    return named


def values_of(group: Dataset) -> list[tuple[str, tuple[str, ...], str, float]]:
    """The numbers of a group in their order: code, codes of the finding sites, unit, value."""
    values = []
    for item in group.ContentSequence:
        if item.ValueType != "NUM":
            continue
        (measured_value,) = item.MeasuredValueSequence
        sites = tuple(
            child.ConceptCodeSequence[0].CodeValue
            for child in item.get("ContentSequence", ())
            if code_of(child) == "363698007"
        )
        unit = measured_value.MeasurementUnitsCodeSequence[0]
        assert unit.CodingSchemeDesignator == "UCUM"
        values.append((code_of(item), sites, unit.CodeValue, float(measured_value.NumericValue)))
    return values


def images_of(group: Dataset) -> list[tuple[str, str, int | None]]:
    """What a group was measured on: class, instance, frame number."""
    images = [i.ReferencedSOPSequence[0] for i in group.ContentSequence if i.ValueType == "IMAGE"]
    return [pointed(image) for image in images]


def pointed(item: Dataset) -> tuple[str, str, int | None]:
    """Class, instance and frame number that an item refers to."""
    frame = item.get("ReferencedFrameNumber")
    number = None if frame is None else int(frame)
    return item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID, number


def texts_of(item: Dataset) -> dict[str, str]:
    """The texts directly below an item, by their codes."""
    return {code_of(i): i.TextValue for i in item.get("ContentSequence", ()) if i.ValueType == "TEXT"}


def code_of(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


@contextmanager
def masks_of(path: Path) -> Iterator[Any]:
    """A segmentation as highdicom reads it, which leaves a table open in memory."""
    from highdicom.seg import segread

    masks = segread(path)
    with closing(masks._db_con):
        yield masks
