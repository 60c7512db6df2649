"""Curves of the training logs: one picture a log, and a clear word where there is nothing to draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from lvedge.errors import DataError
from lvedge.training.plot import plot_logs

PERCEPTION = [
    {"step": 100, "seconds": 9.5, "rate": 2e-3, "loss_dice": 0.9, "loss_values": 3.0, "dice_cavity": 0.4},
    {"step": 200, "seconds": 19.0, "rate": 1e-3, "loss_dice": 0.4, "loss_values": 1.0, "dice_cavity": 0.8},
]


def log_in(folder: Path, name: str, lines: list[dict[str, Any]]) -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def picture(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return pixels


def colours(pixels: np.ndarray) -> int:
    """Pixels of a saturated colour: curves and their legends."""
    return int(((pixels.max(axis=2).astype(int) - pixels.min(axis=2)) > 60).sum())


def test_every_log_becomes_a_picture_beside_it(tmp_path: Path) -> None:
    log_in(tmp_path, "recurrence", PERCEPTION)
    log = log_in(tmp_path, "perception", PERCEPTION)
    before = log.read_bytes()
    assert plot_logs(tmp_path) == [tmp_path / "perception.png", tmp_path / "recurrence.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "perception.jsonl",
        "perception.png",
        "recurrence.jsonl",
        "recurrence.png",
    ]
    assert log.read_bytes() == before
    pixels = picture(tmp_path / "perception.png")
    assert pixels.shape == (495, 1320, 3)
    assert (colours(pixels[:, :660]) > 0, colours(pixels[:, 660:]) > 0) == (True, True)
    assert (tmp_path / "perception.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_losses_are_drawn_on_the_left_and_figures_on_the_right(tmp_path: Path) -> None:
    log_in(tmp_path, "losses", [{k: v for k, v in line.items() if k != "dice_cavity"} for line in PERCEPTION])
    log_in(
        tmp_path,
        "figures",
        [{k: v for k, v in line.items() if not k.startswith("loss")} for line in PERCEPTION],
    )
    plot_logs(tmp_path)
    drawn = {}
    for name in ("losses", "figures"):
        pixels = picture(tmp_path / f"{name}.png")
        drawn[name] = colours(pixels[:, :660]) > 0, colours(pixels[:, 660:]) > 0
    assert drawn == {"losses": (True, False), "figures": (False, True)}


def test_seconds_and_rate_are_no_figures(tmp_path: Path) -> None:
    bare = [{"step": 1, "seconds": 5.0, "rate": 0.1}, {"step": 2, "seconds": 6.0, "rate": 0.2}]
    log_in(tmp_path, "bare", bare)
    (path,) = plot_logs(tmp_path)
    assert colours(picture(path)) == 0


def test_figures_that_came_later_or_are_unknown_leave_gaps(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [dict(line) for line in PERCEPTION]
    del lines[0]["dice_cavity"]
    lines.append({**PERCEPTION[1], "step": 300, "dice_cavity": float("nan")})
    log_in(tmp_path, "stage", lines)
    (path,) = plot_logs(tmp_path)
    assert colours(picture(path)[:, :660]) > 0


def test_one_line_is_enough_to_replace_an_old_picture(tmp_path: Path) -> None:
    (tmp_path / "stage.png").write_bytes(b"old")
    log_in(tmp_path, "stage", PERCEPTION[:1])
    plot_logs(tmp_path)
    assert picture(tmp_path / "stage.png").shape == (495, 1320, 3)


@pytest.mark.parametrize("folder", [".", "nowhere"])
def test_a_folder_without_a_log_is_named(folder: str, tmp_path: Path) -> None:
    (tmp_path / "perception.pt").write_bytes(b"")
    where = tmp_path / folder
    with pytest.raises(DataError) as raised:
        plot_logs(where)
    assert str(raised.value) == f"no training log in {where}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty: train a while longer first"),
        ('{"step": 1, "lo', "is no training log: JSONDecodeError"),
        ("[1, 2]\n", "is no training log: TypeError"),
        ('{"loss_dice": 0.5}\n', "is no training log: KeyError: 'step'"),
    ],
)
def test_a_log_that_is_none_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "stage.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"stage\.jsonl {words}") as raised:
        plot_logs(tmp_path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "stage.png").exists()
