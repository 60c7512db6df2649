"""LVQuan18's layout, on a file that is written here: units, order, and what does not fit."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from lvquan_file import MIDDLE_PX, arrays_of, write_lvquan18

from lvedge.errors import DataError
from lvedge.indices import DEFAULT_LAYOUT, Label
from lvedge.training.data.lvquan18 import FRAMES, contiguous_folds, read_lvquan18

LAYOUT = DEFAULT_LAYOUT


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return arrays_of()


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory):
    return read_lvquan18(write_lvquan18(tmp_path_factory.mktemp("lvquan") / "cardiac.mat"))


def test_frames_follow_each_other_subject_by_subject(subjects, arrays) -> None:
    assert [s.subject for s in subjects] == [0, 1, 2, 3, 4]
    for subject in subjects:
        assert len(subject.samples) == FRAMES
        for frame, sample in enumerate(subject.samples):
            column = FRAMES * subject.subject + frame
            assert (sample.source, sample.subject, sample.frame_index) == (
                "lvquan18",
                str(subject.subject),
                frame,
            )
            np.testing.assert_array_equal(sample.map(Label.CAVITY), arrays["endo_LV"][..., column])
            both = sample.map(Label.CAVITY) + sample.map(Label.MYOCARDIUM)
            np.testing.assert_array_equal(both, arrays["epi_LV"][..., column])
            np.testing.assert_array_equal(sample.pixels, np.round(255 * arrays["images_LV"][..., column]))
        np.testing.assert_array_equal(subject.systole, np.arange(FRAMES) < 10)


def test_every_frame_has_millimetres_of_its_own(subjects, arrays) -> None:
    """Pixels of 1.2 mm, resized by 1.07: one factor for lengths, its square for areas."""
    subject, frame = 2, 7
    mm_per_px = 1.2 * 1.07
    assert subjects[subject].samples[frame].spacing_mm == pytest.approx((mm_per_px, mm_per_px))
    column, values = FRAMES * subject + frame, subjects[subject].values[frame]
    np.testing.assert_allclose(values[LAYOUT.rwt], arrays["rwt"][:, column] * 80 * mm_per_px)
    np.testing.assert_allclose(values[LAYOUT.dims], arrays["dims"][:, column] * 80 * mm_per_px)
    np.testing.assert_allclose(values[LAYOUT.areas], arrays["areas"][:, column] * (80 * mm_per_px) ** 2)


def test_the_published_values_are_those_of_the_masks(subjects) -> None:
    for subject in subjects[:2]:
        for sample, values in zip(subject.samples, subject.values, strict=True):
            rays = sample.rays()
            assert rays is not None
            np.testing.assert_allclose(rays.areas_mm2, values[LAYOUT.areas], rtol=1e-6)
            assert rays.centre_px == pytest.approx((MIDDLE_PX, MIDDLE_PX), abs=0.2)


@pytest.mark.parametrize("order", [order for order in permutations(range(3)) if order != (0, 1, 2)])
def test_diameters_in_another_order_are_found_out(order: tuple[int, ...], tmp_path: Path, arrays) -> None:
    path = write_lvquan18(tmp_path / "cardiac.mat", dims=arrays["dims"][list(order)])
    names = ", ".join(LAYOUT.diameter_names[k] for k in order)
    with pytest.raises(DataError, match=f"the rows of dims are {names}, not IS-AL, I-A, IL-AS: reorder them"):
        read_lvquan18(path)


def test_pictures_turned_to_another_side_are_read_alike(tmp_path: Path, arrays) -> None:
    """The septum above instead of on the left: the masks' own walls say so."""
    turned = {key: np.rot90(arrays[key], -1, axes=(0, 1)) for key in ("images_LV", "endo_LV", "epi_LV")}
    assert len(read_lvquan18(write_lvquan18(tmp_path / "cardiac.mat", **turned))) == 5


def test_round_cavities_fit_in_any_order(tmp_path: Path, arrays) -> None:
    dims = np.tile(arrays["dims"].mean(axis=0), (3, 1))
    assert len(read_lvquan18(write_lvquan18(tmp_path / "cardiac.mat", dims=dims))) == 5


def test_diameters_in_another_unit_are_found_out(tmp_path: Path, arrays) -> None:
    path = write_lvquan18(tmp_path / "cardiac.mat", dims=arrays["dims"] * 2)
    with pytest.raises(DataError, match=r"dims differ from the masks' diameters by 100%"):
        read_lvquan18(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dims": None, "pix_spa": None}, "is not LVQuan18's file: it lacks dims, pix_spa"),
        ({"rwt": np.zeros((6, 99))}, r"rwt has the shape \(6, 99\), not \(6, 100\)"),
        ({"areas": np.zeros((100, 2))}, r"areas has the shape \(100, 2\), not \(2, 100\)"),
        ({"ratio_resize_inverse": np.ones((5, 20))}, r"ratio_resize_inverse has the shape \(5, 20\)"),
        ({"endo_LV": np.zeros((80, 80, 100))}, "no mask holds a cavity"),
    ],
)
def test_another_layout_is_refused(change: dict[str, np.ndarray | None], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        read_lvquan18(write_lvquan18(tmp_path / "cardiac.mat", **change))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cardiac.mat"
    with pytest.raises(DataError, match=r"cannot be read as a \.mat file: FileNotFoundError"):
        read_lvquan18(path)
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(DataError, match=r"cannot be read as a \.mat file"):
        read_lvquan18(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(200))
    with pytest.raises(DataError, match=r"is a MATLAB 7\.3 file: save it with -v7"):
        read_lvquan18(path)


def test_folds_are_consecutive_subjects() -> None:
    assert contiguous_folds(145) == [
        range(0, 29),
        range(29, 58),
        range(58, 87),
        range(87, 116),
        range(116, 145),
    ]
    with pytest.raises(DataError, match="144 subjects of lvquan18 do not make 5 equal folds"):
        contiguous_folds(144)
