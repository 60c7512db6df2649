"""What a journal and an outbox may be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class OutboxSettings:
    """How objects are sent.

    Args:
        release: whether somebody has to release each before it is sent.
        refusals: so many permanent refusals, and an object goes to the dead-letter list.
        failures: so many answers that an object failed, and it goes there, too; about a day of them.
        first_s: a failed attempt is repeated after so long, then after twice as long, and so on.
        longest_s: the longest that an attempt is put off.
        timeout_s: so long a destination may take to connect, to answer, and to take a piece of data.
        slowest_bytes_s: a destination that takes fewer bytes a second is given up for this time.
    """

    release: bool = False
    refusals: int = 5
    failures: int = 300
    first_s: float = 1.0
    longest_s: float = 300.0
    timeout_s: float = 30.0
    slowest_bytes_s: float = 10_000.0


@dataclass(frozen=True)
class JournalSettings:
    """Where a journal lies, and how much it keeps.

    Args:
        folder: its own folder; None for none.
        keep_days: what was delivered goes after so long, at the latest.
        least_free_bytes: with less room on its disk, instances are refused.
    """

    folder: Path | None = None
    keep_days: float = 7.0
    least_free_bytes: int = 1 << 30
    outbox: OutboxSettings = field(default_factory=OutboxSettings)
