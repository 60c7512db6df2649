"""A gate for pynetdicom's thread of an association: shut, nobody is behind it any more.

``Association.send_c_store`` shuts the thread out, so that it does not take the answer for a request of the
peer's and drop it. pynetdicom's own check can find a thread waiting that has just been let through: on a busy
machine an answer was lost every few thousand, and its sender waited until its time was over.
"""

from __future__ import annotations

import threading

from pynetdicom.association import Association

LOOK_S = 0.05
"""How often it is looked whether the thread has ended meanwhile."""


class Gate(threading.Event):
    """Stands in for an association's ``_reactor_checkpoint``.

    Args:
        thread: that waits at it.
    """

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        self._thread = thread
        self._changed = threading.Condition()
        self._is_open = True
        self._is_waiting = False

    def is_set(self) -> bool:
        return self._is_open

    def set(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Shut, and come back once the thread waits in front of it, or has ended."""
        with self._changed:
            self._is_open = False
            while not self._is_waiting and self._thread.is_alive():
                self._changed.wait(LOOK_S)

    def wait(self, timeout: float | None = None) -> bool:
        with self._changed:
            # Others see this while the gate is shut alone: they need the lock, which only waiting gives back.
            self._is_waiting = True
            self._changed.notify_all()
            is_open = self._changed.wait_for(lambda: self._is_open, timeout)
            self._is_waiting = False
            return is_open


def stand_gate(association: Association) -> None:
    """Let an association that is established lose no answer to its own thread."""
    association._reactor_checkpoint = Gate(association)
