from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from dicom_files import write_image
from numpy.typing import NDArray

from lvedge.errors import SourceError, UsageError
from lvedge.frame import Frame, Orientation, Rejected, Subject
from lvedge_runtime.sources import Source, SourceOptions, open_source
from lvedge_runtime.sources import video as video_module
from lvedge_runtime.sources.naming import natural_key, series_name, unique_name
from lvedge_runtime.sources.opencv import quiet_opencv

FRAMES = np.random.default_rng(0).integers(0, 250, (2, 3, 40, 48)).astype(np.uint8)


def read(uri: str, **options: Any) -> tuple[list[Frame], list[Rejected], Source]:
    with open_source(uri, SourceOptions(**options)) as source:
        items = list(source)
        frames = [item for item in items if isinstance(item, Frame)]
        return frames, [item for item in items if isinstance(item, Rejected)], source


def write_npz(path: Path, **entries: Any) -> Path:
    np.savez(path, **{"frames": FRAMES, "spacing_mm": np.array([1.4, 1.5]), **entries})
    return path


def write_pictures(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(exist_ok=True)
    for k, name in enumerate(names):
        cv2.imwrite(str(folder / name), FRAMES[k // 3 % 2, k % 3])


def write_video(path: Path, frames: NDArray[np.uint8]) -> Path:
    with quiet_opencv():  # FFmpeg asks once a process how much it may say
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, frames.shape[2:0:-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def places(frames: list[Frame]) -> list[tuple[str, int, int]]:
    return [(frame.series, frame.slice_index, frame.frame_index) for frame in frames]


def test_an_archive_gives_all_that_it_says(tmp_path: Path) -> None:
    row, column = (1.0, 0.0, 0.0), (0.0, 0.0, -1.0)
    path = write_npz(
        tmp_path / "a.npz",
        orientation=np.array([row, column]),
        position=np.array([[1.0, 2.0, 3.0], [1.0, 10.0, 3.0]]),
        time_ms=np.array([0.0, 30.0, 60.0]),
        series="my cine",
    )
    frames, rejected, source = read(f"npz:{path}", subject=Subject(sex="F"))
    assert rejected == []
    assert places(frames) == [("my_cine", s, t) for s in range(2) for t in range(3)]
    last = frames[-1]
    np.testing.assert_array_equal(last.pixels, FRAMES[1, 2])
    assert last.spacing_mm == (1.4, 1.5)
    assert (last.time_ms, last.position_mm) == (60.0, (1.0, 10.0, 3.0))
    assert last.orientation == Orientation(row, column)
    assert (last.cine_length, last.slice_count, last.subject) == (3, 2, Subject(sex="F"))
    geometry = source.geometry("my_cine")
    assert (geometry.shape, geometry.spacing_mm) == ((48, 40, 2), (1.5, 1.4, 8.0))
    np.testing.assert_allclose(geometry.affine @ (0, 0, 1, 1), [-1, -10, 3, 1])


def test_a_single_slice_may_leave_out_its_axis(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "b.npz", frames=FRAMES[0], spacing_mm=1.4)
    frames, _, source = read(f"npz:{path}")
    assert places(frames) == [("b", 0, t) for t in range(3)]
    assert frames[0].spacing_mm == (1.4, 1.4)
    assert source.geometry("b").sform_code == 2


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"frames": FRAMES[0, 0]}, "'frames' has shape (40, 48); expected [T, H, W] or [S, T, H, W]"),
        ({"spacing_mm": np.array([0.0, 1.0])}, "a pixel spacing of 0 x 1 mm is implausible"),
        (
            {"spacing_mm": np.array([1.4, 0.5])},
            "a pixel spacing of 1.4 x 0.5 mm is implausible, expected rows",
        ),
        (
            {"spacing_mm": 0.5},
            "a pixel spacing of 0.5 x 0.5 mm is implausible, it makes a picture of 24 x 20 mm",
        ),
        ({"spacing_mm": "1.4"}, "'spacing_mm' is not one or two numbers: give --spacing-mm"),
        ({"orientation": np.ones(6)}, "'orientation' is not two unit vectors at right angles"),
        ({"orientation": np.ones(5)}, "'orientation' is not six numbers"),
        (
            {"position": np.ones((3, 3))},
            "'position' has shape [3, 3]; expected finite numbers of shape [3] or [2, 3]",
        ),
        ({"time_ms": np.array([0, np.nan, 1])}, "'time_ms' has shape [3]; expected finite numbers"),
        (
            {"frames": np.array([{}], dtype=object)},
            "not a NumPy archive of plain numbers (.npz), or a damaged one",
        ),
    ],
)
def test_an_archive_that_cannot_be_meant_is_rejected(tmp_path: Path, entries: Any, reason: str) -> None:
    path = write_npz(tmp_path / "a.npz", **entries)
    frames, rejected, _ = read(f"npz:{path}")
    assert frames == []
    assert [item.item for item in rejected] == ["a.npz"]
    assert rejected[0].reason.startswith(reason)


