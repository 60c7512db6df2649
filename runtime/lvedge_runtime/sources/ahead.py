"""Reading ahead: a thread finds, reads and decodes frames while those before them are measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition, Thread
from types import TracebackType

from lvedge.frame import Given, NotYet
from lvedge_runtime.sources.source import Source

MOST_AHEAD = 8
"""Items that wait at most: enough for a file that takes long, little memory."""


class Ahead:
    """A source whose items wait until they are taken; taking them never waits.

    The source is iterated in a thread of its own, so that one which has to be used in the thread that opened
    it cannot be read ahead. Leaving ``with`` asks it to stop and waits until it does.

    Args:
        source: open, and closed by its owner behind this.
        arrived: is called, in the thread, when there is something to take or the source has come to its end.
        most: items that wait before the source has to.
    """

    def __init__(
        self, source: Source, arrived: Callable[[], None] = lambda: None, most: int = MOST_AHEAD
    ) -> None:
        self._source = source
        self._arrived = arrived
        self._most = most
        self._items: deque[Given] = deque()
        self._changed = Condition()
        self._is_over = False
        self._is_left = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._read, name="lvedge-ahead", daemon=True)

    def __enter__(self) -> Ahead:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_left = True
            self._changed.notify_all()
        self._source.stop()
        self._thread.join()

    def __iter__(self) -> Iterator[Given | NotYet]:
        """What is there, ``NotYet`` while nothing is; what the source raises comes behind its last item."""
        while True:
            with self._changed:
                item = self._items.popleft() if self._items else None
                is_over = self._is_over
                self._changed.notify_all()
            if item is not None:
                yield item
            elif not is_over:
                yield NotYet()
            elif self._error is not None:
                raise self._error
            else:
                return

    def _read(self) -> None:
        try:
            for item in self._source:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._items) < self._most or self._is_left)
                    if self._is_left:
                        return
                    self._items.append(item)
                self._arrived()
        except BaseException as error:  # raised again where the items are taken  # noqa: BLE001
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
            self._arrived()
