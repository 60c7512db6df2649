"""Points in pages of near ones, found by distance through an R*Tree over the boxes of the pages.

The tree sees the points projected orthonormally onto the five directions in which they differ most. A
distance only shrinks under such a projection: every point within a distance lies in a page whose box meets
the box of that half width around the projected query. The points of such a page are ranked by their whole
values, so that the result is exact. A page is one row of the file, hence one array; only a few are kept in
memory.
"""

from __future__ import annotations

import math
import sqlite3
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple

import numpy as np

from lvedge.casetable.tree import (
    MAX_AXES,
    MEND,
    SMALLEST,
    Floats,
    Integers,
    blocks,
    create_tree,
    fill_tree,
    meets_box,
)
from lvedge.errors import CaseTableError

PAGE_CASES = 256
"""Most points of a page: measured, a good size for a thousand points and for a million."""

_KEPT_PAGES = 64
_FIRST_RADIUS = 0.05  # the points have a variance of 1 in all
_GROWTH = 4.0
# Rounding of a projection: far above D × 2⁻⁵³, far below what would let in more pages.
_ROUNDING = 1e-12
_FAR = 1e30  # what single precision still holds; places are cut off there, which keeps their order


class Page(NamedTuple):
    """Some of the points.

    Args:
        numbers: their numbers, ascending, [P].
        groups: the group of each, [P].
        values: their values as given, [P, D].
        points: their standardised values, [P, D].
    """

    numbers: Integers
    groups: Integers
    values: Floats
    points: Floats


class Near(NamedTuple):
    """One of the nearest points.

    Args:
        squared: its distance from the query, squared.
        number: its number.
        page: the page it stands on.
        row: where on that page.
    """

    squared: float
    number: int
    page: Page
    row: int


class Pages:
    """All points of a file, ready to be searched.

    Args:
        connection: the file, kept for as long as it is asked.
        mean: what is taken from the values, [D].
        scale: what the difference is multiplied by, [D].
    """

    def __init__(self, connection: sqlite3.Connection, mean: Floats, scale: Floats) -> None:
        self._connection = connection
        self._mean, self._scale = mean, scale
        self._record = _record(mean.size)
        self._directions = _read_directions(connection, mean.size)
        self._count = connection.execute("SELECT coalesce(max(number), 0) FROM reference_page").fetchone()[0]
        self._page = lru_cache(maxsize=_KEPT_PAGES)(self._read_page)
        self._select = f"SELECT * FROM reference_tree WHERE {meets_box(MAX_AXES)}"

    def nearest(self, values: Floats, count: int) -> list[Near]:
        """The nearest points, nearest first; of equally near ones the lower number.

        Args:
            values: the query, [D], finite.
            count: how many are wanted; fewer are given where there are fewer.
        """
        query = (values - self._mean) * self._scale
        if self._count == 1:  # needs no tree: a table as small as ours is ranked as a whole, in half the time
            return _merged([], self._page(1), query, count)
        place, radius = np.zeros(MAX_AXES), math.inf
        if np.abs(query).max() < _FAR:  # a query further out leaves out nothing
            place, radius = query @ self._directions, _FIRST_RADIUS
        margin = SMALLEST + _ROUNDING * float(np.abs(query).sum())
        best: list[Near] = []
        seen: set[int] = set()
        while True:
            pages = self._meeting(place, radius, margin)
            for number, squared in pages:
                if number in seen:
                    continue
                if len(best) == count and squared > best[-1].squared:
                    break
                seen.add(number)
                best = _merged(best, self._page(number), query, count)
            reached = math.sqrt(best[-1].squared) if len(best) == count else math.inf
            if reached <= radius or len(pages) == self._count:
                return best
            radius = min(reached, _GROWTH * radius)

    def _meeting(self, place: Floats, radius: float, margin: float) -> list[tuple[int, float]]:
        """The pages that may hold a point within the radius, nearest first, with how near, squared."""
        place = np.clip(place, -_FAR, _FAR)
        reach = radius + margin + _ROUNDING * radius
        box = np.clip(np.stack((place - reach, place + reach), axis=1), -_FAR, _FAR)
        found = np.array(self._connection.execute(self._select, box.ravel().tolist()).fetchall())
        if not found.size:
            return []
        gaps = np.maximum(found[:, 1::2] - place, place - found[:, 2::2]) - margin
        squared = np.square(np.maximum(gaps, 0.0)).sum(axis=1) * (1.0 - _ROUNDING)
        order = np.argsort(squared)
        return list(zip(found[order, 0].astype(np.int64).tolist(), squared[order].tolist(), strict=True))

    def _read_page(self, number: int) -> Page:
        row = self._connection.execute(
            "SELECT cases FROM reference_page WHERE number = ?", (number,)
        ).fetchone()
        try:
            cases = np.frombuffer(b"" if row is None else row[0], self._record)
        except ValueError:
            cases = np.zeros(0, self._record)
        if not cases.size:
            raise CaseTableError(f"page {number} of the reference cases is damaged: {MEND}")
        points = np.ascontiguousarray((cases["values"] - self._mean) * self._scale)
        return Page(cases["number"], cases["group"], cases["values"], points)

    def check(self, numbers: Integers, groups: Integers, values: Floats) -> None:
        """Checks that these are the points, and that each is found wherever it is near.

        Args:
            numbers: ascending, [N].
            groups: [N].
            values: [N, D].

        Raises:
            CaseTableError: naming the first page that does not fit.
        """
        verdict = self._connection.execute("SELECT rtreecheck('reference_tree')").fetchone()[0]
        if verdict != "ok":
            raise CaseTableError(f"table 'reference_tree' is damaged ({verdict}): {MEND}")
        boxes = {
            number: np.array(box) for number, *box in self._connection.execute("SELECT * FROM reference_tree")
        }
        missing = np.ones(numbers.size, np.bool_)
        for number in range(1, self._count + 1):
            page, box = self._read_page(number), boxes.pop(number, np.full(2 * MAX_AXES, np.nan))
            at = np.minimum(np.searchsorted(numbers, page.numbers), numbers.size - 1)
            margin = SMALLEST + _ROUNDING * np.abs(page.points).sum(axis=1, keepdims=True)
            places = np.clip(page.points @ self._directions, -_FAR, _FAR)
            if not (
                np.array_equal(numbers[at], page.numbers)
                and (np.diff(page.numbers) > 0).all()
                and missing[at].all()
                and np.array_equal(groups[at], page.groups)
                and np.array_equal(values[at], page.values)
                and (box[::2] <= places + margin).all()
                and (box[1::2] >= places - margin).all()
            ):
                raise CaseTableError(f"page {number} of the reference cases does not fit them: {MEND}")
            missing[at] = False
        if boxes or missing.any():
            raise CaseTableError(f"the pages of the reference cases do not fit them: {MEND}")