def test_an_archive_without_spacing_or_frames_asks_for_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=FRAMES)
    _, rejected, _ = read(f"npz:{tmp_path}/a.npz")
    assert rejected == [Rejected("a.npz", "no entry 'spacing_mm': give --spacing-mm ROW[,COL]")]
    frames, rejected, _ = read(f"npz:{tmp_path}/a.npz", spacing_mm=(1.0, 1.2))
    assert (len(frames), rejected) == (6, [])
    np.savez(tmp_path / "b.npz", pictures=FRAMES)
    _, rejected, _ = read(f"npz:{tmp_path}/b.npz")
    assert rejected == [Rejected("b.npz", "no entry 'frames'; there are pictures")]


def test_an_archive_with_bad_values_loses_only_their_frames(tmp_path: Path) -> None:
    array = FRAMES.astype(np.float64)
    array[1, 0, 2, 2] = np.nan
    array[0, 1, 0, 0] = 1e300
    frames, rejected, _ = read(f"npz:{write_npz(tmp_path / 'a.npz', frames=array)}")
    assert len(frames) == 4
    assert [item.item for item in rejected] == ["a.npz slice 0 frame 1", "a.npz slice 1 frame 0"]
    assert {item.reason for item in rejected} == {"1 of 1920 values are not finite (NaN or infinite)"}


def test_a_folder_of_pictures_is_one_cine_in_natural_order(tmp_path: Path) -> None:
    write_pictures(tmp_path / "My heart", ["f10.png", "f9.png", "f11.png"])
    frames, rejected, source = read(f"png:{tmp_path}/My heart", spacing_mm=(1.4, 1.3))
    assert rejected == []
    assert places(frames) == [("My_heart", 0, 0), ("My_heart", 0, 1), ("My_heart", 0, 2)]
    assert [frame.origin for frame in frames] == ["f9.png", "f10.png", "f11.png"]
    assert (frames[0].spacing_mm, frames[0].spacing_source) == ((1.4, 1.3), "user")
    assert {frame.cine_length for frame in frames} == {3}
    np.testing.assert_array_equal(frames[1].pixels, FRAMES[0, 0])
    assert source.geometry("My_heart").shape == (48, 40, 1)


@pytest.mark.parametrize("pattern", ["x_s{s:02d}_t{t:02d}.png", "t{t}z{s}.png", "slice-{s}_frame-{t}.png"])
def test_names_with_slice_and_phase_are_a_stack(tmp_path: Path, pattern: str) -> None:
    names = [pattern.format(s=s, t=t) for s in (3, 11) for t in (5, 6, 20)]
    write_pictures(tmp_path / "stack", names)
    frames, _, _ = read(f"png:{tmp_path}/stack", spacing_mm=(1.4, 1.4))
    assert places(frames) == [("stack", s, t) for s in range(2) for t in range(3)]
    assert [frame.origin for frame in frames] == names
    assert {(frame.cine_length, frame.slice_count) for frame in frames} == {(3, 2)}


def test_names_of_several_stacks_are_several_series(tmp_path: Path) -> None:
    write_pictures(
        tmp_path / "d", ["mr_heart_p01t01z0.png", "mr_heart_p01t02z0.png", "mr_heart_p02t01z0.png"]
    )
    frames, _, _ = read(f"png:{tmp_path}/d", spacing_mm=(1.4, 1.4))
    assert places(frames) == [("mr_heart_p01", 0, 0), ("mr_heart_p01", 0, 1), ("mr_heart_p02", 0, 0)]
    only, _, _ = read(f"png:{tmp_path}/d", spacing_mm=(1.4, 1.4), series="p02")
    assert places(only) == [("mr_heart_p02", 0, 0)]


def test_a_single_picture_is_a_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), FRAMES[0, 0].astype(np.uint16) * 200)
    frames, _, _ = read(f"png:{tmp_path}/one.png", spacing_mm=(1.4, 1.4))
    assert places(frames) == [("one", 0, 0)]
    np.testing.assert_array_equal(frames[0].pixels, FRAMES[0, 0].astype(np.float32) * 200)


