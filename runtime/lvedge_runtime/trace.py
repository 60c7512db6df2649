"""Where an error comes from, without its message: that may repeat what a peer sent."""

from __future__ import annotations

import traceback
from pathlib import PurePath

MOST_PLACES = 12


def places_of(error: BaseException) -> str:
    """The error's type and the calls that led to it, the innermost last, in one line."""
    calls = traceback.extract_tb(error.__traceback__)[-MOST_PLACES:]
    places = [f"{PurePath(call.filename).name}:{call.lineno} in {call.name}" for call in calls]
    return " > ".join([type(error).__name__, *places])
