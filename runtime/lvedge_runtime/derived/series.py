"""One series as it was measured: what derived objects are made from."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from lvedge.errors import LvedgeError
from lvedge.frame import SeriesEnd
from lvedge.measurement import Cycle, Measurement, Mode
from lvedge.volume import StackVolumes
from lvedge_runtime.sinks import Item, RunContext
from lvedge_runtime.sinks.overlay import Sample, sample_from_measurement
from lvedge_runtime.sources.origin import SeriesOrigin, SourcePicture

LOG = logging.getLogger("lvedge_runtime.derived")


class NoObjectsError(LvedgeError):
    """Why nothing can be derived from a series; the others are not touched by it."""


@dataclass(frozen=True)
class MeasuredSlice:
    """One closed beat.

    Args:
        cycle: its summary; its ``ed_frame`` and ``es_frame`` are known.
        ed, es: the measurements of these two frames.
        samples: the points of the curves over the beat.
    """

    cycle: Cycle
    ed: Measurement
    es: Measurement
    samples: tuple[Sample, ...]

    @property
    def index(self) -> int:
        """The slice's place in the stack, from 0."""
        return self.cycle.slice_index


@dataclass(frozen=True)
class MeasuredSeries:
    """What was measured of one series, once it was there as a whole.

    Args:
        name: its name in results.
        slices: the slices with a whole beat, in the stack's order; at least one.
        volumes: of the stack, or None where it is none.
        origin: the images that it was read from.
        engine: what ran the network.
        bundle: name and version.
        bundle_sha256: hash of the bundle's file.
    """

    name: str
    slices: tuple[MeasuredSlice, ...]
    volumes: StackVolumes | None
    origin: SeriesOrigin
    engine: str
    bundle: str
    bundle_sha256: str

    def picture(self, measurement: Measurement) -> SourcePicture:
        """The image that holds a frame."""
        frame = measurement.frame
        return self.origin.pictures[frame.slice_index, frame.frame_index]


@dataclass
class _Open:
    """A series that is being measured."""

    waiting: list[Measurement] = field(default_factory=list)
    slices: list[MeasuredSlice] = field(default_factory=list)
    volumes: StackVolumes | None = None


class SeriesCollector:
    """Gathers what the stream yields of each series; keeps no more pictures than objects need.

    Provisional frames and beats that were played live are left out: objects are made of what was measured
    with all phases at hand.

    Args:
        context: engine, bundle, and the images of each series.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._open: dict[str, _Open] = {}

    def take(self, item: Item) -> MeasuredSeries | None:
        """Take in what the stream yields; a series when it is over, if anything was measured of it."""
        if isinstance(item, Measurement):
            if item.mode is Mode.CLOSED and not item.frame.provisional:
                self._open.setdefault(item.frame.series, _Open()).waiting.append(item)
        elif isinstance(item, Cycle):
            if item.mode is Mode.CLOSED and not item.provisional:
                self._close_beat(self._open.setdefault(item.series, _Open()), item)
        elif isinstance(item, StackVolumes):
            self._open.setdefault(item.series, _Open()).volumes = item
        elif isinstance(item, SeriesEnd):
            return self._finished(item.series)
        return None

    @staticmethod
    def _close_beat(series: _Open, cycle: Cycle) -> None:
        beat, series.waiting = series.waiting, []
        at = {m.frame.frame_index: m for m in beat if m.frame.slice_index == cycle.slice_index}
        if cycle.ed_frame in at and cycle.es_frame in at:
            samples = tuple(sample_from_measurement(m) for m in at.values())
            series.slices.append(MeasuredSlice(cycle, at[cycle.ed_frame], at[cycle.es_frame], samples))

    def _finished(self, name: str) -> MeasuredSeries | None:
        series = self._open.pop(name, None)
        if series is None or not series.slices or self._context.origin is None:
            return None
        return MeasuredSeries(
            name=name,
            slices=tuple(series.slices),
            volumes=series.volumes,
            origin=self._context.origin(name),
            engine=self._context.engine,
            bundle=self._context.bundle_label,
            bundle_sha256=self._context.bundle_sha256,
        )
