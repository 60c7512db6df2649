"""Opening a run: engine, sources, case table and journal, as the settings name them.

Nothing heavy is imported before it is needed: the engine gets ready while the sources are looked through, so
that the first measurement is there soon.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lvedge.errors import SourceError, UsageError

if TYPE_CHECKING:
    from lvedge.bundle import Bundle
    from lvedge.casetable import CaseTable
    from lvedge.frame import Given, NotYet, Receipt
    from lvedge_runtime.figure import Figure
    from lvedge_runtime.journal.journal import Journal
    from lvedge_runtime.receiver.setting import Settings
    from lvedge_runtime.run import Told
    from lvedge_runtime.service.watch import Watch
    from lvedge_runtime.sinks import Item, RunContext
    from lvedge_runtime.sources import Source, SourceOptions
    from lvedge_runtime.stream import Stream

ALL_MEASURED, NOTHING_MEASURED, SOME_REFUSED = 0, 2, 3
NOTICE = "research use, not a medical device"

NO_JOURNAL = (
    "a service without a journal: what was acknowledged is lost with the process, and files of results begin "
    'anew at every start; name a folder for it, [journal] folder = "..."'
)

LOG = logging.getLogger("lvedge_runtime.run")


@dataclass
class Tally:
    """What a stream came to.

    Args:
        frames: frames that went through the network, with or without an LV.
        with_lv: how many of them held one.
        refused: items that could not be read as frames.
        is_failed: its source could not be opened, or failed on the way; that was told.
    """

    frames: int = 0
    with_lv: int = 0
    refused: int = 0
    is_failed: bool = False

    @property
    def exit_code(self) -> int:
        """0 all measured, 2 nothing or not to the end, 3 something was refused."""
        if self.frames == 0 or self.is_failed:
            return NOTHING_MEASURED
        return SOME_REFUSED if self.refused else ALL_MEASURED


@dataclass(frozen=True)
class Opened:
    """A run that is ready to be gone through.

    Args:
        sources: of the streams, by number; without those that could not be opened.
        items: what the streams give, each with its stream's number.
        tallies: of every stream, by number.
        context: what the sinks may say about the run.
        figures: what can be followed beside sources and sinks.
    """

    sources: Mapping[int, Source]
    items: Iterable[tuple[int, Item | Receipt]]
    tallies: Sequence[Tally]
    context: RunContext
    figures: Sequence[Figure] = ()


@contextmanager
def opened(told: Told, uris: Sequence[str], watch: Watch) -> Iterator[Opened]:
    """The streams that the run was told of, on one engine."""
    from lvedge.bundle import open_bundle
    from lvedge_runtime.engines import open_engine
    from lvedge_runtime.run import RECEIVES

    options, settings = told.options, told.receiver
    source_options = replace(_source_options(options), config=told.config)
    bundle = open_bundle(None if options.bundle is None else Path(options.bundle))
    LOG.info("%s; %s", bundle.licence_notice.rstrip("."), NOTICE)
    with ExitStack() as open_things:
        journal = None if settings is None else open_things.enter_context(_journal(settings))
        # The engine first: it gets ready in the background while the sources are looked through.
        engine = open_things.enter_context(
            open_engine(bundle, options.engine, options.threads, len(options.stream))
        )
        for other in engine.passed_over:
            if options.verbose or other.was_tried:
                LOG.info("engine %s passed over: %s", other.engine, other.reason)
        if watch.is_asked:
            engine.try_out()

        import cv2

        from lvedge.quality import DEFAULT_QUALITY, QualityModel
        from lvedge_runtime.sinks import RunContext, has_standard_output
        from lvedge_runtime.sources.ahead import Ahead
        from lvedge_runtime.stream import Stream

        figures = () if journal is None else _outbox_figures(journal, uris)
        if watch.is_asked and journal is None and options.stream[0].startswith(RECEIVES):
            LOG.warning(NO_JOURNAL)
        # Views and masks are small: to hand parts of them to other threads takes longer than the work.
        cv2.setNumThreads(1)
        source_options = replace(
            source_options, modality=bundle.modality, journal=journal, turned=watch.turned
        )
        tallies = [Tally() for _ in options.stream]
        sources = _open_sources(options.stream, source_options, open_things, tallies)
        cases = _cases(options)
        if cases is not None:
            open_things.enter_context(cases)
            _check_layout(cases, bundle)
        quality = QualityModel.from_manifest(bundle.quality) if bundle.quality else DEFAULT_QUALITY
        common = RunContext(
            engine=engine.name,
            bundle=bundle.name,
            bundle_version=bundle.version,
            bundle_sha256=bundle.sha256,
            layout=bundle.shapes.layout,
            console_is_stderr=has_standard_output(uris),
            settings=settings,
            journal=journal,
        )
        contexts = {k: _context(common, options.stream[k], source) for k, source in sources.items()}

        def stream_of(source: Iterable[Given | NotYet], is_live: bool) -> Stream:
            return Stream(source, engine, quality, cases, options.live or is_live)

        if len(tallies) == 1:
            source = sources[0]
            given = source if source.live else open_things.enter_context(Ahead(source)).waiting()
            items = ((0, item) for item in stream_of(given, source.live))
            yield Opened(sources, items, tallies, contexts[0], figures)
            return
        from lvedge_runtime.several import several

        context = replace(common, source=f"{len(tallies)} streams", streams=contexts)
        told_of = partial(_failed, tallies)
        with several(sources, stream_of, engine, options.limit, told_of) as several_items:
            yield Opened(sources, several_items, tallies, context)


def _open_sources(
    uris: Sequence[str], options: SourceOptions, open_things: ExitStack, tallies: Sequence[Tally]
) -> dict[int, Source]:
    """The sources, by number; of several those that can be opened, the others are told.

    Raises:
        LvedgeError: if none can be opened, or one cannot be meant.
    """
    from lvedge_runtime.sources import open_source

    sources: dict[int, Source] = {}
    for number, uri in enumerate(uris):
        try:
            sources[number] = open_things.enter_context(open_source(uri, options))
        except SourceError as err:
            if len(uris) == 1:
                raise
            _failed(tallies, number, err)
            continue
        if len(uris) > 1:
            LOG.info("stream %d: %s", number, uri)
    if not sources:
        raise UsageError(f"none of {len(uris)} streams could be opened, see above")
    return sources


def _failed(tallies: Sequence[Tally], number: int, err: SourceError) -> None:
    """Tell that a stream's source failed; the others go on."""
    tallies[number].is_failed = True
    LOG.error("error: stream %d: %s", number, err)


