"""The command ``lvedge-run``: frames in, values and a looked-up result out, as they come.

Nothing heavy is imported before the arguments are read; the engine is made ready while the source is being
looked through, so that the first measurement is there soon.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from lvedge.errors import LvedgeError, SourceError, UsageError
from lvedge_runtime.run import Told, build_parser, read_settings, sink_uris
from lvedge_runtime.service.log import logged, unspoken

if TYPE_CHECKING:
    from lvedge.bundle import Bundle
    from lvedge.casetable import CaseTable
    from lvedge.frame import Given, NotYet, Receipt
    from lvedge_runtime.delivery import Deliverer
    from lvedge_runtime.journal.journal import Journal
    from lvedge_runtime.receiver.setting import Settings
    from lvedge_runtime.service.watch import Watch
    from lvedge_runtime.sinks import Item, RunContext
    from lvedge_runtime.sources import Source, SourceOptions
    from lvedge_runtime.stream import Stream

ALL_MEASURED, NOTHING_MEASURED, SOME_REFUSED = 0, 2, 3
INTERRUPTED, TERMINATED, READER_GONE = 128 + 2, 128 + 15, 128 + 13
"""Exit codes of a command that a signal ended: Ctrl-C, a request to stop, a pipe that nobody reads."""

NOTICE = "research use, not a medical device"

LOG = logging.getLogger("lvedge_runtime.run")


class _Terminated(BaseException):
    """The process was asked to end; what is open is closed first."""


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
    """

    sources: Mapping[int, Source]
    items: Iterable[tuple[int, Item | Receipt]]
    tallies: Sequence[Tally]
    context: RunContext


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: the arguments without the command's name; those of the process by default.

    Returns:
        The exit code: 0 all measured, 2 nothing could be measured or wrong usage, 3 measured but something
        was refused, of several streams the worst of these; 130 interrupted.
    """
    parser = build_parser()
    try:
        options = parser.parse_args(args)
    except SystemExit as leave:
        return int(leave.code or 0)
    if not options.stream and options.config is None:
        parser.print_help(sys.stderr)
        return NOTHING_MEASURED
    try:
        told = read_settings(args)
    except LvedgeError as error:
        with logged(parser.prog):
            LOG.error("error: %s", error)
        return NOTHING_MEASURED
    with ExitStack() as logging_so:
        level = "warning" if told.options.quiet else told.service.log_level
        logging_so.enter_context(logged(parser.prog, level, told.service.log_format))
        if told.config is not None:
            logging_so.enter_context(unspoken())
        return _guarded(told)


def _guarded(told: Told) -> int:
    """Run, and turn what a user can cause into one line and an exit code; a bug keeps its trace."""
    try:
        with _closing_on_termination() as stopping:
            return _run(told, stopping)
    except LvedgeError as error:
        LOG.error("error: %s", error)
        return NOTHING_MEASURED
    except BrokenPipeError:
        # The interpreter would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except _Terminated:
        return TERMINATED


def _run(told: Told, stopping: _Stopping) -> int:
    """Measure what the run was told to; gives the exit code."""
    from lvedge_runtime.delivery import Deliverer
    from lvedge_runtime.service.watch import Watch
    from lvedge_runtime.sinks import Sinks

    options = told.options
    uris = sink_uris(options)
    with (
        Watch(told.service) as watch,
        _opened(told, uris, watch) as run,
        Sinks(uris, run.context) as sinks,
    ):
        sources = tuple(run.sources.values())
        watch.ready((*(figure for source in sources for figure in source.figures), *sinks.figures))
        stopping.first(sources, watch)
        # Several streams end at their limits one by one.
        limit = options.limit if len(run.tallies) == 1 else None
        pump(run.items, Deliverer(sinks, run.context.journal), run.tallies, limit, watch.saw)
    if stopping.is_asked:
        return TERMINATED
    return _verdict(run.tallies, options.stream)


@contextmanager
def _opened(told: Told, uris: Sequence[str], watch: Watch) -> Iterator[Opened]:
    """The streams that the run was told of, on one engine."""
    from lvedge.bundle import open_bundle
    from lvedge_runtime.engines import open_engine

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

        from lvedge.quality import DEFAULT_QUALITY, QualityModel
        from lvedge_runtime.sinks import RunContext, has_standard_output
        from lvedge_runtime.stream import Stream

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
            items = ((0, item) for item in stream_of(sources[0], sources[0].live))
            yield Opened(sources, items, tallies, contexts[0])
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


def pump(
    items: Iterable[tuple[int, Item | Receipt]],
    sinks: Deliverer,
    tallies: Sequence[Tally],
    limit: int | None = None,
    saw: Callable[[Item], None] = lambda _item: None,
) -> None:
    """Pass what the streams yield on to the sinks, and count it.

    Args:
        items: measurements, cycles and refusals, in order, and receipts of series that were received; each
            with its stream's number.
        sinks: where they go.
        tallies: of the streams, by number; counted up.
        limit: stop after so many frames of one stream.
        saw: is given each once it was written.
    """
    from lvedge.frame import Receipt, Rejected
    from lvedge.measurement import Measurement

    for number, item in items:
        if isinstance(item, Receipt):
            sinks.deliver(item)
            continue
        sinks.write(item, number)
        saw(item)
        tally = tallies[number]
        if isinstance(item, Rejected):
            tally.refused += 1
            where = f"stream {number}: {item.item}" if len(tallies) > 1 else item.item
            LOG.warning("refused: %s: %s", where, item.reason, extra={"fields": {"event": "refused"}})
        elif isinstance(item, Measurement):
            tally.frames += 1
            tally.with_lv += item.measured
            if tally.frames == limit:
                return
    sinks.deliver(Receipt(""))


def _source_options(options: argparse.Namespace) -> SourceOptions:
    """What the arguments say of the source beyond its URI."""
    from lvedge.frame import Subject
    from lvedge_runtime.sources import SourceOptions, spacing_from_text

    spacing_mm = None if options.spacing_mm is None else spacing_from_text(options.spacing_mm)
    subject = Subject(sex=options.sex, age_years=options.age, body_surface_m2=options.bsa)
    return SourceOptions(spacing_mm=spacing_mm, subject=subject, series=options.series)


def _verdict(tallies: Sequence[Tally], uris: Sequence[str]) -> int:
    """Say what the streams lack, and give the exit code: the worst of theirs."""
    for tally, uri in zip(tallies, uris, strict=True):
        if tally.is_failed:
            continue
        if tally.frames == 0:
            refused = f"; {tally.refused} refused, see above" if tally.refused else ""
            LOG.error("error: nothing could be measured in %s%s", uri, refused)
        elif tally.with_lv == 0:
            words = "no left ventricle was found in any of %d frames: is %s a short-axis cine?"
            LOG.warning(words, tally.frames, uri)
    codes = {tally.exit_code for tally in tallies}
    return next(code for code in (NOTHING_MEASURED, SOME_REFUSED, ALL_MEASURED) if code in codes)


class _Stopping:
    """A request to end the process: the first lets a source finish that can, the next ends it at once."""

    def __init__(self) -> None:
        self.is_asked = False
        self._sources: Sequence[Source] = ()
        self._watch: Watch | None = None

    def first(self, sources: Sequence[Source], watch: Watch) -> None:
        """Whom to ask first."""
        self._sources, self._watch = sources, watch

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_asked or not any(source.stop() for source in self._sources):
            raise _Terminated
        self.is_asked = True
        if self._watch is not None:
            self._watch.stopping()


@contextmanager
def _closing_on_termination() -> Iterator[_Stopping]:
    """A request to end the process (SIGTERM) closes what is open, as Ctrl-C does."""
    stopping = _Stopping()
    try:
        before = signal.signal(signal.SIGTERM, stopping.ask)
    except ValueError:  # only the main thread may listen to signals
        yield stopping
        return
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
