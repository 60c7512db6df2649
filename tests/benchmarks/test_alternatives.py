"""The first result is told by itself, the clip a frame, and ours is what the others are held against."""

from __future__ import annotations

from collections.abc import Iterator
from time import thread_time

import pytest

pytest.importorskip("torch")

from benchmarks.alternatives import OURS, compared, played


def spend(seconds: float) -> None:
    """So much of this thread's own time."""
    until = thread_time() + seconds
    while thread_time() < until:
        pass


def test_the_first_result_and_the_clip_a_frame() -> None:
    def way() -> Iterator[int]:
        spend(0.02)
        yield 1
        spend(0.01)
        yield 2

    first, frame = played(way, frames=2)
    assert first >= 20.0
    assert frame >= 15.0  # (20 + 10) / 2


def test_ours_is_the_measure() -> None:
    found = compared({OURS: [(10.0, 5.0)] * 6, "other": [(5.0, 20.0)] * 6})
    assert found["other"]["first_result_ms"] == 5.0
    assert found["other"]["first_result_over_ours"]["ratio"] == 0.5
    assert found["other"]["frame_over_ours"]["ratio"] == 4.0
    assert found[OURS]["frame_over_ours"]["ratio"] == 1.0
