"""SQLite's R*Tree: boxes in up to five dimensions, found by the boxes that they meet.

A tree keeps its bounds in single precision, rounded outwards: it may give a box too many, never one too few,
as long as its bounds are 0 or at least ``SMALLEST`` from it.

Trees are written as a whole, since all boxes are known: SQLite's own inserting leaves nodes two thirds full
that overlap, of which a look-up among a million rules reads 1.4 times as many, and takes four times as long.
The nodes are as SQLite describes them in ``ext/rtree/rtree.c``, and ``rtreecheck`` checks them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]

MAX_AXES = 5
"""Most dimensions that an R*Tree of SQLite has (https://www.sqlite.org/rtree.html)."""

SMALLEST = 1e-30
"""Numbers nearer to 0 are not told from it: a thread may flush those below 1e-38 in single precision to 0."""

MEND = "make the trees anew from the rows with lvedge-cases make --append"
"""What to do where what is looked up does not fit the rows that it was made from."""

_SHADOWS = ("_node", "_parent", "_rowid")
_ROOT = 1
_HEAD_BYTES = 4  # depth of the tree (of the root only) and number of cells, 16 bits each, big-endian


def create_tree(name: str, axes: int) -> str:
    """The statement that makes a tree of boxes: a whole number, and two bounds for each axis."""
    columns = ", ".join(f"low{axis}, high{axis}" for axis in range(axes))
    return f"CREATE VIRTUAL TABLE {name} USING rtree(id, {columns})"


def fill_tree(connection: sqlite3.Connection, name: str, ids: Integers, low: Floats, high: Floats) -> None:
    """Fills an empty tree; inside a transaction.

    Args:
        connection: the file.
        name: the tree.
        ids: of the boxes, all different, [N].
        low: lower bounds, [N, axes], finite in single precision.
        high: upper bounds, [N, axes], none below the lower ones.
    """
    size = connection.execute(f"SELECT length(data) FROM {name}_node WHERE nodeno = {_ROOT}").fetchone()[0]
    cell = np.dtype([("id", ">i8"), ("box", ">f4", (low.shape[1], 2))])
    most = (size - _HEAD_BYTES) // cell.itemsize
    boxes = np.stack((_single(low, -np.inf), _single(high, np.inf)), axis=2)
    first, depth, leads = _ROOT + 1, 0, "rowid"
    while True:
        cells = np.zeros(ids.size, cell)
        cells["id"], cells["box"] = ids, boxes
        if ids.size <= most:
            break
        nodes = list(blocks(boxes.reshape(ids.size, -1), most))
        numbers = np.arange(first, first + len(nodes))
        connection.executemany(
            f"INSERT INTO {name}_node VALUES (?, ?)",
            ((n, _node(cells[node], 0, size)) for n, node in zip(numbers.tolist(), nodes, strict=True)),
        )
        owners = np.empty_like(ids)
        for number, node in zip(numbers.tolist(), nodes, strict=True):
            owners[node] = number
        _lead(connection, f"{name}_{leads}", ids, owners)
        lows, highs = boxes[:, :, 0], boxes[:, :, 1]
        boxes = np.stack(
            ([lows[node].min(axis=0) for node in nodes], [highs[node].max(axis=0) for node in nodes]), axis=2
        )
        ids, first, depth, leads = numbers, first + len(nodes), depth + 1, "parent"
    _lead(connection, f"{name}_{leads}", ids, np.full_like(ids, _ROOT))
    connection.execute(
        f"UPDATE {name}_node SET data = ? WHERE nodeno = {_ROOT}", (_node(cells, depth, size),)
    )


def blocks(places: Floats | Singles, most: int) -> Iterator[Integers]:
    """Indices of near ones, ascending, together all: halved along the longest side until at most so many.

    Args:
        places: of what is to be divided, [N, D].
        most: how many at most in a block; all but few are full.
    """
    waiting = [np.arange(len(places))]
    while waiting:
        block = waiting.pop()
        count = -(-block.size // most)
        if count <= 1:
            yield np.sort(block)
            continue
        axis = np.ptp(places[block], axis=0).argmax()
        ordered = block[np.argsort(places[block, axis], kind="stable")]
        half = block.size * (count // 2) // count
        waiting += (ordered[half:], ordered[:half])


def meets_box(axes: int) -> str:
    """What holds for the boxes that meet a box, given by the lower and the upper bound of each axis."""
    return " AND ".join(f"high{axis} >= ? AND low{axis} <= ?" for axis in range(axes))


def is_shadow(table: str) -> bool:
    """Whether a tree keeps itself in this table, whose text differs between versions of SQLite."""
    return table.endswith(_SHADOWS)


def _single(bounds: Floats, outwards: float) -> Singles:
    """Bounds in single precision, those between two numbers rounded outwards."""
    nearest = bounds.astype(np.float32)
    inside = nearest > bounds if outwards < 0 else nearest < bounds
    return np.where(inside, np.nextafter(nearest, np.float32(outwards)), nearest)


def _node(cells: NDArray[np.void], depth: int, size: int) -> bytes:
    head = depth.to_bytes(2, "big") + len(cells).to_bytes(2, "big")
    return (head + cells.tobytes()).ljust(size, b"\0")


def _lead(connection: sqlite3.Connection, table: str, ids: Integers, nodes: Integers) -> None:
    """Writes in which node each of these stands, in the order of the file."""
    order = np.argsort(ids)
    connection.executemany(
        f"INSERT INTO {table} VALUES (?, ?)", zip(ids[order].tolist(), nodes[order].tolist(), strict=True)
    )
