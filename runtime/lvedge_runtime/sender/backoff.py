"""When a failed attempt is repeated: later each time, and not at the same moment as everybody else."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Exponential back-off with jitter.

    Args:
        first_s: about the first delay.
        longest_s: the longest.
        drawn: where chance comes from.
    """

    first_s: float
    longest_s: float
    drawn: random.Random = field(default_factory=random.Random)

    def delay_s(self, failures: int) -> float:
        """The delay after so many failures in a row, between half of it and the whole."""
        # Beyond 2^60 the longest is reached whatever the first was.
        longest = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 60))
        return longest * self.drawn.uniform(0.5, 1.0)
