"""Rules and reference cases as CSV files: what a user writes, and what a table is written back to.

A file begins with any number of lines ``# key: value`` (title, licence, version, ...), then the names of the
columns, then one row a line. The columns are described in ``docs/case-table.md``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvedge.casetable.content import Content
from lvedge.casetable.features import cycle_names
from lvedge.casetable.reference import (
    Reference,
    ReferenceGroup,
    Search,
    features_from_references,
)
from lvedge.casetable.rule import (
    ANY,
    FieldError,
    Rule,
    Scope,
    conditions_from_text,
    exact_text,
    unknown_name,
)
from lvedge.errors import CaseTableError
from lvedge.indices import DEFAULT_LAYOUT, IndexLayout

RULE_COLUMNS = (
    "rule",
    "scope",
    "phase",
    "sex",
    "min_age",
    "max_age",
    "level",
    "modality",
    "conditions",
    "case",
    "label",
    "severity",
    "source",
    "caveat",
)
RULE_REQUIRED = ("scope", "conditions", "case", "label", "severity", "source")
REFERENCE_COLUMNS = ("reference", "case", "label", "severity", "source", "caveat")
REFERENCE_REQUIRED = ("case", "label", "severity", "source")
_SEARCH_KEYS = ("neighbours", "distance_limit", "level")


@dataclass(frozen=True)
class _Row:
    """One row with the place it stands in, so that an error can name it."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def error(self, column: str, reason: str) -> CaseTableError:
        return CaseTableError(f"{self.path}, line {self.line}, column {column}: {reason}")

    def text(self, column: str, default: str = "") -> str:
        return self.cells.get(column, "") or default

    def integer(self, column: str) -> int | None:
        text = self.text(column)
        if not text:
            return None
        try:
            return int(text)
        except ValueError as err:
            raise self.error(
                column, f"'{text}' is no whole number: write for example 18, or leave it empty"
            ) from err

    def number(self, column: str) -> float:
        text = self.text(column)
        try:
            return float(text)
        except ValueError as err:
            raise self.error(column, f"'{text}' is no number: write for example 7.25") from err


def read_rules(path: Path, first_number: int = 1, layout: IndexLayout = DEFAULT_LAYOUT) -> Content:
    """The rules of a CSV file; rows without a number are numbered on from ``first_number``.

    Raises:
        CaseTableError: with file, line, column and what to do, on the first thing that cannot stand.
    """
    header, columns, rows = _read(path, RULE_REQUIRED)
    for column in columns:
        if column not in RULE_COLUMNS:
            raise CaseTableError(
                f"{path}: {unknown_name(column, RULE_COLUMNS).replace('value', 'column', 1)}"
            )
    rules: list[Rule] = []
    lines: dict[int, int] = {}
    number = first_number - 1
    for row in rows:
        given = row.integer("rule")
        number = number + 1 if given is None else given
        if number in lines:
            raise row.error(
                "rule", f"{number} stands in line {lines[number]} already: give each rule its own number"
            )
        lines[number] = row.line
        rules.append(_rule_from_row(row, number, layout))
    if not rules:
        raise CaseTableError(f"{path}: holds no rules: write one a line below the names of the columns")
    return Content(rules=tuple(rules), meta={f"rules.{k}": v for k, v in header.items()}, layout=layout)


