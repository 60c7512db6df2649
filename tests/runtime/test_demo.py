"""The demo's DICOM series: what pydicom reads back is the phantom, and the tags are those of an MR cine."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from lvedge_runtime.demo import dataset_from_phantom, demo_phantoms, stored_pixels, write_demo, write_series


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[pydicom.FileDataset]:
    folder = write_demo(tmp_path_factory.mktemp("demo") / "made" / "on the way")
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def test_pixels_come_back_as_drawn(written: list[pydicom.FileDataset]) -> None:
    phantoms = demo_phantoms()
    assert len(written) == 60
    for number in (0, 12, 25, 59):
        phantom, frame = phantoms[number // 20], number % 20
        assert np.array_equal(written[number].pixel_array, stored_pixels(phantom, frame))
        np.testing.assert_allclose(written[number].pixel_array, phantom.pixels(frame), atol=0.5)


def test_tags_say_where_and_when(written: list[pydicom.FileDataset]) -> None:
    phantoms = demo_phantoms()
    for number, ds in enumerate(written):
        phantom, frame = phantoms[number // 20], number % 20
        assert ds.InstanceNumber == number + 1
        assert ds.TriggerTime == pytest.approx(phantom.heart.times_ms[frame])
        np.testing.assert_allclose(ds.ImagePositionPatient, phantom.position_mm, atol=1e-6)
        np.testing.assert_allclose(
            ds.ImageOrientationPatient, [*phantom.orientation.row, *phantom.orientation.column], atol=1e-7
        )
        assert tuple(ds.PixelSpacing) == phantom.placement.spacing_mm
        assert (ds.Rows, ds.Columns) == phantom.placement.shape
    assert [ds.SliceLocation for ds in written[::20]] == [-10.0, 0.0, 10.0]
    first = written[0]
    assert (first.CardiacNumberOfImages, first.HeartRate, first.NominalInterval) == (20, 66, 909)
    assert (str(first.PatientName), first.PatientSex, first.PatientAge) == ("LVEDGE^PHANTOM", "F", "052Y")
    assert (first.SliceThickness, first.SpacingBetweenSlices, first.Modality) == (8, 10, "MR")


def test_uids_are_valid_shared_and_unique(written: list[pydicom.FileDataset]) -> None:
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        values = {ds[keyword].value for ds in written}
        assert len(values) == 1
        assert UID(values.pop()).is_valid
    instances = [ds.SOPInstanceUID for ds in written]
    assert len(set(instances)) == len(instances)
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in instances)
    for ds in written:
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID == MRImageStorage
        assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_every_file_is_what_pydicom_itself_would_write(tmp_path: Path) -> None:
    phantoms = demo_phantoms(slices=2, phases=3)
    files = sorted(write_series(tmp_path, phantoms).iterdir())
    for number, path in enumerate(files):
        expected = BytesIO()
        ds = dataset_from_phantom(phantoms[number // 3], number % 3, number + 1)
        pydicom.dcmwrite(expected, ds, enforce_file_format=True)
        assert path.read_bytes() == expected.getvalue()


def test_values_obey_their_representation(written: list[pydicom.FileDataset]) -> None:
    with pydicom.config.disable_value_validation():
        raw = [list(ds) for ds in written[::20]]
    for element in (element for ds in raw for element in ds if element.VR not in ("OW", "US")):
        values = element.value if element.VM > 1 else [element.value]
        for value in values:
            pydicom.valuerep.validate_value(element.VR, str(value), pydicom.config.RAISE)


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    one = write_demo(tmp_path / "one", slices=1, phases=2)
    two = write_demo(tmp_path / "two", slices=1, phases=2)
    assert sorted(p.name for p in one.iterdir()) == ["IM0001.dcm", "IM0002.dcm"]
    assert [p.read_bytes() for p in sorted(one.iterdir())] == [p.read_bytes() for p in sorted(two.iterdir())]


def test_an_empty_demo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one slice"):
        write_demo(tmp_path, slices=0)
    with pytest.raises(ValueError, match="at least one slice"):
        write_series(tmp_path, ())
    with pytest.raises(ValueError, match="at least one frame"):
        write_demo(tmp_path, phases=0)
