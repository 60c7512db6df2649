"""Plots of agreement: one readable picture a kind of value."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

from scored_records import scored

from lvedge.training.evaluation.plot import plot_agreement


def coloured(pixels: np.ndarray) -> np.ndarray:
    """Where something is drawn in colour."""
    return (pixels.max(axis=2).astype(int) - pixels.min(axis=2)) > 20


def test_one_picture_a_kind_of_value(tmp_path: Path) -> None:
    slices = [scored("a", said=k - 4.0, scale=1 + k / 10) for k in range(10)]
    folder = tmp_path / "deep" / "plots"
    assert plot_agreement(slices, folder) == [folder / f"{name}.png" for name in ("rwt", "dims", "areas")]
    for name in ("rwt", "dims", "areas"):
        pixels = cv2.imread(str(folder / f"{name}.png"))
        assert pixels is not None
        assert pixels.shape == (550, 1210, 3)
        assert coloured(pixels[:, :605]).any()
        assert coloured(pixels[:, 605:]).any()


def test_no_slice_draws_nothing_and_does_not_fail(tmp_path: Path) -> None:
    (tmp_path / "rwt.png").write_bytes(b"old")
    for path in plot_agreement([], tmp_path):
        pixels = cv2.imread(str(path))
        assert pixels is not None
        assert not coloured(pixels[:, 605:]).any()
