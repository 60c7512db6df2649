"""Which series are ours: rules over what a picture's tags say; the first that fits decides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvedge.errors import UsageError
from lvedge.frame import HANDEDNESS_LIMIT, SHORT_AXIS_NORMAL_LPS
from lvedge_runtime.sources.dicom_image import ENHANCED, Image

_NAMES = ("SeriesDescription", "ProtocolName", "SequenceName")
_LONGEST = 64  # characters of a name that are looked at: DICOM's own limit


@dataclass(frozen=True)
class Rule:
    """What a picture has to be like for the rule to decide; a condition that is None holds for any.

    Args:
        name: what such series are, for the reason that is given.
        take: whether they are measured.
        description: found in SeriesDescription, whatever the case; where that is empty, in ProtocolName or
            SequenceName, which may be those of the whole examination. Underscores count as spaces.
        image_type: one of these words is a value of ImageType.
        enhanced: the picture is of an Enhanced MR or not.
        short_axis: the picture lies across the heart's usual axis or not; false where its tags do not say.
        inversion_time_ms: InversionTime lies between these two.
        phases: CardiacNumberOfImages or NumberOfTemporalPositions lies between these two.
    """

    name: str
    take: bool = False
    description: re.Pattern[str] | None = None
    image_type: frozenset[str] | None = None
    enhanced: bool | None = None
    short_axis: bool | None = None
    inversion_time_ms: tuple[float, float] | None = None
    phases: tuple[float, float] | None = None

    def fits(self, image: Image) -> bool:
        """Whether all conditions hold for a picture."""
        header = image.header
        if self.description is not None and not any(
            self.description.search(name) for name in names_of(image)
        ):
            return False
        if self.enhanced is not None and is_enhanced(image) is not self.enhanced:
            return False
        if self.image_type is not None:
            words = {word.strip().upper() for word in header.text("ImageType").split("\\")}
            if not words & self.image_type:
                return False
        if self.short_axis is not None and is_short_axis(image) is not self.short_axis:
            return False
        if not _between(header.number("InversionTime"), self.inversion_time_ms):
            return False
        count = header.number("CardiacNumberOfImages") or header.number("NumberOfTemporalPositions")
        return _between(count, self.phases)


def names_of(image: Image) -> list[str]:
    """What a picture's series is called: by its description, else by its protocol and its sequence."""
    names = [image.header.text(name)[:_LONGEST].replace("_", " ").strip() for name in _NAMES]
    return names[:1] if names[0] else names[1:]


def is_enhanced(image: Image) -> bool:
    """Whether a picture is a frame of an Enhanced MR."""
    return image.header.text("SOPClassUID") in ENHANCED


def is_short_axis(image: Image) -> bool | None:
    """Whether a picture lies across the heart's usual axis, or None where its tags do not say."""
    if image.orientation is None:
        return None
    cosine = float(image.orientation.normal @ np.asarray(SHORT_AXIS_NORMAL_LPS))
    return abs(cosine) >= HANDEDNESS_LIMIT


def reason_to_drop(image: Image, rules: Sequence[Rule]) -> str | None:
    """Why a picture is not ours, or None where it is: no rule fits, or the first that does takes it."""
    for rule in rules:
        if rule.fits(image):
            return None if rule.take else f"not ours: {rule.name}"
    return None


def rules_from_tables(tables: Any) -> tuple[Rule, ...]:
    """The rules that ``[[series]]`` tables state, in their order; ``defaults = true`` stands for ours.

    Raises:
        UsageError: if one cannot be meant.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError("series: write one [[series]] for each rule")
    rules: list[Rule] = []
    for table in tables:
        if table == {"defaults": True}:
            rules += DEFAULT_RULES
        else:
            rules.append(_rule(table))
    return tuple(rules)


def _rule(table: Mapping[str, Any]) -> Rule:
    known = tuple(Rule.__dataclass_fields__)
    for key in table:
        if key not in known:
            raise UsageError(f"series.{key}: no such setting (known: defaults, {', '.join(known)})")
    name = table.get("name")
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 80:
        raise UsageError("series.name: every rule needs a name of 1 to 80 characters, as 'localiser'")
    values: dict[str, Any] = {"name": name}
    for key in ("take", "enhanced", "short_axis"):
        if key in table:
            if not isinstance(table[key], bool):
                raise UsageError(f"series.{key} of {name!r}: expected true or false")
            values[key] = table[key]
    for key in ("inversion_time_ms", "phases"):
        if key in table:
            values[key] = _span(table[key], f"series.{key} of {name!r}")
    if "description" in table:
        try:
            values["description"] = re.compile(table["description"], re.IGNORECASE)
        except (re.error, TypeError) as err:
            raise UsageError(f"series.description of {name!r} is no regular expression: {err}") from err
    if "image_type" in table:
        words = table["image_type"]
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise UsageError(f"series.image_type of {name!r}: expected a list of words, as ['LOCALIZER']")
        values["image_type"] = frozenset(word.upper() for word in words)
    return Rule(**values)


def _span(value: Any, where: str) -> tuple[float, float]:
    right = isinstance(value, list) and len(value) == 2
    if not right or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
        raise UsageError(f"{where}: expected two numbers, [lowest, highest]")
    return float(value[0]), float(value[1])


def _between(value: float | None, span: tuple[float, float] | None) -> bool:
    return span is None or (value is not None and span[0] <= value <= span[1])


def _named(name: str, pattern: str) -> Rule:
    return Rule(name, description=re.compile(pattern, re.IGNORECASE))


DEFAULT_RULES = (
    Rule("localiser", image_type=frozenset({"LOCALIZER", "SCOUT"})),
    _named("localiser", r"\bloc(ali[sz]er)?\b|scout|survey|3.?plane|\bhaste\b"),
    Rule(
        "map or other derived picture",
        image_type=frozenset(
            {"T1 MAP", "T2 MAP", "T1_MAP", "T2_MAP", "T2_STAR MAP", "T2_STAR_MAP", "ECV", "MAP", "PERFUSION"}
            | {"MPR", "PROJECTION IMAGE", "VELOCITY", "PHASE MAP", "SCREEN SAVE"}
        ),
    ),
    # In an Enhanced MR these words tell the weighting of an ordinary picture (DICOM PS3.3, C.8.13.1).
    Rule("map or other derived picture", image_type=frozenset({"T1", "T2", "T2_STAR"}), enhanced=False),
    _named("map", r"molli|sasha|\bt[12]\W?(star|\*)?[ -]*map|\becv\b|t2\*|\bmap(ping|s)?\b"),
    _named(
        "late enhancement or another inversion recovery",
        r"\blge\b|late[ -]?(gad|enh)|delayed|\bpsir|\bmde\b|viab|\bde[ -]?(ir|mri)\b|ti.?scout|look.?locker"
        r"|\bir\b",
    ),
    Rule("late enhancement or another inversion recovery", inversion_time_ms=(50.0, 2000.0)),
    _named("flow", r"(?<!work)flow|phase.?contrast|venc|\b4d"),
    _named("perfusion", r"perf(?!orm|ect)|first.?pass"),
    _named("tagging", r"tagg?(ing|ed)?\b|spamm"),
    _named("long axis", r"[234][ -]?(ch|cv|chamber)|lax\b|long.?ax|\bvla\b|\bhla\b|[lr]vot|[234]c\b"),
    Rule("long axis, by its orientation", short_axis=False),
)
"""What scanners send beside a short-axis cine, by the names and tags that they give it."""
