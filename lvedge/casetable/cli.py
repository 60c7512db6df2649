"""The command ``lvedge-cases``: makes, checks, lists, queries and exports case tables."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from lvedge.casetable.content import Content, merged, read_content, write_content
from lvedge.casetable.csvfile import read_references, read_rules, text_from_references, text_from_rules
from lvedge.casetable.features import cycle_names, frame_names
from lvedge.casetable.jsonlines import cycle_values
from lvedge.casetable.rule import Rule, unknown_name
from lvedge.casetable.ruleset import LEVELS
from lvedge.casetable.schema import rewritten
from lvedge.casetable.table import CaseTable, case_table_store, open_case_table
from lvedge.errors import CaseTableError, LvedgeError, UsageError
from lvedge.frame import Subject
from lvedge.indices import IndexLayout, Phase
from lvedge.measurement import Finding

OK, FAILED, REFUSED = 0, 2, 3


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        0 when everything went well; 2 on wrong usage, or where nothing could be done; 3 where some of the
        objects to look up were refused, one line each on standard error.
    """
    options = _parser().parse_args(args)
    try:
        code: int = options.run(options)
    except LvedgeError as err:
        sys.stderr.write(f"lvedge-cases: {err}\n")
        return FAILED
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lvedge-cases",
        description="Makes, checks, lists, queries and exports case tables. A result is never a diagnosis.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    make = commands.add_parser("make", help="make a case table from CSV files")
    make.add_argument("file", type=Path, metavar="OUT.sqlite", help="the case table to write")
    make.add_argument("--rules", type=Path, metavar="CSV", help="rules, one a line")
    make.add_argument("--references", type=Path, metavar="CSV", help="reference cases, one a line")
    how = make.add_mutually_exclusive_group()
    how.add_argument("--append", action="store_true", help="add to the table that OUT.sqlite is")
    how.add_argument("--replace", action="store_true", help="take the place of an OUT.sqlite that exists")
    make.add_argument("--title", help="title of the table (default: its file name)")
    make.add_argument("--licence", help="licence of the table (default: those of the CSV files)")
    make.add_argument("--table-version", metavar="TEXT", help="version of the table (default: 1)")
    make.add_argument("--sectors", type=int, metavar="M", help="regional wall thicknesses (default: 6)")
    make.add_argument("--diameters", type=int, metavar="N", help="cavity diameters (default: 3)")
    make.set_defaults(run=_make)

    check = commands.add_parser("check", help="check that a case table can be used")
    check.add_argument("file", type=Path, metavar="FILE", help="a case table")
    check.set_defaults(run=_check)

    update = commands.add_parser("update", help="put a case table in use, and keep the one before")
    update.add_argument("file", type=Path, metavar="FILE", help="a case table")
    update.set_defaults(run=_update)

    rollback = commands.add_parser("rollback", help="go back to the case table before the last update")
    rollback.set_defaults(run=_rollback)

    show = commands.add_parser("list", help="list the rows of a case table")
    _add_optional_file(show)
    which = show.add_mutually_exclusive_group()
    which.add_argument("--rules", action="store_true", help="the rules only")
    which.add_argument("--references", action="store_true", help="the reference cases only")
    show.set_defaults(run=_list)

    query = commands.add_parser("query", help="look values up")
    _add_optional_file(query)
    given = query.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--values", nargs="+", metavar="NAME=NUMBER", help="values of one frame or of one cycle"
    )
    given.add_argument(
        "--jsonl", metavar="PATH", help="every cycle object of a run's JSON lines; - is standard input"
    )
    query.add_argument("--phase", choices=[phase.value for phase in Phase], help="phase of the frame")
    query.add_argument("--sex", choices=["F", "M"], help="without it, only rules for both sexes can hold")
    query.add_argument("--age", type=float, metavar="YEARS", help="without it, limits of adults say so")
    query.add_argument("--level", choices=LEVELS, default="unknown", help="where the slice lies")
    query.add_argument("--json", action="store_true", help="one JSON object a result instead of text")
    query.set_defaults(run=_query)

    export = commands.add_parser("export", help="write a case table back to CSV files")
    _add_optional_file(export)
    export.add_argument(
        "--rules", type=Path, metavar="CSV", help="where the rules go (- or nothing: standard output)"
    )
    export.add_argument("--references", type=Path, metavar="CSV", help="where the reference cases go")
    export.set_defaults(run=_export)
    return parser


