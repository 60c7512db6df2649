"""Memory is read through the whole way; here that the way is gone and the line is drawn."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from benchmarks import memory
from lvedge_runtime.sources import SourceOptions, open_source


def test_each_pass_is_a_new_series_without_an_end() -> None:
    with open_source("demo:", SourceOptions()) as source:
        cine = list(islice(source, 2))
    played = list(islice(memory.endless(cine), 5))
    assert [frame.series for frame in played] == [f"{cine[0].series}-{turn}" for turn in (0, 0, 1, 1, 2)]
    assert {frame.cine_length for frame in played} == {None}


def test_every_frame_after_the_first_ones_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "WARM_UP", 5)
    found = memory.grown(memory.tiny_bundle(), 20, tmp_path / "results.jsonl", is_drawn=True)
    assert found["frames"] == 20
    assert found["measured"] == 25  # the drawn heart is seen in all of them
    assert len(found["readings_mb"]) == 21
    assert found["first_mb"] <= found["highest_mb"]
    assert (tmp_path / "results.jsonl").stat().st_size < 20_000  # thrown away at each reading