def test_pictures_that_cannot_be_measured_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_pictures(tmp_path, ["1.png", "2.png"])
    grey = FRAMES[0, 0]
    cv2.imwrite(str(tmp_path / "3.png"), np.stack([grey, grey, grey], axis=2))
    cv2.imwrite(str(tmp_path / "4.png"), np.stack([grey, grey, grey, 255 - grey], axis=2))
    cv2.imwrite(str(tmp_path / "5.png"), np.stack([grey, grey, grey[::-1]], axis=2))
    cv2.imwrite(str(tmp_path / "6.png"), grey[:1, :1])
    (tmp_path / "7.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    (tmp_path / "8.png").write_bytes(b"")
    (tmp_path / "9.txt").write_text("a note")
    frames, rejected, _ = read(f"png:{tmp_path}", spacing_mm=(1.4, 1.4))
    assert [frame.origin for frame in frames] == ["1.png", "2.png", "3.png", "4.png"]
    np.testing.assert_array_equal(frames[2].pixels, grey)
    np.testing.assert_array_equal(frames[3].pixels, grey)
    damaged = "not a picture that OpenCV reads, or a damaged one"
    assert [(item.item, item.reason) for item in rejected] == [
        ("5.png", "colour image; export grey values"),
        ("6.png", "1x1 pixels; a frame has at least 16x16"),
        ("7.png", damaged),
        ("8.png", "an empty file"),
        ("9.txt", damaged),
    ]
    assert capfd.readouterr() == ("", "")


def test_a_picture_that_the_spacing_makes_too_small_is_refused_and_the_rest_measured(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["1.png", "2.png"])
    cv2.imwrite(str(tmp_path / "3.png"), FRAMES[0, 0, :24])
    frames, rejected, _ = read(f"png:{tmp_path}", spacing_mm=(1.4, 1.4))
    assert [frame.origin for frame in frames] == ["1.png", "2.png"]
    reason = (
        "a pixel spacing of 1.4 x 1.4 mm is implausible, it makes a picture of 67 x 34 mm, "
        "expected 40 to 700 mm: give --spacing-mm ROW[,COL]"
    )
    assert [(item.item, item.reason) for item in rejected] == [("3.png", reason)]


def test_a_video_that_the_spacing_makes_too_wide_is_refused_once(tmp_path: Path) -> None:
    grey = np.repeat(np.kron(FRAMES[0], np.ones((1, 4, 4)))[:, :, :, None], 3, axis=3).astype(np.uint8)
    path = write_video(tmp_path / "v.avi", grey)
    frames, rejected, _ = read(f"video:{path}", spacing_mm=(3.7, 3.7))
    assert frames == []
    assert [(item.item, item.series) for item in rejected] == [("v.avi", "v")]
    assert "it makes a picture of 710 x 592 mm" in rejected[0].reason


@pytest.mark.parametrize("scheme", ["png", "video"])
def test_a_source_without_spacing_asks_for_it(tmp_path: Path, scheme: str) -> None:
    write_pictures(tmp_path, ["1.png"])
    with pytest.raises(SourceError, match=r"give --spacing-mm ROW\[,COL\]"):
        read(f"{scheme}:{tmp_path}/1.png")


def test_a_video_is_a_closed_cine_of_grey_values(tmp_path: Path) -> None:
    smooth = np.stack(
        [cv2.GaussianBlur(frame, (0, 0), 3) for frame in np.kron(FRAMES[0], np.ones((1, 4, 4)))]
    )
    grey = np.repeat(smooth[:, :, :, None], 3, axis=3).astype(np.uint8)
    frames, rejected, source = read(f"video:{write_video(tmp_path / 'v.avi', grey)}", spacing_mm=(1.4, 1.4))
    assert rejected == []
    assert places(frames) == [("v", 0, 0), ("v", 0, 1), ("v", 0, 2)]
    assert [frame.time_ms for frame in frames] == [0.0, 40.0, 80.0]
    assert {frame.cine_length for frame in frames} == {3}
    assert np.abs(frames[1].pixels - smooth[1]).mean() < 4
    assert source.geometry("v").shape == (192, 160, 1)


def test_a_video_in_colour_is_refused_once(tmp_path: Path) -> None:
    colour = np.zeros((3, 32, 32, 3), np.uint8)
    colour[:, :16, :, 2] = 250
    frames, rejected, _ = read(f"video:{write_video(tmp_path / 'v.avi', colour)}", spacing_mm=(1.4, 1.4))
    assert (frames, rejected) == ([], [Rejected("v.avi", "colour image; export grey values", "v")])


def test_what_is_no_video_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "v.mp4").write_text("a note")
    with pytest.raises(SourceError, match="OpenCV cannot open it"):
        read(f"video:{tmp_path}/v.mp4", spacing_mm=(1.4, 1.4))
    with pytest.raises(SourceError, match="there is no such file"):
        read(f"video:{tmp_path}/w.mp4", spacing_mm=(1.4, 1.4))
    assert capfd.readouterr() == ("", "")