def write_pages(
    connection: sqlite3.Connection,
    mean: Floats,
    scale: Floats,
    numbers: Integers,
    groups: Integers,
    values: Floats,
) -> None:
    """Makes the pages of these points and the tree over them anew; inside a transaction.

    Args:
        connection: the file.
        mean: what is taken from the values, [D].
        scale: what the difference is multiplied by, [D].
        numbers: of the points, ascending, [N].
        groups: of the points, [N].
        values: of the points, [N, D]; N may be 0.
    """
    for table in ("reference_direction", "reference_page"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute("DROP TABLE reference_tree")
    connection.execute(create_tree("reference_tree", MAX_AXES))
    if not numbers.size:
        return
    points = (values - mean) * scale
    directions = _main_directions(points)
    connection.executemany(
        "INSERT INTO reference_direction VALUES (?, ?, ?)",
        (
            (axis, position, share)
            for axis, shares in enumerate(directions.T.tolist())
            for position, share in enumerate(shares)
        ),
    )
    places = np.zeros((numbers.size, MAX_AXES))
    places[:, : directions.shape[1]] = np.clip(points @ directions, -_FAR, _FAR)
    cases = np.zeros(numbers.size, _record(mean.size))
    cases["number"], cases["group"], cases["values"] = numbers, groups, values
    pages = list(blocks(places, PAGE_CASES))
    connection.executemany(
        "INSERT INTO reference_page VALUES (?, ?)",
        ((page, cases[members].tobytes()) for page, members in enumerate(pages, start=1)),
    )
    fill_tree(
        connection,
        "reference_tree",
        np.arange(1, len(pages) + 1),
        np.array([places[members].min(axis=0) for members in pages]),
        np.array([places[members].max(axis=0) for members in pages]),
    )


def _record(size: int) -> np.dtype[np.void]:
    return np.dtype([("number", "<i8"), ("group", "<i8"), ("values", "<f8", (size,))])


def _merged(best: list[Near], page: Page, query: Floats, count: int) -> list[Near]:
    """The nearest of the best so far and the points of a page."""
    difference = page.points - query
    squared = np.einsum("ij,ij->i", difference, difference)
    limit = math.inf
    if len(best) == count:
        limit = best[-1].squared
    elif squared.size > count:
        ordered = squared.copy()  # methods: numpy's functions of these names take three times as long
        ordered.partition(count - 1)
        limit = float(ordered[count - 1])
    (near,) = (squared <= limit).nonzero()
    found = zip(squared[near].tolist(), page.numbers[near].tolist(), repeat(page), near.tolist())
    return sorted((*best, *map(Near._make, found)))[:count]  # numbers differ: no page is compared


def _main_directions(points: Floats) -> Floats:
    """Orthonormal directions in which the points differ most, [D, at most 5]."""
    centred = points - points.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(vectors[:, ::-1][:, :MAX_AXES])


def _read_directions(connection: sqlite3.Connection, size: int) -> Floats:
    """The directions as written, [D, 5]; zeros fill the axes that are not used.

    Raises:
        CaseTableError: if a distance could grow under them.
    """
    directions = np.zeros((size, MAX_AXES))
    for axis, position, share in connection.execute("SELECT axis, position, share FROM reference_direction"):
        if 0 <= position < size:
            directions[position, axis] = share
    if not np.linalg.norm(directions, 2) <= 1.0 + _ROUNDING / 2:
        raise CaseTableError(f"table 'reference_direction' was altered: {MEND}")
    return directions