def read_references(path: Path, first_number: int = 1, layout: IndexLayout = DEFAULT_LAYOUT) -> Content:
    """The reference cases of a CSV file, standardised by their own means and standard deviations.

    Every column that is not one of ``REFERENCE_COLUMNS`` is a cycle value and counts in the distance.

    Raises:
        CaseTableError: with file, line, column and what to do, on the first thing that cannot stand.
    """
    header, columns, rows = _read(path, REFERENCE_REQUIRED)
    names = tuple(column for column in columns if column not in REFERENCE_COLUMNS)
    known = cycle_names(layout)
    for name in names:
        if name not in known:
            raise CaseTableError(f"{path}: {unknown_name(name, (*REFERENCE_COLUMNS, *known))}")
    if not names:
        raise CaseTableError(f"{path}: has no column of a cycle value: add for example fac and ed_rwt_max_mm")
    groups: dict[str, ReferenceGroup] = {}
    references: list[Reference] = []
    lines: dict[int, int] = {}
    number = first_number - 1
    for row in rows:
        given = row.integer("reference")
        number = number + 1 if given is None else given
        if number in lines:
            raise row.error(
                "reference", f"{number} stands in line {lines[number]} already: give each its own number"
            )
        lines[number] = row.line
        try:
            _add_group(groups, row)
            references.append(Reference(number, row.text("case"), tuple(row.number(name) for name in names)))
        except FieldError as err:
            raise row.error(err.field, err.reason) from err
    weights, search = _search_from_header(path, header)
    for name in weights:
        if name not in names:
            raise CaseTableError(f"{path}: a weight is given for '{name}', which is no column: take it out")
    if not references:
        raise CaseTableError(
            f"{path}: holds no reference cases: write one a line below the names of the columns"
        )
    try:
        features = features_from_references(names, references, weights)
    except FieldError as err:
        raise CaseTableError(f"{path}, column {err.field}: {err.reason}") from err
    meta = {
        f"references.{k}": v
        for k, v in header.items()
        if k not in _SEARCH_KEYS and not k.startswith("weight ")
    }
    return Content(
        references=tuple(references),
        groups=groups,
        features=features,
        search=search,
        meta=meta,
        layout=layout,
    )


def text_from_rules(content: Content) -> str:
    """The rules of a table as a CSV file; reading it back gives the same rules."""
    rows = [
        (
            rule.number,
            rule.scope.value,
            "" if rule.scope is Scope.CYCLE else rule.phase,
            rule.sex,
            "" if rule.min_age is None else rule.min_age,
            "" if rule.max_age is None else rule.max_age,
            rule.level,
            rule.modality,
            rule.conditions_text,
            rule.case,
            rule.label,
            rule.severity,
            rule.source,
            rule.caveat,
        )
        for rule in content.rules
    ]
    return _text(_header(content.meta, "rules."), RULE_COLUMNS, rows)


def text_from_references(content: Content) -> str:
    """The reference cases of a table as a CSV file; reading it back gives the same cases and distances."""
    header = _header(content.meta, "references.")
    header += [
        ("neighbours", str(content.search.neighbours)),
        ("distance_limit", exact_text(content.search.distance_limit)),
        ("level", content.search.level),
        *((f"weight {f.name}", exact_text(f.weight)) for f in content.features if f.weight != 1.0),
    ]
    described: set[str] = set()
    rows: list[Sequence[object]] = []
    for reference in content.references:
        group = content.groups[reference.case]
        words = (group.label, group.severity, group.source, group.caveat)
        shown = ("", "", "", "") if reference.case in described else words
        described.add(reference.case)
        rows.append((reference.number, reference.case, *shown, *map(exact_text, reference.values)))
    return _text(header, (*REFERENCE_COLUMNS, *(f.name for f in content.features)), rows)


def _rule_from_row(row: _Row, number: int, layout: IndexLayout) -> Rule:
    scope_text = row.text("scope")
    if scope_text not in {scope.value for scope in Scope}:
        raise row.error("scope", f"'{scope_text}' is not one of {', '.join(scope.value for scope in Scope)}")
    severity = row.integer("severity")
    if severity is None:
        raise row.error("severity", "is empty: give 0 none, 1 note, 2 abnormal or 3 marked")
    try:
        return Rule(
            number=number,
            scope=Scope(scope_text),
            conditions=conditions_from_text(row.text("conditions")),
            case=row.text("case"),
            label=row.text("label"),
            severity=severity,
            source=row.text("source"),
            caveat=row.text("caveat"),
            phase=row.text("phase", ANY),
            sex=row.text("sex", ANY),
            min_age=row.integer("min_age"),
            max_age=row.integer("max_age"),
            level=row.text("level", ANY),
            modality=row.text("modality", "MR"),
            layout=layout,
        )
    except FieldError as err:
        raise row.error(err.field, err.reason) from err


