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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from lvedge.errors import LvedgeError, UsageError
from lvedge_runtime.run import Told, build_parser, read_settings, sink_uris
from lvedge_runtime.service.log import logged, unspoken

if TYPE_CHECKING:
    from lvedge.bundle import Bundle
    from lvedge.casetable import CaseTable
    from lvedge.frame import Receipt
    from lvedge_runtime.delivery import Deliverer
    from lvedge_runtime.journal.journal import Journal
    from lvedge_runtime.receiver.setting import Settings
    from lvedge_runtime.service.watch import Watch
    from lvedge_runtime.sinks import Item, RunContext
    from lvedge_runtime.sources import Source, SourceOptions

ALL_MEASURED, NOTHING_MEASURED, SOME_REFUSED = 0, 2, 3
INTERRUPTED, TERMINATED, READER_GONE = 128 + 2, 128 + 15, 128 + 13
"""Exit codes of a command that a signal ended: Ctrl-C, a request to stop, a pipe that nobody reads."""

NOTICE = "research use, not a medical device"

LOG = logging.getLogger("lvedge_runtime.run")


class _Terminated(BaseException):
    """The process was asked to end; what is open is closed first."""


@dataclass
class Tally:
    """What a run came to.

    Args:
        frames: frames that went through the network, with or without an LV.
        with_lv: how many of them held one.
        refused: items that could not be read as frames.
    """

    frames: int = 0
    with_lv: int = 0
    refused: int = 0

    @property
    def exit_code(self) -> int:
        """0 all measured, 2 nothing, 3 something was refused."""
        if self.frames == 0:
            return NOTHING_MEASURED
        return SOME_REFUSED if self.refused else ALL_MEASURED


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: the arguments without the command's name; those of the process by default.

    Returns:
        The exit code: 0 all measured, 2 nothing could be measured or wrong usage, 3 measured but something
        was refused, 130 interrupted.
    """
    parser = build_parser()
    try:
        options = parser.parse_args(args)
    except SystemExit as leave:
        return int(leave.code or 0)
    if options.stream is None and options.config is None:
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
        _opened(told, uris, watch) as (source, items, context),
        Sinks(uris, context) as sinks,
    ):
        watch.ready((*source.figures, *sinks.figures))
        stopping.first(source, watch)
        tally = pump(items, Deliverer(sinks, context.journal), options.limit, watch.saw)
    if stopping.is_asked:
        return TERMINATED
    return _verdict(tally, options.stream)


@contextmanager
def _opened(
    told: Told, uris: Sequence[str], watch: Watch
) -> Iterator[tuple[Source, Iterable[Item | Receipt], RunContext]]:
    """The source and its stream that the run was told of, and what the sinks may say about the run."""
    from lvedge.bundle import open_bundle
    from lvedge_runtime.engines import open_engine

    options, settings = told.options, told.receiver
    source_options = replace(_source_options(options), config=told.config)
    bundle = open_bundle(None if options.bundle is None else Path(options.bundle))
    LOG.info("%s; %s", bundle.licence_notice.rstrip("."), NOTICE)
    with ExitStack() as open_things:
        journal = None if settings is None else open_things.enter_context(_journal(settings))
        # The engine first: it gets ready in the background while the source is looked through.
        engine = open_things.enter_context(open_engine(bundle, options.engine, options.threads))
        for other in engine.passed_over:
            if options.verbose or other.was_tried:
                LOG.info("engine %s passed over: %s", other.engine, other.reason)
        if watch.is_asked:
            engine.try_out()

        from lvedge.quality import DEFAULT_QUALITY, QualityModel
        from lvedge_runtime.sinks import RunContext, has_standard_output
        from lvedge_runtime.sources import open_source
        from lvedge_runtime.stream import Stream

        source_options = replace(
            source_options, modality=bundle.modality, journal=journal, turned=watch.turned
        )
        source = open_things.enter_context(open_source(options.stream, source_options))
        cases = _cases(options)
        if cases is not None:
            open_things.enter_context(cases)
            _check_layout(cases, bundle)
        quality = QualityModel.from_manifest(bundle.quality) if bundle.quality else DEFAULT_QUALITY
        context = RunContext(
            engine=engine.name,
            bundle=bundle.name,
            bundle_version=bundle.version,
            bundle_sha256=bundle.sha256,
            layout=bundle.shapes.layout,
            geometry=source.geometry,
            origin=source.origin if source.is_dicom else None,
            source=options.stream,
            console_is_stderr=has_standard_output(uris),
            settings=settings,
            journal=journal,
        )
        yield source, Stream(source, engine, quality, cases, options.live or source.live), context


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
    items: Iterable[Item | Receipt],
    sinks: Deliverer,
    limit: int | None = None,
    saw: Callable[[Item], None] = lambda _item: None,
) -> Tally:
    """Pass what the stream yields on to the sinks, and count it.

    Args:
        items: measurements, cycles and refusals, in order, and receipts of series that were received.
        sinks: where they go.
        limit: stop after so many frames.
        saw: is given each once it was written.
    """
    from lvedge.frame import Receipt, Rejected
    from lvedge.measurement import Measurement

    tally = Tally()
    for item in items:
        if isinstance(item, Receipt):
            sinks.deliver(item)
            continue
        sinks.write(item)
        saw(item)
        if isinstance(item, Rejected):
            tally.refused += 1
            LOG.warning("refused: %s: %s", item.item, item.reason, extra={"fields": {"event": "refused"}})
        elif isinstance(item, Measurement):
            tally.frames += 1
            tally.with_lv += item.measured
            if tally.frames == limit:
                return tally
    sinks.deliver(Receipt(""))
    return tally


def _source_options(options: argparse.Namespace) -> SourceOptions:
    """What the arguments say of the source beyond its URI."""
    from lvedge.frame import Subject
    from lvedge_runtime.sources import SourceOptions, spacing_from_text

    spacing_mm = None if options.spacing_mm is None else spacing_from_text(options.spacing_mm)
    subject = Subject(sex=options.sex, age_years=options.age, body_surface_m2=options.bsa)
    return SourceOptions(spacing_mm=spacing_mm, subject=subject, series=options.series)


def _verdict(tally: Tally, source: str) -> int:
    """Say what a run lacks, and give its exit code."""
    if tally.frames == 0:
        refused = f"; {tally.refused} refused, see above" if tally.refused else ""
        raise UsageError(f"nothing could be measured in {source}{refused}")
    if tally.with_lv == 0:
        LOG.warning(
            "no left ventricle was found in any of %d frames: is %s a short-axis cine?", tally.frames, source
        )
    return tally.exit_code


class _Stopping:
    """A request to end the process: the first lets a source finish that can, the next ends it at once."""

    def __init__(self) -> None:
        self.is_asked = False
        self._source: Source | None = None
        self._watch: Watch | None = None

    def first(self, source: Source, watch: Watch) -> None:
        """Whom to ask first."""
        self._source, self._watch = source, watch

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_asked or self._source is None or not self._source.stop():
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
