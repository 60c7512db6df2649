"""Rules found by the values that they constrain: one R*Tree for each set of constrained values.

A tree is asked with a point and gives the rules whose box may hold it. It keeps single precision and at most
five values, so that what it gives is judged again by the rule itself; it leaves no rule out, since a bound
and a value are placed on an axis by the same monotone function and a box is rounded outwards.
"""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from sys import float_info

import numpy as np

from lvedge.casetable.rule import ANY, Rule, Scope
from lvedge.casetable.tree import MAX_AXES, MEND, SMALLEST, create_tree, fill_tree
from lvedge.errors import CaseTableError

_TREES_A_STATEMENT = 100  # SQLite joins at most 500 selects
_BELOW, _ABOVE = -1.0, 2.0


@dataclass(frozen=True)
class Axis:
    """Where a value lies between the outermost bounds that rules set for it: 0 to 1; −1 and 2 far outside.

    Args:
        value: name of the value.
        origin: its lowest bound.
        scale: inverse of the distance to its highest bound; finite and above 0.
    """

    value: str
    origin: float
    scale: float

    def place(self, number: float) -> float:
        """The place of a number or a bound that is not NaN; grows with it, or stays the same."""
        place = (number - self.origin) * self.scale
        if not _BELOW < place < _ABOVE:
            return _BELOW if place < 0.0 else _ABOVE
        return 0.0 if -SMALLEST < place < SMALLEST else place


class RuleTrees:
    """The trees over the rules of one scope.

    Args:
        connection: the file, kept for as long as it is asked.
        scope: the rules to ask for.

    Raises:
        CaseTableError: if a tree is missing or was altered.
    """

    def __init__(self, connection: sqlite3.Connection, scope: Scope) -> None:
        self._connection = connection
        sets = _read_sets(connection, scope)
        self.sex_specific = any(sex_specific for sex_specific, _ in sets.values())
        """Whether one of the rules holds for one sex only."""
        trees = sorted((_tree(number), axes) for number, (_, axes) in sets.items())
        self._statements = [
            _statement(trees[start : start + _TREES_A_STATEMENT])
            for start in range(0, len(trees), _TREES_A_STATEMENT)
        ]

    def candidates(self, features: Mapping[str, float]) -> list[int]:
        """Numbers of all rules whose conditions these values may meet; one that is not finite meets none."""
        found: list[int] = []
        for statement, axes in self._statements:
            places: dict[str, float | None] = {}
            for mark, axis in enumerate(axes, start=1):
                value = float(features.get(axis.value, math.nan))
                places[f"place{mark}"] = axis.place(value) if math.isfinite(value) else None
            found.extend(number for (number,) in self._connection.execute(statement, places))
        return found


def write_rule_trees(connection: sqlite3.Connection, rules: Iterable[Rule]) -> None:
    """Makes the trees anew; inside a transaction."""
    for (number,) in connection.execute("SELECT number FROM rule_set").fetchall():
        connection.execute(f"DROP TABLE IF EXISTS {_tree(number)}")
    for table in ("rule_axis", "rule_set", "rule_fallback"):
        connection.execute(f"DELETE FROM {table}")
    sets: defaultdict[tuple[str, tuple[str, ...]], list[Rule]] = defaultdict(list)
    for rule in rules:
        if rule.is_fallback:
            connection.execute("INSERT INTO rule_fallback VALUES (?)", (rule.number,))
        else:
            sets[rule.scope.value, tuple(sorted(c.value for c in rule.conditions))].append(rule)
    axes_of = {
        scope.value: _axes(r for key in sets if key[0] == scope.value for r in sets[key]) for scope in Scope
    }
    for number, ((scope, values), members) in enumerate(sorted(sets.items()), start=1):
        axes = _most_selective([axes_of[scope][value] for value in values], members)
        connection.execute(
            "INSERT INTO rule_set VALUES (?, ?, ?)", (number, scope, any(rule.sex != ANY for rule in members))
        )
        connection.executemany(
            "INSERT INTO rule_axis VALUES (?, ?, ?, ?, ?)",
            ((number, k, *astuple(axis)) for k, axis in enumerate(axes)),
        )
        connection.execute(create_tree(_tree(number), len(axes)))
        boxes = np.array([_box(rule, axes) for rule in members])
        numbers = np.array([rule.number for rule in members])
        fill_tree(connection, _tree(number), numbers, boxes[:, ::2], boxes[:, 1::2])


