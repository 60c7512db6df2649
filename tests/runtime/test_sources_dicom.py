from __future__ import annotations

import logging
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
    write,
    write_cine,
    write_image,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from lvedge.errors import SourceError, UsageError
from lvedge.frame import Frame, Handedness, Orientation, Rejected, Subject
from lvedge_runtime.sources import SourceOptions, open_source, spacing_from_text


def read(path: Path, **options: Any) -> tuple[list[Frame], list[tuple[str, str]]]:
    """All frames, and of all rejected items name and reason."""
    with open_source(f"dicom:{path}", SourceOptions(**options)) as source:
        items = list(source)
    frames = [item for item in items if isinstance(item, Frame)]
    return frames, [(item.item, item.reason) for item in items if isinstance(item, Rejected)]


def places(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(frame.slice_index, frame.frame_index) for frame in frames]


def test_a_stack_is_sorted_by_position_and_trigger_time(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=3, phases=4)
    frames, rejected = read(tmp_path)
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
    frames, _ = read(tmp_path)
    with open_source(f"dicom:{tmp_path}") as source:
        assert source.geometry(frames[0].series).frames == 1
    number, digest = frames[0].series.split("_")
    assert number == "3"
    assert len(digest) == 8
    assert "Doe" not in str(frames[0].series)


def test_phases_follow_the_temporal_position_where_there_is_no_trigger_time(tmp_path: Path) -> None:
    for number, temporal in ((1, 3), (2, 1), (3, 2)):
        write_image(tmp_path / f"{number}.dcm", InstanceNumber=number, TemporalPositionIdentifier=temporal)
    frames, rejected = read(tmp_path)
    assert rejected == []
    assert [frame.origin for frame in frames] == ["2.dcm", "3.dcm", "1.dcm"]
    assert {frame.time_ms for frame in frames} == {None}


@pytest.mark.parametrize("times", [(None, None, None), (0, 0, 0), (10, None, 20)])
def test_phases_follow_the_instance_number_where_times_do_not_tell(
    tmp_path: Path, times: tuple[Any, ...]
) -> None:
    for number, time in zip((12, 2, 7), times, strict=True):
        write_image(tmp_path / f"{number}.dcm", InstanceNumber=number, TriggerTime=time)
    frames, rejected = read(tmp_path)
    assert rejected == []
    assert [frame.origin for frame in frames] == ["2.dcm", "7.dcm", "12.dcm"]


def test_slices_may_have_unequal_numbers_of_phases(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=2, phases=3)
    (tmp_path / "2.dcm").unlink()  # slice 1, phase 1
    frames, rejected = read(tmp_path)
    assert rejected == []
    assert places(frames) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert [frame.cine_length for frame in frames] == [3, 3, 3, 2, 2]


def test_copies_are_rejected_by_name(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=1, phases=2)
    (tmp_path / "9.dcm").write_bytes((tmp_path / "1.dcm").read_bytes())
    write_image(tmp_path / "8.dcm", InstanceNumber=8, TriggerTime=20.0, ImagePositionPatient=[1.1, 2.0, 3.0])
    frames, rejected = read(tmp_path)
    assert places(frames) == [(0, 0), (0, 1)]
    assert rejected == [
        ("9.dcm", "a copy of 1.dcm (same SOPInstanceUID)"),
        ("8.dcm", "same slice and trigger time as 2.dcm"),
    ]


def test_two_series_in_a_folder_are_measured_each_on_its_own(tmp_path: Path) -> None:
    write_cine(tmp_path / "a", slices=1, phases=2, SeriesNumber=12, SeriesInstanceUID="1.2.3")
    for k, file in enumerate(sorted((tmp_path / "a").iterdir())):
        file.rename(tmp_path / f"mixed{k}.dcm")
    for number in (1, 2):
        write_image(
            tmp_path / f"x{number}", SeriesNumber=4, SOPInstanceUID=f"1.9.{number}", TriggerTime=number
        )
    frames, rejected = read(tmp_path)
    assert rejected == []
    assert [frame.series.split("_")[0] for frame in frames] == ["4", "4", "12", "12"]
    assert len({frame.series for frame in frames}) == 2
    only, _ = read(tmp_path, series="1.2.3")
    assert [frame.series.split("_")[0] for frame in only] == ["12", "12"]
    with pytest.raises(SourceError, match="no series matches 'nothing'; there are 4_"):
        read(tmp_path, series="nothing")