def _add_optional_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="a case table (default: the one in use)"
    )


def _make(options: argparse.Namespace) -> int:
    out: Path = options.file
    if options.append and not out.exists():
        raise UsageError(f"{out}: does not exist: leave --append out to make it")
    if out.exists() and not (options.append or options.replace):
        raise UsageError(f"{out}: exists: add --append to add to it, or --replace to write it anew")
    if options.append and (options.sectors or options.diameters):
        raise UsageError("--sectors and --diameters belong to the table: leave them out with --append")
    if not (options.rules or options.references or options.append):
        raise UsageError(
            "nothing to make a table of: give --rules rules.csv, --references references.csv, or both"
        )
    with rewritten(out, options.append) as connection:
        old = read_content(connection) if options.append else Content(layout=_layout(options))
        content = merged(old, _content_from_csv(options, old)).with_fallbacks()
        content = _with_title(content, options)
        write_content(connection, content)
    _say(f"{out}: {_summary(content)}")
    return OK


def _content_from_csv(options: argparse.Namespace, old: Content) -> Content:
    content = Content(layout=old.layout)
    if options.rules:
        first = max((rule.number for rule in old.rules), default=0) + 1
        content = merged(content, read_rules(options.rules, first, old.layout))
    if options.references:
        first = max((reference.number for reference in old.references), default=0) + 1
        content = merged(content, read_references(options.references, first, old.layout))
    return content


def _layout(options: argparse.Namespace) -> IndexLayout:
    default = IndexLayout()
    sectors = default.sectors if options.sectors is None else options.sectors
    diameters = default.diameters if options.diameters is None else options.diameters
    try:
        return IndexLayout(sectors, diameters)
    except ValueError as err:
        raise UsageError(f"--sectors, --diameters: {err}") from err


def _with_title(content: Content, options: argparse.Namespace) -> Content:
    meta = dict(content.meta)
    licences = [meta[key] for key in ("rules.licence", "references.licence") if key in meta]
    defaults = {
        "title": options.file.stem,
        "licence": " AND ".join(dict.fromkeys(licences)) or "not stated",
        "version": "1",
    }
    given = {"title": options.title, "licence": options.licence, "version": options.table_version}
    for key, default in defaults.items():
        if given[key] is not None:
            meta[key] = given[key]
        elif key not in meta or (key == "licence" and licences):
            meta[key] = default
    return replace(content, meta=meta)


def _check(options: argparse.Namespace) -> int:
    with open_case_table(options.file) as table:
        table.check()
        _say(f"{options.file}: sound; {_summary(table.content)}")
    return OK


def _update(options: argparse.Namespace) -> int:
    with open_case_table(options.file):  # its faults are told by the name that the user knows
        pass
    try:
        data = options.file.read_bytes()
    except OSError as err:
        raise CaseTableError(f"{options.file}: cannot be read ({err.strerror or err})") from err
    _say(f"in use: {_titled(case_table_store().update(data, lambda _old, _new: None))}")
    return OK


def _rollback(_options: argparse.Namespace) -> int:
    _say(f"in use again: {_titled(case_table_store().rollback())}")
    return OK


def _titled(table: CaseTable) -> str:
    title, version = table.meta.get("title", "untitled"), table.meta.get("version", "not stated")
    return f"{title}, version {version}; {_summary(table.content)}"


def _list(options: argparse.Namespace) -> int:
    with open_case_table(options.file) as table:
        content = table.content
        if not (options.rules or options.references):
            for key, value in sorted(content.meta.items()):
                _say(f"{key}: {value}")
        if not options.references:
            for rule in sorted(content.rules, key=lambda rule: rule.number):
                _say(_line_from_rule(rule))
        if not options.rules:
            for feature in content.features:
                spread = f"{feature.mean:.4g} ± {feature.sd:.4g}"
                _say(f"feature {feature.name}: {spread}, weight {feature.weight:g}")
            for reference in content.references:
                pairs = zip(content.features, reference.values, strict=True)
                values = " ".join(f"{feature.name}={value:.4g}" for feature, value in pairs)
                _say(f"reference {reference.number}: {reference.case}: {values}")
    return OK


