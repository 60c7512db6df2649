"""The command ``lvedge-outbox``: what waits to be sent, and what becomes of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from lvedge import __version__
from lvedge.errors import LvedgeError, UsageError
from lvedge_runtime.journal.journal import outbox_of
from lvedge_runtime.journal.outbox import Item, ItemState, Outbox
from lvedge_runtime.uri import parse_uri

DONE, WRONG = 0, 2


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: the arguments without the command's name; those of the process by default.

    Returns:
        The exit code: 0 done, 2 wrong usage or no such journal.
    """
    try:
        options = build_parser().parse_args(args)
    except SystemExit as leave:
        return int(leave.code or 0)
    try:
        outbox, database = outbox_of(Path(options.state))
        with closing(database):
            return _run(options, outbox)
    except LvedgeError as error:
        sys.stderr.write(f"lvedge-outbox: error: {error}\n")
        return WRONG


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="lvedge-outbox",
        description="Shows objects that lvedge-run sends to other systems; releases, repeats, moves or drops "
        "them. Also while lvedge-run is at work; it sees a change within a second.",
        epilog="exit codes: 0 done; 2 wrong usage, or no journal there.",
    )
    parser.add_argument("--version", action="version", version=f"lvedge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="the objects and their states")
    listing.add_argument(
        "--only", choices=[state.value for state in ItemState], help="those in one state alone"
    )
    texts = {
        "release": "send objects that are held",
        "retry": "try dead objects again",
        "drop": "remove objects that were not sent",
    }
    for name, text in texts.items():
        changing = commands.add_parser(name, help=text)
        changing.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="as list shows them")
        changing.add_argument("--all", action="store_true", help="all that this can be done to")
        changing.set_defaults(numbers=[])
    moving = commands.add_parser("move", help="send what waits for one destination to another")
    moving.add_argument("old", metavar="OLD", help="as list shows it, store://HOST:PORT")
    moving.add_argument("new", metavar="NEW", help="where it goes from now on, store://HOST:PORT")
    for command in commands.choices.values():
        command.add_argument(
            "--state", required=True, metavar="FOLDER", help="the journal's folder, [journal] in the settings"
        )
    return parser


def _run(options: argparse.Namespace, outbox: Outbox) -> int:
    if options.command == "list":
        state = None if options.only is None else ItemState(options.only)
        for line in table_of(outbox.items(state), time.time()):
            sys.stdout.write(f"{line}\n")
        return DONE
    if options.command == "move":
        old, new = (_destination(text) for text in (options.old, options.new))
        if old == new:
            raise UsageError(f"{old} is one destination: name another to move to")
        count = outbox.move(old, new)
        if not count:
            raise UsageError(f"nothing waits for {old}: see lvedge-outbox list")
        sys.stdout.write(f"{count} moved\n")
        return DONE
    if bool(options.numbers) is options.all:
        raise UsageError(f"write the numbers of objects to {options.command}, or --all")
    if options.command == "drop":
        unsent = [item.number for item in outbox.items() if item.state is not ItemState.SENT]
        count = outbox.drop(unsent if options.all else options.numbers)
    else:
        change = outbox.release if options.command == "release" else outbox.retry
        count = change(None if options.all else options.numbers)
    done = {"release": "released", "retry": "tried again", "drop": "dropped"}[options.command]
    sys.stdout.write(f"{count} {done}\n")
    if options.numbers and count < len(set(options.numbers)):
        raise UsageError(f"{len(set(options.numbers)) - count} of these could not be: see lvedge-outbox list")
    return DONE


def _destination(text: str) -> str:
    """What the outbox calls a destination: host and port, without AE titles."""
    return str(replace(parse_uri(text, ("store://",), "destination"), path="", query={}))


def table_of(items: Sequence[Item], now: float) -> list[str]:
    """A line an object, under a heading; nothing in it says whom it is about."""
    rows = [("number", "state", "age", "bytes", "tried", "kind", "destination", "last answer")]
    rows += [
        (
            str(item.number),
            item.state.value,
            _age(now - item.made),
            str(item.size),
            str(item.attempts),
            _kind(item.sop_class),
            item.destination,
            item.reason or "-",
        )
        for item in items
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(cell.ljust(widths[k]) for k, cell in enumerate(row)).rstrip() for row in rows]


def _kind(sop_class: str) -> str:
    from pydicom.uid import UID

    return UID(sop_class).name.removesuffix(" Storage")


def _age(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


if __name__ == "__main__":
    sys.exit(main())
