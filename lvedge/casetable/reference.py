"""Reference cases: beats whose case is known, searched by distance on standardised values."""

from __future__ import annotations

import math
import sqlite3
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lvedge.casetable.page import Near, Pages, write_pages
from lvedge.casetable.rule import ANY, RULE_LEVELS, SEVERITIES, FieldError
from lvedge.casetable.ruleset import DISCLAIMER, LEVEL_UNKNOWN_NOTE
from lvedge.casetable.schema import open_in_memory
from lvedge.casetable.tree import Floats, Integers
from lvedge.errors import CaseTableError
from lvedge.measurement import Finding

NO_COMPARISON = "none"
"""Case of a finding that abstains."""


@dataclass(frozen=True)
class ReferenceGroup:
    """What all reference cases of one case share.

    Args:
        case: short name, e.g. "HCM".
        label: what follows "consistent with".
        severity: 0 none, 1 note, 2 abnormal, 3 marked.
        source: the data set.
        caveat: what the reader has to keep in mind; "Not a diagnosis." is added to every result.

    Raises:
        FieldError: on an empty field or an unknown severity.
    """

    case: str
    label: str
    severity: int
    source: str
    caveat: str = ""

    def __post_init__(self) -> None:
        for name in ("case", "label", "source"):
            if not getattr(self, name).strip():
                raise FieldError(name, "is empty: every result names its case, its words and its source")
        if self.severity not in SEVERITIES:
            raise FieldError("severity", f"{self.severity!r} is not one of {', '.join(map(str, SEVERITIES))}")


@dataclass(frozen=True)
class Reference:
    """One reference case.

    Args:
        number: its number, which results name.
        case: the group it belongs to.
        values: its cycle values, in the order of the table's features.

    Raises:
        FieldError: on a number below 1 or a value that is not finite.
    """

    number: int
    case: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.number < 1:
            raise FieldError("reference", f"{self.number} is no reference's number: count from 1")
        if not all(map(math.isfinite, self.values)):
            raise FieldError("reference", f"{self.number} has a value that is not finite: leave the row out")


@dataclass(frozen=True)
class Feature:
    """How one value enters the distance: (value − mean) / sd, with a weight.

    Args:
        name: name of the cycle value.
        mean: mean over the reference cases.
        sd: population standard deviation over the reference cases; above 0.
        weight: share of its squared difference; above 0.

    Raises:
        FieldError: if ``sd`` or ``weight`` is not a finite number above 0.
    """

    name: str
    mean: float
    sd: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.sd) and self.sd > 0):
            raise FieldError(self.name, "has the same value in every reference case: leave the column out")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise FieldError(self.name, f"has the weight {self.weight}: give a number above 0")


@dataclass(frozen=True)
class Search:
    """How the neighbours vote.

    Args:
        neighbours: how many of them.
        distance_limit: farthest nearest case that still allows a comparison, in standard deviations.
        level: "mid" where the cases are mid-ventricular slices, else "any".

    Raises:
        FieldError: on a value out of range.
    """

    neighbours: int = 5
    distance_limit: float = 1.5
    level: str = ANY

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise FieldError("neighbours", f"{self.neighbours} neighbours cannot vote: give 1 or more")
        if not self.distance_limit > 0:
            raise FieldError("distance_limit", f"{self.distance_limit} is no distance: give a number above 0")
        if self.level not in RULE_LEVELS:
            raise FieldError("level", f"{self.level!r} is not one of {', '.join(RULE_LEVELS)}")


def write_reference_pages(
    connection: sqlite3.Connection,
    features: Sequence[Feature],
    references: Sequence[Reference],
    groups: Mapping[str, ReferenceGroup],
) -> None:
    """Makes what reference cases are found through anew; inside a transaction.

    Args:
        connection: the file.
        features: the values that count, [D].
        references: the cases, each with D values.
        groups: every case that the references name, in the order of the file.
    """
    mean, scale = _standardisation(features)
    write_pages(connection, mean, scale, *_arrays(references, tuple(groups)))


def features_from_references(
    names: Sequence[str], references: Sequence[Reference], weights: Mapping[str, float]
) -> tuple[Feature, ...]:
    """The standardisation that these reference cases give: mean and population standard deviation per value.

    Raises:
        CaseTableError: without two reference cases that differ in every value.
    """
    if not references:
        raise CaseTableError("no reference cases: give at least two rows")
    values = np.array([reference.values for reference in references])
    return tuple(
        Feature(name, float(mean), float(sd), weights.get(name, 1.0))
        for name, mean, sd in zip(names, values.mean(axis=0), values.std(axis=0), strict=True)
    )


