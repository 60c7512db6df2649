"""Objects in a real archive: stored by dcmtk, kept by Orthanc, read back with the JSON lines' numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from object_room import faults, groups_of, values_of
from orthanc import AE_TITLE, Orthanc, orthanc
from peers import ask
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from test_derived_report import Run, expected_of_run, read_run, run_of
from test_receiver_command import listening

from lvedge.bundle import Bundle

REPORT, MASKS, PICTURES = (
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.7.4",
)


def store(archive: Orthanc, files: Sequence[Path]) -> None:
    """Send files by dcmtk's storescu."""
    done = ask("storescu", "-R", "-aec", AE_TITLE, "127.0.0.1", archive.port, *files)
    assert (done.returncode, done.stderr) == (0, "")


def kept_by(archive: Orthanc) -> dict[str, list[Dataset]]:
    """What the archive gives back, by SOP class."""
    kept: dict[str, list[Dataset]] = {}
    for content in archive.contents().values():
        data = dcmread(DicomBytesIO(content))
        kept.setdefault(str(data.SOPClassUID), []).append(data)
    return kept


def check_kept(archive: Orthanc, run: Run) -> dict[str, list[Dataset]]:
    """Store a run's objects twice and hold what comes back against its files and its JSON lines."""
    files = [path for kind in ("sr", "seg", "sc") for path in run.files(kind)]
    store(archive, files)
    store(archive, files)
    kept = kept_by(archive)
    assert {uid: len(objects) for uid, objects in kept.items()} == {
        REPORT: 1,
        MASKS: len(run.files("seg")),
        PICTURES: 1,
    }
    (report,) = kept[REPORT]
    assert {name: values_of(group) for name, group in groups_of(report).items()} == expected_of_run(run)
    sent = {each.SOPInstanceUID: each for each in map(dcmread, files)}
    for each in (*kept[MASKS], *kept[PICTURES]):
        np.testing.assert_array_equal(each.pixel_array, sent[each.SOPInstanceUID].pixel_array)
    # One study of one patient, a series each.
    assert [len(archive.ask(f"/{level}")) for level in ("patients", "studies", "series")] == [1, 1, 3]
    return kept


def test_an_archive_keeps_the_objects_of_the_phantom(tmp_path: Path, bundle: Bundle) -> None:
    with orthanc(tmp_path / "archive") as archive:
        run = run_of(tmp_path, "demo:")
        check_kept(archive, run)


@pytest.fixture
def lenient() -> Iterator[None]:
    """Values that break the standard are read as they are."""
    with disable_value_validation():
        yield


@pytest.mark.real
@pytest.mark.usefixtures("lenient")
def test_a_whole_stack_from_the_scanner_to_the_archive(
    tmp_path: Path, data_root: Path, bundle: Bundle
) -> None:
    stack = sorted((data_root / "sunnybrook" / "SCD0000101").iterdir())
    with orthanc(tmp_path / "archive") as archive:
        sinks = [
            f"jsonl:{tmp_path}/out.jsonl",
            *(f"dicom{k}:{tmp_path}/out" for k in ("sr", "seg", "sc")),
            f"store://127.0.0.1:{archive.port}?called={AE_TITLE}&calling=LVEDGE&sc=true",
        ]
        options = [part for sink in sinks for part in ("--sink", sink)]
        journal = "[journal]\nfolder = 'state'\n"
        with listening(tmp_path, *options, quiet_s=10.0, idle_s=20.0, more_settings=journal) as running:
            running.send(stack)
            assert running.process.wait(400) == 0
            said = running.said.read_text("utf-8")
        run = read_run(tmp_path)
        files = [path for kind in ("sr", "seg", "sc") for path in run.files(kind)]
        # What the box has sent by itself are the objects that it has written into the folders.
        assert set(archive.contents()) == {str(dcmread(path).SOPInstanceUID) for path in files}
        kept = check_kept(archive, run)
        store(archive, stack[:1])
        # The pictures that they were made from lie in the same study.
        assert [len(archive.ask(f"/{level}")) for level in ("patients", "studies", "series")] == [1, 1, 4]
    told = [line for line in said.splitlines() if line.startswith("lvedge-run: ")]
    # Dates that do not exist are emptied and told, and nothing is told of the person.
    emptied = "left empty in what is derived, as they break the standard: PatientBirthDate, StudyDate"
    assert sum(line.endswith(emptied) for line in told) == len(sinks) - 1
    source = dcmread(stack[0])
    names = {str(source[k].value) for k in ("PatientName", "PatientID", "StudyInstanceUID", "SOPInstanceUID")}
    assert [name for name in names if name and name in said] == []
    assert len(expected_of_run(run)) == 3 * 9 + 1
    # A frame of reference an image: an object an image.
    assert len(kept[MASKS]) == 18
    for kind in ("sr", "seg", "sc"):
        for path in run.files(kind):
            check_only_repeated_faults(path, stack)
    # The stack's UIDs break the standard and are repeated: dsrdump has to be told to bear with them.
    for path in run.files("sr"):
        done = ask("dsrdump", "--invalid-item-value", path)
        assert (done.returncode, "slice 6 ED" in done.stdout) == (0, True), done.stderr


def check_only_repeated_faults(path: Path, stack: Sequence[Path]) -> None:
    """Nothing is wrong with an object but UIDs that are repeated from its source."""
    found = set()
    for fault in faults(path):
        if fault == "Error - Dicom dataset contains invalid data values for Value Representations":
            continue
        assert "UI [1]" in fault, fault
        found.add(re.search(r"<(.*)>", fault)[1])  # type: ignore[index]
    known = set()
    for file in stack:
        data = dcmread(file, stop_before_pixels=True)
        known |= {str(data[k].value) for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
        known.add(str(data.FrameOfReferenceUID))
    assert found <= known
