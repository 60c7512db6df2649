"""The pictures of one slice as a cine: their order in the beat, and what the tags say is missing.

Phases follow the trigger time; where a slice's pictures do not all have one, the temporal position, and else
the instance number. None of it needs a vendor's private tags. A slice that was filmed over several beats,
with or without a trigger, stays in the order in which it was taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lvedge.frame import Rejected
from lvedge_runtime.sources.dicom_image import Image

ONE_BEAT_MS = 2000.0
"""What goes on for longer is more than one beat, of a heart that beats 30 times a minute or more."""

OVER_THE_BEAT = 1.5
"""The same where the tags state the beat's length: so many times it."""

FEWEST_IN_BEAT = 5
"""A run of trigger times with fewer pictures is no beat: the numbering is odd, not the heart."""

_SAME_TIME_MS = 1e-3

MOST_PHASES = 1000
"""No beat has more: a larger number in the tags is none, and everything that counts phases stays small."""

MOST_MISSING = 100
"""Neighbours further apart than so many steps are neighbours all the same: their keys mean nothing."""


@dataclass(frozen=True)
class Cine:
    """The pictures of one slice.

    Args:
        images: the pictures, in phase order; at least one.
        places: each one's place in the beat, from 0; it skips what is missing.
        length: phases that there should be, where the tags say it, or None.
        one_beat: the pictures are one beat cut open; else the slice was filmed over several.
    """

    images: tuple[Image, ...]
    places: tuple[int, ...]
    length: int | None = None
    one_beat: bool = True


def cine_from_images(images: Sequence[Image]) -> tuple[Cine, list[Rejected]]:
    """One slice's pictures in phase order, and those that repeat a phase.

    Args:
        images: the slice's pictures in the order of InstanceNumber; at least one.
    """
    times = _values(images, _time)
    if times and is_several_beats(times):
        return _filmed(images), []
    for values, name in ((times, "trigger time"), (_values(images, _temporal), "temporal position")):
        if values:
            kept, rejected = _without_copies(images, values, name)
            if _goes_on([image for _, image in kept]):
                return _filmed([image for _, image in kept]), rejected
            step = stated_step_ms(kept[0][1]) if name == "trigger time" else 1.0
            return _beat(kept, step, in_time=name == "trigger time"), rejected
    if _goes_on(images):
        return _filmed(images), []
    return _beat([(_number(image, k), image) for k, image in enumerate(images)], None, in_time=None), []


def is_several_beats(times_ms: Sequence[float]) -> bool:
    """Whether trigger times, in the order in which the pictures were taken, start afresh beat after beat."""
    falls = [k for k in range(1, len(times_ms)) if times_ms[k] < times_ms[k - 1]]
    span = max(times_ms) - min(times_ms)
    if not falls or any(times_ms[k - 1] - times_ms[k] < span / 2 for k in falls):
        return False
    runs = np.diff([0, *falls, len(times_ms)])
    return bool((runs >= FEWEST_IN_BEAT).sum() >= 2 and (runs[1:-1] >= FEWEST_IN_BEAT).all())


def stated_step_ms(image: Image) -> float | None:
    """Time from phase to phase: the beat's length over the number of phases, or None without both."""
    interval, count = image.header.number("NominalInterval"), stated_phases(image)
    return interval / count if interval and interval > 0 and count else None


def stated_phases(image: Image) -> int | None:
    """How many phases the beat has by its tags, or None."""
    for keyword in ("CardiacNumberOfImages", "NumberOfTemporalPositions"):
        count = image.header.whole(keyword)
        if 0 < count <= MOST_PHASES:
            return count
    return None


def places_between(distance: float, step: float) -> int:
    """By how many places a picture lies behind the one before: 1 for the next, more where some are missing.

    Args:
        distance: how much their keys differ.
        step: how much those of neighbours do; 0 or less where nobody knows.
    """
    if not 0 < distance <= MOST_MISSING * step:
        return 1
    return max(1, round(distance / step))


