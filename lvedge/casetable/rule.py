"""A rule: intervals over named values, for whom and where they hold, and what is said when they do."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from enum import Enum

from lvedge.casetable.features import cycle_names, frame_names
from lvedge.errors import CaseTableError
from lvedge.indices import DEFAULT_LAYOUT, IndexLayout

ANY = "any"
PHASES = (ANY, "systole", "diastole")
SEXES = (ANY, "F", "M")
RULE_LEVELS = (ANY, "mid")
MODALITIES = (ANY, "MR", "echo")
SEVERITIES = (0, 1, 2, 3)
ADULT_YEARS = 18

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_VALUE = r"[A-Za-z][A-Za-z0-9_-]*"
_INTERVAL = re.compile(
    rf"(?:(?P<low>{_NUMBER})\s*(?P<low_op><=?)\s*)?(?P<value>{_VALUE})\s*(?:(?P<op><=?|>=?)\s*(?P<bound>{_NUMBER}))?"
)
_EJECTION_FRACTION = re.compile(
    r"(?i:ejection[\W_]*fraction)|(?i:(?<![a-z])(?:lv)?ef(?![a-z]))|[A-Za-z]EF(?![A-Za-z])"
)


class Scope(str, Enum):
    """What a rule looks at."""

    FRAME = "frame"
    CYCLE = "cycle"


class FieldError(CaseTableError):
    """A field of a row that cannot stand.

    Args:
        field: the field's name, which is also its column's name.
        reason: what is wrong with it and what to do.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True)
class Condition:
    """One value inside one interval.

    Args:
        value: name of the value, see ``lvedge.casetable.features``.
        lower: lower bound, −inf for none.
        upper: upper bound, +inf for none.
        lower_inclusive: the lower bound itself belongs to the interval.
        upper_inclusive: the upper bound itself belongs to the interval.

    Raises:
        FieldError: if no number can lie in the interval, or every number does.
    """

    value: str
    lower: float = -math.inf
    upper: float = math.inf
    lower_inclusive: bool = True
    upper_inclusive: bool = True

    def __post_init__(self) -> None:
        if math.isnan(self.lower) or math.isnan(self.upper):
            raise FieldError("conditions", f"a bound of {self.value} is not a number: write one")
        if math.isinf(self.lower) and math.isinf(self.upper):
            raise FieldError(
                "conditions", f"{self.value} has no bound: write for example '{self.value} >= 15'"
            )
        closed = self.lower_inclusive and self.upper_inclusive
        if self.lower > self.upper or (self.lower == self.upper and not closed):
            raise FieldError("conditions", f"no number satisfies '{self}': exchange or widen the bounds")

    def __str__(self) -> str:
        low_op = "<=" if self.lower_inclusive else "<"
        high_op = "<=" if self.upper_inclusive else "<"
        if math.isinf(self.lower):
            return f"{self.value} {high_op} {exact_text(self.upper)}"
        if math.isinf(self.upper):
            return f"{self.value} {low_op.replace('<', '>')} {exact_text(self.lower)}"
        return f"{exact_text(self.lower)} {low_op} {self.value} {high_op} {exact_text(self.upper)}"


def exact_text(number: float) -> str:
    """The shortest text that reads back as exactly this number; whole numbers without a point."""
    return repr(number).removesuffix(".0")


def conditions_from_text(text: str) -> tuple[Condition, ...]:
    """The conditions of a rule from text such as ``13 <= ed_rwt_max_mm < 15 and fac >= 0.5``.

    ``<=`` and ``>=`` include the bound, ``<`` and ``>`` exclude it. Empty text gives no conditions.

    Raises:
        FieldError: on text that does not read as intervals.
    """
    if not text.strip():
        return ()
    conditions: list[Condition] = []
    for part in re.split(r"\s+and\s+|;", text.strip()):
        match = _INTERVAL.fullmatch(part.strip())
        if match is None or (match["low"] is None and match["op"] is None):
            raise FieldError(
                "conditions",
                f"'{part.strip()}' is no interval: write '13 <= ed_rwt_max_mm < 15' or 'fac < 0.4'",
            )
        if match["low"] is not None and (match["op"] or "").startswith(">"):
            raise FieldError("conditions", f"'{part.strip()}' points both ways: write '13 <= value < 15'")
        lower, upper, low_in, high_in = -math.inf, math.inf, True, True
        if match["low"] is not None:
            lower, low_in = float(match["low"]), match["low_op"] == "<="
        if match["op"] is not None:
            inclusive = match["op"].endswith("=")
            if match["op"].startswith(">"):
                lower, low_in = float(match["bound"]), inclusive
            else:
                upper, high_in = float(match["bound"]), inclusive
        conditions.append(Condition(match["value"], lower, upper, low_in, high_in))
    return tuple(conditions)


