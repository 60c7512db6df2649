"""What systemd is told: one datagram each, as sd_notify(3) describes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress


class Notifier:
    """Tells systemd how the service stands; says nothing where systemd did not ask (``$NOTIFY_SOCKET``)."""

    def __init__(self) -> None:
        name = os.environ.get("NOTIFY_SOCKET", "")
        # An abstract socket's name begins with a zero byte, written as @.
        self._address = f"\0{name[1:]}" if name.startswith("@") else name

    @property
    def is_asked(self) -> bool:
        """Whether somebody listens."""
        return bool(self._address)

    def tell(self, state: str) -> None:
        """Send a state, such as ``READY=1``; one that cannot be delivered is let go."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
            speaker.setblocking(False)
            with suppress(OSError):
                speaker.sendto(state.encode(), self._address)


def watchdog_s() -> float | None:
    """How often systemd wants to hear from this process, or None (sd_watchdog_enabled(3))."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    process = os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or int(microseconds) == 0 or process not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1e6


class Pulse:
    """The beat of the loop that measures; nobody else beats it, and the watchdog hears it alone.

    Args:
        notifier: tells systemd.
        clock: seconds, monotonic.
    """

    def __init__(self, notifier: Notifier, clock: Callable[[], float] = time.monotonic) -> None:
        self._notifier = notifier
        self._clock = clock
        self._last = clock()
        self._fed = -1e9
        within_s = watchdog_s()
        self._every_s = None if within_s is None else within_s / 3

    def beat(self) -> None:
        """The loop has turned."""
        self._last = self._clock()
        if self._every_s is not None and self._last - self._fed >= self._every_s:
            self._fed = self._last
            self._notifier.tell("WATCHDOG=1")

    @property
    def age_s(self) -> float:
        """How long ago the loop turned last."""
        return self._clock() - self._last
