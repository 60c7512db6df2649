"""The command ``lvedge-run``: frames in, values and a looked-up result out, as they come.

Nothing heavy is imported before the arguments are read; the engine is made ready while the source is being
looked through, so that the first measurement is there soon.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from lvedge import __version__
from lvedge.errors import LvedgeError, UsageError

if TYPE_CHECKING:
    from lvedge.bundle import Bundle
    from lvedge.casetable import CaseTable
    from lvedge.frame import Receipt
    from lvedge_runtime.delivery import Deliverer
    from lvedge_runtime.journal.journal import Journal
    from lvedge_runtime.receiver.setting import Settings
    from lvedge_runtime.sinks import Item, RunContext
    from lvedge_runtime.sources import SourceOptions

ALL_MEASURED, NOTHING_MEASURED, SOME_REFUSED = 0, 2, 3
INTERRUPTED, TERMINATED, READER_GONE = 128 + 2, 128 + 15, 128 + 13
"""Exit codes of a command that a signal ended: Ctrl-C, a request to stop, a pipe that nobody reads."""

DEMO = "demo:"
NOTICE = "research use, not a medical device"


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
    if options.stream is None:
        parser.print_help(sys.stderr)
        return NOTHING_MEASURED
    return _guarded(options)


def _guarded(options: argparse.Namespace) -> int:
    """Run, and turn what a user can cause into one line and an exit code; a bug keeps its trace."""
    try:
        with _closing_on_termination():
            return _run(options)
    except LvedgeError as error:
        _say(f"error: {error}")
        return NOTHING_MEASURED
    except BrokenPipeError:
        # The interpreter would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except _Terminated:
        return TERMINATED


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="lvedge-run",
        description="Measures the heart's left ventricle on short-axis cine MRI, frame by frame.",
        epilog="exit codes: 0 all measured; 2 nothing could be measured, or wrong usage; 3 measured, and at "
        "least one item was refused. Research use, not a medical device.",
    )
    parser.add_argument(
        "--stream",
        nargs="?",
        const=DEMO,
        metavar="SOURCE",
        help="what to measure: a path, or demo: (without a value), dicom:PATH, nifti:PATH, npz:PATH, "
        "png:DIR, video:PATH, camera:N, dicom://[HOST]:PORT (receives)",
    )
    parser.add_argument(
        "--sink",
        action="append",
        default=[],
        metavar="URI",
        help="where results go, may be given several times: term:, jsonl:PATH, csv:PATH, png:DIR, nifti:DIR, "
        "dicomsr:DIR, dicomseg:DIR, dicomsc:DIR, store://HOST:PORT (sends, from a journal); PATH - is "
        "standard output (default: term: on a terminal, else jsonl:-)",
    )
    parser.add_argument(
        "--live", action="store_true", help="frame by frame, also where the whole beat is at hand"
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="stop after N frames")
    parser.add_argument("--series", metavar="TEXT", help="only the series whose name contains TEXT")
    parser.add_argument(
        "--spacing-mm",
        metavar="R[,C]",
        help="distance between rows and between columns, instead of what the source says",
    )
    subject = parser.add_argument_group("the person, for rules that ask")
    subject.add_argument("--sex", choices=("F", "M"), help="instead of what the source says")
    subject.add_argument("--age", type=_years, metavar="YEARS", help="instead of what the source says")
    subject.add_argument("--bsa", type=_square_metres, metavar="M2", help="body surface area")
    with_what = parser.add_argument_group("what to measure with")
    with_what.add_argument(
        "--bundle", metavar="PATH", help="a bundle (default: the one installed or shipped)"
    )
    with_what.add_argument(
        "--engine",
        default="auto",
        metavar="NAME",
        help="what runs the network: tensorrt, onnxruntime-tensorrt, onnxruntime-cuda, openvino-bf16, "
        "openvino, onnxruntime-cpu, or auto, the best that works here (default)",
    )
    with_what.add_argument(
        "--threads", type=_count, default=1, metavar="N", help="threads of the engine (default: 1)"
    )
    with_what.add_argument(
        "--cases", metavar="PATH", help="a case table (default: the one installed or shipped)"
    )
    parser.add_argument(
        "--config", metavar="PATH", help="settings of a receiver, a journal and an outbox, a TOML file"
    )
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument(
        "--quiet", action="store_true", help="no notices; errors and refusals are still told"
    )
    how_much.add_argument(
        "--verbose", action="store_true", help="also say which engines were passed over, and why"
    )
    parser.add_argument("--version", action="version", version=f"lvedge {__version__}")
    return parser


def _run(options: argparse.Namespace) -> int:
    """Measure what the arguments name; gives the exit code."""
    from lvedge_runtime.delivery import Deliverer
    from lvedge_runtime.sinks import Sinks

    uris = _sink_uris(options)
    with _opened(options, uris) as (items, context), Sinks(uris, context) as sinks:
        tally = pump(items, Deliverer(sinks, context.journal), options.limit)
    return _verdict(tally, options.stream)


@contextmanager
def _opened(
    options: argparse.Namespace, uris: Sequence[str]
) -> Iterator[tuple[Iterable[Item | Receipt], RunContext]]:
    """The stream that the arguments name, and what the sinks may say about the run."""
    from lvedge.bundle import open_bundle
    from lvedge_runtime.engines import open_engine

    source_options = _source_options(options)
    settings = _settings(source_options.config)
    bundle = open_bundle(None if options.bundle is None else Path(options.bundle))
    if not options.quiet:
        _say(f"{bundle.licence_notice.rstrip('.')}; {NOTICE}")
    with ExitStack() as open_things:
        journal = None if settings is None else open_things.enter_context(_journal(settings))
        # The engine first: it gets ready in the background while the source is looked through.
        engine = open_things.enter_context(open_engine(bundle, options.engine, options.threads))
        for other in engine.passed_over:
            if options.verbose or (other.was_tried and not options.quiet):
                _say(f"engine {other.engine} passed over: {other.reason}")

        from lvedge.quality import DEFAULT_QUALITY, QualityModel
        from lvedge_runtime.sinks import RunContext, has_standard_output
        from lvedge_runtime.sources import open_source
        from lvedge_runtime.stream import Stream

        source_options = replace(source_options, modality=bundle.modality, journal=journal)
        source = open_things.enter_context(open_source(options.stream, source_options))
        cases = _cases(options)
        if cases is not None:
            _check_layout(cases, bundle)
            open_things.enter_context(cases)
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
        yield Stream(source, engine, quality, cases, options.live or source.live), context


def _settings(config: Path | None) -> Settings | None:
    """What the file of settings says; None without one."""
    if config is None:
        return None
    from lvedge_runtime.receiver.setting import settings_from_file

    return settings_from_file(config)


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
    if not options.quiet:
        _say("this build ships no case table: nothing is looked up; name one with --cases")
    return None


def _check_layout(cases: CaseTable, bundle: Bundle) -> None:
    """Refuse a case table that was made for other values than the bundle gives."""
    has, gives = cases.layout, bundle.shapes.layout
    if has != gives:
        raise UsageError(
            f"the case table is for {has.sectors} sectors and {has.diameters} diameters, the bundle gives "
            f"{gives.sectors} and {gives.diameters}: name another table with --cases"
        )


def pump(items: Iterable[Item | Receipt], sinks: Deliverer, limit: int | None = None) -> Tally:
    """Pass what the stream yields on to the sinks, and count it.

    Args:
        items: measurements, cycles and refusals, in order, and receipts of series that were received.
        sinks: where they go.
        limit: stop after so many frames.
    """
    from lvedge.frame import Receipt, Rejected
    from lvedge.measurement import Measurement

    tally = Tally()
    for item in items:
        if isinstance(item, Receipt):
            sinks.deliver(item)
            continue
        sinks.write(item)
        if isinstance(item, Rejected):
            tally.refused += 1
            _say(f"refused: {item.item}: {item.reason}")
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
    config = None if options.config is None else Path(options.config)
    return SourceOptions(spacing_mm=spacing_mm, subject=subject, series=options.series, config=config)


def _sink_uris(options: argparse.Namespace) -> list[str]:
    """The sinks that were asked for, checked; without any, what suits standard output."""
    from lvedge_runtime.sinks import check_uris

    uris = list(options.sink) or ["term:" if sys.stdout.isatty() else "jsonl:-"]
    check_uris(uris)
    return uris


def _verdict(tally: Tally, source: str) -> int:
    """Say what a run lacks, and give its exit code."""
    if tally.frames == 0:
        refused = f"; {tally.refused} refused, see above" if tally.refused else ""
        raise UsageError(f"nothing could be measured in {source}{refused}")
    if tally.with_lv == 0:
        _say(f"no left ventricle was found in any of {tally.frames} frames: is {source} a short-axis cine?")
    return tally.exit_code


def _say(words: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"lvedge-run: {' '.join(words.split())}\n")


@contextmanager
def _closing_on_termination() -> Iterator[None]:
    """A request to end the process (SIGTERM) closes what is open, as Ctrl-C does."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # only the main thread may listen to signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _count(text: str) -> int:
    return int(_number(text, 1, 10**9, "a whole number of at least 1", whole=True))


def _years(text: str) -> float:
    return _number(text, 0, 120, "an age in years, 0 to 120")


def _square_metres(text: str) -> float:
    return _number(text, 0.1, 4, "a body surface area in square metres, 0.1 to 4")


def _number(text: str, low: float, high: float, what: str, whole: bool = False) -> float:
    """A number within limits; NaN lies outside of any."""
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


if __name__ == "__main__":
    sys.exit(main())
