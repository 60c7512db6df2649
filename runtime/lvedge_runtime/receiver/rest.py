"""An association on which nothing happens rests: its threads look seldom, and are awake at the first byte.

pynetdicom's two threads of an association look for something to do every millisecond: sixteen peers that ask
for one and then say nothing would take most of a processor.
"""

from __future__ import annotations

import select
import threading
import time
from contextlib import suppress

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

AWAKE_S = 1.0
"""So long after the last byte the threads look as often as pynetdicom has them."""

LOOK_S = 0.05
"""A thread that rests looks again after so long: for an answer to send, a time that is over, an end."""


class _Rest:
    """Whether an association rests; its two threads share it."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._came = threading.Event()

    def __bool__(self) -> bool:
        return time.monotonic() > self._last + AWAKE_S

    def end(self) -> None:
        """Something came."""
        self._last = time.monotonic()
        self._came.set()

    def wait(self) -> None:
        """Wait for the rest to end, but not for long."""
        self._came.clear()
        if self:
            self._came.wait(LOOK_S)


class _Socket(AssociationSocket):
    """Looks for bytes, and waits for them while the association rests.

    Args:
        former: the one whose place it takes.
        rest: shared with the checkpoint.
    """

    def __init__(self, former: AssociationSocket, rest: _Rest) -> None:
        # Not pynetdicom's, which would begin the association a second time.
        self.__dict__.update(former.__dict__)
        self._rest = rest

    @property
    def ready(self) -> bool:
        if self._rest and self.socket is not None:
            # What TLS holds back of bytes that came was read before it could rest.
            with suppress(OSError, ValueError):
                select.select([self.socket], [], [], LOOK_S)
        is_ready = super().ready
        if is_ready:
            self._rest.end()
        return is_ready


class _Checkpoint(threading.Event):
    """Where pynetdicom's thread that serves requests stops by before it looks for one.

    Args:
        rest: shared with the socket.
    """

    def __init__(self, rest: _Rest) -> None:
        super().__init__()
        self.set()
        self._rest = rest

    def wait(self, timeout: float | None = None) -> bool:
        if self._rest:
            self._rest.wait()
        return super().wait(timeout)


def may_rest(association: Association) -> None:
    """Let an association that has not begun rest whenever nothing comes."""
    rest, connection = _Rest(), association.dul.socket
    if connection is not None:
        association.dul.socket = _Socket(connection, rest)
        association._reactor_checkpoint = _Checkpoint(rest)
