"""Empties the outbox of one destination, patiently."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable

from lvedge.errors import JournalError, UsageError
from lvedge_runtime.journal.outbox import Item, ItemState, Outbox
from lvedge_runtime.journal.setting import OutboxSettings
from lvedge_runtime.receiver.setting import TlsFiles
from lvedge_runtime.receiver.tls import client_context
from lvedge_runtime.sender.association import (
    Link,
    NoAssociationError,
    Verdict,
    linked,
    verdict_of,
)
from lvedge_runtime.sender.backoff import Backoff
from lvedge_runtime.sender.destination import Destination

LOG = logging.getLogger("lvedge_runtime.sender")
LOOK_S = 0.5
"""How often the outbox is looked into: another process may have released something."""

MOST_CONTEXTS = 128
"""An association has no more (PS3.8, 9.3.2.2: odd identifiers of one byte)."""


class Sender:
    """Sends what waits for a destination; ``start`` does so from a thread.

    Args:
        outbox: what waits.
        destination: for whom.
        settings: time-outs, delays, and how many refusals are enough.
        ae_title: ours, where the destination names none.
        tls: our certificates.
        clock: seconds, monotonic.
        now: seconds since 1970, for the note when something was sent.
        drawn: where the jitter comes from.

    Raises:
        UsageError: if the certificates cannot be used.
    """

    def __init__(
        self,
        outbox: Outbox,
        destination: Destination,
        settings: OutboxSettings,
        ae_title: str,
        tls: TlsFiles | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        drawn: random.Random | None = None,
    ) -> None:
        self._outbox = outbox
        self._destination = destination
        self._settings = settings
        self._calling = destination.calling or ae_title
        self._tls = tls
        self._clock = clock
        self._now = now
        self._backoff = Backoff(settings.first_s, settings.longest_s, drawn or random.Random())  # nosec B311
        self._failures = 0
        self._not_before = -math.inf
        self._due: dict[int, float] = {}
        self._stopped = threading.Event()
        if destination.tls and tls is not None:
            client_context(tls)  # what is wrong with the certificates is told at the start
        self._thread = threading.Thread(target=self._work, name=destination.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience_s: float) -> int:
        """Stop once nothing is due, or after so long; gives how many objects still wait."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until and self._thread.is_alive() and self._is_busy():
            time.sleep(LOOK_S / 10)
        self._stopped.set()
        self._thread.join(patience_s)
        return len(self._waiting())

    def send_due(self) -> None:
        """One round: everything that is due goes over one association."""
        items = [item for item in self._waiting() if self._due.get(item.number, -math.inf) <= self._clock()]
        if not items or self._clock() < self._not_before:
            return
        # What a destination hangs up on must not keep the others from it.
        items.sort(key=lambda item: (item.attempts, item.number))
        contexts = list(dict.fromkeys((item.sop_class, item.syntax) for item in items))[:MOST_CONTEXTS]
        items = [item for item in items if (item.sop_class, item.syntax) in contexts]
        left = list(items)
        try:
            with linked(self._destination, contexts, self._settings, self._calling, self._tls) as link:
                while left and not self._stopped.is_set():
                    self._send(link, left[0])
                    left.pop(0)
        except NoAssociationError as err:
            self._failures += 1
            delay_s = self._backoff.delay_s(self._failures)
            self._not_before = self._clock() + delay_s
            self._outbox.put_off([item.number for item in left[:1]], str(err))
            LOG.warning(
                "%s: %s; %d objects wait, next attempt in %.0f s",
                *(self._destination.name, err, len(left), delay_s),
            )

    def _send(self, link: Link, item: Item) -> None:
        """Try one object.

        Raises:
            NoAssociationError: if nothing else should be tried for a while.
        """
        if not link.takes(item.sop_class, item.syntax):
            self._refused(item, "the destination does not take objects of this class")
            return
        content = self._outbox.content(item.number)
        if content is None:
            return
        status = link.send(content)
        verdict = verdict_of(status)
        if verdict is Verdict.SENT:
            self._failures, self._not_before = 0, -math.inf
            self._due.pop(item.number, None)
            self._outbox.confirm(item.number, self._now())
        elif verdict is Verdict.REFUSED:
            self._refused(item, f"refused with 0x{status:04X}")
        elif verdict is Verdict.BUSY:
            raise NoAssociationError(f"out of resources, 0x{status:04X}")
        else:
            self._put_off(item)
            reason = f"failed with 0x{status:04X}"
            if self._outbox.fail(item.number, reason, self._settings.failures):
                self._tell_dead(item, reason)

    def _refused(self, item: Item, reason: str) -> None:
        self._put_off(item)
        self._outbox.refuse(item.number, reason, self._settings.refusals)
        if item.refusals + 1 >= self._settings.refusals:
            self._tell_dead(item, reason)

    def _tell_dead(self, item: Item, reason: str) -> None:
        LOG.error("%s: object %d is dead: %s", self._destination.name, item.number, reason)

    def _put_off(self, item: Item) -> None:
        self._due[item.number] = self._clock() + self._backoff.delay_s(item.attempts + 1)

    def _waiting(self) -> list[Item]:
        return self._outbox.items(ItemState.WAITING, self._destination.name)

    def _is_busy(self) -> bool:
        """Whether something waits that was not tried, or can be tried now."""
        try:
            return self._clock() >= self._not_before and any(
                self._due.get(item.number, -math.inf) <= self._clock() for item in self._waiting()
            )
        except JournalError:
            return False

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                self.send_due()
            except (JournalError, UsageError) as err:
                # A disk that is full: what was sent and could not be noted is sent again, as the same object.
                LOG.warning("%s: %s", self._destination.name, err)
                self._not_before = self._clock() + self._settings.first_s
            self._stopped.wait(LOOK_S)