def _query(options: argparse.Namespace) -> int:
    if options.age is not None and not 0 <= options.age <= 130:
        raise UsageError(f"--age: {options.age:g} is no age in years: give 0 to 130")
    subject = Subject(sex=options.sex, age_years=options.age)
    with open_case_table(options.file) as table:
        if options.values:
            _show("", _findings(table, options, subject), options.json)
            return OK
        return _query_lines(table, options, subject)


def _findings(table: CaseTable, options: argparse.Namespace, subject: Subject) -> tuple[Finding, ...]:
    values = _values(options.values)
    of_frame, of_cycle = frame_names(table.layout), cycle_names(table.layout)
    for name in values:
        if name not in of_frame and name not in of_cycle:
            raise UsageError(f"--values: {unknown_name(name, (*of_frame, *of_cycle))}")
    if all(name in of_cycle for name in values):
        return table.find_cycle(values, subject, options.level)
    if any(name in of_cycle for name in values):
        raise UsageError("--values: values of a frame and of a cycle do not go together: ask twice")
    phase = Phase(options.phase) if options.phase else None
    return table.find_frame(values, phase, subject, options.level)


def _values(pairs: Iterable[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            values[name.strip()] = float(text)
        except ValueError as err:
            raise UsageError(f"--values: '{pair}' is no NAME=NUMBER: write for example fac=0.55") from err
    return values


def _query_lines(table: CaseTable, options: argparse.Namespace, subject: Subject) -> int:
    looked_up = refused = 0
    try:
        lines = (
            sys.stdin.readlines()
            if options.jsonl == "-"
            else Path(options.jsonl).read_text("utf-8").splitlines()
        )
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"--jsonl: {options.jsonl} cannot be read ({err})") from err
    for name, values, reason in cycle_values(lines, table.layout):
        if values is None:
            refused += 1
            sys.stderr.write(f"lvedge-cases: {name}: {reason}\n")
            continue
        looked_up += 1
        _show(name, table.find_cycle(values, subject, options.level), options.json)
    if not looked_up:
        raise CaseTableError(
            f"{options.jsonl}: no cycle object could be looked up: give the file that jsonl: wrote"
        )
    return REFUSED if refused else OK


def _export(options: argparse.Namespace) -> int:
    with open_case_table(options.file) as table:
        content = table.content
    if options.references:
        if not content.references:
            where = options.file or "the case table in use"
            raise CaseTableError(f"{where}: holds no reference cases: leave --references out")
        _write(options.references, text_from_references(content))
    if options.rules or not options.references:
        _write(options.rules, text_from_rules(content))
    return OK


def _write(path: Path | None, text: str) -> None:
    if path is None or str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        raise CaseTableError(f"{path}: cannot be written ({err.strerror}): choose another path") from err


def _summary(content: Content) -> str:
    cases = len(content.groups)
    return f"{len(content.rules)} rules, {len(content.references)} reference cases of {cases} cases"


def _line_from_rule(rule: Rule) -> str:
    who = [] if rule.sex == "any" else [rule.sex]
    if rule.min_age is not None or rule.max_age is not None:
        low = 0 if rule.min_age is None else rule.min_age
        who.append(f"{low}+ years" if rule.max_age is None else f"{low}-{rule.max_age} years")
    where = [text for text in (rule.phase, rule.level, rule.modality) if text not in ("any", "MR")]
    limits = f" ({', '.join([*who, *where])})" if who or where else ""
    when = rule.conditions_text or "no other rule holds"
    return (
        f"rule {rule.number}: {rule.scope.value}{limits}: {when}: {rule.case}, severity {rule.severity}: "
        f"{rule.label} [{rule.source}]"
    )


def _show(name: str, findings: Sequence[Finding], as_json: bool) -> None:
    if as_json:
        _say(
            json.dumps(
                {"of": name, "findings": [asdict(finding) for finding in findings]}, ensure_ascii=False
            )
        )
        return
    if name:
        _say(name)
    for finding in findings:
        _say(f"{finding.label}")
        _say(f"    {finding.row}, severity {finding.severity}, {finding.source}")
        _say(f"    {finding.caveat}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
