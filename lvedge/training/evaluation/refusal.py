"""Refusals: pictures that show no short-axis LV, measured as a user would, by kind.

No LV may be returned on any of them: parts of acdc's pictures beside the LV, its stacks cut across, and the
phantom's blanks, noise and other organs. (Slices where experts drew no LV are scored with their stacks.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from lvedge.contract import Stepper
from lvedge.frame import Frame
from lvedge.measure import SliceMeasurer
from lvedge.quality import QualityModel


@dataclass(frozen=True)
class Refusal:
    """Pictures of one kind without an LV.

    Args:
        kind: what they show.
        shown: how many there were.
        returned: on how many of them an LV was returned all the same.
    """

    kind: str
    shown: int
    returned: int


def score_refusals(
    stepper: Stepper, quality: QualityModel, pictures: Iterable[tuple[str, Frame]]
) -> list[Refusal]:
    """What became of pictures without an LV, each measured by itself.

    Args:
        stepper: executes the network.
        quality: judges the values.
        pictures: kind and picture.
    """
    found: dict[str, list[bool]] = defaultdict(list)
    for kind, frame in pictures:
        (measurement,) = SliceMeasurer(stepper, quality).measure_closed([frame])
        found[kind].append(measurement.measured)
    return [Refusal(kind, len(measured), sum(measured)) for kind, measured in found.items()]


def refusal_figures(refusals: Iterable[Refusal]) -> dict[str, dict[str, float | int]]:
    """By kind: how many pictures, how many with an LV returned, and the share that was refused."""
    figures: dict[str, dict[str, float | int]] = {}
    for refusal in refusals:
        before = figures.get(refusal.kind, {"shown": 0, "returned": 0})
        shown = int(before["shown"]) + refusal.shown
        returned = int(before["returned"]) + refusal.returned
        share = round(1.0 - returned / shown, 4)
        figures[refusal.kind] = {"shown": shown, "returned": returned, "refused": share}
    return figures