def test_pictures_of_another_direction_are_a_stack_of_their_own(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=2, phases=2)
    write_image(tmp_path / "long.dcm", InstanceNumber=50, ImageOrientationPatient=[*COLUMN, *ROW])
    frames, rejected = read(tmp_path)
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
    assert (geometry.shape, geometry.frames) == ((20, 24, 3), 2)
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
    frames, rejected = read(write(tmp_path / "1.dcm", data))
    assert rejected == []
    np.testing.assert_array_equal(frames[0].pixels, pixels.astype(np.float32) * 0.5 - 3)
    assert frames[0].time_ms == 12.5


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    pixels = picture()
    data = dataset(pixels, ExplicitVRBigEndian, PixelData=pixels.astype(">u2").tobytes())
    data.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
    frames, rejected = read(write(tmp_path / "1.dcm", data))
    assert rejected == []
    np.testing.assert_array_equal(frames[0].pixels, pixels.astype(np.float32))


def test_bits_above_the_stored_ones_are_no_signal(tmp_path: Path) -> None:
    pixels = picture() & 0x0FFF
    write_image(tmp_path / "u.dcm", pixels | 0x8000, BitsStored=12, HighBit=11, InstanceNumber=1)
    signed = (pixels.astype(np.int32) - 2048).astype(np.int16)
    stored = (signed.view(np.uint16) & 0x0FFF).view(np.int16)
    write_image(tmp_path / "s.dcm", stored, BitsStored=12, HighBit=11, InstanceNumber=2)
    frames, _ = read(tmp_path)
    np.testing.assert_array_equal(frames[0].pixels, pixels)
    np.testing.assert_array_equal(frames[1].pixels, signed)


def test_inverted_grey_values_are_turned(tmp_path: Path) -> None:
    pixels = picture()
    path = write_image(
        tmp_path / "1.dcm", pixels, PhotometricInterpretation="MONOCHROME1", BitsStored=10, HighBit=9
    )
    frames, _ = read(path)
    np.testing.assert_array_equal(frames[0].pixels, 1023.0 - (pixels & 1023))


def test_floating_point_pixels_are_read_and_nan_is_counted(tmp_path: Path) -> None:
    for number, bad in ((1, 0), (2, 3)):
        pixels = picture().astype(np.float32) / 7
        pixels.reshape(-1)[:bad] = (np.nan, np.inf, -np.inf)[:bad]
        data = dataset(picture(), InstanceNumber=number, BitsAllocated=32)
        del data.PixelData
        data.FloatPixelData = pixels.tobytes()
        write(tmp_path / f"{number}.dcm", data)
    frames, rejected = read(tmp_path)
    np.testing.assert_array_equal(frames[0].pixels, picture().astype(np.float32) / 7)
    assert rejected == [("2.dcm", "3 of 480 values are not finite (NaN or infinite)")]


def test_equal_channels_are_grey_and_real_colour_is_refused(tmp_path: Path) -> None:
    grey = picture(kind="uint8")
    write_image(tmp_path / "1.dcm", np.repeat(grey[:, :, None], 3, axis=2), InstanceNumber=1)
    colour = np.stack([grey, grey, grey[::-1]], axis=2)
    write_image(tmp_path / "2.dcm", np.ascontiguousarray(colour), InstanceNumber=2)
    frames, rejected = read(tmp_path)
    np.testing.assert_array_equal(frames[0].pixels, grey)
    assert rejected == [("2.dcm", "colour image; export grey values")]


def test_damaged_files_are_named_and_the_rest_is_measured(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=1, phases=4)
    whole = (tmp_path / "2.dcm").read_bytes()
    (tmp_path / "2.dcm").write_bytes(whole[:-100])
    (tmp_path / "3.dcm").write_bytes(whole[:300])
    (tmp_path / "5.txt").write_text("a note")
    (tmp_path / "6.dcm").write_bytes(b"")
    (tmp_path / "DICOMDIR").write_bytes(whole)
    (tmp_path / ".hidden").write_text("x")
    frames, rejected = read(tmp_path)
    assert [frame.origin for frame in frames] == ["4.dcm", "1.dcm"]
    assert rejected == [
        ("3.dcm", "damaged or truncated DICOM header"),
        ("5.txt", "not DICOM"),
        ("6.dcm", "not DICOM"),
        ("2.dcm", "truncated: 860 of 960 bytes of pixel data; export the file again"),
    ]
    assert places(frames) == [(0, 0), (0, 2)]
    assert {frame.cine_length for frame in frames} == {3}


