"""Twenty kills of the command at random moments; `benchmarks/kill_receive.py` has two hundred."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from kills import Left, Trial, Zygote, two_series, zygote
from orthanc import Orthanc, orthanc

KILLS_A_TRIAL = 4


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("pacs")) as running:
        yield running


@pytest.fixture(scope="module")
def starter() -> Iterator[Zygote]:
    pytest.importorskip("highdicom")
    with zygote() as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pacs: Orthanc, starter: Zygote) -> Left:
    """What a run without a kill leaves."""
    left = Trial(tmp_path_factory.mktemp("trial") / "0", starter, pacs).run(0, random.Random(0))
    pacs.clear()
    return left


def test_an_undisturbed_run_leaves_every_frame_once(undisturbed: Left) -> None:
    data = two_series()
    frames = [place for place, line in undisturbed.frames if '"frame"' in line]
    assert len(frames) == len(set(frames)) == 2 * len(data)
    assert len(undisturbed.rows) == 2 * len(data)
    # A report and the masks at ED and ES of each series.
    assert len(undisturbed.objects) == 2 * 3


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path, pacs: Orthanc, starter: Zygote, undisturbed: Left, seed: int
) -> None:
    pacs.clear()
    left = Trial(tmp_path / "trial", starter, pacs).run(KILLS_A_TRIAL, random.Random(seed))
    assert left.frames == undisturbed.frames
    assert left.rows == undisturbed.rows
    assert left.objects == undisturbed.objects
