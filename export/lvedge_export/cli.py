"""The command ``lvedge-export``: from a training run to what a device runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import date, datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvedge.errors import LvedgeError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from lvedge.contract import ContractShapes
    from lvedge_export.clip import Clip

OK, FAILED = 0, 2
EXTRA_PACKAGES = ("torch", "onnx", "onnxscript", "onnxslim")
DEFAULT_LICENCE = "LICENSE"
NO_CARD = "# {name} {version}\n\nNo model card was written for this bundle.\n"


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: the arguments without the command's name; those of the process by default.

    Returns:
        0 when the export was written and is equal to the network; 2 otherwise.
    """
    try:
        options = build_parser().parse_args(args)
    except SystemExit as leave:
        return int(leave.code or 0)
    try:
        code: int = options.run_command(options)
    except LvedgeError as err:
        sys.stderr.write(f"lvedge-export: {err}\n")
        return FAILED
    return code


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="lvedge-export", description="Turns a training run into what a device runs, and proves it equal."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    bundle = commands.add_parser("bundle", help="export a run's networks and pack them as a bundle")
    bundle.add_argument(
        "--run", type=Path, default=Path("runs/default"), metavar="DIR", help="the training run"
    )
    bundle.add_argument("--out", type=Path, required=True, metavar="FILE", help="the bundle to write")
    bundle.add_argument("--name", default="default", metavar="NAME", help="name of the bundle")
    bundle.add_argument("--version", default="1", metavar="TEXT", help="version of the bundle")
    bundle.add_argument("--created", metavar="DATE", help="date of the bundle (default: today)")
    bundle.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="compare on real subjects of this folder too, beside the phantom",
    )
    bundle.add_argument("--card", type=Path, metavar="FILE", help="the model card, Markdown")
    bundle.add_argument(
        "--licence",
        type=Path,
        metavar="FILE",
        help="the weights' licence (default: that of lvedge's weights)",
    )
    bundle.add_argument("--accuracy", type=Path, metavar="JSON", help="measured accuracy with its protocol")
    bundle.add_argument("--quality", type=Path, metavar="JSON", help="coefficients of the quality model")
    bundle.add_argument("--report", type=Path, metavar="JSON", help="where the comparison is written")
    bundle.set_defaults(run_command=_bundle)
    return parser


def _bundle(options: argparse.Namespace) -> int:
    """Export, compare, write."""
    _require_packages()
    from lvedge.bundle import DEFAULT_PATH
    from lvedge_export.pack import About, bundle_from_run, read_run

    card = NO_CARD.format(name=options.name, version=options.version)
    about = About(
        name=options.name,
        version=options.version,
        created=_date(options.created),
        licence=_text(options.licence or DEFAULT_PATH.with_name(DEFAULT_LICENCE)),
        model_card=_text(options.card) if options.card else card,
        accuracy=_json_object(options.accuracy) if options.accuracy else {},
        quality=_json_object(options.quality) if options.quality else None,
    )
    run = read_run(options.run)
    clips = _clips(run.shapes, options.data)
    bundle, parity = bundle_from_run(run, about, clips, options.out, options.report)
    where, worst = parity.worst
    sys.stdout.write(
        f"{options.out}: {bundle.name} {bundle.version}, {options.out.stat().st_size / 1e6:.1f} MB; equal to"
        f" the network on {parity.frames} frames, worst {where} by {worst.relative:.1e} of its range\n"
    )
    return OK


def _require_packages() -> None:
    """Name the extra before anything heavy is imported in vain."""
    for package in EXTRA_PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, "export", "lvedge-export")


def _clips(shapes: ContractShapes, data: Path | None) -> list[Clip]:
    from lvedge_export.clip import data_clips, phantom_clips

    return phantom_clips(shapes) + (data_clips(shapes, data) if data else [])


def _date(text: str | None) -> str:
    """A date as YYYY-MM-DD; today's where none is given."""
    if text is None:
        return datetime.now(timezone.utc).date().isoformat()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as err:
        raise UsageError(f"{text!r} is no date: write it as YYYY-MM-DD") from err


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"{path} cannot be read as text: {err}") from err


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except ValueError as err:
        raise UsageError(f"{path} is no JSON: {err}") from err
    if not isinstance(content, dict):
        raise UsageError(f"{path} has to hold one JSON object")
    return content
