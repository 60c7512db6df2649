"""The rules of one scope as arrays, so that one look-up tests all of them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lvedge.casetable.rule import ADULT_YEARS, ANY, PHASES, RULE_LEVELS, SEXES, Rule
from lvedge.frame import Subject
from lvedge.indices import Phase
from lvedge.measurement import Finding

DISCLAIMER = "Not a diagnosis."
ECHO_NOTE = "An echocardiographic limit, shown as information only."
AGE_UNKNOWN_NOTE = "Limits of adults; the age is unknown."
UNDER_AGE_NOTE = "Limits of adults; this person is under 18."
LEVEL_UNKNOWN_NOTE = "Holds for mid-ventricular slices; the level of this slice is unknown."
SEX_UNKNOWN_NOTE = "The sex is unknown: rules for women or for men were left out."

LEVELS = ("mid", "basal_or_apical", "unknown")

Bools = NDArray[np.bool_]


def slice_level(slice_index: int, slice_count: int | None) -> str:
    """Where a slice lies in its stack: "mid", "basal_or_apical" or "unknown".

    Mid is k / (n − 1) in [0.2, 0.8], k counted from 0; a stack of fewer than three slices, or of unknown
    size, gives "unknown".
    """
    if slice_count is None or slice_count < 3:
        return "unknown"
    return "mid" if 0.2 <= slice_index / (slice_count - 1) <= 0.8 else "basal_or_apical"


class RuleSet:
    """Rules of one scope, ready to be looked up. Immutable: threads may share it.

    Bounds are kept inclusive: an exclusive bound is moved by one unit in the last place, which is exact.

    Args:
        rules: the rules; all of one scope.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        ordered = sorted(
            rules, key=lambda rule: (rule.is_fallback, rule.is_fallback and rule.is_unrestricted, rule.number)
        )
        self._rules = tuple(ordered)
        self._count = sum(not rule.is_fallback for rule in ordered)
        active = ordered[: self._count]
        conditions = [condition for rule in active for condition in rule.conditions]
        self._names = tuple(dict.fromkeys(condition.value for condition in conditions))
        place = {name: k for k, name in enumerate(self._names)}
        self._column = np.array([place[c.value] for c in conditions], dtype=np.intp)
        self._lower = np.array([_inclusive(c.lower, c.lower_inclusive, math.inf) for c in conditions])
        self._upper = np.array([_inclusive(c.upper, c.upper_inclusive, -math.inf) for c in conditions])
        lengths = np.array([0, *(len(rule.conditions) for rule in active)], dtype=np.intp)
        self._start = np.cumsum(lengths)[:-1]
        self._phase = np.array([PHASES.index(rule.phase) for rule in ordered], dtype=np.int8)
        self._sex = np.array([SEXES.index(rule.sex) for rule in ordered], dtype=np.int8)
        self._level = np.array([RULE_LEVELS.index(rule.level) for rule in ordered], dtype=np.int8)
        self._adult = np.array([rule.is_for_adults for rule in ordered], dtype=np.bool_)
        self._min_age = np.array([-math.inf if rule.min_age is None else rule.min_age for rule in ordered])
        self._max_age = np.array([math.inf if rule.max_age is None else rule.max_age for rule in ordered])
        self._ageless = np.isinf(self._min_age) & np.isinf(self._max_age)
        self._sex_specific = bool(self._sex.any())

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules: by number, then the fallbacks."""
        return self._rules

    def find(
        self, features: Mapping[str, float], phase: Phase | None, subject: Subject, level: str
    ) -> tuple[Finding, ...]:
        """The rules that hold, most severe first, or else one fallback; see ``CaseTable.find_frame``."""
        if level not in LEVELS:
            raise ValueError(f"level {level!r} is not one of {', '.join(LEVELS)}")
        applicable = self._applicable(phase, subject, level)
        hits = np.flatnonzero(applicable[: self._count] & self._inside(features))
        if hits.size:
            held = [self._rules[k] for k in hits.tolist()]
            held.sort(
                key=lambda rule: (-rule.severity, rule.modality == "echo", rule.sex == ANY, rule.number)
            )
            return tuple(self._finding(rule, subject, level) for rule in held)
        for k in np.flatnonzero(applicable[self._count :]).tolist():
            return (self._finding(self._rules[self._count + k], subject, level),)
        return ()

    def _inside(self, features: Mapping[str, float]) -> Bools:
        if not self._count:
            return np.zeros(0, dtype=np.bool_)
        values = np.array([features.get(name, math.nan) for name in self._names])
        values[~np.isfinite(values)] = math.nan
        at = values[self._column]
        inside: Bools = np.logical_and.reduceat((at >= self._lower) & (at <= self._upper), self._start)
        return inside

    def _applicable(self, phase: Phase | None, subject: Subject, level: str) -> Bools:
        phase_code = PHASES.index(phase.value) if phase is not None else 0
        sex_code = SEXES.index(subject.sex) if subject.sex in SEXES else 0
        applicable: Bools = (self._phase == 0) | (self._phase == phase_code)
        applicable &= (self._sex == 0) | (self._sex == sex_code)
        if level == "basal_or_apical":
            applicable &= self._level == 0
        if subject.age_years is None:
            applicable &= self._ageless | self._adult
        else:
            years = math.floor(subject.age_years)
            applicable &= self._adult | ((years >= self._min_age) & (years <= self._max_age))
        return applicable

    def _finding(self, rule: Rule, subject: Subject, level: str) -> Finding:
        notes = [DISCLAIMER]
        if rule.caveat:
            notes.append(rule.caveat)
        if rule.modality == "echo":
            notes.append(ECHO_NOTE)
        if rule.is_for_adults and subject.age_years is None:
            notes.append(AGE_UNKNOWN_NOTE)
        elif rule.is_for_adults and subject.age_years is not None and subject.age_years < ADULT_YEARS:
            notes.append(UNDER_AGE_NOTE)
        if rule.level == "mid" and level == "unknown":
            notes.append(LEVEL_UNKNOWN_NOTE)
        if rule.is_fallback and self._sex_specific and subject.sex not in SEXES[1:]:
            notes.append(SEX_UNKNOWN_NOTE)
        return Finding(
            case=rule.case,
            label=rule.label,
            source=rule.source,
            caveat=" ".join(notes),
            row=f"rule {rule.number}",
            severity=rule.severity,
        )


def _inclusive(bound: float, inclusive: bool, towards: float) -> float:
    return bound if inclusive else math.nextafter(bound, towards)
