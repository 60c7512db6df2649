"""The sources on real files, with the traps that real files hold."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lvedge.frame import Frame, Handedness, Rejected, SeriesEnd
from lvedge_runtime.sources import SourceOptions, open_source
from lvedge_runtime.sources.dicom_header import TAGS, read_header

pytestmark = pytest.mark.real


def test_a_whole_stack_is_sorted_into_slices_and_phases(data_root: Path) -> None:
    with open_source(str(data_root / "sunnybrook" / "SCD0000101")) as source:
        items = list(source)
        frames = [item for item in items if isinstance(item, Frame)]
        geometry = source.geometry(frames[0].series)
    assert items == [*frames, SeriesEnd(frames[0].series)]
    assert len(frames) == 240
    assert [(f.slice_index, f.frame_index) for f in frames] == [(s, t) for s in range(12) for t in range(20)]
    # n.dcm: slice (n-1)//20, phase (n-1)%20, the slices from the other end.
    assert [int(f.origin[:-4]) for f in frames] == [
        20 * (11 - s) + t + 1 for s in range(12) for t in range(20)
    ]
    assert {(f.cine_length, f.slice_count, f.series) for f in frames} == {(20, 12, frames[0].series)}
    assert {f.handedness for f in frames} == {Handedness.RADIOLOGICAL}
    positions = np.array([frame.position_mm for frame in frames[::20]])
    np.testing.assert_allclose(np.linalg.norm(np.diff(positions, axis=0), axis=1), 10.0, atol=1e-3)
    orientation = frames[0].orientation
    assert orientation is not None
    assert (np.diff(positions @ orientation.normal) > 9.9).all()
    for k in range(0, 240, 20):
        times = [frame.time_ms or 0.0 for frame in frames[k : k + 20]]
        assert 17.0 <= times[0] <= 20.5
        assert (np.diff(times) > 30.0).all()
    assert geometry.shape == (256, 256, 12)
    np.testing.assert_allclose(geometry.spacing_mm, (1.367188, 1.367188, 10.0), atol=1e-4)
    assert np.linalg.det(geometry.affine) > 0


def test_five_slices_are_five_slices(data_root: Path) -> None:
    with open_source(f"dicom:{data_root}/sunnybrook/SCD0000201") as source:
        frames = [item for item in source if isinstance(item, Frame)]
    assert {(frame.slice_index, frame.slice_count) for frame in frames} == {(k, 5) for k in range(5)}
    assert len(frames) == 100


def test_header_and_pixels_are_what_pydicom_reads(data_root: Path) -> None:
    folder = data_root / "sunnybrook" / "SCD0000101"
    for number in (1, 77, 240):
        path = folder / f"{number}.dcm"
        header = read_header(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = pydicom.dcmread(path)
            for tag, (keyword, _) in TAGS.items():
                value = expected.get(keyword) if tag >> 16 != 2 else expected.file_meta[keyword].value
                if value is not None and keyword not in {"NominalCardiacTriggerDelayTime"}:
                    several = not isinstance(value, str) and hasattr(value, "__iter__")
                    text = "\\".join(str(part) for part in value) if several else str(value)
                    assert header.text(keyword) == text
        with open_source(f"dicom:{path}") as source:
            (frame,) = [item for item in source if isinstance(item, Frame)]
        np.testing.assert_array_equal(frame.pixels, expected.pixel_array)


def test_spacing_comes_from_pixdim_where_the_affine_is_an_identity(data_root: Path) -> None:
    path = data_root / "acdc" / "patient001"
    with open_source(f"nifti:{path}/patient001_frame01.nii.gz") as source:
        frames = [item for item in source if isinstance(item, Frame)]
        geometry = source.geometry("patient001_frame01")
    assert [frame.slice_index for frame in frames] == list(range(10))
    assert frames[0].pixels.shape == (256, 216)
    assert frames[0].spacing_mm == (1.5625, 1.5625)
    assert frames[0].handedness is Handedness.ASSUMED
    assert geometry.spacing_mm == (1.5625, 1.5625, 10.0)
    np.testing.assert_array_equal(np.abs(geometry.affine), np.eye(4))
    with open_source(f"nifti:{path}") as source:
        rejected = [item.item for item in source if isinstance(item, Rejected)]
    assert rejected == ["Info.cfg", "patient001_frame01_gt.nii.gz", "patient001_frame12_gt.nii.gz"]


def test_pictures_of_one_subject_are_a_stack(data_root: Path) -> None:
    options = SourceOptions(spacing_mm=(1.3, 1.3), series="mr_heart_p01")
    with open_source(f"png:{data_root}/york/images", options) as source:
        frames = [item for item in source if isinstance(item, Frame)]
    assert {frame.series for frame in frames} == {"mr_heart_p01"}
    assert len({frame.slice_index for frame in frames}) == frames[0].slice_count


def test_plain_dicom_needs_no_package_that_others_need(data_root: Path) -> None:
    code = (
        "import sys\n"
        "from lvedge_runtime.sources import open_source\n"
        "with open_source(sys.argv[1]) as source:\n"
        "    next(iter(source))\n"
        "print(sorted({'pydicom', 'nibabel', 'torch', 'onnx', 'scipy'} & set(sys.modules)))\n"
    )
    folder = str(data_root / "sunnybrook" / "SCD0000201")
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
