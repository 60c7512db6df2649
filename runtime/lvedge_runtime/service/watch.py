"""A run that is watched: systemd is told, items are counted, ``/health`` and ``/metrics`` answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from lvedge.errors import MissingExtraError
from lvedge_runtime.figure import Figure
from lvedge_runtime.service.notify import Notifier, Pulse
from lvedge_runtime.service.setting import ServiceSettings

if TYPE_CHECKING:
    from lvedge_runtime.sinks import Item

LOG = logging.getLogger("lvedge_runtime.service")


class Watch:
    """What goes on beside the measuring, inside ``with``.

    Args:
        settings: what is asked for.

    Raises:
        MissingExtraError: on entering, if ``/metrics`` are asked for without prometheus-client.
        SourceError: on entering, if they cannot be served where they are asked for.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._notifier = Notifier()
        self._pulse = Pulse(self._notifier)
        self._open_things = ExitStack()
        self._count: Callable[[Item], None] = lambda _item: None
        self._follow: Callable[[Sequence[Figure]], None] = lambda _figures: None

    def __enter__(self) -> Watch:
        if self._settings.http:
            self._serve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open_things.close()

    @property
    def is_asked(self) -> bool:
        """Whether anybody watches: then all has to be ready before anything is taken in."""
        return self._settings.http or self._notifier.is_asked

    def turned(self) -> None:
        """The loop that measures has turned."""
        self._pulse.beat()

    def saw(self, item: Item) -> None:
        """An item's result was written."""
        self._count(item)
        self._pulse.beat()

    def ready(self, figures: Sequence[Figure]) -> None:
        """All is open; these can be followed."""
        self._follow(figures)
        self._notifier.tell("READY=1")
        self._pulse.beat()

    def stopping(self) -> None:
        """Nothing more is taken in."""
        LOG.info("stopping: what was acknowledged is finished", extra={"fields": {"event": "stopping"}})
        self._notifier.tell("STOPPING=1")

    def _serve(self) -> None:
        from lvedge_runtime.service.health import Health
        from lvedge_runtime.service.page import Page

        try:
            from lvedge_runtime.service.meter import Meter
        except ImportError as err:
            raise MissingExtraError("prometheus-client", "service", "serving /metrics") from err
        settings = self._settings
        meter = Meter(settings.deadline_ms / 1e3)
        with ExitStack() as opened:
            health = opened.enter_context(Health(lambda: self._pulse.age_s, settings.hang_s))
            page = opened.enter_context(Page(settings.address, settings.port, health.state, meter.text))
            self._open_things = opened.pop_all()
        self._count = meter.saw

        def follow(figures: Sequence[Figure]) -> None:
            health.follow(figures)
            meter.follow((*figures, *health.figures))

        self._follow = follow
        LOG.info(
            "health and metrics on port %d",
            page.port,
            extra={"fields": {"event": "serving", "port": page.port}},
        )
