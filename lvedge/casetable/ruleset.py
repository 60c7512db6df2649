"""The look-up of rules: those whose box may hold the values, judged one by one, most severe first."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import islice

from lvedge.casetable.entry import Entry, read_entry
from lvedge.casetable.row import read_rule
from lvedge.casetable.rule import ADULT_YEARS, ANY, SEXES, Rule, Scope
from lvedge.casetable.ruletree import RuleTrees
from lvedge.frame import Subject
from lvedge.indices import IndexLayout, Phase
from lvedge.measurement import Finding

DISCLAIMER = "Not a diagnosis."
ECHO_NOTE = "An echocardiographic limit, shown as information only."
AGE_UNKNOWN_NOTE = "Limits of adults; the age is unknown."
UNDER_AGE_NOTE = "Limits of adults; this person is under 18."
LEVEL_UNKNOWN_NOTE = "Holds for mid-ventricular slices; the level of this slice is unknown."
SEX_UNKNOWN_NOTE = "The sex is unknown: rules for women or for men were left out."

ENTRIES_KEPT = 256
"""Rules that are kept as they were last read: the frames of a slice meet the same few."""

LEVELS = ("mid", "basal_or_apical", "unknown")


def slice_level(slice_index: int, slice_count: int | None) -> str:
    """Where a slice lies in its stack: "mid", "basal_or_apical" or "unknown".

    Mid is k / (n − 1) in [0.2, 0.8], k counted from 0; a stack of fewer than three slices, or of unknown
    size, gives "unknown".
    """
    if slice_count is None or slice_count < 3:
        return "unknown"
    return "mid" if 0.2 <= slice_index / (slice_count - 1) <= 0.8 else "basal_or_apical"


class RuleSet:
    """The rules of one scope, looked up in their file.

    Args:
        connection: the file, kept for as long as it is asked.
        scope: the rules to look up.
        layout: M and N of the table.

    Raises:
        CaseTableError: if a tree over the rules is missing, or a fallback cannot stand.
    """

    def __init__(self, connection: sqlite3.Connection, scope: Scope, layout: IndexLayout) -> None:
        self._trees = RuleTrees(connection, scope)
        self._entry = lru_cache(maxsize=ENTRIES_KEPT)(partial(read_entry, connection))
        fallbacks = [
            read_rule(connection, number, layout)
            for (number,) in connection.execute("SELECT rule FROM rule_fallback ORDER BY rule").fetchall()
        ]
        self._fallbacks = sorted(
            (rule for rule in fallbacks if rule.scope is scope), key=lambda rule: rule.is_unrestricted
        )
        self._sex_specific = self._trees.sex_specific or any(rule.sex != ANY for rule in self._fallbacks)

    @property
    def fallbacks(self) -> tuple[Rule, ...]:
        """The rules without conditions, in the order in which they are tried."""
        return tuple(self._fallbacks)

    def find(
        self, features: Mapping[str, float], phase: Phase | None, subject: Subject, level: str
    ) -> tuple[Finding, ...]:
        """The rules that hold, most severe first, or else one fallback; see ``CaseTable.find_frame``."""
        if level not in LEVELS:
            raise ValueError(f"level {level!r} is not one of {', '.join(LEVELS)}")
        phase_name = None if phase is None else phase.value
        held = [
            entry
            for entry in map(self._entry, self._trees.candidates(features))
            if _is_met(entry, features) and _is_for(entry, phase_name, subject, level)
        ]
        held.sort(key=_rank)
        if not held:
            of_all = (self._entry(rule.number) for rule in self._fallbacks)
            held = list(islice((e for e in of_all if _is_for(e, phase_name, subject, level)), 1))
        age, has_sex = subject.age_years, subject.sex in SEXES[1:]
        age_note = AGE_UNKNOWN_NOTE if age is None else UNDER_AGE_NOTE if age < ADULT_YEARS else ""
        return tuple(self._finding(entry, age_note, level == "unknown", has_sex) for entry in held)

    def _finding(self, rule: Entry, age_note: str, level_unknown: bool, has_sex: bool) -> Finding:
        notes = [DISCLAIMER]
        if rule.caveat:
            notes.append(rule.caveat)
        if rule.modality == "echo":
            notes.append(ECHO_NOTE)
        if rule.is_for_adults and age_note:
            notes.append(age_note)
        if rule.level == "mid" and level_unknown:
            notes.append(LEVEL_UNKNOWN_NOTE)
        if rule.is_fallback and self._sex_specific and not has_sex:
            notes.append(SEX_UNKNOWN_NOTE)
        return Finding(
            case=rule.case,
            label=rule.label,
            source=rule.source,
            caveat=" ".join(notes),
            row=f"rule {rule.number}",
            severity=rule.severity,
        )


def _rank(rule: Entry) -> tuple[int, bool, bool, int]:
    """Its place in the order of results, the lowest first."""
    return -rule.severity, rule.modality == "echo", rule.sex == ANY, rule.number


def _is_met(rule: Entry, features: Mapping[str, float]) -> bool:
    """Whether every value lies inside its bounds; one that is missing or not finite does not."""
    for name, lower, upper in rule.bounds:  # noqa: SIM110 - takes half the time of all()
        if not lower <= features.get(name, math.nan) <= upper:
            return False
    return True


def _is_for(rule: Entry, phase: str | None, subject: Subject, level: str) -> bool:
    """Whether a rule may hold for this person, in this phase, at this level."""
    if rule.phase not in (ANY, phase) or rule.sex not in (ANY, subject.sex):
        return False
    if rule.level != ANY and level == "basal_or_apical":
        return False
    if rule.is_for_adults or (rule.min_age is None and rule.max_age is None):
        return True
    if subject.age_years is None:
        return False
    years = math.floor(subject.age_years)
    above = rule.min_age is None or years >= rule.min_age
    return above and (rule.max_age is None or years <= rule.max_age)
