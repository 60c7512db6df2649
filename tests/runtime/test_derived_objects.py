"""Derived objects of pictures as the vendors write them: what they refer to, repeat, and are called."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from absent import error_without
from cine_files import LONG, SIZES, cine, ge, multi_frame, philips, several_beats, siemens
from discs import DiscStepper
from object_room import (
    NOW,
    STATED,
    conformant,
    faults,
    groups_of,
    images_of,
    made,
    masks_of,
    measured,
    pointed,
    saved,
)
from peers import ask, written
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileDataset
from pydicom.tag import Tag
from reception_room import Room

from lvedge.errors import UsageError
from lvedge.frame import Frame, Rejected, SeriesEnd
from lvedge.indices import Label
from lvedge.quality import DEFAULT_QUALITY
from lvedge_runtime.cli import main
from lvedge_runtime.derived import uid
from lvedge_runtime.derived.objects import KINDS, objects_from_series
from lvedge_runtime.derived.series import NoObjectsError, SeriesCollector
from lvedge_runtime.sinks import RunContext, open_sink
from lvedge_runtime.stream import Stream

ED, ES = 0, LONG.index(min(LONG))
MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
VENDORS: dict[str, Callable[[], Iterable[FileDataset]]] = {
    "ge": ge,
    "siemens": siemens,
    "philips": philips,
    "enhanced": lambda: [multi_frame()],
}


def expected_image(vendor: str, data: list[FileDataset], slice_index: int, phase: int) -> tuple[object, ...]:
    """Class, instance and frame number of one picture, by how ``cine_files`` numbers them."""
    if vendor == "enhanced":
        return ENHANCED_MR, data[0].SOPInstanceUID, phase * len(SIZES) + slice_index + 1
    return MR, data[slice_index * len(LONG) + phase].SOPInstanceUID, None


@pytest.mark.parametrize("vendor", VENDORS)
def test_objects_of_a_conformant_series_are_valid_and_refer_to_its_images(
    tmp_path: Path, vendor: str
) -> None:
    data = conformant(VENDORS[vendor]())
    (series,) = measured(tmp_path / "pictures", data)
    images = {
        phase: [expected_image(vendor, data, s, at) for s in range(len(SIZES))]
        for phase, at in (("ED", ED), ("ES", ES))
    }
    for kind in KINDS:
        objects = objects_from_series(series, [kind], NOW)
        for path in saved(tmp_path / kind, objects):
            assert faults(path) == []
    report = dcmread(tmp_path / "sr" / "00.dcm")
    for name, group in groups_of(report).items():
        place = int(name.split()[1])
        phases = ["ED", "ES"] if name.endswith("beat") else [name.split()[2]]
        assert images_of(group) == [images[phase][place] for phase in phases], name
    done = ask("dsrdump", tmp_path / "sr" / "00.dcm")
    assert (done.returncode, "slice 2 ES" in done.stdout) == (0, True), done.stderr
    for number, phase in enumerate(("ED", "ES")):
        masks = dcmread(tmp_path / "seg" / f"{number:02d}.dcm")
        seen = set()
        for group in masks.PerFrameFunctionalGroupsSequence:
            (source,) = group.DerivationImageSequence[0].SourceImageSequence
            position = [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
            at = [m.ed.frame.position_mm for m in series.slices].index(tuple(position))
            assert pointed(source) == images[phase][at]
            seen.add(at)
        assert seen == {0, 1, 2}
    capture = dcmread(tmp_path / "sc" / "00.dcm")
    order = [images[phase][s] for s in range(len(SIZES)) for phase in ("ED", "ES")]
    assert [pointed(item) for item in capture.SourceImageSequence] == order
    assert capture.pixel_array.shape[0] == 1 + len(order)


def test_patient_study_and_accession_are_the_source_s_and_the_series_is_new(tmp_path: Path) -> None:
    data = conformant(ge(PatientName="Müller^Jörg", SpecificCharacterSet="ISO_IR 100"))
    (series,) = measured(tmp_path / "pictures", data)
    objects = objects_from_series(series, now=NOW)
    written_back = [dcmread(path) for path in saved(tmp_path / "objects", objects)]
    kept = ("PatientID", "StudyInstanceUID", *(k for k in STATED if k != "FrameOfReferenceUID"))
    for each in written_back:
        assert {k: str(each[k].value) for k in kept} == {k: str(data[0][k].value) for k in kept}
        assert str(each.PatientName) == "Müller^Jörg"
        assert "not for diagnosis" in each.SeriesDescription
        assert (each.SeriesDate, each.ContentDate, each.ContentTime) == ("20240506", "20240506", "070809")
        assert each.ContributingEquipmentSequence[0].Manufacturer == "GE MEDICAL SYSTEMS"
    by_kind = {"SR": 3001, "SEG": 3002, "OT": 3003}
    assert {each.Modality: each.SeriesNumber for each in written_back} == by_kind
    uids = {each.SeriesInstanceUID for each in written_back}
    assert len(uids) == 3
    assert data[0].SeriesInstanceUID not in uids
    assert len({each.SOPInstanceUID for each in written_back}) == len(written_back) == 4
    for each in written_back:
        if each.Modality != "SR":
            assert each.ImageType[0] == "DERIVED"


def uids_of(*args: object, **said: object) -> list[str]:
    return [each.SOPInstanceUID for each in objects_from_series(*args, **said)]  # type: ignore[arg-type]


def test_made_again_an_object_has_its_uid_and_of_another_reading_another(tmp_path: Path, monkeypatch) -> None:
    data = conformant(ge())
    (series,) = measured(tmp_path / "whole", data)
    (again,) = measured(tmp_path / "elsewhere", reversed(data))
    first = uids_of(series, now=NOW)
    assert uids_of(again) == first
    assert all(re.fullmatch(r"2\.25\.[1-9][0-9]{30,38}", found) for found in first)
    # One phase had not arrived yet; neither end diastole nor end systole.
    (earlier,) = measured(tmp_path / "earlier", data[:3] + data[4:])
    others = [
        uids_of(earlier),
        uids_of(replace(series, bundle_sha256="cd" * 32)),
        uids_of(measured(tmp_path / "third", conformant(ge(PixelSpacing=[1.6, 1.6])))[0]),
    ]
    monkeypatch.setattr(uid, "__version__", "999.0")
    others.append(uids_of(series))
    assert len({found for uids in (first, *others) for found in uids}) == 5 * len(first)


def broken() -> list[FileDataset]:
    """What the headers of sunnybrook are like: dates that do not exist, a frame of reference an image."""
    wrong = {
        "StudyDate": "20120000",
        "PatientBirthDate": "00000000",
        "StudyTime": "2566",
        "PatientSex": "x",
        "StudyInstanceUID": "1.2.826.0.1.08980635",
        "AccessionNumber": "longer than sixteen characters",
    }
    return [
        picture
        for number, each in enumerate(ge())
        for picture in conformant([each], **wrong, FrameOfReferenceUID=f"1.2.3.{number}.077")
    ]


def test_identifiers_stay_and_other_values_that_break_the_standard_are_emptied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (series,) = measured(tmp_path / "pictures", broken())
    caplog.set_level(logging.DEBUG)
    objects = objects_from_series(series, now=NOW)
    said = "left empty in what is derived, as they break the standard: "
    names = "PatientBirthDate, PatientSex, StudyDate, StudyTime"
    assert [record.getMessage() for record in caplog.records] == [f"{series.name}: {said}{names}"]
    paths = saved(tmp_path / "objects", objects)
    assert len(paths) == 1 + 2 * len(SIZES) + 1
    for path in paths:
        with disable_value_validation():
            each = dcmread(path)
            each.decode()
        assert each.StudyInstanceUID == "1.2.826.0.1.08980635"
        assert each.AccessionNumber == "longer than sixteen characters"
        assert [each[name].is_empty for name in names.split(", ")] == [True] * 4
        assert each.PatientID == "4711"
        value = re.compile("Value invalid for this VR|Dicom dataset contains invalid data values")
        assert [fault for fault in faults(path) if not value.search(fault)] == []
        wrong = {re.search(r"<(.*)>", fault)[1] for fault in faults(path) if "<" in fault}  # type: ignore[index]
        assert wrong <= {
            "1.2.826.0.1.08980635",
            "longer than sixteen characters",
            *(f"1.2.3.{k}.077" for k in range(36)),
        }


def test_each_frame_of_reference_has_its_own_segmentation(tmp_path: Path) -> None:
    data = broken()
    objects = made(tmp_path, data, "seg")
    found = [(o.ContentLabel, o.FrameOfReferenceUID, o.InstanceNumber) for o in objects]
    expected = [
        (phase, data[s * len(LONG) + at].FrameOfReferenceUID)
        for phase, at in (("LV_ED", ED), ("LV_ES", ES))
        for s in range(len(SIZES))
    ]
    assert found == [(phase, uid, k) for k, (phase, uid) in enumerate(expected, start=1)]
    assert {o.SeriesInstanceUID for o in objects} == {objects[0].SeriesInstanceUID}
    assert len({o.SOPInstanceUID for o in objects}) == len(objects)


def test_without_a_frame_of_reference_there_is_no_segmentation(tmp_path: Path, caplog) -> None:
    objects = made(tmp_path, conformant(ge(), FrameOfReferenceUID=None), "seg")
    assert objects == []
    assert "no segmentation of images without a place in space" in caplog.text


def test_masks_are_those_of_the_frames(tmp_path: Path) -> None:
    (series,) = measured(tmp_path / "pictures", conformant(siemens()))
    paths = saved(tmp_path / "seg", objects_from_series(series, ["seg"], NOW))
    for path, phase in zip(paths, ("ed", "es"), strict=True):
        instances = [series.picture(getattr(part, phase)).instance_uid for part in series.slices]
        with masks_of(path) as masks:
            pixels = masks.get_pixels_by_source_instance(instances, combine_segments=True)
        for part, labels in zip(series.slices, pixels, strict=True):
            expected = getattr(part, phase).labels()
            assert set(expected.ravel()) == set(Label)
            assert (labels == expected).all()


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"StudyInstanceUID": None}, "its images lack StudyInstanceUID"),
        ({"SOPInstanceUID": ""}, "its images lack SOPInstanceUID"),
        ({"SOPClassUID": "1.3.46.670589.11.0.0.12.1"}, "of another SOP class than MR Image"),
    ],
)
def test_what_nothing_can_refer_to_gives_no_objects(tmp_path: Path, caplog, tags, words) -> None:
    folder = tmp_path / "pictures"
    (series,) = measured(folder, conformant(ge(), **tags))
    with pytest.raises(NoObjectsError, match=words):
        objects_from_series(series)


def test_a_series_whose_files_are_gone_gives_no_objects(tmp_path: Path) -> None:
    (series,) = measured(tmp_path / "pictures", conformant(ge()))
    for path in (tmp_path / "pictures").iterdir():
        path.unlink()
    with pytest.raises(NoObjectsError, match="cannot be read again"):
        objects_from_series(series)


ODD = {
    "PatientName": (b"A^B^C^D^E^F^G", b"=\xe5\xb1\xb1=", b"x" * 200, b"^^^^"),
    "PatientID": (b"", b"y" * 90, b"a\\b\\c", b"\x80\xff"),
    "PatientAge": (b"45", b"045Y\\046Y", b"-01Y", b""),
    "PatientWeight": (b"70,5", b"1e400", b"70\\71", b"nan"),
    "PatientSex": (b"", b"W", b"F\\M", b"female"),
    "PatientBirthDate": (b"", b"19610230", b"1961-02-03", b"unknown"),
    "StudyTime": (b"240000", b"10:15:00", b"", b"1015-1016"),
    "StudyDate": (b"2024.02.29", b"20230229", b"", b"20240101-20240102"),
    "StudyDescription": (b"x" * 500, b"\x1b$B", b"", b"a\\b"),
    "SeriesNumber": (b"-5", b"0", b"99999999999", b"abc"),
    "Manufacturer": (b"", b"z" * 100, b"a\\b", b"\xff"),
    "ReferringPhysicianName": (b"", b"a=b=c=d=e", b"\xff", b"x\\y"),
    "PositionReferenceIndicator": (b"", b"x" * 100, b"a\\b", b"\xff"),
    "SpecificCharacterSet": (b"NONE SUCH", b"ISO_IR 13", b"ISO_IR 192", b""),
    "StudyID": (b"", b"i" * 40, b"a\\b", b"\xff"),
}
"""Values as they stand in a file, four of each element."""


@pytest.mark.parametrize("which", range(4))
def test_odd_values_never_end_a_run(tmp_path: Path, which: int) -> None:
    odd = b""
    for tag, value in sorted((Tag(keyword), values[which]) for keyword, values in ODD.items()):
        even = value + b" " * (len(value) % 2)
        odd += struct.pack("<HH2sH", tag.group, tag.element, dictionary_VR(tag).encode(), len(even)) + even
    folder = tmp_path / "pictures"
    pictures = conformant(cine("1.2.3.44", (1.0,)), **dict.fromkeys(ODD))
    for path in written(folder, pictures).iterdir():
        content = path.read_bytes()
        meta_end = 144 + int.from_bytes(content[140:144], "little")
        path.write_bytes(content[:meta_end] + odd + content[meta_end:])
    (series,) = measured(folder)
    objects = objects_from_series(series, now=NOW)
    assert [o.Modality for o in objects] == ["SR", "SEG", "SEG", "OT"]
    for path in saved(tmp_path / "objects", objects):
        with disable_value_validation():
            again = dcmread(path)
            assert again.StudyInstanceUID == "1.2.3.44.0"
            assert which != 1 or (again.PatientID, again.StudyID) == ("y" * 90, "i" * 40)
            assert again.get("PatientBirthDate", "") == ""
            assert 1000 < again.SeriesNumber < 2**31


def test_a_receiver_s_series_gives_objects_when_it_is_whole_and_others_when_completed(tmp_path: Path) -> None:
    data = conformant(ge())
    with Room() as room:
        context = RunContext("discs", "discs", "1", origin=lambda name: room.reception.origins[name])
        collector = SeriesCollector(context)

        def objects_of(items: Iterable[Frame | Rejected | SeriesEnd]) -> list[str]:
            stream = Stream(items, DiscStepper(), DEFAULT_QUALITY, None)
            found = [series for item in stream if (series := collector.take(item)) is not None]
            return [uid for series in found for uid in uids_of(series)]

        # Nothing but the end of the series tells that it is over: no other follows, the receiver goes on.
        assert objects_of(room.send(*data[:3], *data[4:])) == []
        first = objects_of(room.reception.complete(room.now + 60.0))
        assert objects_of(room.send(data[3])) == []
        then = objects_of(room.reception.complete(room.now + 60.0))
        assert objects_of(room.reception.complete(room.now + 120.0)) == []
    assert len(first) == len(then) == 4
    assert not set(first) & set(then)
    # The same instances in a folder give the same objects.
    (series,) = measured(tmp_path / "pictures", data, bundle_sha256="")
    assert uids_of(series) == then


def test_only_a_whole_beat_that_was_measured_closed_gives_objects(tmp_path: Path) -> None:
    assert measured(tmp_path / "filmed", conformant(several_beats())) == []


def test_a_source_that_is_not_dicom_is_refused_before_anything_is_measured(tmp_path: Path, capsys) -> None:
    for scheme in ("dicomsr", "dicomseg", "dicomsc"):
        with pytest.raises(UsageError, match=f"{scheme}: refers to DICOM images, and npz:a.npz has none"):
            open_sink(f"{scheme}:{tmp_path}/out", RunContext("e", "b", "1", source="npz:a.npz"))
    assert not (tmp_path / "out").exists()


def test_a_missing_package_names_the_extra() -> None:
    code = (
        "from lvedge_runtime.sinks import RunContext, open_sink; "
        "open_sink('dicomsr:x', RunContext('e', 'b', '1', origin=lambda _: None))"
    )
    assert "pip install 'lvedge[dicom-objects]'" in error_without("highdicom", code)


def test_the_command_tells_of_a_series_without_objects_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bundle: object
) -> None:
    caplog.set_level(logging.WARNING)
    folder = written(tmp_path / "pictures", conformant(ge(), StudyInstanceUID=None))
    sinks = ["--sink", f"dicomsr:{tmp_path}/out", "--sink", f"jsonl:{tmp_path}/out.jsonl"]
    assert main(["--stream", f"dicom:{folder}", *sinks]) == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == len(SIZES) * (len(LONG) + 1)
    assert list((tmp_path / "out").iterdir()) == []
