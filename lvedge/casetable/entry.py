"""A rule as a look-up needs it: one row of the file, read at once, and made from a rule that was checked.

An entry carries a checksum in place of the checks of a rule: what it says was checked when it was written.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable
from sys import float_info
from typing import NamedTuple
from zlib import crc32

from lvedge.casetable.rule import Condition, Rule
from lvedge.casetable.tree import MEND
from lvedge.errors import CaseTableError


class Entry(NamedTuple):
    """What a look-up needs of a rule; all but the bounds as in ``Rule``.

    Args:
        bounds: names of values, with the lowest and the highest number that meets the condition; both finite.
    """

    bounds: list[tuple[str, float, float]]
    number: int
    phase: str
    sex: str
    min_age: int | None
    max_age: int | None
    level: str
    modality: str
    case: str
    label: str
    severity: int
    source: str
    caveat: str
    is_fallback: bool
    is_for_adults: bool


def read_entry(connection: sqlite3.Connection, number: int) -> Entry:
    """The entry of one rule.

    Raises:
        CaseTableError: if the file has no such entry, or it is not as it was written.
    """
    row = connection.execute("SELECT entry, checksum FROM rule_entry WHERE rule = ?", (number,)).fetchone()
    if row is None or type(row[0]) is not bytes or crc32(row[0]) != row[1]:
        raise _unfit(number)
    return Entry(*json.loads(row[0].decode()))


def write_entries(connection: sqlite3.Connection, rules: Iterable[Rule]) -> None:
    """Makes the entries anew; inside a transaction."""
    connection.execute("DELETE FROM rule_entry")
    connection.executemany("INSERT INTO rule_entry VALUES (?, ?, ?)", map(_row_from_rule, rules))


def check_entries(connection: sqlite3.Connection, rules: Iterable[Rule]) -> None:
    """Checks that the entries are those of these rules.

    Raises:
        CaseTableError: naming the first rule whose entry is not.
    """
    found = {row[0]: row for row in connection.execute("SELECT rule, checksum, entry FROM rule_entry")}
    for rule in rules:
        if found.pop(rule.number, None) != _row_from_rule(rule):
            raise _unfit(rule.number)
    if found:
        raise _unfit(min(found))


def _unfit(number: int) -> CaseTableError:
    return CaseTableError(f"rule {number} does not fit the entry that is looked up: {MEND}")


def _row_from_rule(rule: Rule) -> tuple[int, int, bytes]:
    entry = Entry(
        [_bounds(condition) for condition in rule.conditions],
        rule.number,
        rule.phase,
        rule.sex,
        rule.min_age,
        rule.max_age,
        rule.level,
        rule.modality,
        rule.case,
        rule.label,
        rule.severity,
        rule.source,
        rule.caveat,
        rule.is_fallback,
        rule.is_for_adults,
    )
    packed = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
    return rule.number, crc32(packed), packed


def _bounds(condition: Condition) -> tuple[str, float, float]:
    """An exclusive bound is moved by one unit in the last place, which is exact."""
    low, high = condition.lower, condition.upper
    low = low if condition.lower_inclusive else math.nextafter(low, math.inf)
    high = high if condition.upper_inclusive else math.nextafter(high, -math.inf)
    return condition.value, max(low, -float_info.max), min(high, float_info.max)
