"""Readers and split: what stands in the data sets, and how contours become maps."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("scipy")

from data_folder import RADII_PX, write_acdc, write_york
from painted_hearts import painted_stack

from lvedge.errors import DataError
from lvedge.indices import Label
from lvedge.training.data import (
    FOLDS,
    Sample,
    acdc_subjects,
    make_split,
    read_acdc,
    read_split,
    read_sunnybrook,
    read_york,
    york_subjects,
)
from lvedge.training.data import (
    data_root as root_of,
)
from lvedge.training.data.sample import DATA_VARIABLE
from lvedge.training.data.split import PARTS
from lvedge.training.data.york import POINTS, maps_from_contours


def shoelace(points: NDArray[np.float64]) -> float:
    """Area of a polygon, square pixels."""
    x, y = points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def ellipse(a: float, b: float, centre: tuple[float, float], count: int = 64) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.column_stack([centre[0] + a * np.cos(angle), centre[1] + b * np.sin(angle)])


# --- acdc ------------------------------------------------------------------------------------------


@pytest.mark.real
def test_acdc_in_numbers(data_root: Path) -> None:
    groups = acdc_subjects(data_root)
    assert Counter(groups.values()) == {"NOR": 20, "MINF": 20, "DCM": 20, "HCM": 20, "RV": 20}
    counted: Counter[str] = Counter()
    for subject in groups:
        samples = list(read_acdc(data_root, subject))
        counted["mid"] += sum(s.is_mid_slice for s in samples)
        counted["no LV"] += sum(not s.has_lv for s in samples)
        counted["all"] += len(samples)
        assert {s.phase for s in samples} == {"ED", "ES"}
        assert len({s.key for s in samples}) == len(samples)
        assert {s.group for s in samples} == {groups[subject]}
    assert (counted["mid"], counted["no LV"]) == (1041, 94)
    assert 1800 < counted["all"] < 1950


@pytest.mark.real
def test_an_acdc_slice_in_full(data_root: Path) -> None:
    import nibabel as nib

    samples = list(read_acdc(data_root, "patient001"))
    ed = [s for s in samples if s.phase == "ED"]
    assert [s.slice_index for s in ed] == list(range(10))
    sample = ed[4]
    file = data_root / "acdc" / "patient001" / "patient001_frame01.nii.gz"
    volume, truth = nib.load(file), nib.load(str(file).replace(".nii", "_gt.nii"))
    drawn = np.asarray(truth.dataobj)[:, :, 4]
    np.testing.assert_array_equal(sample.pixels.T, np.asarray(volume.dataobj)[:, :, 4])
    for label in (Label.RV, Label.MYOCARDIUM, Label.CAVITY):
        np.testing.assert_array_equal(sample.map(label).T, (drawn == label).astype(np.float32))
    zooms = volume.header.get_zooms()
    assert sample.spacing_mm == (float(zooms[1]), float(zooms[0]))
    assert (sample.key, sample.has_spacing, sample.has_rv, sample.has_epicardium, sample.slice_count) == (
        "acdc/patient001/s04/t00",
        True,
        True,
        True,
        10,
    )
    # The usual radiological view: the septum lies on the left.
    rays = sample.rays()
    assert rays is not None
    septum = sample.septum(rays)
    assert septum is not None
    assert 110 < septum.direction_deg < 250


# --- york ------------------------------------------------------------------------------------------


@pytest.mark.real
def test_york_in_numbers(data_root: Path) -> None:
    subjects = york_subjects(data_root)
    assert len(subjects) == 25
    assert subjects == sorted(subjects, key=int)
    frames: dict[tuple[str, int], list[int]] = defaultdict(list)
    worst = 0.0
    for subject in subjects:
        for sample in read_york(data_root, subject):
            frames[subject, sample.slice_index].append(sample.frame_index)
            assert not sample.maps[..., 0].any()
            assert sample.has_lv
            worst = max(worst, float(sample.maps.sum(axis=2, dtype=int).max()))
    assert sum(map(len, frames.values())) == 2032
    assert sum(sorted(found) == list(range(20)) for found in frames.values()) == 89
    # Rounding aside, no pixel belongs to more than itself.
    assert worst <= 256


@pytest.mark.real
def test_york_areas_are_the_polygons(data_root: Path) -> None:
    from scipy.io import loadmat

    cells = loadmat(str(data_root / "york" / "contours" / "manual_seg_32points_pat1.mat"))
    cells = cells["manual_seg_32points"]
    off: list[float] = []
    for sample in read_york(data_root, "1"):
        points = cells[sample.slice_index, sample.frame_index].astype(float) - 1.0
        endo, epi = shoelace(points[:32]), shoelace(points[33:])
        cavity, wall = (float(sample.map(label).sum()) for label in (Label.CAVITY, Label.MYOCARDIUM))
        # Off by less than a hundredth of a pixel along the outline.
        assert abs(cavity - endo) < 0.01 * 2 * np.sqrt(np.pi * endo)
        assert abs(wall + cavity - epi) < 0.01 * 2 * np.sqrt(np.pi * epi)
        off.append((cavity - endo) / endo)
        # The centroid is the polygon's, in 0-based pixels.
        rays = sample.rays()
        assert rays is not None
        np.testing.assert_allclose(rays.centre_px, points[:32].mean(axis=0), atol=1.5)
    assert abs(np.mean(off)) < 0.001


@pytest.mark.parametrize(
    ("a", "b", "centre"), [(12.0, 12.0, (30.0, 25.0)), (20.3, 9.6, (33.4, 24.8)), (5.0, 3.5, (20.25, 20.75))]
)
def test_a_filled_contour_has_the_polygon_s_area_and_place(
    a: float, b: float, centre: tuple[float, float]
) -> None:
    endo, epi = ellipse(a, b, centre), ellipse(a + 4, b + 4, centre)
    maps = maps_from_contours(endo, epi, (60, 70))
    assert (maps.shape, maps.dtype) == ((60, 70, 3), np.dtype(np.uint8))
    wall, cavity = maps[..., 1] / 255.0, maps[..., 2] / 255.0
    assert cavity.sum() == pytest.approx(shoelace(endo), rel=0.001)
    assert (cavity + wall).sum() == pytest.approx(shoelace(epi), rel=0.001)
    rows, columns = np.indices(cavity.shape)
    np.testing.assert_allclose(
        [(cavity * columns).sum() / cavity.sum(), (cavity * rows).sum() / cavity.sum()], centre, atol=0.05
    )
    assert not maps[..., 0].any()


def test_without_an_epicardium_there_is_no_wall() -> None:
    maps = maps_from_contours(ellipse(6, 6, (15, 15)), None, (30, 30))
    assert not maps[..., :2].any()
    assert maps[15, 15, 2] == 255


def test_a_contour_over_the_picture_s_edge_is_cut_there() -> None:
    inside = maps_from_contours(ellipse(10, 10, (30, 30)), None, (60, 60))[..., 2]
    cut = maps_from_contours(ellipse(10, 10, (0, 30)), None, (60, 60))[..., 2]
    np.testing.assert_array_equal(cut[:, :12], inside[:, 30:42])
    above = maps_from_contours(ellipse(10, 10, (30, 0)), None, (60, 60))[..., 2]
    np.testing.assert_array_equal(above[:12], inside[30:42])
    assert not maps_from_contours(ellipse(10, 10, (30, -20)), None, (60, 60)).any()
    for beside in (-20, 80):
        assert not maps_from_contours(ellipse(10, 10, (beside, 30)), None, (60, 60)).any()


# --- sunnybrook ------------------------------------------------------------------------------------


@pytest.mark.real
def test_sunnybrook_in_numbers(data_root: Path) -> None:
    samples = {s: list(read_sunnybrook(data_root, s)) for s in ("SCD0000101", "SCD0000201")}
    assert sum(map(len, samples.values())) == 28
    five = samples["SCD0000201"]
    assert (len(five), sum(s.has_epicardium for s in five)) == (10, 5)
    for sample in (*samples["SCD0000101"], *five):
        assert sample.pixels.shape == (256, 256)
        assert sample.spacing_mm == pytest.approx((1.367188, 1.367188))
        assert sample.has_lv
        assert (sample.has_rv, sample.has_spacing) == (False, True)
        assert sample.maps[..., 1].any() == sample.has_epicardium
        # The contour lies on the picture's blood: brighter inside than in the wall around it.
        cavity, wall = sample.map(Label.CAVITY) > 0.99, sample.map(Label.MYOCARDIUM) > 0.99
        if wall.any():
            assert sample.pixels[cavity].mean() > 1.3 * sample.pixels[wall].mean()


# --- samples ---------------------------------------------------------------------------------------


def sample_at(index: int, count: int, labels: tuple[int, ...] = (1, 2, 3), **changes: object) -> Sample:
    maps = np.zeros((4, 4, 3), np.uint8)
    for label in labels:
        maps[label, label, label - 1] = 255
    fields = {"has_spacing": True, "has_rv": True, **changes}
    return Sample("acdc", "p", index, count, 0, np.zeros((4, 4), np.uint8), maps, (1.0, 1.0), **fields)  # type: ignore[arg-type]


def test_mid_slices() -> None:
    assert [k for k in range(10) if sample_at(k, 10).is_mid_slice] == [2, 3, 4, 5, 6, 7]
    assert [k for k in range(11) if sample_at(k, 11).is_mid_slice] == [2, 3, 4, 5, 6, 7, 8]
    assert not sample_at(5, 10, (1, 2)).is_mid_slice
    assert not sample_at(5, 10, (2, 3)).is_mid_slice
    assert sample_at(5, 10, (2, 3), has_rv=False).is_mid_slice
    assert not sample_at(0, 1).is_mid_slice


def test_the_folder_is_named_or_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(DataError, match=r"no data at .*name the folder with --data"):
        root_of()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert root_of() == tmp_path
    with pytest.raises(DataError, match="nowhere"):
        root_of(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no patient folders"):
        acdc_subjects(tmp_path)
    with pytest.raises(DataError, match="no contour files"):
        york_subjects(tmp_path)


def test_a_variable_that_points_nowhere_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    assert root_of().resolve() == tmp_path / "shared" / "data"
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere: name the folder with --data"):
        root_of()
    assert root_of(tmp_path) == tmp_path


# --- damaged or missing files ----------------------------------------------------------------------


def test_subjects_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_acdc(tmp_path, "patient001")
    samples = list(read_acdc(tmp_path, "patient001"))
    expected = [replace(s, frame_index=0 if s.phase == "ED" else 8) for s in painted_stack(4)]
    assert [s.key for s in samples] == [s.key for s in expected]
    for said, written in zip(samples, expected, strict=True):
        np.testing.assert_array_equal(said.pixels, written.pixels)
        assert (said.phase, said.group, said.spacing_mm) == (written.phase, "NOR", (2.5, 2.5))
        assert (said.slice_count, said.is_mid_slice) == (4, written.is_mid_slice)
        assert np.abs(said.map(Label.CAVITY) - written.map(Label.CAVITY)).max() <= 0.67
    write_york(tmp_path, "3")
    beat = list(read_york(tmp_path, "3"))
    assert [(s.subject, s.slice_index, s.frame_index) for s in beat] == [("3", 1, k) for k in range(20)]
    areas = [float(s.map(Label.CAVITY).sum()) for s in beat]
    inscribed = POINTS / 2 * np.sin(2 * np.pi / POINTS)  # a polygon for a circle
    np.testing.assert_allclose(areas, inscribed * RADII_PX**2, rtol=0.002)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("Info.cfg", None, r"no .*Info\.cfg: name the folder that holds acdc/ with --data"),
        ("Info.cfg", b"ED: 1\nGroup: NOR\n", r"Info\.cfg does not say ED, ES and Group"),
        ("Info.cfg", b"ED: 1\nES: x\nGroup: NOR\n", r"Info\.cfg does not say ED, ES and Group"),
        ("patient001_frame01.nii.gz", None, r"frame01\.nii\.gz cannot be read as NIfTI: FileNotFound"),
        ("patient001_frame01_gt.nii.gz", b"", r"frame01_gt\.nii\.gz cannot be read as NIfTI"),
        ("patient001_frame09.nii.gz", b"no gzip", r"frame09\.nii\.gz cannot be read as NIfTI"),
    ],
)
def test_a_damaged_acdc_subject_is_named(
    name: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    write_acdc(tmp_path, "patient001")
    spoil(tmp_path / "acdc" / "patient001" / name, content)
    with pytest.raises(DataError, match=words) as raised:
        list(read_acdc(tmp_path, "patient001"))
    assert "\n" not in str(raised.value)


def test_a_truncated_volume_is_named(tmp_path: Path) -> None:
    write_acdc(tmp_path, "patient001")
    path = tmp_path / "acdc" / "patient001" / "patient001_frame09.nii.gz"
    spoil(path, path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"frame09\.nii\.gz cannot be read as NIfTI"):
        list(read_acdc(tmp_path, "patient001"))


def test_labels_of_another_shape_are_named(tmp_path: Path) -> None:
    nib = pytest.importorskip("nibabel")
    write_acdc(tmp_path, "patient001")
    path = tmp_path / "acdc" / "patient001" / "patient001_frame01_gt.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((64, 64, 3), np.uint8), np.eye(4)), path)
    with pytest.raises(DataError, match=r"picture \(64, 64, 4\) and labels \(64, 64, 3\) differ"):
        list(read_acdc(tmp_path, "patient001"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("contours/manual_seg_32points_pat3.mat", None, r"no contours can be read from .*pat3\.mat"),
        ("contours/manual_seg_32points_pat3.mat", b"", r"no contours can be read from .*pat3\.mat"),
        ("contours/manual_seg_32points_pat3.mat", b"x" * 200, r"no contours can be read from .*pat3\.mat"),
        ("images", None, r"no pictures of subject 3 in .*images"),
        ("images/mr_heart_p03t05z0.png", b"more", r"p03t05z0\.png: no contour in manual_seg"),
        ("images/mr_heart_p03t05z1.png", b"garbage", r"p03t05z1\.png cannot be read as a picture"),
    ],
)
def test_a_damaged_york_subject_is_named(
    name: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    write_york(tmp_path, "3")
    spoil(tmp_path / "york" / name, content)
    with pytest.raises(DataError, match=words) as raised:
        list(read_york(tmp_path, "3"))
    assert "\n" not in str(raised.value)


def spoil(path: Path, content: bytes | None) -> None:
    """The file with other content; gone for None."""
    if content is not None:
        path.write_bytes(content)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


# --- split -----------------------------------------------------------------------------------------


def test_each_subject_is_measured_once_and_stands_in_one_part_of_each_fold() -> None:
    splits = [read_split(fold=fold) for fold in range(FOLDS)]
    for source, count, per_fold in (("acdc", 100, 20), ("york", 25, 5)):
        everyone = sorted(splits[0].subjects(source, *PARTS))
        assert len(everyone) == count
        assert sorted(s for split in splits for s in split.subjects(source, "test")) == everyone
        for split in splits:
            assert sorted(split.subjects(source, *PARTS)) == everyone
            assert len(split.subjects(source, "test")) == per_fold
            assert split.subjects(source, "watch")


def test_a_training_on_all_leaves_nobody_to_measure() -> None:
    split = read_split(fold=2)
    whole = split.trained_on("all")
    for source in ("acdc", "york"):
        assert sorted(whole.subjects(source, "train")) == sorted(split.subjects(source, *PARTS))
        assert whole.subjects(source, "test") == []
        assert whole.subjects(source, "watch") == split.subjects(source, "watch")
    assert split.trained_on("fold") is split


@pytest.mark.parametrize(("source", "other"), [("acdc", "york"), ("york", "acdc")])
def test_a_training_on_one_source_leaves_the_other_whole(source: str, other: str) -> None:
    split = read_split()
    one = split.trained_on(source)
    everyone = {name: set(split.subjects(name, *PARTS)) for name in (source, other)}
    watched = set(split.subjects(source, "watch"))
    assert set(one.subjects(source, "train")) == everyone[source] - watched
    assert set(one.subjects(source, "watch")) == watched
    assert one.subjects(source, "test") == one.subjects(other, "train", "watch") == []
    assert set(one.subjects(other, "test")) == everyone[other]


def test_another_training_than_there_is() -> None:
    with pytest.raises(DataError, match="'acd' is not one of fold, all, acdc, york"):
        read_split().trained_on("acd")


@pytest.mark.real
def test_the_folds_are_those_that_are_drawn_and_even_by_group(data_root: Path, tmp_path: Path) -> None:
    splits = [read_split(fold=fold) for fold in range(FOLDS)]
    groups = acdc_subjects(data_root)
    for split in splits:
        for part, each in (("test", 4), ("watch", 1)):
            assert Counter(groups[s] for s in split.subjects("acdc", part)) == dict.fromkeys(
                ("NOR", "MINF", "DCM", "HCM", "RV"), each
            )
        assert sorted(split.subjects("acdc", *PARTS)) == sorted(groups)
        assert sorted(split.subjects("york", *PARTS)) == sorted(york_subjects(data_root))
    assert make_split(data_root, tmp_path / "split.json") == splits


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"folds": [{"acdc": []}]}'])
def test_a_damaged_split_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="is not a split file"):
        read_split(path)


def test_a_subject_in_two_folds_and_a_fold_too_many_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    fold = {"acdc": ["a"], "york": [], "watched": {"acdc": [], "york": []}}
    path.write_text(json.dumps({"folds": [fold]}), encoding="utf-8")
    with pytest.raises(DataError, match="has the folds 0 to 0, not 1"):
        read_split(path, 1)
    path.write_text(json.dumps({"folds": [fold, fold]}), encoding="utf-8")
    with pytest.raises(DataError, match="a subject of acdc stands in two folds"):
        read_split(path)
