"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Standing(str, Enum):
    """How a thing stands to the default job."""

    USED = "used"
    PRESENT = "present"
    ABSENT = "absent"
    WORTH_MENDING = "worth mending"
    FAULT = "fault"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: what it is.
        standing: "fault" for what keeps the default job from running.
        found: what was found, in words.
        remedy: the command that mends it; empty where nothing is to be mended.
    """

    name: str
    standing: Standing
    found: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """The check as JSON keeps it."""
        return {
            "name": self.name,
            "standing": self.standing.value,
            "found": self.found,
            "remedy": self.remedy,
        }