def _add_group(groups: dict[str, ReferenceGroup], row: _Row) -> None:
    """Takes a case's words from the first row that has it; later rows repeat them or leave them empty."""
    case = row.text("case")
    first = groups.get(case)
    if first is None:
        severity = row.integer("severity")
        if severity is None:
            raise row.error("severity", f"is empty in the first row of case '{case}': give 0, 1, 2 or 3")
        groups[case] = ReferenceGroup(
            case, row.text("label"), severity, row.text("source"), row.text("caveat")
        )
        return
    for column in ("label", "severity", "source", "caveat"):
        text = row.text(column)
        if text and text != str(getattr(first, column)):
            raise row.error(
                column, f"differs from the first row of case '{case}': repeat it, or leave it empty"
            )


def _search_from_header(path: Path, header: Mapping[str, str]) -> tuple[dict[str, float], Search]:
    default = Search()
    weights: dict[str, float] = {}
    try:
        for key, value in header.items():
            if key.startswith("weight "):
                weights[key.removeprefix("weight ").strip()] = float(value)
        search = Search(
            int(header.get("neighbours", default.neighbours)),
            float(header.get("distance_limit", default.distance_limit)),
            header.get("level", default.level),
        )
    except ValueError as err:
        raise CaseTableError(f"{path}: neighbours, distance_limit and weights are numbers ({err})") from err
    except FieldError as err:
        raise CaseTableError(f"{path}: {err}") from err
    return weights, search


def _read(path: Path, required: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...], Iterator[_Row]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise CaseTableError(f"{path}: cannot be read ({err.strerror}): give the path of a CSV file") from err
    except UnicodeDecodeError as err:
        raise CaseTableError(
            f"{path}: is no UTF-8 text ({err.reason} at byte {err.start}): save it as UTF-8"
        ) from err
    header: dict[str, str] = {}
    above = 0
    lines = text.splitlines(keepends=True)
    while above < len(lines) and (lines[above].startswith("#") or not lines[above].strip(" ,;\t\r\n")):
        key, colon, value = lines[above].lstrip("# ").rstrip(" ,\r\n").partition(":")
        if colon:
            header[key.strip()] = value.strip()
        above += 1
    reader = csv.reader(io.StringIO("".join(lines[above:]), newline=""), strict=True)
    try:
        columns = tuple(name.strip() for name in next(reader, ()))
    except csv.Error as err:
        raise CaseTableError(f"{path}, line {above + 1}: is no CSV ({err})") from err
    if len(columns) == 1 and ";" in columns[0]:
        raise CaseTableError(f"{path}, line {above + 1}: is separated by ';': save it separated by commas")
    for column in columns:
        if not column or columns.count(column) > 1:
            raise CaseTableError(f"{path}, line {above + 1}: column '{column}' is unnamed or stands twice")
    missing = [column for column in required if column not in columns]
    if missing:
        raise CaseTableError(f"{path}, line {above + 1}: column '{missing[0]}' is missing: add it")
    return header, columns, _rows(path, columns, reader, above)


def _rows(path: Path, columns: Sequence[str], reader: Iterator[list[str]], above: int) -> Iterator[_Row]:
    line = above + 1
    try:
        for cells in reader:
            line = above + reader.line_num  # type: ignore[attr-defined]
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                raise CaseTableError(
                    f"{path}, line {line}: has {len(cells)} cells for {len(columns)} columns: "
                    "put text that holds a comma into double quotes"
                )
            yield _Row(path, line, {name: cell.strip() for name, cell in zip(columns, cells, strict=True)})
    except csv.Error as err:
        raise CaseTableError(f"{path}, line {line + 1}: is no CSV ({err}): check the double quotes") from err


def _header(meta: Mapping[str, str], prefix: str) -> list[tuple[str, str]]:
    return [
        (key.removeprefix(prefix), value) for key, value in sorted(meta.items()) if key.startswith(prefix)
    ]


def _text(header: Sequence[tuple[str, str]], columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO(newline="")
    for key, value in header:
        out.write(f"# {key}: {value}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
