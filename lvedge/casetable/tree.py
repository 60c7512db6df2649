"""SQLite's R*Tree: boxes in up to five dimensions, found by the boxes that they meet.

A tree keeps its bounds in single precision, rounded outwards: it may give a box too many, never one too few,
as long as its bounds are 0 or at least ``SMALLEST`` from it.
"""

from __future__ import annotations

MAX_AXES = 5
"""Most dimensions that an R*Tree of SQLite has (https://www.sqlite.org/rtree.html)."""

SMALLEST = 1e-30
"""SQLite rounds a bound that is nearer to 0 than about 1e-38 inwards: do not tell such numbers from 0."""

MEND = "make the trees anew from the rows with lvedge-cases make --append"
"""What to do where a tree does not fit the rows that it leads to."""

_SHADOWS = ("_node", "_parent", "_rowid")


def create_tree(name: str, axes: int) -> str:
    """The statement that makes a tree of boxes: a whole number, and two bounds for each axis."""
    columns = ", ".join(f"low{axis}, high{axis}" for axis in range(axes))
    return f"CREATE VIRTUAL TABLE {name} USING rtree(id, {columns})"


def insert_box(name: str, axes: int) -> str:
    """The statement that adds a box: its id, then the lower and the upper bound of each axis."""
    return f"INSERT INTO {name} VALUES (?{', ?' * 2 * axes})"


def meets_box(axes: int) -> str:
    """What holds for the boxes that meet a box, given by the lower and the upper bound of each axis."""
    return " AND ".join(
        f"high{axis} >= ?{2 * axis + 1} AND low{axis} <= ?{2 * axis + 2}" for axis in range(axes)
    )


def is_shadow(table: str) -> bool:
    """Whether a tree keeps itself in this table, whose text differs between versions of SQLite."""
    return table.endswith(_SHADOWS)
