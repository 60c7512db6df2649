"""Counts and times of what is measured, as Prometheus reads them."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from lvedge.frame import Frame, Rejected
from lvedge.measurement import Measurement
from lvedge_runtime.figure import Figure
from lvedge_runtime.sinks import Item

PREFIX = "lvedge_"
BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, 0.4, 1.0, 3.0, 10.0, 30.0)
MOST_SLICES = 4096
"""Slices that are remembered to have had an LV."""

MOST_REASONS, LONGEST_REASON = 64, 100
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


class Meter:
    """Follows what the stream gives, and the figures of others.

    Args:
        deadline_s: a frame that somebody waits for and whose result stands later than this after its turn
            came is late.
        clock: seconds, monotonic, the one of ``Frame.due_s``.
    """

    def __init__(self, deadline_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._deadline_s = deadline_s
        self._clock = clock
        self._with_lv: OrderedDict[tuple[str, int, bool], None] = OrderedDict()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._frames = self._counter("frames", "Frames that went through the network.", "lv")
        self._measuring = self._histogram("measuring_seconds", "What a frame took, stage by stage, in sum.")
        self._latency = self._histogram(
            "latency_seconds", "From the moment at which a frame's turn came to its written result."
        )
        self._late = self._counter("deadline_misses", "Frames whose result stood after the deadline.")
        self._lost = self._counter("lost_hearts", "Frames without an LV in a slice that had one.")
        self._rejects = self._counter("rejects", "Items that were not measured, by why.", "reason")
        self._reasons: set[str] = set()
        self._late.inc(0)

    def follow(self, figures: Iterable[Figure]) -> None:
        """Show these, too."""
        self._registry.register(_Figures(tuple(figures)))

    def saw(self, item: Item) -> None:
        """Count an item whose result was written."""
        if isinstance(item, Rejected):
            self._rejects.labels(self._reason(item.reason)).inc()
        elif isinstance(item, Measurement):
            self._frames.labels("yes" if item.measured else "no").inc()
            self._measuring.observe(sum(item.latency_ms.values()) / 1e3)
            if item.frame.due_s is not None:
                latency_s = self._clock() - item.frame.due_s
                self._latency.observe(latency_s)
                self._late.inc(latency_s > self._deadline_s)
            self._lost.inc(self._is_lost(item.frame, item.measured))

    def text(self) -> bytes:
        """All of it in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)

    def _reason(self, words: str) -> str:
        """The words without their numbers; of more than so many different ones the rest counts as other."""
        reason = _NUMBER.sub("N", words)[:LONGEST_REASON]
        if reason not in self._reasons and len(self._reasons) >= MOST_REASONS:
            return "other"
        self._reasons.add(reason)
        return reason

    def _is_lost(self, frame: Frame, measured: bool) -> bool:
        place = (frame.series, frame.slice_index, frame.provisional)
        if not measured:
            return place in self._with_lv
        self._with_lv[place] = None
        self._with_lv.move_to_end(place)
        if len(self._with_lv) > MOST_SLICES:
            self._with_lv.popitem(last=False)
        return False

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, words, labels, registry=self._registry)

    def _histogram(self, name: str, words: str) -> Histogram:
        return Histogram(PREFIX + name, words, buckets=BUCKETS_S, registry=self._registry)


class _Figures(Collector):
    """The figures of sources and sinks, asked for when somebody looks."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}  # several may share a name
        for figure in self._figures:
            name, labels = PREFIX + figure.name, [figure.kind] if figure.kind else []
            of_kind = CounterMetricFamily if figure.grows else GaugeMetricFamily
            family = families.setdefault(name, of_kind(name, figure.words, labels=labels))
            said = figure.read()
            if isinstance(said, Mapping):
                for kind, value in said.items():
                    family.add_metric([kind], value)
            else:
                family.add_metric([], said)
        return families.values()
