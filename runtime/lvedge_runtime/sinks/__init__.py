"""Sinks: where results go, each named by a URI ``scheme:target``.

A sink takes what the stream yields, in order: every frame's ``Measurement``, one ``Cycle`` after a slice's
frames, ``StackVolumes`` after a stack's slices, ``SeriesEnd`` after a series of DICOM images, and
``Rejected`` for what could not be measured. Several can be fed at once. A sink's module is imported when it
is chosen, so that nobody waits for a package that a run does not use.

Where a run measures several streams, lines of text go to one place and name the stream; what writes files by
the names of series has a folder for each, ``DIR/stream0`` and so on, so that series of one name stay apart.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, cast

from lvedge.errors import UsageError
from lvedge.frame import Rejected, SeriesEnd
from lvedge.indices import DEFAULT_LAYOUT, IndexLayout
from lvedge.measurement import Cycle, Measurement
from lvedge.volume import StackVolumes
from lvedge_runtime.figure import Figure
from lvedge_runtime.uri import parse_uri

if TYPE_CHECKING:
    from lvedge_runtime.journal.journal import Delivery, Journal
    from lvedge_runtime.receiver.setting import Settings
    from lvedge_runtime.sources.geometry import SeriesGeometry
    from lvedge_runtime.sources.origin import SeriesOrigin

Item = Measurement | Cycle | StackVolumes | Rejected | SeriesEnd
"""What the stream yields."""

NOTICE = "Research use, not for diagnosis"
"""What every picture and the live terminal say."""

STANDARD_OUTPUT = "-"
"""The target that stands for standard output, for sinks that write text."""

SINKS = {
    "term": "lvedge_runtime.sinks.term:TermSink",
    "jsonl": "lvedge_runtime.sinks.jsonl:JsonLinesSink",
    "csv": "lvedge_runtime.sinks.csvfile:CsvSink",
    "png": "lvedge_runtime.sinks.png:PngSink",
    "nifti": "lvedge_runtime.sinks.nifti:NiftiSink",
    "dicomsr": "lvedge_runtime.derived.sink:ReportSink",
    "dicomseg": "lvedge_runtime.derived.sink:SegmentationSink",
    "dicomsc": "lvedge_runtime.derived.sink:CaptureSink",
    "store://": "lvedge_runtime.derived.store:StoreSink",
}
"""Scheme to ``module:class``; the class takes (target, context)."""

TARGETS = {
    "term": "",
    "jsonl": "PATH",
    "csv": "PATH",
    "png": "DIR",
    "nifti": "DIR",
    "dicomsr": "DIR",
    "dicomseg": "DIR",
    "dicomsc": "DIR",
    "store://": "HOST:PORT",
}
"""Scheme to what follows the colon, for messages; "" where nothing does."""

STREAMABLE = ("jsonl", "csv")
"""Schemes that may write to standard output."""

SHARED = ("term", *STREAMABLE)
"""Schemes whose sink takes the items of several streams; of the others each stream has one."""


class Sink(Protocol):
    """A place that results go to; a context manager that loses nothing when it is left."""

    def write(self, item: Item) -> None:
        """Take one item, in the stream's order.

        Raises:
            SinkError: if the place cannot be written to.
        """

    def settle(self, delivery: Delivery) -> None:
        """All series that were written so far are whole: add what has to be durable with them.

        Raises:
            SinkError: if the place cannot be written to.
        """

    def close(self) -> None:
        """Finish what is open. A second call does nothing."""

    @property
    def figures(self) -> Sequence[Figure]:
        """What can be followed of it while it is open."""
        ...

    def __enter__(self) -> Sink: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class SharedSink(Sink, Protocol):
    """A sink that several streams can write to."""

    def write(self, item: Item, stream: int = 0) -> None:
        """Take one item, in its stream's order.

        Raises:
            SinkError: if the place cannot be written to.
        """


class BaseSink:
    """The context manager that every sink is: leaving it closes it, whatever happened inside."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def figures(self) -> Sequence[Figure]:
        return ()

    def write(self, item: Item) -> None:
        raise NotImplementedError

    def settle(self, _delivery: Delivery) -> None:
        """Nothing outlives the process unless a sink says so."""

    def close(self) -> None:
        """Nothing is open unless a sink says so."""


def _no_geometry(_series: str) -> SeriesGeometry | None:
    """No geometry, for sources that have none."""
    return None


@dataclass(frozen=True)
class RunContext:
    """What a sink may say about the run beside the items themselves.

    Args:
        engine: name of the engine, as it goes into results.
        bundle: name of the bundle.
        bundle_version: its version.
        layout: M and N.
        bundle_sha256: hash of the bundle's file.
        geometry: series name to its geometry, or None where the source knows none.
        origin: series name to its DICOM images; None where the source is not DICOM.
        source: the source's URI, or how many there are, for titles.
        console_is_stderr: standard output carries results, so anything for people goes to standard error.
        settings: AE title, certificates and the like; None where no file of settings was named.
        journal: remembers how far sinks have come, and holds what is to be sent; None for none.
        streams: of a run of several streams what there is to say of each, by its number; empty where a run
            has one.
    """

    engine: str
    bundle: str
    bundle_version: str
    layout: IndexLayout = DEFAULT_LAYOUT
    bundle_sha256: str = ""
    geometry: Callable[[str], SeriesGeometry | None] = _no_geometry
    origin: Callable[[str], SeriesOrigin] | None = None
    source: str = ""
    console_is_stderr: bool = False
    settings: Settings | None = None
    journal: Journal | None = None
    streams: Mapping[int, RunContext] = field(default_factory=dict)

    @property
    def bundle_label(self) -> str:
        """Name and version, as they go into results."""
        return f"{self.bundle} {self.bundle_version}".strip()


