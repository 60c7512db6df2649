from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import (
    COLUMN,
    NORMAL,
    ROW,
    SERIES_UID,
    dataset,
    enhanced,
    picture,
    places,
    read_dicom,
    write,
    write_cine,
    write_image,
)
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from lvedge.errors import SourceError, UsageError
from lvedge.frame import Frame, Handedness, Orientation, SeriesEnd, Subject
from lvedge_runtime.sources import open_source


def test_a_stack_is_sorted_by_position_and_trigger_time(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=3, phases=4)
    frames, rejected = read_dicom(tmp_path)
    assert rejected == []
    assert places(frames) == [(s, t) for s in range(3) for t in range(4)]
    for frame in frames:
        expected = picture(seed=100 * frame.slice_index + frame.frame_index).astype(np.float32)
        np.testing.assert_array_equal(frame.pixels, expected)
        assert frame.pixels.dtype == np.float32
        assert frame.time_ms == 20.0 + 30.0 * frame.frame_index
        assert (frame.cine_length, frame.slice_count) == (4, 3)
        np.testing.assert_allclose(frame.position_mm or (), [1, 2, 3] + 8.0 * frame.slice_index * NORMAL)
    first = frames[0]
    assert first.spacing_mm == (1.5, 1.25)
    assert first.orientation == Orientation(ROW, COLUMN)
    assert first.subject == Subject(sex="F", age_years=45.0)
    assert first.spacing_source == "tags"
    assert first.origin == "12.dcm"


def test_the_name_of_a_series_says_nothing_of_the_person(tmp_path: Path) -> None:
    write_image(tmp_path / "Doe.dcm", SeriesDescription="Doe Jane")
    frames, _ = read_dicom(tmp_path)
    with open_source(f"dicom:{tmp_path}") as source:
        assert source.geometry(frames[0].series).frames == 1
    number, digest = frames[0].series.split("_")
    assert number == "3"
    assert len(digest) == 8
    assert "Doe" not in str(frames[0].series)


def test_phases_follow_the_temporal_position_where_there_is_no_trigger_time(tmp_path: Path) -> None:
    for number, temporal in ((1, 3), (2, 1), (3, 2)):
        write_image(tmp_path / f"{number}.dcm", InstanceNumber=number, TemporalPositionIdentifier=temporal)
    frames, rejected = read_dicom(tmp_path)
    assert rejected == []
    assert [frame.origin for frame in frames] == ["2.dcm", "3.dcm", "1.dcm"]
    assert {frame.time_ms for frame in frames} == {None}


@pytest.mark.parametrize("times", [(None, None, None), (0, 0, 0), (10, None, 20)])
def test_phases_follow_the_instance_number_where_times_do_not_tell(
    tmp_path: Path, times: tuple[Any, ...]
) -> None:
    for number, time in zip((12, 2, 7), times, strict=True):
        write_image(tmp_path / f"{number}.dcm", InstanceNumber=number, TriggerTime=time)
    frames, rejected = read_dicom(tmp_path)
    assert rejected == []
    assert [frame.origin for frame in frames] == ["2.dcm", "7.dcm", "12.dcm"]


def test_slices_may_have_unequal_numbers_of_phases(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=2, phases=3)
    (tmp_path / "2.dcm").unlink()  # slice 1, phase 1
    frames, rejected = read_dicom(tmp_path)
    assert rejected == []
    assert places(frames) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert [frame.cine_length for frame in frames] == [3, 3, 3, 2, 2]


def test_two_series_in_a_folder_are_measured_each_on_its_own(tmp_path: Path) -> None:
    write_cine(tmp_path / "a", slices=1, phases=2, SeriesNumber=12, SeriesInstanceUID="1.2.3")
    for k, file in enumerate(sorted((tmp_path / "a").iterdir())):
        file.rename(tmp_path / f"mixed{k}.dcm")
    for number in (1, 2):
        write_image(
            tmp_path / f"x{number}", SeriesNumber=4, SOPInstanceUID=f"1.9.{number}", TriggerTime=number
        )
    frames, rejected = read_dicom(tmp_path)
    assert rejected == []
    assert [frame.series.split("_")[0] for frame in frames] == ["4", "4", "12", "12"]
    assert len({frame.series for frame in frames}) == 2
    only, _ = read_dicom(tmp_path, series="1.2.3")
    assert [frame.series.split("_")[0] for frame in only] == ["12", "12"]
    with pytest.raises(SourceError, match="no series matches 'nothing'; there are 4_"):
        read_dicom(tmp_path, series="nothing")


