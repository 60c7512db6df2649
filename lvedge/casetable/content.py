"""What a case table holds, as values; read from and written to its SQLite file as a whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from lvedge.casetable.entry import write_entries
from lvedge.casetable.features import cycle_names
from lvedge.casetable.reference import (
    Feature,
    Reference,
    ReferenceGroup,
    Search,
    features_from_references,
    write_reference_pages,
)
from lvedge.casetable.row import condition_from_row, row_from_condition, row_from_rule, rule_from_row
from lvedge.casetable.rule import Condition, FieldError, Rule, Scope, fallback_rule, unknown_name
from lvedge.casetable.ruletree import write_rule_trees
from lvedge.casetable.schema import transaction
from lvedge.errors import CaseTableError
from lvedge.indices import DEFAULT_LAYOUT, IndexLayout


@dataclass(frozen=True)
class Content:
    """Rules, reference cases, and what is said about them.

    Args:
        rules: the rules.
        references: the reference cases; each has one value per feature.
        groups: the cases that the references belong to, by name.
        features: the values that count in the distance, with their standardisation.
        search: how the neighbours vote.
        meta: title, licence, version and whatever else the CSV headers state.
        layout: M and N.

    Raises:
        CaseTableError: if two rows share a number, or a reference case does not fit the features or groups.
    """

    rules: tuple[Rule, ...] = ()
    references: tuple[Reference, ...] = ()
    groups: Mapping[str, ReferenceGroup] = field(default_factory=lambda: MappingProxyType({}))
    features: tuple[Feature, ...] = ()
    search: Search = field(default_factory=Search)
    meta: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    layout: IndexLayout = DEFAULT_LAYOUT

    def __post_init__(self) -> None:
        _check_unique("rule", (rule.number for rule in self.rules))
        _check_unique("reference", (reference.number for reference in self.references))
        known = cycle_names(self.layout)
        for feature in self.features:
            if feature.name not in known:
                raise CaseTableError(unknown_name(feature.name, known))
        for reference in self.references:
            if len(reference.values) != len(self.features):
                raise CaseTableError(
                    f"reference {reference.number} has {len(reference.values)} values, "
                    f"the table {len(self.features)} features: give every value"
                )
            if reference.case not in self.groups:
                raise CaseTableError(
                    f"reference {reference.number} belongs to no known case '{reference.case}'"
                )

    def of_scope(self, scope: Scope) -> tuple[Rule, ...]:
        """The rules that look at a frame, or at a cycle."""
        return tuple(rule for rule in self.rules if rule.scope is scope)

    def with_fallbacks(self) -> Content:
        """The same with a fallback for each scope that has none for everybody: every look-up then answers."""
        rules = list(self.rules)
        for scope in Scope:
            if not any(r.is_fallback and r.is_unrestricted for r in rules if r.scope is scope):
                number = max((rule.number for rule in rules), default=0) + 1
                rules.append(fallback_rule(number, scope, self.layout))
        return replace(self, rules=tuple(rules))

    def check_answers(self) -> None:
        """Checks that every look-up gets an answer.

        Raises:
            CaseTableError: if a scope has no rule without conditions that holds for everybody.
        """
        for scope in Scope:
            check_answers(scope, self.of_scope(scope))


def check_answers(scope: Scope, rules: Iterable[Rule]) -> None:
    """Checks that these rules of a scope give an answer to every look-up.

    Raises:
        CaseTableError: if none is without conditions and holds for everybody.
    """
    if not any(rule.is_fallback and rule.is_unrestricted for rule in rules):
        raise CaseTableError(
            f"no {scope.value} rule without conditions: add one that holds for everybody, "
            "as lvedge-cases make does"
        )


def merged(old: Content, new: Content) -> Content:
    """Both tables in one; reference cases are standardised anew.

    Raises:
        CaseTableError: if numbers collide, or the reference cases have other values.
    """
    if old.layout != new.layout:
        raise CaseTableError(
            f"the table has {old.layout}, the rows have {new.layout}: make a table of its own"
        )
    features, references = old.features, old.references
    groups = {**old.groups}
    search = new.search if new.references else old.search
    if new.references:
        names = tuple(feature.name for feature in new.features)
        if old.references and names != tuple(feature.name for feature in old.features):
            have = ", ".join(feature.name for feature in old.features)
            raise CaseTableError(f"the table's reference cases have the values {have}: give the same columns")
        for case, group in new.groups.items():
            if groups.setdefault(case, group) != group:
                raise CaseTableError(f"case '{case}' is described otherwise in the table: use the same words")
        references = (*references, *new.references)
        weights = {feature.name: feature.weight for feature in new.features}
        features = features_from_references(names, references, weights)
    return Content(
        (*old.rules, *new.rules), references, groups, features, search, {**old.meta, **new.meta}, old.layout
    )


def write_content(connection: sqlite3.Connection, content: Content) -> None:
    """Replaces all rows of a case table, in one transaction."""
    meta = {
        **content.meta,
        "sectors": str(content.layout.sectors),
        "diameters": str(content.layout.diameters),
        "neighbours": str(content.search.neighbours),
        "distance_limit": repr(content.search.distance_limit),
        "references.level": content.search.level,
    }
    with transaction(connection):
        for table in (
            "reference_value",
            "reference",
            "reference_group",
            "feature",
            "condition",
            "rule",
            "meta",
        ):
            connection.execute(f"DELETE FROM {table}")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", sorted(meta.items()))
        connection.executemany(
            "INSERT INTO rule VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            map(row_from_rule, content.rules),
        )
        connection.executemany(
            "INSERT INTO condition VALUES (?, ?, ?, ?, ?, ?)",
            (row_from_condition(rule.number, c) for rule in content.rules for c in rule.conditions),
        )
        connection.executemany(
            "INSERT INTO feature VALUES (?, ?, ?, ?, ?)",
            ((k, f.name, f.mean, f.sd, f.weight) for k, f in enumerate(content.features)),
        )
        connection.executemany(
            "INSERT INTO reference_group VALUES (?, ?, ?, ?, ?)",
            ((g.case, g.label, g.severity, g.source, g.caveat) for g in content.groups.values()),
        )
        connection.executemany(
            "INSERT INTO reference VALUES (?, ?)", ((r.number, r.case) for r in content.references)
        )
        connection.executemany(
            "INSERT INTO reference_value VALUES (?, ?, ?)",
            ((r.number, k, value) for r in content.references for k, value in enumerate(r.values)),
        )
        write_rule_trees(connection, content.rules)
        write_entries(connection, content.rules)
        write_reference_pages(connection, content.features, content.references, content.groups)


def read_head(connection: sqlite3.Connection) -> Content:
    """What a look-up needs to know at once: everything but the rules and the reference cases.

    Raises:
        CaseTableError: if a row cannot stand; the message names it.
    """
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    try:
        layout = IndexLayout(int(meta.pop("sectors")), int(meta.pop("diameters")))
        search = Search(
            int(meta.pop("neighbours")), float(meta.pop("distance_limit")), meta.pop("references.level")
        )
    except (KeyError, ValueError, FieldError) as err:
        raise CaseTableError(f"table 'meta' is incomplete or was altered ({err})") from err
    features = tuple(
        Feature(*row)
        for row in connection.execute("SELECT name, mean, sd, weight FROM feature ORDER BY position")
    )
    groups = {
        row[0]: ReferenceGroup(*row)
        for row in connection.execute("SELECT * FROM reference_group ORDER BY rowid")
    }
    return Content(features=features, groups=groups, search=search, meta=meta, layout=layout)


def read_content(connection: sqlite3.Connection) -> Content:
    """All rows of a case table, checked again.

    Raises:
        CaseTableError: if a row cannot stand; the message names it.
    """
    head = read_head(connection)
    conditions: dict[int, list[Condition]] = {}
    for row in connection.execute("SELECT * FROM condition ORDER BY rowid"):
        conditions.setdefault(row[0], []).append(condition_from_row(row))
    rules = tuple(
        rule_from_row(row, tuple(conditions.get(row[0], ())), head.layout)
        for row in connection.execute("SELECT * FROM rule ORDER BY number")
    )
    values: dict[int, list[float]] = {}
    for number, value in connection.execute(
        "SELECT reference, value FROM reference_value ORDER BY reference, position"
    ):
        values.setdefault(number, []).append(value)
    references = tuple(
        Reference(number, case, tuple(values.get(number, ())))
        for number, case in connection.execute("SELECT number, case_name FROM reference ORDER BY number")
    )
    return replace(head, rules=rules, references=references)


def _check_unique(kind: str, numbers: Iterable[int]) -> None:
    seen: set[int] = set()
    for number in numbers:
        if number in seen:
            raise CaseTableError(
                f"{kind} {number} stands twice: give each its own number, or leave the column empty"
            )
        seen.add(number)
