"""Whether results that were timed are those of an untimed run: a state that leaks shows at once, anywhere.

Every timed frame is compared, outside the time that is taken. Other batch sizes and devices sum in other
orders, so a difference within the tolerance is agreement; whether it was bit for bit is told beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSOLUTE, RELATIVE = 0.01, 0.001
"""A value agrees within 0.01 (view pixels, or probability) and a thousandth of itself."""


@dataclass
class Agreement:
    """Compared so far.

    Args:
        checked: frames that were compared.
        identical: all of them bit for bit.
        largest: the largest difference, as a share of what is tolerated.
        first_apart: the first frame beyond the tolerance, counted from 0, or None.
    """

    checked: int = 0
    identical: bool = True
    largest: float = 0.0
    first_apart: int | None = field(default=None)

    @property
    def holds(self) -> bool:
        """Frames were compared, and none was beyond the tolerance."""
        return self.checked > 0 and self.first_apart is None

    def check(self, given: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> None:
        """Compare one frame's arrays.

        Args:
            given: what the timed run gave.
            expected: what the untimed one gave, in the same order.
        """
        for ours, theirs in zip(given, expected, strict=True):
            if np.array_equal(ours, theirs, equal_nan=True):
                continue
            self.identical = False
            if ours.shape != theirs.shape:
                share = np.inf
            else:
                apart = np.abs(ours.astype(np.float64) - theirs)
                share = float((apart / (ABSOLUTE + RELATIVE * np.abs(theirs))).max())
            self.largest = max(self.largest, share if np.isfinite(share) else 1e9)
            if not share <= 1.0 and self.first_apart is None:
                self.first_apart = self.checked
        self.checked += 1

    def as_json(self) -> dict[str, Any]:
        """What was found, as JSON keeps it."""
        return {
            "frames_checked": self.checked,
            "agrees": self.holds,
            "identical": self.identical,
            "largest_share_of_tolerance": round(self.largest, 6),
            "first_apart": self.first_apart,
        }