def test_pictures_of_another_direction_are_a_stack_of_their_own(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=2, phases=2)
    write_image(tmp_path / "long.dcm", InstanceNumber=50, ImageOrientationPatient=[*COLUMN, *ROW])
    frames, rejected = read_dicom(tmp_path)
    assert rejected == []
    assert [frame.series.endswith("-2") for frame in frames] == [False] * 4 + [True]
    assert [frame.slice_count for frame in frames] == [2, 2, 2, 2, 1]


def test_the_geometry_of_a_stack_is_ras(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=3, phases=2)
    with open_source(f"dicom:{tmp_path}") as source:
        frames = [item for item in source if isinstance(item, Frame)]
        geometry = source.geometry(frames[0].series)
        with pytest.raises(SourceError, match="no series 'other'"):
            source.geometry("other")
    assert (geometry.shape, geometry.frames) == ((34, 30, 3), 2)
    np.testing.assert_allclose(geometry.spacing_mm, (1.25, 1.5, 8.0), atol=1e-6)
    lps = np.asarray(frames[-1].position_mm) + 5 * 1.25 * np.asarray(ROW) + 7 * 1.5 * np.asarray(COLUMN)
    np.testing.assert_allclose(geometry.affine @ (5, 7, 2, 1), [-lps[0], -lps[1], lps[2], 1], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        (kind, syntax)
        for syntax in (None, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless)
        for kind in ("uint8", "int16", "uint16", "int32")
        if (kind, syntax) != ("int32", RLELossless)  # RLE holds 8 and 16 bits
    ],
    ids=str,
)
def test_values_survive_every_encoding(tmp_path: Path, kind: str, syntax: Any) -> None:
    pixels = picture(kind=kind)
    if np.dtype(kind).kind == "i":
        pixels = pixels - 500
    data = dataset(pixels, RescaleSlope=0.5, RescaleIntercept=-3, TriggerTime=12.5)
    if syntax is RLELossless:
        data.compress(RLELossless)
    elif syntax is not None:
        data.file_meta.TransferSyntaxUID = syntax
    frames, rejected = read_dicom(write(tmp_path / "1.dcm", data))
    assert rejected == []
    np.testing.assert_array_equal(frames[0].pixels, pixels.astype(np.float32) * 0.5 - 3)
    assert frames[0].time_ms == 12.5


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    pixels = picture()
    data = dataset(pixels, ExplicitVRBigEndian, PixelData=pixels.astype(">u2").tobytes())
    data.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
    frames, rejected = read_dicom(write(tmp_path / "1.dcm", data))
    assert rejected == []
    np.testing.assert_array_equal(frames[0].pixels, pixels.astype(np.float32))


def test_bits_above_the_stored_ones_are_no_signal(tmp_path: Path) -> None:
    pixels = picture() & 0x0FFF
    write_image(tmp_path / "u.dcm", pixels | 0x8000, BitsStored=12, HighBit=11, InstanceNumber=1)
    signed = (pixels.astype(np.int32) - 2048).astype(np.int16)
    stored = (signed.view(np.uint16) & 0x0FFF).view(np.int16)
    write_image(tmp_path / "s.dcm", stored, BitsStored=12, HighBit=11, InstanceNumber=2)
    frames, _ = read_dicom(tmp_path)
    np.testing.assert_array_equal(frames[0].pixels, pixels)
    np.testing.assert_array_equal(frames[1].pixels, signed)


def test_inverted_grey_values_are_turned(tmp_path: Path) -> None:
    pixels = picture()
    path = write_image(
        tmp_path / "1.dcm", pixels, PhotometricInterpretation="MONOCHROME1", BitsStored=10, HighBit=9
    )
    frames, _ = read_dicom(path)
    np.testing.assert_array_equal(frames[0].pixels, 1023.0 - (pixels & 1023))


