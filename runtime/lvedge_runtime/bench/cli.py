"""The command ``lvedge-bench``: where a frame's milliseconds go, on this machine.

Nothing heavy is imported before it is known what to do: a start is timed from a process that has opened
nothing, and a numeric library reads its number of threads once, when it is loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from lvedge import __version__
from lvedge.errors import LvedgeError, UsageError
from lvedge_runtime.bench.run import SECTIONS, Plan, is_sound, run

SOUND, RESULTS_DIFFER, FAILED, INTERRUPTED = 0, 1, 2, 128 + 2
ALL = "all"

Value = TypeVar("Value")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: the arguments without the command's name; those of the process by default.

    Returns:
        0 when all was measured; 1 when results differed from those of an untimed run; 2 on wrong usage.
    """
    parser = build_parser()
    try:
        options = parser.parse_args(args)
    except SystemExit as leave:
        return int(leave.code or 0)
    try:
        return int(options.do(options))
    except LvedgeError as error:
        _say(f"error: {error}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="lvedge-bench",
        description="Says where a frame's milliseconds go on this machine, how sure that is, and how far "
        "from what the machine could do.",
        epilog="exit codes: 0 measured; 1 results differed from an untimed run's; 2 wrong usage, or "
        "nothing could be measured.",
    )
    parser.add_argument("--version", action="version", version=f"lvedge {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(
        commands.add_parser(
            "run", help="measure", description="Measures, prints tables, writes JSON and a plot."
        )
    )
    comparing = commands.add_parser(
        "compare",
        help="two runs beside each other",
        description="The second run's timings over the first's, with 95 % block-bootstrap intervals.",
    )
    comparing.add_argument("before", type=Path, metavar="JSON", help="what an earlier run wrote")
    comparing.add_argument("after", type=Path, metavar="JSON", help="what a later run wrote")
    comparing.set_defaults(do=_compare)
    trtexec = commands.add_parser(
        "trtexec",
        help="the times of trtexec, ours beside them",
        description="Reads what trtexec --exportTimes=FILE wrote and tells it as the bench tells its own.",
    )
    trtexec.add_argument("times", type=Path, metavar="FILE", help="what trtexec --exportTimes wrote")
    trtexec.add_argument("--beside", type=Path, metavar="JSON", help="a run whose steps to set beside it")
    trtexec.add_argument("--profile", type=Path, metavar="FILE", help="what trtexec --exportProfile wrote")
    trtexec.set_defaults(do=_trtexec)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(do=_run)
    parser.add_argument(
        "--stream",
        default="demo:",
        metavar="SOURCE",
        help="what to play, as lvedge-run takes it (default: demo:)",
    )
    parser.add_argument(
        "--spacing-mm", metavar="R[,C]", help="for a source that states no distance of pixels"
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="PATH", help="a bundle (default: the one installed or shipped)"
    )
    parser.add_argument(
        "--cases", metavar="PATH", help="a case table (default: the one installed or shipped)"
    )
    parser.add_argument(
        "--sink",
        action="append",
        default=[],
        metavar="URI",
        help="as lvedge-run's (default: JSON lines to a file)",
    )
    what = parser.add_argument_group("what to measure; lists have commas")
    what.add_argument(
        "--sections",
        type=_listed(_section),
        default=[*SECTIONS],
        metavar="NAMES",
        help=f"of {', '.join(SECTIONS)} (default: all)",
    )
    what.add_argument(
        "--engine",
        type=_listed(str),
        default=[ALL],
        metavar="NAMES",
        help="engines of the steps; the first one for the rest too (default: all; for the rest the best)",
    )
    what.add_argument(
        "--threads", type=_listed(_count), default=[1], metavar="N", help="of the engine (default: 1)"
    )
    what.add_argument(
        "--batch",
        type=_listed(_count),
        default=[1, 4],
        metavar="N",
        help="streams a step takes as one (default: 1,4)",
    )
    what.add_argument(
        "--streams",
        type=_listed(_count),
        default=[1],
        metavar="N",
        help="played at the same time (default: 1)",
    )
    what.add_argument(
        "--rate",
        type=_listed(_rate),
        default=[25.0],
        metavar="R",
        help="frames a second, paced (default: 25)",
    )
    what.add_argument("--deadline-ms", type=_rate, metavar="MS", help="(default: when the next frame comes)")
    what.add_argument(
        "--find-rate", action="store_true", help="look for the highest rate held at p99; minutes"
    )
    what.add_argument("--live", action="store_true", help="the way frame by frame, as lvedge-run --live")
    what.add_argument(
        "--frames",
        type=_count,
        default=700,
        metavar="N",
        help="a timing has at least so many (default: 700, for p99)",
    )
    what.add_argument(
        "--starts",
        type=_count,
        default=10,
        metavar="N",
        help="of the command; a third as many cold (default: 10)",
    )
    what.add_argument(
        "--rounds", type=_count, default=20, metavar="N", help="of the bound, all in turn (default: 20)"
    )
    out = parser.add_argument_group("where it goes")
    out.add_argument("--out", type=Path, metavar="DIR", help="write bench.json and bench.png there")
    out.add_argument("--quiet", action="store_true", help="do not say what is being measured")


