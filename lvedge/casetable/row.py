"""A rule as rows of the SQLite file, and back."""

from __future__ import annotations

import math
import sqlite3
from typing import Any

from lvedge.casetable.rule import Condition, FieldError, Rule, Scope
from lvedge.errors import CaseTableError
from lvedge.indices import IndexLayout


def read_rule(connection: sqlite3.Connection, number: int, layout: IndexLayout) -> Rule:
    """One rule, checked again.

    Raises:
        CaseTableError: if the file has no such rule, or it cannot stand.
    """
    row = connection.execute("SELECT * FROM rule WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise CaseTableError(f"rule {number} is missing: make the table again from its CSV files")
    conditions = connection.execute("SELECT * FROM condition WHERE rule = ? ORDER BY rowid", (number,))
    return rule_from_row(row, tuple(map(condition_from_row, conditions)), layout)


def row_from_rule(rule: Rule) -> tuple[object, ...]:
    return (
        rule.number,
        rule.scope.value,
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
    )


def rule_from_row(row: tuple[Any, ...], conditions: tuple[Condition, ...], layout: IndexLayout) -> Rule:
    number, scope, phase, sex, min_age, max_age, level, modality, case, label, severity, source, caveat = row
    try:
        return Rule(
            number=number,
            scope=Scope(scope),
            conditions=conditions,
            case=case,
            label=label,
            severity=severity,
            source=source,
            caveat=caveat,
            phase=phase,
            sex=sex,
            min_age=min_age,
            max_age=max_age,
            level=level,
            modality=modality,
            layout=layout,
        )
    except FieldError as err:
        raise CaseTableError(f"rule {number}, {err}") from err


def row_from_condition(rule: int, condition: Condition) -> tuple[object, ...]:
    return (
        rule,
        condition.value,
        None if math.isinf(condition.lower) else condition.lower,
        int(condition.lower_inclusive),
        None if math.isinf(condition.upper) else condition.upper,
        int(condition.upper_inclusive),
    )


def condition_from_row(row: tuple[Any, ...]) -> Condition:
    rule, value, lower, lower_inclusive, upper, upper_inclusive = row
    try:
        return Condition(
            value,
            -math.inf if lower is None else lower,
            math.inf if upper is None else upper,
            bool(lower_inclusive),
            bool(upper_inclusive),
        )
    except FieldError as err:
        raise CaseTableError(f"rule {rule}, {err}") from err