def step_between(values: Sequence[float], stated: float | None) -> float:
    """The usual distance between neighbours.

    Args:
        values: at least two, ascending.
        stated: what the tags say; believed where half of the pictures might be missing, and no more.
    """
    apart = np.sort(np.diff(values))
    usual = float(apart[[(apart.size - 1) // 2, apart.size // 2]].mean())  # np.median imports numpy.ma first
    return stated if stated is not None and 0.4 * usual <= stated <= 1.1 * usual else usual


def _beat(kept: Sequence[tuple[float, Image]], stated: float | None, in_time: bool | None) -> Cine:
    """One beat, its pictures with their keys in order; ``in_time`` is None for instance numbers."""
    keys = [key for key, _ in kept]
    images = tuple(image for _, image in kept)
    length = stated_phases(images[0])
    if len(keys) == 1:
        return Cine(images, (0,), length)
    step = step_between(keys, stated)
    places = [0]
    for before, after in itertools.pairwise(keys):
        places.append(places[-1] + places_between(after - before, step))
    short = (length or 0) - places[-1] - 1
    if length is not None and short < 0:  # the tags mean something else
        length = None
    lead = 0
    if short > 0 and step > 0 and in_time is not None:
        # Times start within the first phase, positions at 1.
        phases = keys[0] / step + 0.05 if in_time else keys[0] - 1
        lead = int(max(0, min(short, phases)))
    return Cine(images, tuple(place + lead for place in places), length)


def _filmed(images: Sequence[Image]) -> Cine:
    """Several beats, in the order in which they were taken."""
    numbers = [_number(image, k) for k, image in enumerate(images)]
    places = [0]
    if len(numbers) > 1:
        step = max(step_between(numbers, None), 1.0)
        for before, after in itertools.pairwise(numbers):
            places.append(places[-1] + places_between(after - before, step))
    return Cine(tuple(images), tuple(places), None, one_beat=False)


def _goes_on(images: Sequence[Image]) -> bool:
    """Whether pictures in order take longer than a beat, by trigger time or by the clock."""
    interval = images[0].header.number("NominalInterval")
    longest = OVER_THE_BEAT * interval if interval and interval > 0 else ONE_BEAT_MS
    times = [image.time_ms for image in images if image.time_ms is not None]
    if len(times) == len(images):
        return times[-1] - times[0] > longest
    # A gated cine is taken over many beats too, but its pictures then share one acquisition time.
    taken = [image.acquired_s for image in images if image.acquired_s is not None]
    if len(taken) < len(images) or len(taken) < FEWEST_IN_BEAT or (np.diff(taken) <= 0).any():
        return False
    return 1e3 * (taken[-1] - taken[0]) > longest


def _values(images: Sequence[Image], key: Callable[[Image], float | None]) -> list[float]:
    """The key of every picture; nothing where one has none, or where they do not differ."""
    values = [value for value in map(key, images) if value is not None]
    return values if len(values) == len(images) and len(set(values)) > 1 else []


def _time(image: Image) -> float | None:
    return None if image.time_ms is None else round(image.time_ms / _SAME_TIME_MS) * _SAME_TIME_MS


def _temporal(image: Image) -> float | None:
    return image.temporal


def _number(image: Image, place: int) -> float:
    """The picture's instance number; of a multi-frame file, and where there is none, its place."""
    number = image.header.number("InstanceNumber")
    return float(place) if number is None or image.frames > 1 else number


def _without_copies(
    images: Sequence[Image], values: Sequence[float], name: str
) -> tuple[list[tuple[float, Image]], list[Rejected]]:
    """The pictures with their values in ascending order, and those that repeat one."""
    kept: dict[float, Image] = {}
    rejected = []
    for image, value in zip(images, values, strict=True):  # in the order of InstanceNumber: the first stays
        original = kept.setdefault(value, image)
        if original is not image:
            rejected.append(Rejected(image.item, f"same slice and {name} as {original.item}"))
    return sorted(kept.items(), key=lambda pair: pair[0]), rejected
