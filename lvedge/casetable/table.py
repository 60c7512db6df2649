"""The look-up that a runtime uses: an opened case table."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from lvedge.casetable.content import Content, check_answers, read_content, read_head
from lvedge.casetable.entry import check_entries
from lvedge.casetable.reference import NO_COMPARISON, ReferenceSet
from lvedge.casetable.rule import Scope
from lvedge.casetable.ruleset import RuleSet
from lvedge.casetable.ruletree import check_rule_trees
from lvedge.casetable.schema import (
    check_pages,
    check_schema,
    file_error,
    is_checked_at_opening,
    is_sealed,
    open_read_only,
)
from lvedge.errors import CaseTableError
from lvedge.frame import Subject
from lvedge.indices import IndexLayout, Phase
from lvedge.measurement import Finding
from lvedge.store import SHIPPED, Store

DEFAULT_PATH = Path(__file__).resolve().parent.parent / "weights" / "cases.sqlite"
"""The table that ships with the default weights; absent from a build without them."""

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


class CaseTable:
    """A case table that is open.

    Rows stay in the file, of which a look-up reads what it needs; nothing there changes while it is open.
    Threads and streams may share one table: they take turns. Findings belong to the caller.

    Args:
        path: the file.

    Raises:
        CaseTableError: see ``open_case_table``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with ExitStack() as stack:
            self._connection = connection = stack.enter_context(open_read_only(path))
            sealed = is_sealed(connection, path)
            if not sealed:
                check_schema(connection, path)
            try:
                if not sealed and is_checked_at_opening(connection):
                    _check_whole(connection)
                self._head = read_head(connection)
                self._frame_rules = RuleSet(connection, Scope.FRAME, self._head.layout)
                self._cycle_rules = RuleSet(connection, Scope.CYCLE, self._head.layout)
                check_answers(Scope.FRAME, self._frame_rules.fallbacks)
                check_answers(Scope.CYCLE, self._cycle_rules.fallbacks)
                self._references = _open_references(connection, self._head)
            except CaseTableError as err:
                raise CaseTableError(f"{path}: {err}") from err
            self._fallback_rows = frozenset(f"rule {rule.number}" for rule in self._cycle_rules.fallbacks)
            self._file = weakref.finalize(self, stack.pop_all().close)

    def __enter__(self) -> CaseTable:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; a later look-up raises ``ValueError``."""
        with self._lock:
            self._file()

    @cached_property
    def content(self) -> Content:
        """Everything that the table holds, read when it is first asked for; no look-up needs it."""
        return self._asked(read_content, self._connection)

    @property
    def layout(self) -> IndexLayout:
        """M and N."""
        return self._head.layout

    @property
    def meta(self) -> Mapping[str, str]:
        """Title, licence, version and what else the table says of itself."""
        return self._head.meta

    def check(self) -> None:
        """Checks the whole file: pages, every row, and that every row is found.

        Raises:
            CaseTableError: with the first thing that cannot stand.
        """
        self._asked(_check_whole, self._connection)

    def find_frame(
        self,
        features: Mapping[str, float],
        phase: Phase | None = None,
        subject: Subject = Subject(),  # noqa: B008 - frozen
        level: str = "unknown",
    ) -> tuple[Finding, ...]:
        """The rules that hold for a frame, most severe first; the fallback where none does.

        Always at least one finding. Of equally severe ones those of MR come before echocardiographic ones,
        those for one sex before those for both, and lower numbers first.

        Args:
            features: values by name, from ``frame_features``; one that is missing or not finite is in no
                interval.
            phase: the frame's phase; None where it is unknown: then only rules for any phase can hold.
            subject: the person; without a sex only rules for both sexes can hold, without an age those of an
                age band cannot, and those for adults say so.
            level: "mid", "basal_or_apical" or "unknown", see ``slice_level``.

        Raises:
            ValueError: on another level, or a closed table.
            CaseTableError: if the file turns out to be damaged, or a row of it cannot stand.
        """
        return self._asked(self._frame_rules.find, features, phase, subject, level)

    def find_cycle(
        self,
        features: Mapping[str, float],
        subject: Subject = Subject(),  # noqa: B008 - frozen
        level: str = "unknown",
    ) -> tuple[Finding, ...]:
        """What the rules and the nearest reference cases say of a beat, the one to report first.

        Most severe first; of equally severe ones the reference cases come first. A fallback, and reference
        cases that cannot be compared, come last.

        Args:
            features: values by name, from ``cycle_features``.
            subject: the person, as in ``find_frame``.
            level: "mid", "basal_or_apical" or "unknown", see ``slice_level``.

        Raises:
            ValueError: on another level, or a closed table.
            CaseTableError: if the file turns out to be damaged, or a row of it cannot stand.
        """
        return self._asked(self._find_cycle, features, subject, level)

    def _find_cycle(self, features: Mapping[str, float], subject: Subject, level: str) -> tuple[Finding, ...]:
        found = self._cycle_rules.find(features, None, subject, level)
        if self._references is None:
            return found
        nearest = self._references.find(features, level)
        if nearest.case == NO_COMPARISON:
            return (*found, nearest)
        if found[0].row in self._fallback_rows:
            return (nearest, *found)
        more_severe = sum(finding.severity > nearest.severity for finding in found)
        return (*found[:more_severe], nearest, *found[more_severe:])

    def _asked(self, question: Callable[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        """The answer to one question at a time."""
        with self._lock:
            if not self._file.alive:
                raise ValueError("this case table was closed")
            try:
                return question(*args, **kwargs)
            except sqlite3.Error as err:
                raise file_error(self._path, err) from err
            except CaseTableError as err:
                raise CaseTableError(f"{self._path}: {err}") from err


def _open_references(connection: sqlite3.Connection, head: Content) -> ReferenceSet | None:
    """The reference cases; None where the table has none."""
    if connection.execute("SELECT 1 FROM reference LIMIT 1").fetchone() is None:
        return None
    return ReferenceSet(connection, head.features, head.groups, head.search)


def _check_whole(connection: sqlite3.Connection) -> None:
    """Checks pages, every row, and that every row is found."""
    check_pages(connection)
    content = read_content(connection)
    content.check_answers()
    check_rule_trees(connection, content.rules)
    check_entries(connection, content.rules)
    references = _open_references(connection, content)
    if references is not None:
        references.check(content.references)


def open_case_table(path: str | Path | None = None) -> CaseTable:
    """Opens a case table; use it in a ``with`` block.

    Args:
        path: the file; None for the one that was installed, else the one that ships with lvedge.

    Raises:
        CaseTableError: if the file is missing, no SQLite database, another program's, of another version,
            damaged, or holds a row that cannot stand; of a file above ``CHECKED_AT_OPENING_BYTES`` only what
            every look-up needs is read.
        StoreError: if the installed one cannot be read.
    """
    return case_table_store().current() if path is None else CaseTable(Path(path))


def case_table_store() -> Store[CaseTable]:
    """What was installed in place of the case table that ships."""

    def read(path: Path | None) -> CaseTable:
        if path is None and not DEFAULT_PATH.exists():
            raise CaseTableError("this build ships no case table: name one, made with lvedge-cases make")
        return CaseTable(path or DEFAULT_PATH)

    return Store("case table", "cases", ".sqlite", "lvedge-cases", read)


def has_case_table() -> bool:
    """Whether there is a table without naming one: installed, or shipped with lvedge.

    Raises:
        StoreError: if the installed one cannot be read.
    """
    return DEFAULT_PATH.exists() or case_table_store().state.current != SHIPPED