def test_pixels_that_need_a_decoder_say_which(tmp_path: Path) -> None:
    data = dataset(PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data["PixelData"].is_undefined_length = True
    _, rejected = read(write(tmp_path / "1.dcm", data))
    assert len(rejected) == 1
    assert rejected[0][1].startswith(
        (
            "compressed as JPEG-LS Lossless Image Compression: decoding needs pip install python-gdcm",
            "pixel data that",
        )
    )


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "CT"}, "CT series; the bundle was trained on MR"),
        ({"Modality": None}, "a series without Modality; the bundle was trained on MR"),
        ({"PixelSpacing": None}, "no PixelSpacing in the file: give --spacing-mm ROW[,COL]"),
        (
            {"PixelSpacing": None, "ImagerPixelSpacing": [1.4, 1.4]},
            "no PixelSpacing in the file: give --spacing-mm ROW[,COL]",
        ),
        (
            {"PixelSpacing": [0.0, 0.0]},
            "a pixel spacing of 0 x 0 mm is implausible, expected 0.3 to 5 mm: give --spacing-mm ROW[,COL]",
        ),
        (
            {"PixelSpacing": [14.0, 1.4]},
            "a pixel spacing of 14 x 1.4 mm is implausible, expected 0.3 to 5 mm: "
            "give --spacing-mm ROW[,COL]",
        ),
        ({"PixelData": None}, "holds no picture"),
    ],
)
def test_what_is_wrong_with_a_whole_series_is_said_once(
    tmp_path: Path, tags: dict[str, Any], reason: str
) -> None:
    write_cine(tmp_path, slices=1, phases=3)
    for number in (11, 12):
        data = dataset(InstanceNumber=number, SeriesInstanceUID="1.5")
        for keyword, value in tags.items():
            if value is None:
                delattr(data, keyword)
            else:
                setattr(data, keyword, value)
        write(tmp_path / f"{number}.dcm", data)
    frames, rejected = read(tmp_path)
    assert len(frames) == 3
    assert rejected == [("11.dcm and 1 more", reason)]


def test_a_picture_of_one_pixel_is_refused(tmp_path: Path) -> None:
    frames, rejected = read(write_image(tmp_path / "1.dcm", picture(1, 1)))
    assert frames == []
    assert rejected == [("1.dcm", "1x1 pixels; a frame has at least 16x16")]


def test_the_user_may_say_the_spacing_and_the_subject(tmp_path: Path) -> None:
    write_image(tmp_path / "1.dcm", PixelSpacing=None, PatientAge="45", PatientSex="O")
    frames, rejected = read(tmp_path, spacing_mm=(1.4, 1.3), subject=Subject(body_surface_m2=1.8, sex="M"))
    assert rejected == []
    assert frames[0].spacing_mm == (1.4, 1.3)
    assert frames[0].spacing_source == "user"
    assert frames[0].subject == Subject(sex="M", age_years=None, body_surface_m2=1.8)


def test_body_surface_comes_from_height_and_weight(tmp_path: Path) -> None:
    frames, _ = read(write_image(tmp_path / "1.dcm", PatientSize=1.8, PatientWeight=72, PatientAge="006M"))
    assert frames[0].subject == Subject(sex="F", age_years=0.5, body_surface_m2=1.897)


def test_only_the_slices_asked_for_are_read(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=3, phases=2)
    frames, _ = read(tmp_path, slices=frozenset({1}))
    assert places(frames) == [(1, 0), (1, 1)]
    assert frames[0].slice_count == 3


def test_dates_and_uids_that_break_the_standard_are_read_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    write_image(
        tmp_path / "1.dcm",
        StudyDate="20120000",
        PatientBirthDate="00000000",
        SeriesInstanceUID="2.16.124.113543.6006.99.08975550791105350405",
        PatientAge="unknown",
        RescaleSlope=None,
    )
    data = dataset(InstanceNumber=2, PatientBirthDate="00000000", TriggerTime=5)
    data.compress(RLELossless)
    write(tmp_path / "2.dcm", data)
    caplog.clear()
    frames, rejected = read(tmp_path)
    assert (len(frames), rejected, caplog.records) == (2, [], [])
    assert capfd.readouterr() == ("", "")


def test_an_enhanced_object_is_read_by_its_functional_groups(tmp_path: Path) -> None:
    pixels = np.stack([picture(seed=k) for k in range(6)])
    frames, rejected = read(write(tmp_path / "1.dcm", enhanced(pixels, slices=2, phases=3)))
    assert rejected == []
    assert places(frames) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [frame.time_ms for frame in frames] == [0.0, 30.0, 60.0] * 2
    assert frames[0].orientation == Orientation(ROW, COLUMN)
    assert frames[0].spacing_mm == (1.5, 1.25)
    assert frames[4].origin == "1.dcm frame 3"
    np.testing.assert_allclose(frames[4].position_mm or (), 8.0 * NORMAL)
    np.testing.assert_array_equal(frames[4].pixels, 2.0 * pixels[3] + 1.0)