def _run(options: argparse.Namespace) -> int:
    _set_threads(options.threads[0])
    from lvedge_runtime.engines import AUTO, ENGINES

    takes_all = options.engine == [ALL]
    engines = list(ENGINES) if takes_all else options.engine
    unknown = [name for name in engines if name not in (*ENGINES, AUTO)]
    if unknown:
        raise UsageError(
            f"there is no engine {unknown[0]!r}: name some of {', '.join((ALL, AUTO, *ENGINES))}"
        )
    if options.out is not None:
        _make_folder(options.out)
    result = run(
        Plan(
            source=options.stream,
            spacing_mm=options.spacing_mm,
            bundle=options.bundle,
            cases=options.cases,
            sinks=options.sink,
            sections=options.sections,
            engine=AUTO if takes_all else engines[0],
            engines=engines,
            threads=options.threads,
            batches=options.batch,
            streams=options.streams,
            rates=options.rate,
            deadline_ms=options.deadline_ms,
            find_rate=options.find_rate,
            frames=options.frames,
            starts=options.starts,
            rounds=options.rounds,
            live=options.live,
        ),
        (lambda _words: None) if options.quiet else _say,
    )
    from lvedge_runtime.bench.table import run_tables, show

    show(*run_tables(result))
    if options.out is not None:
        _write(options.out, result)
    return SOUND if is_sound(result) else RESULTS_DIFFER


def _compare(options: argparse.Namespace) -> int:
    from lvedge_runtime.bench.compare import compare, differences, read_run
    from lvedge_runtime.bench.table import change_table, show

    before, after = read_run(options.before), read_run(options.after)
    changes = compare(before, after)
    for difference in differences(before, after):
        _say(f"not the software alone: {difference}")
    show(change_table(changes))
    return SOUND


def _trtexec(options: argparse.Namespace) -> int:
    from lvedge_runtime.bench.compare import read_run
    from lvedge_runtime.bench.table import profile_table, show, trtexec_table
    from lvedge_runtime.bench.trtexec import read_profile, read_trtexec

    theirs = read_trtexec(options.times)
    ours = [] if options.beside is None else read_run(options.beside).get("steps", {}).get("cases", [])
    layers = [] if options.profile is None else read_profile(options.profile)
    show(trtexec_table(theirs, ours), *([profile_table(layers)] if layers else []))
    return SOUND


def _write(folder: Path, result: dict[str, object]) -> None:
    """The run as JSON, and as a picture where there is something to draw."""
    from lvedge.disk import write_whole
    from lvedge_runtime.bench.compare import timings
    from lvedge_runtime.bench.plot import write_plot

    write_whole(folder / "bench.json", (json.dumps(result, indent=1) + "\n").encode(), durable=False)
    drawn = {
        what: ms
        for what, ms in timings(result)
        if what.endswith(("total", "latency", "step")) or "batch" in what
    }
    if drawn:
        write_plot(folder / "bench.png", drawn)
    _say(f"written: {folder / 'bench.json'}{', bench.png' if drawn else ''}")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UsageError(f"--out {folder}: cannot be made ({err.strerror}): name a folder") from err


def _set_threads(threads: int) -> None:
    """Let numpy's library use as many threads as the engine, where the user has not said otherwise.

    OpenCV works in the caller's thread, as in ``lvedge-run``.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    import cv2

    cv2.setNumThreads(1)


def _say(words: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"lvedge-bench: {' '.join(words.split())}\n")


def _listed(item: Callable[[str], Value]) -> Callable[[str], list[Value]]:
    def parse(text: str) -> list[Value]:
        return [item(part.strip()) for part in text.split(",") if part.strip()] or [item(text)]

    return parse


def _section(text: str) -> str:
    if text not in SECTIONS:
        raise argparse.ArgumentTypeError(f"there is no section {text!r}: name some of {', '.join(SECTIONS)}")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.01 <= value <= 1e5:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0.01 to 100000")
    return value


if __name__ == "__main__":
    sys.exit(main())
