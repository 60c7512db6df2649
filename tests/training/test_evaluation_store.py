"""Kept scores: they come back as they were, or not at all."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from scored_records import INF, NAN, beat, scored

from lvedge.training.evaluation.other import ScoredFrame
from lvedge.training.evaluation.retest import Retest
from lvedge.training.evaluation.store import Scores, Store, pooled

SCORES = Scores(
    cold=(scored("a", said=1 / 3, centre_mm=INF, septum_deg=NAN, found=False), scored("b")),
    warm=(scored("a", truth=np.full(11, NAN)),),
    retests=(Retest("a", 2, "ES", "turn", 0.75, np.arange(11.0) / 7, np.zeros(11)),),
    beats=(beat("1", wrong=2),),
    frames=(ScoredFrame("s", 2, 0, True, 1000.0, 900.0, 1.0, (0.9, NAN)),),
)


def assert_same(one: object, other: object) -> None:
    """Field by field, arrays with their kind, NaN being itself."""
    assert type(one) is type(other)
    for f in fields(one):  # type: ignore[arg-type]
        a, b = getattr(one, f.name), getattr(other, f.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        elif isinstance(a, tuple):
            assert type(b) is tuple
            np.testing.assert_array_equal(a, b)
        else:
            assert type(a) is type(b)
            assert a == b or (math.isnan(a) and math.isnan(b))


def test_scores_come_back_exactly(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "kept")
    assert store.read("one", "x") is None
    store.write("one", "x", SCORES)
    found = store.read("one", "x")
    assert found is not None
    for kind in fields(Scores):
        before, after = getattr(SCORES, kind.name), getattr(found, kind.name)
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            assert_same(one, other)
    assert [p.name for p in store.folder.iterdir()] == ["one.jsonl"]


def test_what_was_made_with_something_else_does_not_count(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write("one", "x", SCORES)
    assert store.read("one", "y") is None
    assert store.read("other", "x") is None
    store.write("one", "y", Scores())
    assert store.read("one", "y") == Scores()


@pytest.mark.parametrize("end", [0, 1, 40, -30])
def test_half_a_file_does_not_count(end: int, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write("one", "x", SCORES)
    path = tmp_path / "one.jsonl"
    path.write_bytes(path.read_bytes()[:end])
    assert store.read("one", "x") is None


def test_pooled_scores_keep_their_order() -> None:
    other = Scores(cold=(scored("c"),), frames=SCORES.frames)
    found = pooled([SCORES, Scores(), other])
    assert [s.subject for s in found.cold] == ["a", "b", "c"]
    assert (len(found.warm), len(found.beats), len(found.frames)) == (1, 1, 2)
    assert pooled([]) == Scores()
