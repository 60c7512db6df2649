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
from lvedge.training.argument import whole_number
from lvedge_export.engine_cli import add_engine

if TYPE_CHECKING:
    from lvedge.contract import ContractShapes
    from lvedge_export.clip import Clip
    from lvedge_export.delivery import Delivery, Trial

OK, FAILED = 0, 2
EXTRA_PACKAGES = ("torch", "onnx", "onnxscript", "onnxslim", "matplotlib", "scipy")
DRIFT_STEPS = 1000
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
    options.words = list(args) if args is not None else sys.argv[1:]
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
    bundle.add_argument(
        "--half",
        type=Path,
        metavar="DIR",
        help="carry the FP16 graphs too that lvedge-export onnx wrote there (default: FP32 alone)",
    )
    bundle.add_argument("--report", type=Path, metavar="JSON", help="where the comparison is written")
    bundle.set_defaults(run_command=_bundle)

    onnx = commands.add_parser(
        "onnx", help="the graphs for devices, in FP32 and typed FP16, with parity, reach and drift"
    )
    _add_trial(onnx, "fp32 and fp16", data_needed=False)
    onnx.add_argument(
        "--fp32-parts",
        nargs="*",
        metavar="PART",
        help="parts that fp16 keeps in FP32, such as step.polar (default: chosen by what they cost)",
    )
    onnx.set_defaults(run_command=_onnx)

    int8 = commands.add_parser(
        "int8", help="the graphs for devices in INT8, those that measure as well as FP32"
    )
    _add_trial(int8, "int8", data_needed=True)
    int8.add_argument(
        "--onnx",
        type=Path,
        required=True,
        metavar="DIR",
        help="where lvedge-export onnx wrote the FP32 graphs",
    )
    int8.add_argument(
        "--subjects",
        type=whole_number(1),
        default=12,
        metavar="N",
        help="training subjects of each source to calibrate on (default: 12)",
    )
    int8.add_argument(
        "--pairs",
        type=whole_number(10),
        default=200,
        metavar="N",
        help="steps timed, each beside one in FP32 (default: 200)",
    )
    int8.set_defaults(run_command=_int8)
    add_engine(commands)
    return parser


def _add_trial(command: argparse.ArgumentParser, what: str, data_needed: bool) -> None:
    """Arguments of the commands that try graphs and write a folder of them."""
    command.add_argument(
        "--run", type=Path, default=Path("runs/default"), metavar="DIR", help="the training run"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help=f"folder for the {what} graphs"
    )
    command.add_argument(
        "--data",
        type=Path,
        required=data_needed,
        metavar="DIR",
        help="try on real subjects of this folder too, beside the phantom",
    )
    command.add_argument(
        "--steps",
        type=whole_number(10),
        default=DRIFT_STEPS,
        metavar="N",
        help=f"steps of carried state that the drift is watched for (default: {DRIFT_STEPS})",
    )
    command.add_argument("--report", type=Path, metavar="JSON", help="where all figures are written")
    command.add_argument("--plot", type=Path, metavar="PNG", help="where the drift is drawn")


def _bundle(options: argparse.Namespace) -> int:
    """Export, compare, write."""
    _require_packages()
    from lvedge.bundle import DEFAULT_PATH
    from lvedge_export.pack import About, bundle_from_run, graphs_from_folder, read_run

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
    half = None if options.half is None else graphs_from_folder(run, options.half, "fp16")
    bundle, parity = bundle_from_run(run, about, clips, options.out, options.report, half)
    where, worst = parity.worst
    sys.stdout.write(
        f"{options.out}: {bundle.name} {bundle.version}, {options.out.stat().st_size / 1e6:.1f} MB; equal to"
        f" the network on {parity.frames} frames, worst {where} by {worst.relative:.1e} of its range\n"
    )
    return OK


def _onnx(options: argparse.Namespace) -> int:
    """Export, compare, write."""
    _require_packages()
    from lvedge_export.delivery import deliver_onnx
    from lvedge_export.pack import read_run

    run = read_run(options.run)
    return _deliver(options, deliver_onnx(run, _trial(options, run.shapes), options.fp32_parts))


def _int8(options: argparse.Namespace) -> int:
    """Quantise, compare, write what is kept."""
    _require_packages()
    from lvedge_export.clip import calibration_clips
    from lvedge_export.delivery import deliver_int8, exported_from_folder
    from lvedge_export.pack import read_run

    run = read_run(options.run)
    exported = exported_from_folder(run, options.onnx)
    calibration = calibration_clips(run.shapes, options.data, options.subjects)
    trial = _trial(options, run.shapes)
    return _deliver(options, deliver_int8(run, exported, trial, calibration, options.pairs))


def _trial(options: argparse.Namespace, shapes: ContractShapes) -> Trial:
    from lvedge.training.evaluation.fold import quality_of_run
    from lvedge_export.delivery import Trial

    clips = _clips(shapes, options.data)
    return Trial(clips, options.steps, options.data, quality_of_run(options.run))


def _deliver(options: argparse.Namespace, delivery: Delivery) -> int:
    """Report, plot, and the graphs if they are proven."""
    from lvedge_export.delivery import write_delivery
    from lvedge_export.drift import plot_drift
    from lvedge_export.pack import write_report

    if options.report:
        command = "lvedge-export " + " ".join(options.words)
        write_report(options.report, {"command": command, **delivery.report})
    if options.plot:
        plot_drift(delivery.drifts, options.plot)
    write_delivery(delivery, options.out)
    sys.stdout.write(f"{options.out}: {', '.join(delivery.files) or 'nothing'}; {delivery.said}\n")
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
