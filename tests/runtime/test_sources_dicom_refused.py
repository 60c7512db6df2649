from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import (
    dataset,
    enhanced,
    picture,
    places,
    read_dicom,
    write,
    write_cine,
    write_image,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from lvedge.errors import SourceError, UsageError
from lvedge_runtime.sources import SourceOptions, spacing_from_text


def test_copies_are_rejected_by_name(tmp_path: Path) -> None:
    write_cine(tmp_path, slices=1, phases=2)
    (tmp_path / "9.dcm").write_bytes((tmp_path / "1.dcm").read_bytes())
    write_image(tmp_path / "8.dcm", InstanceNumber=8, TriggerTime=20.0, ImagePositionPatient=[1.1, 2.0, 3.0])
    frames, rejected = read_dicom(tmp_path)
    assert places(frames) == [(0, 0), (0, 1)]
    assert rejected == [
        ("9.dcm", "a copy of 1.dcm (same SOPInstanceUID)"),
        ("8.dcm", "same slice and trigger time as 2.dcm"),
    ]


def test_floating_point_pixels_are_read_and_nan_is_counted(tmp_path: Path) -> None:
    for number, bad in ((1, 0), (2, 3)):
        pixels = picture().astype(np.float32) / 7
        pixels.reshape(-1)[:bad] = (np.nan, np.inf, -np.inf)[:bad]
        data = dataset(picture(), InstanceNumber=number, BitsAllocated=32)
        del data.PixelData
        data.FloatPixelData = pixels.tobytes()
        write(tmp_path / f"{number}.dcm", data)
    frames, rejected = read_dicom(tmp_path)
    np.testing.assert_array_equal(frames[0].pixels, picture().astype(np.float32) / 7)
    assert rejected == [("2.dcm", "3 of 1020 values are not finite (NaN or infinite)")]


def test_equal_channels_are_grey_and_real_colour_is_refused(tmp_path: Path) -> None:
    grey = picture(kind="uint8")
    write_image(tmp_path / "1.dcm", np.repeat(grey[:, :, None], 3, axis=2), InstanceNumber=1)
    colour = np.stack([grey, grey, grey[::-1]], axis=2)
    write_image(tmp_path / "2.dcm", np.ascontiguousarray(colour), InstanceNumber=2)
    frames, rejected = read_dicom(tmp_path)
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
    frames, rejected = read_dicom(tmp_path)
    assert [frame.origin for frame in frames] == ["4.dcm", "1.dcm"]
    assert rejected == [
        ("3.dcm", "damaged or truncated DICOM header"),
        ("5.txt", "not DICOM"),
        ("6.dcm", "not DICOM"),
        ("2.dcm", "truncated: 1940 of 2040 bytes of pixel data; export the file again"),
    ]
    assert places(frames) == [(0, 0), (0, 2)]
    assert {frame.cine_length for frame in frames} == {3}


def test_pixels_that_need_a_decoder_say_which(tmp_path: Path) -> None:
    data = dataset(PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data["PixelData"].is_undefined_length = True
    _, rejected = read_dicom(write(tmp_path / "1.dcm", data))
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
        (
            {"PixelSpacing": [1.4, 0.6]},
            "a pixel spacing of 1.4 x 0.6 mm is implausible, expected rows and columns at most 2:1: "
            "give --spacing-mm ROW[,COL]",
        ),
        (
            {"PixelSpacing": [1.5, 1.0]},
            "a pixel spacing of 1.5 x 1 mm is implausible, it makes a picture of 34 x 45 mm, "
            "expected 40 to 700 mm: give --spacing-mm ROW[,COL]",
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
    frames, rejected = read_dicom(tmp_path)
    assert len(frames) == 3
    assert rejected == [("11.dcm and 1 more", reason)]


def test_a_picture_of_one_pixel_is_refused(tmp_path: Path) -> None:
    frames, rejected = read_dicom(write_image(tmp_path / "1.dcm", picture(1, 1)))
    assert frames == []
    assert rejected == [("1.dcm", "1x1 pixels; a frame has at least 16x16")]


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
    frames, rejected = read_dicom(tmp_path)
    assert (len(frames), rejected, caplog.records) == (2, [], [])
    assert capfd.readouterr() == ("", "")


def test_an_enhanced_object_that_does_not_describe_its_frames_is_rejected(tmp_path: Path) -> None:
    data = enhanced(np.stack([picture()] * 4), slices=2, phases=2)
    del data.PerFrameFunctionalGroupsSequence[-1]
    _, rejected = read_dicom(write(tmp_path / "1.dcm", data))
    assert rejected == [("1.dcm", "multi-frame file of 4 frames that describes 3")]


def test_a_folder_without_files_and_a_missing_one_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the folder holds no files to measure"):
        read_dicom(tmp_path)
    with pytest.raises(SourceError, match="there is no such file or folder"):
        read_dicom(tmp_path / "nowhere")


def test_a_folder_in_which_nothing_is_usable_says_so_item_by_item(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 200)
    assert read_dicom(tmp_path) == ([], [("a.txt", "not DICOM")])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(128, 2980), st.integers(0, 255)), max_size=6),
    length=st.integers(0, 3280),
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
    (tmp_path / "1.dcm").write_bytes(content[:length] if length < 3080 else content)
    frames, rejected = read_dicom(tmp_path)
    assert len(frames) + len(rejected) >= 1
    assert all(np.isfinite(frame.pixels).all() for frame in frames)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.4", (1.4, 1.4)), ("1.4,1.5", (1.4, 1.5)), ("0.3, 0.6", (0.3, 0.6)), ("5", (5.0, 5.0))],
)
def test_a_spacing_is_one_number_or_two(text: str, expected: tuple[float, float]) -> None:
    assert spacing_from_text(text) == expected


@pytest.mark.parametrize("text", ["", "a", "1,2,3", "0.1", "nan", "1.4,inf", "-1", "1,2.1", "2.1,1"])
def test_a_spacing_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--spacing-mm"):
        spacing_from_text(text)


def test_the_user_s_spacing_has_to_fit_the_picture_too(tmp_path: Path) -> None:
    write_image(tmp_path / "1.dcm", picture(300, 300))
    assert read_dicom(tmp_path, spacing_mm=(2.4, 2.0)) == (
        [],
        [
            (
                "1.dcm",
                "a pixel spacing of 2.4 x 2 mm is implausible, it makes a picture of 600 x 720 mm, "
                "expected 40 to 700 mm: give --spacing-mm ROW[,COL]",
            )
        ],
    )
    frames, rejected = read_dicom(tmp_path, spacing_mm=(2.3, 2.0))
    assert (len(frames), rejected) == (1, [])


def test_a_series_with_an_implausible_spacing_leaves_the_others_measured(tmp_path: Path) -> None:
    write_image(tmp_path / "1.dcm")
    write_image(tmp_path / "2.dcm", InstanceNumber=2, SeriesInstanceUID="1.5", PixelSpacing=[0.14, 0.14])
    frames, rejected = read_dicom(tmp_path)
    assert [frame.origin for frame in frames] == ["1.dcm"]
    assert [item for item, _ in rejected] == ["2.dcm"]


def test_an_implausible_spacing_in_the_options_is_refused() -> None:
    with pytest.raises(UsageError, match="implausible"):
        SourceOptions(spacing_mm=(100.0, 1.0))
