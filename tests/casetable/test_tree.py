"""Trees written as a whole: sound to SQLite, and they give the boxes that going through all of them gives."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from lvedge.casetable.tree import blocks, create_tree, fill_tree, meets_box


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


@pytest.mark.parametrize("axes", [1, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 51, 52, 2601, 2700])
def test_a_tree_is_sound_and_gives_every_box_that_a_point_lies_in(
    connection: sqlite3.Connection, count: int, axes: int
) -> None:
    rng = np.random.default_rng(count + axes)
    wide = np.where(rng.random((count, axes)) < 0.1, 2.0, 0.3 ** (1 / axes))
    low = rng.uniform(-1.0, 1.0, (count, axes))
    high = low + wide * rng.random((count, axes))
    ids = rng.permutation(count) + 7
    connection.execute(create_tree("tree", axes))
    fill_tree(connection, "tree", ids, low, high)
    assert connection.execute("SELECT rtreecheck('tree')").fetchone() == ("ok",)
    kept = {number: bounds for number, *bounds in connection.execute("SELECT * FROM tree")}
    assert sorted(kept) == sorted(ids.tolist())
    for place, number in enumerate(ids.tolist()):
        bounds = np.array(kept[number])
        assert (bounds[::2] <= low[place]).all()
        assert (bounds[1::2] >= high[place]).all()
        assert np.allclose(bounds[::2], low[place], rtol=2e-7)
        assert np.allclose(bounds[1::2], high[place], rtol=2e-7)
    for point in rng.uniform(-1.0, 1.0, (50, axes)):
        found = connection.execute(
            f"SELECT id FROM tree WHERE {meets_box(axes)}", np.repeat(point, 2).tolist()
        ).fetchall()
        inside = ((low <= point) & (point <= high)).all(axis=1)
        assert sorted(number for (number,) in found) == sorted(ids[inside].tolist())


@pytest.mark.parametrize("bound", [0.0, 0.1, -0.1, 1e-60, -1e-60, 16777217.0, -16777217.0, 1e30])
def test_a_bound_is_rounded_outwards(connection: sqlite3.Connection, bound: float) -> None:
    connection.execute(create_tree("tree", 1))
    fill_tree(connection, "tree", np.array([3]), np.array([[bound]]), np.array([[bound]]))
    ((low, high),) = connection.execute("SELECT low0, high0 FROM tree")
    assert low <= bound <= high
    assert high - low <= np.spacing(np.float32(abs(bound)))


def test_sqlite_goes_on_with_a_tree_that_was_filled(connection: sqlite3.Connection) -> None:
    connection.execute(create_tree("tree", 1))
    places = np.arange(3000.0)[:, None]
    fill_tree(connection, "tree", np.arange(3000), places, places)
    connection.execute("INSERT INTO tree VALUES (9000, 5.5, 5.5)")
    connection.execute("DELETE FROM tree WHERE id = 5")
    assert connection.execute("SELECT rtreecheck('tree')").fetchone() == ("ok",)
    found = connection.execute("SELECT id FROM tree WHERE high0 >= 4 AND low0 <= 6 ORDER BY id").fetchall()
    assert found == [(4,), (6,), (9000,)]


def test_blocks_hold_everything_once_and_are_nearly_full() -> None:
    places = np.random.default_rng(0).normal(size=(1000, 3))
    found = list(blocks(places, 51))
    assert sorted(np.concatenate(found).tolist()) == list(range(1000))
    assert len(found) == 20
    assert max(block.size for block in found) <= 51