def unknown_name(name: str, known: tuple[str, ...]) -> str:
    """The reason to give for a value's name that is not known; names the likely one and all known ones."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"unknown value '{name}'{hint} Known: {', '.join(known)}"


@dataclass(frozen=True)
class Rule:
    """One row of the rules.

    A rule without conditions is a fallback: it is reported only where no other rule of its scope holds.

    Args:
        number: its number, which results name.
        scope: what it looks at.
        conditions: all of them have to hold.
        case: short name of the case.
        label: the words to show; says "consistent with", except in a fallback.
        severity: 0 none, 1 note, 2 abnormal, 3 marked.
        source: a citation or a data set.
        caveat: what the reader has to keep in mind; "Not a diagnosis." is added to every result.
        phase: "systole" or "diastole", or "any"; a cycle rule has "any".
        sex: "F" or "M", or "any".
        min_age: youngest age in completed years; 18 without ``max_age`` marks limits of adults, which also
            hold for the young and where the age is unknown, but then say so. None: valid at every age.
        max_age: oldest age in completed years, or None.
        level: "mid" for mid-ventricular slices, or "any".
        modality: "echo" marks an echocardiographic limit, which is information: severity 0 or 1.
        layout: M and N, for the names of the values.

    Raises:
        FieldError: on a field that cannot stand, with the reason and what to do.
    """

    number: int
    scope: Scope
    conditions: tuple[Condition, ...]
    case: str
    label: str
    severity: int
    source: str
    caveat: str = ""
    phase: str = ANY
    sex: str = ANY
    min_age: int | None = None
    max_age: int | None = None
    level: str = ANY
    modality: str = "MR"
    layout: IndexLayout = DEFAULT_LAYOUT

    def __post_init__(self) -> None:
        if self.number < 1:
            raise FieldError("rule", f"{self.number} is no rule's number: count from 1")
        for name in ("case", "label", "source"):
            if not getattr(self, name).strip():
                raise FieldError(name, "is empty: every result names its case, its words and its source")
        for name, allowed in (
            ("phase", PHASES),
            ("sex", SEXES),
            ("level", RULE_LEVELS),
            ("modality", MODALITIES),
            ("severity", SEVERITIES),
        ):
            if getattr(self, name) not in allowed:
                raise FieldError(
                    name, f"{getattr(self, name)!r} is not one of {', '.join(map(str, allowed))}"
                )
        if self.scope is Scope.CYCLE and self.phase != ANY:
            raise FieldError("phase", "a cycle rule has no phase: leave it empty, or use ed_ and es_ values")
        if self.modality == "echo" and self.severity > 1:
            raise FieldError("severity", "an echo limit is information on MR: give it severity 0 or 1")
        self._check_ages()
        self._check_conditions()
        if not self.is_fallback and "consistent with" not in self.label.lower():
            raise FieldError("label", "has to say 'consistent with ...': a result is never a diagnosis")

    def _check_ages(self) -> None:
        for name, age in (("min_age", self.min_age), ("max_age", self.max_age)):
            if age is not None and not 0 <= age <= 130:
                raise FieldError(name, f"{age} is no age in years: give 0 to 130, or leave it empty")
        if self.min_age is not None and self.max_age is not None and self.min_age > self.max_age:
            raise FieldError("max_age", f"{self.max_age} is below min_age {self.min_age}: exchange them")

    def _check_conditions(self) -> None:
        known = frame_names(self.layout) if self.scope is Scope.FRAME else cycle_names(self.layout)
        seen: set[str] = set()
        for condition in self.conditions:
            if condition.value not in known:
                raise FieldError("conditions", unknown_name(condition.value, known))
            if condition.value in seen:
                raise FieldError("conditions", f"'{condition.value}' stands twice: write one interval for it")
            seen.add(condition.value)
        if "fac" in seen:
            for name in ("case", "label", "source"):
                if _EJECTION_FRACTION.search(getattr(self, name)):
                    raise FieldError(
                        name,
                        "compares fac with a limit of the ejection fraction: the FAC of one slice is no EF, "
                        "take a limit that was measured as FAC",
                    )

    @property
    def is_fallback(self) -> bool:
        """Reported only where no other rule of its scope holds."""
        return not self.conditions

    @property
    def is_unrestricted(self) -> bool:
        """Holds for everybody, in every phase and at every level."""
        ages = self.min_age is None and self.max_age is None
        return ages and (self.phase, self.sex, self.level) == (ANY, ANY, ANY)

    @property
    def is_for_adults(self) -> bool:
        """Gives limits of adults: holds at any age, and says so where the age is under 18 or unknown."""
        return self.min_age == ADULT_YEARS and self.max_age is None

    @property
    def conditions_text(self) -> str:
        """The conditions as they stand in a CSV file; read back by ``conditions_from_text``."""
        return " and ".join(map(str, self.conditions))


def fallback_rule(number: int, scope: Scope, layout: IndexLayout = DEFAULT_LAYOUT) -> Rule:
    """The rule that a table gets for a scope without an unrestricted fallback of its own."""
    return Rule(
        number=number,
        scope=scope,
        conditions=(),
        case="none",
        label=f"no rule of this table holds for this {scope.value}",
        severity=0,
        source="this case table",
        caveat="That no rule holds does not mean that the heart is normal.",
        modality=ANY,
        layout=layout,
    )