class ReferenceSet:
    """Reference cases, looked up in their file.

    The distance of two beats is the weighted root mean square, over the features, of their difference in
    standard deviations: 1 means "one standard deviation apart in each value, on average".

    Args:
        connection: the file, kept for as long as it is asked.
        features: the values that count, [D].
        groups: every case that the references name, in the order of the file.
        search: how the neighbours vote.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        features: Sequence[Feature],
        groups: Mapping[str, ReferenceGroup],
        search: Search,
    ) -> None:
        self._names = tuple(feature.name for feature in features)
        self._pages = Pages(connection, *_standardisation(features))
        self._groups = dict(groups)
        self._cases = tuple(groups)
        self._search = search

    @classmethod
    def in_memory(
        cls,
        features: Sequence[Feature],
        references: Sequence[Reference],
        groups: Mapping[str, ReferenceGroup],
        search: Search,
    ) -> ReferenceSet:
        """The same for reference cases that are in no file; at least one, each with D values."""
        connection = open_in_memory()
        write_reference_pages(connection, features, references, groups)
        made = cls(connection, features, groups, search)
        weakref.finalize(made, connection.close)
        return made

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values that count, [D]."""
        return self._names

    def nearest(self, features: Mapping[str, float], count: int) -> tuple[tuple[Reference, float], ...]:
        """The nearest reference cases with their distances, nearest first; of equal ones the lower number.

        Raises:
            ValueError: if one of ``names`` is missing or not finite.
        """
        query = [features.get(name, math.nan) for name in self._names]
        if not all(map(math.isfinite, query)):
            raise ValueError(f"every one of {', '.join(self._names)} has to be a finite number")
        return tuple(
            (Reference(near.number, self._case(near), tuple(near.page.values[near.row].tolist())), distance)
            for near, distance in self._nearest(query, count)
        )

    def _nearest(self, query: Sequence[float], count: int) -> list[tuple[Near, float]]:
        return [(near, math.sqrt(near.squared)) for near in self._pages.nearest(np.array(query), count)]

    def _case(self, near: Near) -> str:
        return self._cases[int(near.page.groups[near.row])]

    def check(self, references: Sequence[Reference]) -> None:
        """Checks that these are the cases that are found.

        Raises:
            CaseTableError: if they are not.
        """
        self._pages.check(*_arrays(references, self._cases))

    def find(self, features: Mapping[str, float], level: str) -> Finding:
        """What the nearest reference cases say; abstains, and says why, where they cannot be compared.

        Each of the nearest cases votes with the inverse of its distance.
        """
        if self._search.level == "mid" and level == "basal_or_apical":
            return self._abstention(
                "the reference cases are mid-ventricular slices, this one is basal or apical"
            )
        query = [features.get(name, math.nan) for name in self._names]
        if not all(map(math.isfinite, query)):
            missing = [
                name for name, value in zip(self._names, query, strict=True) if not math.isfinite(value)
            ]
            return self._abstention(f"{', '.join(missing)} not measured")
        near = [(self._case(n), n.number, d) for n, d in self._nearest(query, self._search.neighbours)]
        nearest_distance = near[0][2]
        if nearest_distance > self._search.distance_limit:
            limit = self._search.distance_limit
            reason = f"the nearest one is {nearest_distance:.2f} SD away, the limit is {limit:g} SD"
            return self._abstention(reason, nearest_distance)
        votes: dict[str, float] = {}
        for case, _, distance in near:
            votes[case] = votes.get(case, 0.0) + 1.0 / (distance + 1e-9)
        winner = max(votes, key=votes.__getitem__)
        group = self._groups[winner]
        of_winner = [(number, distance) for case, number, distance in near if case == winner]
        return Finding(
            case=winner,
            label=f"consistent with {group.label} (nearest reference cases: {len(of_winner)} of {len(near)})",
            source=group.source,
            caveat=self._caveat(group.caveat, level),
            row=f"reference {of_winner[0][0]}",
            severity=group.severity,
            distance=of_winner[0][1],
        )

    def _caveat(self, own: str, level: str) -> str:
        notes = [DISCLAIMER, own] if own else [DISCLAIMER]
        if self._search.level == "mid" and level == "unknown":
            notes.append(LEVEL_UNKNOWN_NOTE)
        return " ".join(notes)

    def _abstention(self, reason: str, distance: float | None = None) -> Finding:
        return Finding(
            case=NO_COMPARISON,
            label=f"no comparison with reference cases: {reason}",
            source="the reference cases of this case table",
            caveat=DISCLAIMER,
            row="references",
            severity=0,
            distance=distance,
        )


def _standardisation(features: Sequence[Feature]) -> tuple[Floats, Floats]:
    """What is taken from the values, and what the difference is multiplied by, [D] each."""
    weight = np.array([feature.weight for feature in features])
    sd = np.array([feature.sd for feature in features])
    return np.array([feature.mean for feature in features]), np.sqrt(weight / weight.sum()) / sd


def _arrays(references: Sequence[Reference], cases: Sequence[str]) -> tuple[Integers, Integers, Floats]:
    """Numbers, ascending, places of the cases in ``cases``, and values."""
    place = {case: k for k, case in enumerate(cases)}
    ordered = sorted(references, key=lambda reference: reference.number)
    return (
        np.array([reference.number for reference in ordered], np.int64),
        np.array([place[reference.case] for reference in ordered], np.int64),
        np.array([reference.values for reference in ordered], np.float64),
    )
