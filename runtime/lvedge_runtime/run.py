"""What a run is told: the command line of ``lvedge-run``, and ``[run]`` in the file of settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvedge import __version__
from lvedge.errors import UsageError
from lvedge_runtime.config import Config, Faults, check_known, config_from_file, flag_in, placed
from lvedge_runtime.service.setting import ServiceSettings, service_from_config

if TYPE_CHECKING:
    from lvedge_runtime.receiver.setting import Settings

DEMO = "demo:"
NOT_IN_FILE = ("help", "version", "config")
SINKS = "sinks"
"""The one name that differs: ``--sink`` is given several times, ``sinks`` is a list."""

RECEIVES = "dicom://"
SENDS = "store://"


@dataclass(frozen=True)
class Told:
    """What a run was told, the file of settings read once.

    Args:
        options: the command line over ``[run]``.
        service: ``[service]``.
        config: the file, or None where there is none or it says nothing of a source.
        receiver: what that says of receiving and of the journal, or None likewise.
    """

    options: argparse.Namespace
    service: ServiceSettings
    config: Config | None = None
    receiver: Settings | None = None


def read_settings(args: Sequence[str] | None) -> Told:
    """What the arguments and the file that they name say, checked as a whole before anything is opened.

    Nobody reads the file after this: one that is changed meanwhile does not give a run of both.

    Args:
        args: as for ``main``, and right as far as arguments go.

    Raises:
        UsageError: if anything of the file cannot be meant; all faults at once.
    """
    parser = build_parser()
    options = parser.parse_args(args)
    if options.config is None:
        if len(options.stream) > 1:
            check_uris_of(options)
        check_destinations(options, None)
        return Told(options, ServiceSettings())
    from lvedge_runtime.receiver.setting import settings_from_config

    faults, service, receiver = Faults(), ServiceSettings(), None
    config = config_from_file(Path(options.config), faults)
    with faults.noted():
        options = options_from_config(config, parser, args)
        if not options.stream:
            raise UsageError(f"{config.path}: run.stream: say what to measure, here or with --stream")
        check_uris_of(options)
    with faults.noted():
        service = service_from_config(config)
    with faults.noted():
        receiver = settings_from_config(config)
    if receiver is not None:
        with faults.noted(), placed(config.path):
            check_destinations(options, receiver)
    faults.tell()
    beyond = config.tables.keys() - {"run", "service"}
    if len(options.stream) > 1 and beyond:
        raise UsageError(
            f"{config.path}: {', '.join(f'[{name}]' for name in sorted(beyond))} can be meant for one stream,"
            f" and {len(options.stream)} are named: leave it out, or measure each in a run of its own"
        )
    if not (options.stream[0].startswith(RECEIVES) or beyond):
        return Told(options, service)
    return Told(options, service, config, receiver)


def check_uris_of(options: argparse.Namespace) -> None:
    """Check the sources and the sinks that are named, without opening anything.

    Raises:
        UsageError: if one cannot be meant, or not together with the others.
    """
    from lvedge_runtime.sinks import split_uri
    from lvedge_runtime.sources import SOURCES
    from lvedge_runtime.uri import parse_uri

    keys = [parse_uri(uri, SOURCES).key for uri in options.stream]
    sinks = sink_uris(options)
    if len(keys) > 1 and RECEIVES in keys:
        raise UsageError(
            f"{options.stream[keys.index(RECEIVES)]!r} receives from any number of scanners, but goes with"
            " no other --stream: measure the others in a run of their own"
        )
    for uri in sinks:
        if len(keys) > 1 and split_uri(uri)[0] == SENDS:
            raise UsageError(
                f"{uri!r} sends what one stream gives, and {len(keys)} are named: write dicomsr:DIR and "
                "dicomseg:DIR, or measure each in a run of its own"
            )


def check_destinations(options: argparse.Namespace, receiver: Settings | None) -> None:
    """Check that the settings have what the sinks that send need, without opening anything.

    Raises:
        UsageError: if one of them lacks anything.
    """
    for uri in destination_uris(options.sink):
        from lvedge_runtime.sender.destination import usable_destination

        usable_destination(uri, receiver)


def destination_uris(sinks: Sequence[str]) -> list[str]:
    """Those of the sinks that send."""
    return [uri for uri in sinks if uri.lower().startswith(SENDS)]


def sink_uris(options: argparse.Namespace) -> list[str]:
    """The sinks that were asked for, checked; without any, what suits standard output."""
    from lvedge_runtime.sinks import check_uris

    uris = list(options.sink) or ["term:" if sys.stdout.isatty() else "jsonl:-"]
    check_uris(uris)
    return uris


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="lvedge-run",
        description="Measures the heart's left ventricle on short-axis cine MRI, frame by frame.",
        epilog="exit codes: 0 all measured; 2 nothing could be measured, or wrong usage; 3 measured, and at "
        "least one item was refused; of several streams the worst: 2, then 3. Research use, not a medical "
        "device.",
    )
    parser.add_argument(
        "--stream",
        action="append",
        nargs="?",
        default=[],
        const=DEMO,
        metavar="SOURCE",
        help="what to measure: a path, or demo: (without a value), dicom:PATH, nifti:PATH, npz:PATH, "
        "png:DIR, video:PATH, camera:N, dicom://[HOST]:PORT (receives); given several times, all of them at "
        "once on one engine, every result with its stream's number, from 0",
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
    parser.add_argument("--limit", type=_count, metavar="N", help="stop after N frames, of each stream")
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
        "--config",
        metavar="PATH",
        help="a TOML file of settings: these options as [run], [service], a receiver's, a journal's and an "
        "outbox's",
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


def options_from_config(
    config: Config, parser: argparse.ArgumentParser, args: Sequence[str] | None
) -> argparse.Namespace:
    """The options that the command line states over those that ``[run]`` does.

    A name is the option's, with underscores; streams and sinks on the command line replace those of the
    file.

    Args:
        config: the file.
        parser: the command's arguments; what it checks is checked here.
        args: the command line, as for ``main``.

    Raises:
        UsageError: if ``[run]`` says what cannot be meant; all faults at once.
    """
    actions = {_name(action): action for action in parser._actions if action.dest not in NOT_IN_FILE}
    with placed(config.path):
        said = _checked(config.table("run"), actions)
    # argparse would add those of the command line to a default.
    streams, sinks = said.pop("stream", []), said.pop("sink", [])
    parser.set_defaults(**said)
    options = parser.parse_args(args)
    options.stream, options.sink = options.stream or streams, options.sink or sinks
    return options


def _checked(table: Mapping[str, Any], actions: Mapping[str, argparse.Action]) -> dict[str, Any]:
    faults, values = Faults(), dict[str, Any]()
    with faults.noted():
        check_known(table, tuple(actions), "run.")
    for name in (name for name in table if name in actions):
        with faults.noted():
            values[actions[name].dest] = _value(table[name], actions[name], f"run.{name}")
    if values.get("quiet") and values.get("verbose"):
        with faults.noted():
            raise UsageError("run.verbose: not together with run.quiet")
    faults.tell()
    return values


def _value(value: Any, action: argparse.Action, where: str) -> Any:
    """What the option would be, written on the command line."""
    if action.nargs == 0:
        return flag_in(value, where)
    if _name(action) == SINKS:
        if not isinstance(value, list) or not all(isinstance(uri, str) for uri in value):
            raise UsageError(f"{where}: expected a list of URIs, as ['jsonl:values.jsonl']")
        return value
    if action.dest == "stream":
        uris = value if isinstance(value, list) else [value]
        if not uris or not all(isinstance(uri, str) for uri in uris):
            raise UsageError(f"{where}: expected a URI, or a list of them, as ['dicom:a', 'dicom:b']")
        return uris
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise UsageError(f"{where}: expected a text or a number")
    text = str(value)
    if action.choices is not None and text not in action.choices:
        raise UsageError(f"{where}: {text!r} is none of {', '.join(action.choices)}")
    if not callable(action.type):
        return text
    try:
        return action.type(text)
    except argparse.ArgumentTypeError as err:
        raise UsageError(f"{where}: {err}") from err


def _name(action: argparse.Action) -> str:
    return SINKS if action.dest == "sink" else action.dest


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
