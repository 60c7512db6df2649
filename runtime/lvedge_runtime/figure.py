"""Figures that can be looked at while a run goes on: whoever has one says so, whoever shows them asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A number, or several of one kind, that somebody outside may want to follow.

    Sources and sinks list theirs in ``figures``; the service asks for them in ``/metrics`` and ``/health``.

    Args:
        name: what it is called, ``queue_depth``, with its unit where it has one, ``outbox_age_seconds``.
        words: what it is, in a line.
        read: gives it; called from other threads, at any time inside ``with``. Several by kind, as a mapping.
        kind: what tells several apart, ``reason``; empty where there is one.
        grows: it only ever grows, as a count does.
        most: above this the run is not well, and ``/health`` says so; None where any number is.
    """

    name: str
    words: str
    read: Callable[[], float | Mapping[str, float]]
    kind: str = ""
    grows: bool = False
    most: float | None = None