def check_rule_trees(connection: sqlite3.Connection, rules: Sequence[Rule]) -> None:
    """Checks that every rule is found wherever it holds.

    Raises:
        CaseTableError: naming the first rule that is not.
    """
    waiting = {rule.number: rule for rule in rules}
    for (number,) in connection.execute("SELECT rule FROM rule_fallback").fetchall():
        rule = waiting.pop(number, None)
        if rule is None or not rule.is_fallback:
            raise _unfit(number)
    for scope in Scope:
        for number, (sex_specific, axes) in _read_sets(connection, scope).items():
            verdict = connection.execute("SELECT rtreecheck(?)", (_tree(number),)).fetchone()[0]
            if verdict != "ok":
                raise CaseTableError(f"table '{_tree(number)}' is damaged ({verdict}): {MEND}")
            for found, *bounds in connection.execute(f"SELECT * FROM {_tree(number)}"):
                rule = waiting.pop(found, None)
                if rule is None or rule.scope is not scope or (rule.sex != ANY and not sex_specific):
                    raise _unfit(found)
                if not {axis.value for axis in axes} <= {c.value for c in rule.conditions}:
                    raise _unfit(found)
                box = _box(rule, axes)
                low, high = zip(bounds[::2], box[::2], strict=True), zip(bounds[1::2], box[1::2], strict=True)
                if any(has > needs for has, needs in low) or any(has < needs for has, needs in high):
                    raise _unfit(found)
    if waiting:
        raise _unfit(min(waiting))


def _unfit(number: int) -> CaseTableError:
    return CaseTableError(f"rule {number} does not fit the tree it is found through: {MEND}")


def _tree(number: int) -> str:
    return f"rule_tree_{number}"


def _read_sets(connection: sqlite3.Connection, scope: Scope) -> dict[int, tuple[bool, tuple[Axis, ...]]]:
    """Whether each set of a scope has rules for one sex, and its axes."""
    made = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE name GLOB 'rule_tree_*'"))
    axes: defaultdict[int, list[Axis]] = defaultdict(list)
    for number, *axis in connection.execute(
        "SELECT rule_set, value, origin, scale FROM rule_axis ORDER BY rule_set, axis"
    ):
        axes[number].append(Axis(*axis))
    sets = {}
    for number, sex_specific in connection.execute(
        "SELECT number, sex_specific FROM rule_set WHERE scope = ? ORDER BY number", (scope.value,)
    ):
        if made.get(_tree(number)) != create_tree(_tree(number), len(axes[number])):
            raise CaseTableError(
                f"table '{_tree(number)}' is missing or was altered: make it again from its CSV files"
            )
        sets[number] = (bool(sex_specific), tuple(axes[number]))
    return sets


def _statement(trees: Sequence[tuple[str, Sequence[Axis]]]) -> tuple[str, tuple[Axis, ...]]:
    """One question to all of these trees, and the axes whose places it asks for."""
    marks: dict[Axis, int] = {}
    selects = []
    for tree, axes in trees:
        inside = " AND ".join(
            f"low{k} <= :place{mark} AND high{k} >= :place{mark}"
            for k, mark in enumerate(marks.setdefault(axis, len(marks) + 1) for axis in axes)
        )
        selects.append(f"SELECT id FROM {tree} WHERE {inside}")
    return " UNION ALL ".join(selects), tuple(marks)


def _axes(rules: Iterable[Rule]) -> dict[str, Axis]:
    """An axis for each value that one of these rules constrains, by its name."""
    bounds: defaultdict[str, list[float]] = defaultdict(list)
    for rule in rules:
        for condition in rule.conditions:
            bounds[condition.value] += filter(math.isfinite, (condition.lower, condition.upper))
    axes = {}
    for value, found in bounds.items():
        low, spread = min(found), max(found) - min(found)
        scale = min(max(1.0 / spread, float_info.min), float_info.max) if spread > 0 else 1.0
        axes[value] = Axis(value, low, scale)
    return axes


def _most_selective(axes: Sequence[Axis], rules: Sequence[Rule]) -> tuple[Axis, ...]:
    """The axes on which the rules are narrowest, as many as a tree may have, in their order."""
    if len(axes) <= MAX_AXES:
        return tuple(axes)
    width = dict.fromkeys(axes, 0.0)
    for rule in rules:
        box = _box(rule, axes)
        for k, axis in enumerate(axes):
            width[axis] += box[2 * k + 1] - box[2 * k]
    narrow = sorted(axes, key=lambda axis: width[axis])[:MAX_AXES]
    return tuple(axis for axis in axes if axis in narrow)


def _box(rule: Rule, axes: Iterable[Axis]) -> list[float]:
    """Lower and upper bound of a rule on each axis."""
    conditions = {condition.value: condition for condition in rule.conditions}
    return [
        axis.place(bound)
        for axis in axes
        for bound in (conditions[axis.value].lower, conditions[axis.value].upper)
    ]
