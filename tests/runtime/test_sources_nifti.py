from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from lvedge.errors import SourceError
from lvedge.frame import Frame, Handedness, Rejected
from lvedge_runtime.sources import SeriesGeometry, SourceOptions, open_source

SHAPE = (32, 36, 3, 4)


def volume(shape: tuple[int, ...] = SHAPE, kind: str = "int16") -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 200, shape).astype(kind)


def write(
    path: Path,
    array: NDArray[Any],
    affine: NDArray[np.float64] | None = None,
    zooms: tuple[float, ...] | None = None,
    units: str = "unknown",
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
    if zooms is not None:
        image.header["pixdim"][1 : 1 + len(zooms)] = zooms
    image.header.set_xyzt_units("mm", units)
    nibabel.save(image, path)
    return path


def read(path: Path, **options: Any) -> tuple[list[Frame], list[Rejected], dict[str, SeriesGeometry]]:
    with open_source(f"nifti:{path}", SourceOptions(**options)) as source:
        items = list(source)
        frames = [item for item in items if isinstance(item, Frame)]
        geometries = {frame.series: source.geometry(frame.series) for frame in frames}
    return frames, [item for item in items if isinstance(item, Rejected)], geometries


def test_four_axes_are_a_cine_by_slices(tmp_path: Path) -> None:
    array = volume()
    path = write(tmp_path / "Heart 1.nii.gz", array, zooms=(1.25, 1.5, 8.0, 40.0), units="msec")
    frames, rejected, geometries = read(path)
    assert rejected == []
    assert [(f.slice_index, f.frame_index) for f in frames] == [(s, t) for s in range(3) for t in range(4)]
    for frame in frames:
        np.testing.assert_array_equal(frame.pixels, array[:, :, frame.slice_index, frame.frame_index].T)
        assert frame.time_ms == 40.0 * frame.frame_index
        assert (frame.cine_length, frame.slice_count, frame.spacing_mm) == (4, 3, (1.5, 1.25))
    assert frames[0].series == "Heart_1"
    assert frames[0].handedness is Handedness.ASSUMED
    assert frames[0].position_mm is None
    assert frames[0].spacing_source == "file"
    geometry = geometries["Heart_1"]
    assert (geometry.shape, geometry.frames, geometry.spacing_mm) == ((32, 36, 3), 4, (1.25, 1.5, 8.0))
    np.testing.assert_array_equal(geometry.affine, np.eye(4))
    assert (geometry.sform_code, geometry.qform_code) == (2, 0)


@pytest.mark.parametrize(("step", "units", "expected"), [(0.04, "sec", 40.0), (1.0, "unknown", None)])
def test_the_time_step_needs_its_unit(
    tmp_path: Path, step: float, units: str, expected: float | None
) -> None:
    path = write(tmp_path / "a.nii", volume(), zooms=(1.25, 1.5, 8.0, step), units=units)
    frames, _, _ = read(path)
    assert frames[1].time_ms == (None if expected is None else pytest.approx(expected))


def test_an_affine_that_agrees_with_the_spacing_gives_the_orientation(tmp_path: Path) -> None:
    row, column = np.array([0.6, 0.8, 0.0]), np.array([0.0, 0.0, -1.0])  # LPS
    flip = np.diag([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = flip @ np.column_stack([row * 1.25, column * 1.5, np.cross(row, column) * 8.0])
    affine[:3, 3] = flip @ [10.0, 20.0, 30.0]
    frames, _, geometries = read(write(tmp_path / "a.nii", volume(SHAPE[:3]), affine))
    orientation = frames[0].orientation
    assert orientation is not None
    np.testing.assert_allclose(orientation.row, row, atol=1e-6)
    np.testing.assert_allclose(orientation.column, column, atol=1e-6)
    np.testing.assert_allclose(
        frames[2].position_mm or (), [10, 20, 30] + 16 * np.cross(row, column), atol=1e-4
    )
    assert [frame.cine_length for frame in frames] == [1, 1, 1]
    np.testing.assert_allclose(geometries["a"].affine, affine, atol=1e-6)


@pytest.mark.parametrize(
    ("affine", "zooms"),
    [
        (np.diag([-1.5, -1.5, 8.0, 1.0]), (1.5, 1.5, 8.0)),
        (np.array([[0.0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]), (1.5, 1.5, 8.0)),
    ],
    ids=["a scaling", "a turn that contradicts pixdim"],
)
def test_an_affine_without_credible_directions_gives_none(
    tmp_path: Path, affine: NDArray[np.float64], zooms: tuple[float, ...]
) -> None:
    frames, _, geometries = read(write(tmp_path / "a.nii", volume(SHAPE[:3]), affine, zooms))
    assert frames[0].orientation is None
    assert frames[0].spacing_mm == (1.5, 1.5)
    np.testing.assert_allclose(geometries["a"].affine, affine)


def test_a_second_affine_is_kept(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(volume(SHAPE[:3]), np.diag([1.5, 1.5, 8.0, 1.0]))
    second = np.diag([1.5, 1.5, 8.0, 1.0])
    second[0, 3] = 12.0
    image.set_qform(second, code=1)
    image.set_sform(np.diag([1.5, 1.5, 8.0, 1.0]), code=4)
    nibabel.save(image, tmp_path / "a.nii")
    _, _, geometries = read(tmp_path / "a.nii")
    geometry = geometries["a"]
    assert (geometry.sform_code, geometry.qform_code) == (4, 1)
    assert geometry.qform is not None
    np.testing.assert_allclose(geometry.qform, second, atol=1e-6)


def test_a_folder_measures_each_file_and_names_what_it_cannot(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "p2" / "b.nii.gz", volume(SHAPE[:3]), zooms=(1.5, 1.5, 8.0))
    write(tmp_path / "p1" / "b.nii.gz", volume(SHAPE[:2]), zooms=(1.5, 1.5))
    write(tmp_path / "labels.nii", volume(SHAPE[:3]) % 4, zooms=(1.5, 1.5, 8.0))
    write(tmp_path / "float_labels.nii", (volume(SHAPE[:3]) % 4).astype(np.float32), zooms=(1.5, 1.5, 8.0))
    write(tmp_path / "nospacing.nii", volume(SHAPE[:3]), zooms=(0.0, np.nan, 8.0))
    write(tmp_path / "wide.nii", volume(SHAPE[:3]), zooms=(150.0, 150.0, 8.0))
    write(tmp_path / "uneven.nii", volume(SHAPE[:3]), zooms=(1.0, 2.5, 8.0))
    write(tmp_path / "small.nii", volume(SHAPE[:3]), zooms=(1.0, 1.25, 8.0))
    write(tmp_path / "tiny.nii", volume((1, 1, 8)), zooms=(1.5, 1.5, 8.0))
    write(tmp_path / "complex.nii", volume(SHAPE[:3]).astype(np.complex64), zooms=(1.5, 1.5, 8.0))
    write(tmp_path / "five.nii", volume((*SHAPE[:3], 1, 2)), zooms=(1.5, 1.5, 8.0))
    rgb = np.zeros(SHAPE[:3], dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    write(tmp_path / "rgb.nii", rgb, zooms=(1.5, 1.5, 8.0))
    (tmp_path / "cut.nii.gz").write_bytes(good.read_bytes()[:-400])
    (tmp_path / "short.nii").write_bytes(gzip.decompress(good.read_bytes())[:-40])
    (tmp_path / "Info.cfg").write_text("ED: 1")
    header = bytearray(gzip.decompress(good.read_bytes()))
    header[70:72] = b"\x99\x99"
    (tmp_path / "type.nii").write_bytes(header)
    frames, rejected, _ = read(tmp_path)
    assert sorted({(frame.series, frame.slice_count) for frame in frames}) == [("b", 1), ("b-2", 3)]
    spacing = "expected 0.3 to 5 mm: give --spacing-mm ROW[,COL]"
    assert {item.item: item.reason for item in rejected} == {
        "Info.cfg": "not NIfTI",
        "complex.nii": "complex values; export magnitudes",
        "cut.nii.gz": "truncated or damaged gzip file",
        "five.nii": "an array of shape (32, 36, 3, 1, 2); expected x, y, slice and perhaps time",
        "float_labels.nii": "a label volume, not a picture (values 0, 1, 2, 3)",
        "labels.nii": "a label volume, not a picture (values 0, 1, 2, 3)",
        "nospacing.nii": "no pixel spacing in the header: give --spacing-mm ROW[,COL]",
        "rgb.nii": "colour image; export grey values",
        "short.nii": "truncated: 7224 of 7264 bytes",
        "type.nii": "damaged NIfTI header",
        "small.nii": "a pixel spacing of 1.25 x 1 mm is implausible, it makes a picture of 32 x 45 mm, "
        "expected 40 to 700 mm: give --spacing-mm ROW[,COL]",
        "uneven.nii": "a pixel spacing of 2.5 x 1 mm is implausible, expected rows and columns at most 2:1: "
        "give --spacing-mm ROW[,COL]",
        "wide.nii": f"a pixel spacing of 150 x 150 mm is implausible, {spacing}",
        "tiny.nii": "1x1 pixels; a frame has at least 16x16",
    }
    assert capfd.readouterr() == ("", "")


def test_values_that_are_not_finite_are_counted_and_the_rest_is_measured(tmp_path: Path) -> None:
    array = volume(kind="float32")
    array[3:5, 7, 1, 2] = np.nan
    array[6, 7, 1, 2] = np.inf
    frames, rejected, _ = read(write(tmp_path / "a.nii", array, zooms=(1.5, 1.5, 8.0)))
    assert len(frames) == 11
    reason = "3 of 1152 values are not finite (NaN or infinite)"
    assert rejected == [Rejected("a.nii slice 1 frame 2", reason, "a")]


def test_the_user_may_say_the_spacing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", volume(SHAPE[:3]), zooms=(0.0, 0.0, 0.0))
    frames, rejected, geometries = read(path, spacing_mm=(1.4, 1.3))
    assert rejected == []
    assert (frames[0].spacing_mm, frames[0].spacing_source) == ((1.4, 1.3), "user")
    assert geometries["a"].spacing_mm == (1.3, 1.4, 1.0)


def test_nifti_2_is_read(tmp_path: Path) -> None:
    image = nibabel.Nifti2Image(volume(SHAPE[:3]), np.diag([1.5, 1.5, 8.0, 1.0]))
    nibabel.save(image, tmp_path / "a.nii")
    frames, rejected, _ = read(tmp_path / "a.nii")
    assert (len(frames), rejected) == (3, [])


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    for name in ("ed", "es"):
        write(tmp_path / f"{name}.nii", volume(), zooms=(1.5, 1.5, 8.0))
    frames, _, _ = read(tmp_path, series="ES", slices=frozenset({2}))
    assert {(frame.series, frame.slice_index) for frame in frames} == {("es", 2)}
    with pytest.raises(SourceError, match="no series matches 'xx'; there are ed, es"):
        read(tmp_path, series="xx")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no such file or folder"):
        read(tmp_path / "a.nii")
