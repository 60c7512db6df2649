"""Whether the service is well, in words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lvedge_runtime.figure import Figure
from lvedge_runtime.machine.gpu import opened_nvml
from lvedge_runtime.machine.throttle import ThrottleWatch

LOG = logging.getLogger("lvedge_runtime.service")
LOOK_EVERY_S = 15.0
STARTING, WELL, UNWELL, HANGING = "starting", "ok", "degraded", "failing"


class Health:
    """What is wrong: a loop that hangs, a figure beyond what is usual, a machine that holds itself back.

    The machine is looked at every quarter of a minute by a thread of its own, inside ``with``.

    Args:
        loop_age_s: how long ago the loop that measures turned.
        hang_s: after so long it hangs.
        root: the folder that the system's files lie under.
    """

    def __init__(self, loop_age_s: Callable[[], float], hang_s: float, root: Path = Path("/")) -> None:
        self._loop_age_s = loop_age_s
        self._hang_s = hang_s
        self._root = root
        self._figures: Sequence[Figure] | None = None
        self._machine: tuple[str, ...] = ()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lvedge-health", daemon=True)

    def __enter__(self) -> Health:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def follow(self, figures: Sequence[Figure]) -> None:
        """All is open: look at these, too."""
        self._figures = figures

    def state(self) -> dict[str, Any]:
        """``status``: starting, ok, degraded or failing; and ``reasons``, in words."""
        if self._figures is None:
            return {"status": STARTING, "reasons": list(self._machine)}
        age_s = self._loop_age_s()
        reasons = [*self._machine, *self._beyond()]
        if age_s > self._hang_s:
            hangs = f"the loop that measures has not turned for {age_s:.0f} s"
            return {"status": HANGING, "reasons": [hangs, *reasons]}
        return {"status": UNWELL if reasons else WELL, "reasons": reasons}

    @property
    def figures(self) -> Sequence[Figure]:
        """The same as numbers."""
        return (
            Figure("loop_age_seconds", "Since the loop that measures has turned.", self._loop_age_s),
            Figure(
                "throttled",
                "Reasons for which the machine is slower than when lvedge was started.",
                lambda: float(len(self._machine)),
            ),
        )

    def _beyond(self) -> list[str]:
        found = []
        for figure in self._figures or ():
            if figure.most is None:
                continue
            said = figure.read()
            values = said.values() if isinstance(said, Mapping) else (said,)
            found += [f"{figure.name} is {v:g}, more than {figure.most:g}" for v in values if v > figure.most]
        return found

    def _watch(self) -> None:
        with opened_nvml() as nvml:
            watch = ThrottleWatch(self._root, nvml)
            while not self._done.wait(LOOK_EVERY_S):
                self._tell(watch.look())

    def _tell(self, reasons: tuple[str, ...]) -> None:
        for reason in reasons:
            if reason not in self._machine:
                LOG.warning("%s", reason, extra={"fields": {"event": "machine slower"}})
        if self._machine and not reasons:
            LOG.info("the machine is as fast as it was", extra={"fields": {"event": "machine well"}})
        self._machine = reasons