class _Camera:
    def __init__(self, frames: Sequence[NDArray[Any]]) -> None:
        self.frames = list(frames)
        self.released = False

    def read(self) -> tuple[bool, NDArray[Any] | None]:
        return (True, self.frames.pop(0)) if self.frames else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_camera_is_live_and_released(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = _Camera([np.repeat(frame[:, :, None], 3, axis=2) for frame in FRAMES[0]])
    monkeypatch.setattr(video_module, "open_video", lambda name: camera if name == 2 else None)
    frames, rejected, source = read("camera:2", spacing_mm=(1.4, 1.4))
    assert source.live
    assert rejected == []
    assert places(frames) == [("camera2", 0, 0), ("camera2", 0, 1), ("camera2", 0, 2)]
    assert {frame.cine_length for frame in frames} == {None}
    times = [frame.time_ms or 0.0 for frame in frames]
    assert times == sorted(times)
    assert camera.released
    with pytest.raises(SourceError, match="camera 3: OpenCV cannot open it"):
        read("camera:3", spacing_mm=(1.4, 1.4))


@pytest.mark.parametrize("uri", ["camera:x", "camera:front", "camera:-1"])
def test_a_camera_has_a_number(uri: str) -> None:
    with pytest.raises(UsageError, match="a camera is named by its number"):
        open_source(uri)


def test_a_bare_path_is_recognised_by_its_content(tmp_path: Path) -> None:
    import nibabel

    write_image(tmp_path / "d" / "IM0001")
    write_npz(tmp_path / "n.npz")
    (tmp_path / "n.npz").rename(tmp_path / "n")
    write_pictures(tmp_path / "p", ["a.png"])
    (tmp_path / "p" / "a.png").rename(tmp_path / "p" / "a")
    nibabel.save(nibabel.Nifti1Image(FRAMES[0].T, np.diag([1.5, 1.5, 8, 1])), tmp_path / "v.nii.gz")
    nibabel.save(nibabel.Nifti1Image(FRAMES[0].T, np.diag([1.5, 1.5, 8, 1])), tmp_path / "v.nii")
    (tmp_path / "v.nii.gz").rename(tmp_path / "packed")
    (tmp_path / "v.nii").rename(tmp_path / "plain")
    write_video(tmp_path / "m.avi", np.repeat(FRAMES[0][:, :, :, None], 3, axis=3))
    kinds = {
        name: type(open_source(str(tmp_path / name))).__name__
        for name in ("d", "d/IM0001", "n", "p", "p/a", "packed", "plain", "m.avi")
    }
    assert kinds == {
        "d": "DicomSource",
        "d/IM0001": "DicomSource",
        "n": "NpzSource",
        "p": "PngSource",
        "p/a": "PngSource",
        "packed": "NiftiSource",
        "plain": "NiftiSource",
        "m.avi": "VideoSource",
    }
    frames, _, _ = read(str(tmp_path / "packed"))
    assert len(frames) == 3


def test_a_bare_path_that_is_not_recognised_says_what_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("a note")
    (tmp_path / "zip.gz").write_bytes(b"\x1f\x8bxxxx")
    for name in ("notes.txt", "zip.gz"):
        with pytest.raises(SourceError, match="not recognised; accepted are a DICOM file or folder, NIfTI"):
            open_source(str(tmp_path / name))
    with pytest.raises(SourceError, match="nothing in the folder is recognised; accepted are"):
        open_source(str(tmp_path))
    with pytest.raises(SourceError, match="there is no such file or folder"):
        open_source(str(tmp_path / "nowhere"))
    assert capfd.readouterr() == ("", "")


def test_names_are_safe_unique_and_in_natural_order() -> None:
    assert series_name("../a b/ß.x") == "a_b_.x"
    assert series_name("..") == "series"
    assert series_name("x" * 300) == "x" * 80
    taken: set[str] = set()
    assert [unique_name(name, taken) for name in ("a", "A", "a", "b")] == ["a", "A-2", "a-3", "b"]
    assert sorted(["10", "9", "a1", "1b", "", "²"], key=natural_key) == ["", "1b", "9", "10", "a1", "²"]