def _context(common: RunContext, uri: str, source: Source) -> RunContext:
    """What sinks may say of one stream."""
    origin = source.origin if source.is_dicom else None
    return replace(common, source=uri, geometry=source.geometry, origin=origin)


@contextmanager
def _journal(settings: Settings) -> Iterator[Journal | None]:
    """The journal that the settings name, if any."""
    if settings.journal.folder is None:
        yield None
        return
    from lvedge_runtime.journal.journal import Journal

    with Journal(settings.journal.folder, settings.journal) as journal:
        yield journal


def _outbox_figures(journal: Journal, uris: Sequence[str]) -> Sequence[Figure]:
    """What can be followed of the outbox; what waits there for a destination that no sink names is told."""
    from lvedge_runtime.run import destination_uris
    from lvedge_runtime.sender.destination import destination_from_uri

    named = tuple(destination_from_uri(uri).name for uri in destination_uris(uris))
    for name, count in journal.outbox.stranded(named).items():
        words = (
            "%d objects wait for %s, which no sink names: name it, or lvedge-outbox move them or drop them"
        )
        LOG.warning(words, count, name)
    return journal.figures(named)


def _cases(options: argparse.Namespace) -> CaseTable | None:
    """The case table that was named, else the one installed or shipped; None in a build without one."""
    from lvedge.casetable import has_case_table, open_case_table

    if options.cases is not None or has_case_table():
        return open_case_table(options.cases)
    LOG.info("this build ships no case table: nothing is looked up; name one with --cases")
    return None


def _check_layout(cases: CaseTable, bundle: Bundle) -> None:
    """Refuse a case table that was made for other values than the bundle gives."""
    has, gives = cases.layout, bundle.shapes.layout
    if has != gives:
        raise UsageError(
            f"the case table is for {has.sectors} sectors and {has.diameters} diameters, the bundle gives "
            f"{gives.sectors} and {gives.diameters}: name another table with --cases"
        )


def _source_options(options: argparse.Namespace) -> SourceOptions:
    """What the arguments say of the source beyond its URI."""
    from lvedge.frame import Subject
    from lvedge_runtime.sources import SourceOptions, spacing_from_text

    spacing_mm = None if options.spacing_mm is None else spacing_from_text(options.spacing_mm)
    subject = Subject(sex=options.sex, age_years=options.age, body_surface_m2=options.bsa)
    return SourceOptions(spacing_mm=spacing_mm, subject=subject, series=options.series)