def split_uri(uri: str) -> tuple[str, str]:
    """Scheme and target of a sink's URI, checked.

    Raises:
        UsageError: if the scheme is unknown, a target is missing, or there is one where none belongs.
    """
    parsed = parse_uri(uri, SINKS, "sink")
    scheme, target = parsed.key, parsed.path
    if parsed.host is not None:
        return scheme, str(parsed)
    if not scheme:
        known = ", ".join(
            f"{name}{what}" if name.endswith("//") else f"{name}:{what}" for name, what in TARGETS.items()
        )
        raise UsageError(f"the sink {uri!r} names no scheme: write one of {known}")
    if TARGETS[scheme] and not target:
        raise UsageError(f"the sink {uri!r} lacks its target: write {scheme}:{TARGETS[scheme]}")
    if not TARGETS[scheme] and target:
        raise UsageError(f"the sink {scheme}: takes no target, but {target!r} was given")
    if target == STANDARD_OUTPUT and scheme not in STREAMABLE:
        raise UsageError(f"the sink {scheme}: cannot write to standard output, name a folder")
    return scheme, target


def check_uris(uris: Sequence[str]) -> None:
    """Check that sinks can be opened together, before anything slow is done.

    Raises:
        UsageError: if a URI cannot be meant, or two sinks want the same place.
    """
    seen: set[str] = set()
    for uri in uris:
        scheme, target = split_uri(uri)
        place = target.partition("?")[0] if target else scheme
        if scheme == "store://" and place in seen:
            raise UsageError(f"two sinks send to {place}: name each destination once")
        if scheme in STREAMABLE and place in seen:
            where = "standard output" if target == STANDARD_OUTPUT else repr(target)
            raise UsageError(f"two sinks write to {where}: give each its own place")
        if uri in seen:
            raise UsageError(f"the sink {uri!r} is given twice")
        seen.update((uri, place))


def has_standard_output(uris: Sequence[str]) -> bool:
    """Whether one of the sinks writes its results to standard output."""
    return any(split_uri(uri)[1] == STANDARD_OUTPUT for uri in uris)


def open_sink(uri: str, context: RunContext) -> Sink:
    """The sink that a URI names.

    Raises:
        UsageError: if the URI cannot be meant.
        SinkError: if the place cannot be written to.
    """
    scheme, target = split_uri(uri)
    module, name = SINKS[scheme].split(":")
    sink: Sink = getattr(importlib.import_module(module), name)(target, context)
    return sink


class Sinks(BaseSink):
    """Several sinks as one, for the items of one stream or of several.

    Args:
        uris: one URI a sink, in the order in which they are written.
        context: what the sinks may say about the run and its streams.

    Raises:
        UsageError: if the URIs cannot be meant together.
        SinkError: if a place cannot be written to; what was opened before is closed.
    """

    def __init__(self, uris: Sequence[str], context: RunContext) -> None:
        check_uris(uris)
        self._open: list[Sink] = []
        self._takers: dict[int, list[Callable[[Item], None]]] = {k: [] for k in context.streams or (0,)}
        try:
            for uri in uris:
                self._open_for_all(uri, context)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> SharedSink:
        return self

    def _open_for_all(self, uri: str, context: RunContext) -> None:
        """Open one sink for the streams of a run, or one for each of them."""
        if context.streams and split_uri(uri)[0] in SHARED:
            shared = cast("SharedSink", open_sink(uri, context))
            self._open.append(shared)
            for number, takers in self._takers.items():
                takers.append(partial(shared.write, stream=number))
            return
        for number, own in (context.streams or {0: context}).items():
            sink = open_sink(f"{uri}/stream{number}" if context.streams else uri, own)
            self._open.append(sink)
            self._takers[number].append(sink.write)

    @property
    def figures(self) -> Sequence[Figure]:
        return tuple(figure for sink in self._open for figure in sink.figures)

    def write(self, item: Item, stream: int = 0) -> None:
        for take in self._takers[stream]:
            take(item)

    def settle(self, delivery: Delivery) -> None:
        for sink in self._open:
            sink.settle(delivery)

    def close(self) -> None:
        """Close every sink, the last first, even if one of them fails; the first failure is raised."""
        failure: Exception | None = None
        while self._open:
            try:
                self._open.pop().close()
            except Exception as error:  # noqa: BLE001 - the others still have to be closed
                failure = failure or error
        if failure is not None:
            raise failure