def test_an_enhanced_object_that_does_not_describe_its_frames_is_rejected(tmp_path: Path) -> None:
    data = enhanced(np.stack([picture()] * 4), slices=2, phases=2)
    del data.PerFrameFunctionalGroupsSequence[-1]
    _, rejected = read(write(tmp_path / "1.dcm", data))
    assert rejected == [("1.dcm", "multi-frame file of 4 frames that describes 3")]


def test_a_multi_frame_picture_without_groups_is_one_slice(tmp_path: Path) -> None:
    pixels = np.stack([picture(seed=k) for k in range(3)])
    data = dataset(pixels[0], NumberOfFrames=3, PixelData=pixels.tobytes())
    frames, _ = read(write(tmp_path / "1.dcm", data))
    assert places(frames) == [(0, 0), (0, 1), (0, 2)]
    np.testing.assert_array_equal(frames[2].pixels, pixels[2])
    data.compress(RLELossless)
    again, _ = read(write(tmp_path / "2.dcm", data))
    np.testing.assert_array_equal(again[2].pixels, pixels[2])


def test_a_folder_without_files_and_a_missing_one_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the folder holds no files to measure"):
        read(tmp_path)
    with pytest.raises(SourceError, match="there is no such file or folder"):
        read(tmp_path / "nowhere")


def test_a_folder_in_which_nothing_is_usable_says_so_item_by_item(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 200)
    assert read(tmp_path) == ([], [("a.txt", "not DICOM")])


def test_sequences_of_undefined_length_are_skipped(tmp_path: Path) -> None:
    data = dataset(TriggerTime=7)
    group = enhanced(np.stack([picture()]), 1, 1).PerFrameFunctionalGroupsSequence
    group.is_undefined_length = True
    for item in group:
        item.is_undefined_length_sequence_item = True
    data.ReferencedImageSequence = group
    data["ReferencedImageSequence"].is_undefined_length = True
    frames, rejected = read(write(tmp_path / "1.dcm", data))
    assert rejected == []
    assert frames[0].time_ms == 7.0
    np.testing.assert_array_equal(frames[0].pixels, picture())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(128, 1900), st.integers(0, 255)), max_size=6),
    length=st.integers(0, 2200),
    syntax=st.sampled_from([None, ImplicitVRLittleEndian, RLELossless]),
)
def test_any_damage_is_a_rejection_or_a_frame(
    tmp_path: Path, changes: list[tuple[int, int]], length: int, syntax: Any
) -> None:
    data = dataset()
    if syntax is RLELossless:
        data.compress(RLELossless)
    elif syntax is not None:
        data.file_meta.TransferSyntaxUID = syntax
    content = bytearray(write(tmp_path / "1.dcm", data).read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    (tmp_path / "1.dcm").write_bytes(content[:length] if length < 2000 else content)
    frames, rejected = read(tmp_path)
    assert len(frames) + len(rejected) >= 1
    assert all(np.isfinite(frame.pixels).all() for frame in frames)


@pytest.mark.parametrize(
    ("text", "expected"), [("1.4", (1.4, 1.4)), ("1.4,1.5", (1.4, 1.5)), ("0.3, 5", (0.3, 5.0))]
)
def test_a_spacing_is_one_number_or_two(text: str, expected: tuple[float, float]) -> None:
    assert spacing_from_text(text) == expected


@pytest.mark.parametrize("text", ["", "a", "1,2,3", "0.1", "nan", "1.4,inf", "-1"])
def test_a_spacing_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--spacing-mm"):
        spacing_from_text(text)


def test_an_implausible_spacing_in_the_options_is_refused() -> None:
    with pytest.raises(UsageError, match="implausible"):
        SourceOptions(spacing_mm=(100.0, 1.0))


def test_a_series_without_positions_is_one_slice(tmp_path: Path) -> None:
    for number in (2, 1):
        tags = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "TriggerTime": 10 * number}
        write_image(tmp_path / f"{number}.dcm", InstanceNumber=number, **tags)
    frames, _ = read(tmp_path)
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
    assert len(frames) == len(items)
    assert frames[0].handedness is Handedness.RADIOLOGICAL
    length = frames[0].cine_length
    assert length is not None
    assert length >= 12
    with pytest.raises(UsageError, match="the demo takes no path"):
        open_source("demo:folder")
