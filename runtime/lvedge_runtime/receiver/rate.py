"""How often one address may do something: a bucket a peer that drips full again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

MOST_KNOWN = 1024
"""Addresses that are remembered; the one not seen for longest is forgotten first."""


class Rate:
    """Counts by address, at times that the caller says.

    A peer has as much to spend as fills up in ``burst_s``, and gets more as time passes.

    Args:
        a_second: how much may be spent in the long run.
        burst_s: for so many seconds at once.
    """

    def __init__(self, a_second: float, burst_s: float) -> None:
        self._a_second = a_second
        self._most = max(1.0, a_second * burst_s)
        self._lock = Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str, now: float) -> float:
        """How long the address has to wait before it may do this; 0 where it may now, which is counted.

        Args:
            address: who.
            now: seconds on a clock that never goes back.
        """
        with self._lock:
            left, at = self._left.pop(address, (self._most, now))
            left = min(self._most, left + (now - at) * self._a_second)
            allowed = left >= 1.0
            self._left[address] = (left - allowed, now)
            if len(self._left) > MOST_KNOWN:
                self._left.popitem(last=False)
            return 0.0 if allowed else (1.0 - left) / self._a_second
