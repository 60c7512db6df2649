"""The outbox in numbers, for whoever watches a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from lvedge_runtime.figure import Figure
from lvedge_runtime.journal.outbox import ItemState, Outbox

MOST_AGE_S = 3600.0
"""An object that waits for longer makes the service unwell."""


def outbox_figures(outbox: Outbox, named: Collection[str], now: Callable[[], float]) -> Sequence[Figure]:
    """What waits for each destination, for how long, what it refused for good, and what nobody sends.

    Args:
        outbox: has the objects, those of destinations that no sink names any more, too.
        named: the destinations that sinks name; told also where nothing waits.
        now: seconds since 1970.
    """

    def figure(
        what: str, words: str, read: Callable[[], Mapping[str, float]], most: float | None = None
    ) -> Figure:
        def whole() -> Mapping[str, float]:
            return {**dict.fromkeys(named, 0.0), **read()}

        return Figure(f"outbox_{what}", words, whole, kind="destination", most=most)

    def counted(state: ItemState) -> Callable[[], Mapping[str, float]]:
        return lambda: outbox.counts(state)

    age = "Since the oldest object that waits to be sent was made."
    return (
        figure("age_seconds", age, lambda: outbox.ages_s(now()), MOST_AGE_S),
        figure("waiting", "Objects that wait to be sent.", counted(ItemState.WAITING)),
        figure("held", "Objects that wait for a release.", counted(ItemState.HELD)),
        figure("dead", "Objects that were refused for good.", counted(ItemState.DEAD), 0.0),
        Figure(
            "outbox_stranded",
            "Objects that wait for a destination that no sink names.",
            lambda: float(sum(outbox.stranded(named).values())),
            most=0.0,
        ),
    )
