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
    """A source whose items wait until they are taken.

    To iterate over it never waits for the source, ``waiting`` does. The reader sleeps until half of what may
    wait has been taken, so that it seldom runs, and then in one go, beside what is measured.

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
        while (item := self._next()) is not None:
            yield item

    def waiting(self) -> Iterator[Given]:
        """The source's items, each as soon as it is there; then what the source raised, if it did."""
        while (item := self._next()) is not None:
            if isinstance(item, NotYet):
                with self._changed:
                    self._changed.wait_for(lambda: self._items or self._is_over)
            else:
                yield item

    def _next(self) -> Given | NotYet | None:
        """The next item, ``NotYet`` where it has not come, None behind the last one."""
        with self._changed:
            if self._items:
                item = self._items.popleft()
                if len(self._items) == self._most // 2:
                    self._changed.notify_all()
                return item
            if not self._is_over:
                return NotYet()
        if self._error is not None:
            raise self._error
        return None

    def _read(self) -> None:
        try:
            for item in self._source:
                with self._changed:
                    if len(self._items) >= self._most:
                        self._changed.wait_for(lambda: len(self._items) <= self._most // 2 or self._is_left)
                    if self._is_left:
                        return
                    self._items.append(item)
                    self._changed.notify_all()
                self._arrived()
        except BaseException as error:  # raised again where the items are taken  # noqa: BLE001
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()
            self._arrived()
