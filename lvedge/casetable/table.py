"""The look-up that a runtime uses: an opened case table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from lvedge.casetable.content import Content, read_content
from lvedge.casetable.reference import NO_COMPARISON, ReferenceSet
from lvedge.casetable.rule import Scope
from lvedge.casetable.ruleset import RuleSet
from lvedge.casetable.schema import open_read_only
from lvedge.errors import CaseTableError
from lvedge.frame import Subject
from lvedge.indices import Phase
from lvedge.measurement import Finding
from lvedge.store import SHIPPED, Store

DEFAULT_PATH = Path(__file__).resolve().parent.parent / "weights" / "cases.sqlite"
"""The table that ships with the default weights; absent from a build without them."""


class CaseTable:
    """A case table in memory.

    The file is read once and closed again; afterwards nothing here changes, so that threads and streams may
    share one table. Findings belong to the caller.

    Args:
        content: rules and reference cases.

    Raises:
        CaseTableError: if a look-up could go without an answer.
    """

    def __init__(self, content: Content) -> None:
        content.check_answers()
        self._content = content
        self._frame_rules = RuleSet(content.of_scope(Scope.FRAME))
        self._cycle_rules = RuleSet(content.of_scope(Scope.CYCLE))
        self._references: ReferenceSet | None = None
        if content.references:
            self._references = ReferenceSet(
                content.features, content.references, content.groups, content.search
            )
        self._fallback_rows = frozenset(f"rule {rule.number}" for rule in content.rules if rule.is_fallback)
        self._closed = False

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
        """Ends the table's use; a later look-up raises ``ValueError``."""
        self._closed = True

    @property
    def content(self) -> Content:
        """Everything that the table holds."""
        return self._content

    @property
    def meta(self) -> Mapping[str, str]:
        """Title, licence, version and what else the table says of itself."""
        return self._content.meta

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
        """
        self._check_open()
        return self._frame_rules.find(features, phase, subject, level)

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
        """
        self._check_open()
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

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this case table was closed")


def open_case_table(path: str | Path | None = None) -> CaseTable:
    """Reads a case table; use it in a ``with`` block.

    Args:
        path: the file; None for the one that was installed, else the one that ships with lvedge.

    Raises:
        CaseTableError: if the file is missing, no SQLite database, another program's, of another version,
            damaged, or holds a row that cannot stand.
        StoreError: if the installed one cannot be read.
    """
    if path is None:
        return case_table_store().current()
    path = Path(path)
    with open_read_only(path) as connection:
        try:
            return CaseTable(read_content(connection))
        except CaseTableError as err:
            raise CaseTableError(f"{path}: {err}") from err


def case_table_store() -> Store[CaseTable]:
    """What was installed in place of the case table that ships."""

    def read(path: Path | None) -> CaseTable:
        if path is None and not DEFAULT_PATH.exists():
            raise CaseTableError("this build ships no case table: name one, made with lvedge-cases make")
        return open_case_table(path or DEFAULT_PATH)

    return Store("case table", "cases", ".sqlite", "lvedge-cases", read)


def has_case_table() -> bool:
    """Whether there is a table without naming one: installed, or shipped with lvedge.

    Raises:
        StoreError: if the installed one cannot be read.
    """
    return DEFAULT_PATH.exists() or case_table_store().state.current != SHIPPED
