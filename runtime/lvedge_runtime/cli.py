"""The command ``lvedge-run``: frames in, values and a looked-up result out, as they come.

Nothing heavy is imported before the arguments are read; the engine is made ready while the source is being
looked through, so that the first measurement is there soon.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from lvedge.errors import LvedgeError
from lvedge_runtime.opening import ALL_MEASURED, NOTHING_MEASURED, SOME_REFUSED, Tally, opened
from lvedge_runtime.run import Told, build_parser, read_settings, sink_uris
from lvedge_runtime.service.log import logged, unspoken

if TYPE_CHECKING:
    from lvedge.frame import Receipt
    from lvedge_runtime.delivery import Deliverer
    from lvedge_runtime.service.watch import Watch
    from lvedge_runtime.sinks import Item
    from lvedge_runtime.sources import Source

INTERRUPTED, TERMINATED, READER_GONE = 128 + 2, 128 + 15, 128 + 13
"""Exit codes of a command that a signal ended: Ctrl-C, a request to stop, a pipe that nobody reads."""

LOG = logging.getLogger("lvedge_runtime.run")


class _Terminated(BaseException):
    """The process was asked to end; what is open is closed first."""


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
        opened(told, uris, watch) as run,
        Sinks(uris, run.context) as sinks,
    ):
        sources = tuple(run.sources.values())
        of_sources = (figure for source in sources for figure in source.figures)
        watch.ready((*of_sources, *sinks.figures, *run.figures))
        stopping.first(sources, watch)
        # Several streams end at their limits one by one.
        limit = options.limit if len(run.tallies) == 1 else None
        pump(run.items, Deliverer(sinks, run.context.journal), run.tallies, limit, watch.saw)
    if stopping.is_asked:
        return TERMINATED
    return _verdict(run.tallies, options.stream)


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