def test_the_user_may_say_the_spacing_and_the_subject(tmp_path: Path) -> None:
    write_image(tmp_path / "1.dcm", PixelSpacing=None, PatientAge="45", PatientSex="O")
    frames, rejected = read_dicom(
        tmp_path, spacing_mm=(1.4, 1.3), subject=Subject(body_surface_m2=1.8, sex="M")
    )
    assert rejected == []
    assert frames[0].spacing_mm == (1.4, 1.3)
    assert frames[0].spacing_source == "user"
    assert frames[0].subject == Subject(sex="M", age_years=None, body_surface_m2=1.8)


def test_body_surface_comes_from_height_and_weight(tmp_path: Path) -> None:
    frames, _ = read_dicom(
        write_image(tmp_path / "1.dcm", PatientSize=1.8, PatientWeight=72, PatientAge="006M")
    )
    assert frames[0].subject == Subject(sex="F", age_years=0.5, body_surface_m2=1.897)


def test_only_the_slices_asked_for_are_read(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=3, phases=2)
    frames, _ = read_dicom(tmp_path, slices=frozenset({1}))
    assert places(frames) == [(1, 0), (1, 1)]
    assert frames[0].slice_count == 3


def test_an_enhanced_object_is_read_by_its_functional_groups(tmp_path: Path) -> None:
    pixels = np.stack([picture(seed=k) for k in range(6)])
    frames, rejected = read_dicom(write(tmp_path / "1.dcm", enhanced(pixels, slices=2, phases=3)))
    assert rejected == []
    assert places(frames) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [frame.time_ms for frame in frames] == [0.0, 30.0, 60.0] * 2
    assert frames[0].orientation == Orientation(ROW, COLUMN)
    assert frames[0].spacing_mm == (1.5, 1.25)
    assert frames[4].origin == "1.dcm frame 3"
    np.testing.assert_allclose(frames[4].position_mm or (), 8.0 * NORMAL)
    np.testing.assert_array_equal(frames[4].pixels, 2.0 * pixels[3] + 1.0)


def test_a_multi_frame_picture_without_groups_is_one_slice(tmp_path: Path) -> None:
    pixels = np.stack([picture(seed=k) for k in range(3)])
    data = dataset(pixels[0], NumberOfFrames=3, PixelData=pixels.tobytes())
    frames, _ = read_dicom(write(tmp_path / "1.dcm", data))
    assert places(frames) == [(0, 0), (0, 1), (0, 2)]
    np.testing.assert_array_equal(frames[2].pixels, pixels[2])
    data.compress(RLELossless)
    again, _ = read_dicom(write(tmp_path / "2.dcm", data))
    np.testing.assert_array_equal(again[2].pixels, pixels[2])


def test_sequences_of_undefined_length_are_skipped(tmp_path: Path) -> None:
    data = dataset(TriggerTime=7)
    group = enhanced(np.stack([picture()]), 1, 1).PerFrameFunctionalGroupsSequence
    group.is_undefined_length = True
    for item in group:
        item.is_undefined_length_sequence_item = True
    data.ReferencedImageSequence = group
    data["ReferencedImageSequence"].is_undefined_length = True
    frames, rejected = read_dicom(write(tmp_path / "1.dcm", data))
    assert rejected == []
    assert frames[0].time_ms == 7.0
    np.testing.assert_array_equal(frames[0].pixels, picture())


def test_a_series_without_positions_is_one_slice(tmp_path: Path) -> None:
    for number in (2, 1):
        tags = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "TriggerTime": 10 * number}
        write_image(tmp_path / f"{number}.dcm", InstanceNumber=number, **tags)
    frames, _ = read_dicom(tmp_path)
    assert places(frames) == [(0, 0), (0, 1)]
    assert frames[0].orientation is None
    assert SERIES_UID not in frames[0].series


def test_the_demo_is_read_back_and_removed() -> None:
    with open_source("demo:") as source:
        items = list(source)
        folder = Path(source.path)  # type: ignore[attr-defined]
        assert folder.exists()
    assert not folder.exists()
    frames = [item for item in items if isinstance(item, Frame)]
    assert items == [*frames, SeriesEnd(frames[0].series)]
    assert frames[0].handedness is Handedness.RADIOLOGICAL
    length = frames[0].cine_length
    assert length is not None
    assert length >= 12
    with pytest.raises(UsageError, match="the demo takes no path"):
        open_source("demo:folder")
