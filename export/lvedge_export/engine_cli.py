"""``lvedge-export engine``: TensorRT engines for this device, TensorRT-RTX engines for others."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvedge import __version__
from lvedge.errors import BundleError, UsageError
from lvedge.graph import GRAPHS, check_standing_alone, graph_file
from lvedge.training.argument import whole_number

if TYPE_CHECKING:
    from lvedge_export.progress import BuildBars
    from lvedge_runtime.engines.trt_build import BuildOptions

PRECISIONS = ("fp16", "fp32", "int8")
REPORT = "engines.json"
"""Beside the engines: what they were made of, by what, for what."""

Build = Callable[[bytes, "BuildOptions", "BuildBars"], bytes]


def add_engine(commands: Any) -> None:
    """The command's arguments."""
    engine = commands.add_parser(
        "engine",
        help="TensorRT engines on this device, or TensorRT-RTX engines for others",
        description="Builds TensorRT engines of the three graphs on this device; with --rtx TensorRT-RTX"
        " engines for other GPUs, for which this machine needs none. Needs no PyTorch.",
    )
    origin = engine.add_mutually_exclusive_group(required=True)
    origin.add_argument("--bundle", type=Path, metavar="FILE", help="a bundle")
    origin.add_argument("--onnx", type=Path, metavar="DIR", help="where lvedge-export onnx and int8 wrote")
    engine.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the engines")
    engine.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="which graphs; int8, of --onnx alone, takes those there are, and fp16 for the others"
        " (default: fp16; fp32 of a bundle that has no others)",
    )
    engine.add_argument(
        "--max-batch",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="from 1 to N streams go as one batch; tuned for N (default: 1)",
    )
    engine.add_argument(
        "--workspace",
        type=whole_number(1),
        default=256,
        metavar="MB",
        help="device memory that a layer may use beside its tensors (default: 256)",
    )
    _add_device(engine.add_argument_group("on this device"))
    rtx = engine.add_argument_group("TensorRT-RTX")
    rtx.add_argument("--rtx", action="store_true", help="build by tensorrt-rtx-cu12, ahead of time")
    rtx.add_argument(
        "--target", metavar="SM[,SM]", help="compute capabilities of the GPUs, such as sm86,sm89"
    )
    engine.set_defaults(run_command=_engine)


def _add_device(device: Any) -> None:
    """Arguments that only mean something where the engine is built on its device."""
    device.add_argument(
        "--dla",
        type=whole_number(0),
        metavar="N",
        help="this deep learning accelerator takes what it can, always exactly --max-batch streams",
    )
    device.add_argument(
        "--version-compatible", action="store_true", help="also for newer TensorRT versions; slower"
    )
    device.add_argument(
        "--hardware-compatible", action="store_true", help="also for other GPUs, Ampere and newer; slower"
    )
    device.add_argument(
        "--timing-cache", type=Path, metavar="FILE", help="keeps measured times, for the next build"
    )
    device.add_argument(
        "--layers", type=Path, metavar="JSON", help="where the engine inspector's layers are written"
    )


def _engine(options: argparse.Namespace) -> int:
    """Read all graphs, build all engines, then write."""
    from lvedge_export.progress import BuildBars
    from lvedge_runtime.engines.trt_build import BuildOptions

    _check(options)
    build_options = BuildOptions(
        workspace_mb=options.workspace,
        max_batch=options.max_batch,
        dla_core=options.dla,
        version_compatible=options.version_compatible,
        hardware_compatible=options.hardware_compatible,
    )
    if options.bundle:
        graphs = _bundle_graphs(options.bundle, options.precision)
    else:
        graphs = _folder_graphs(options.onnx, options.precision or "fp16")
    about, build = _rtx(options.target) if options.rtx else _device(options.timing_cache)
    suffix = "rtx.engine" if options.rtx else "engine"
    engines = {}
    with BuildBars() as bars:
        for (name, precision), graph in graphs.items():
            bars.graph = name
            engines[f"{name}.{precision}.{suffix}"] = build(graph, build_options, bars)
    layers = _layers(engines) if options.layers else None
    files = {
        file: {"bytes": len(engine), "sha256": _sha256(engine), "graph_sha256": _sha256(graph)}
        for (file, engine), graph in zip(engines.items(), graphs.values(), strict=True)
    }
    report = {"lvedge": __version__, **about, "options": asdict(build_options), "files": files}
    _write(options.out, {**engines, REPORT: _json(report)})
    if layers is not None:
        _write(options.layers.parent, {options.layers.name: _json({**about, "files": layers})})
    sizes = ", ".join(f"{file} ({len(engine) / 1e6:.1f} MB)" for file, engine in engines.items())
    by = " ".join(str(value) for value in about["builder"].values())
    sys.stdout.write(f"{options.out}: {sizes}; by {by} for 1 to {options.max_batch} streams\n")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse arguments that do not go together.

    Raises:
        UsageError: naming them.
    """
    if options.rtx != (options.target is not None):
        raise UsageError(
            "--rtx and --target belong together: name the GPUs, such as --rtx --target sm86,sm89"
        )
    on_device = {
        "--dla": options.dla is not None,
        "--version-compatible": options.version_compatible,
        "--hardware-compatible": options.hardware_compatible,
        "--timing-cache": options.timing_cache is not None,
        "--layers": options.layers is not None,
    }
    meant = [name for name, is_there in on_device.items() if is_there]
    if options.rtx and meant:
        raise UsageError(f"{', '.join(meant)} cannot be had with --rtx: it builds for other machines")


def _bundle_graphs(path: Path, asked: str | None) -> dict[tuple[str, str], bytes]:
    """Graph and precision to ONNX bytes; the lowest precision that the bundle has where none is asked for.

    Raises:
        UsageError: if it has none in that precision.
    """
    from lvedge.bundle import open_bundle

    bundle = open_bundle(path)
    precision = bundle.precisions[-1] if asked is None else asked
    if precision not in bundle.precisions:
        raise UsageError(
            f"the bundle {path} holds no graphs in {precision.upper()}:"
            " name the folder that lvedge-export onnx wrote by --onnx"
        )
    return {(name, precision): bundle.graph(name, precision) for name in GRAPHS}


def _folder_graphs(folder: Path, precision: str) -> dict[tuple[str, str], bytes]:
    """Graph and precision to ONNX bytes.

    Raises:
        UsageError: if one is missing, cannot be read, or is not what lvedge-export writes.
    """
    found = {}
    for name, (inputs, outputs) in GRAPHS.items():
        kind = precision
        if kind == "int8" and not (folder / graph_file(name, "int8")).exists():
            kind = "fp16"
        file = graph_file(name, kind)
        try:
            data = (folder / file).read_bytes()
            scan = check_standing_alone(name, data)
        except OSError as err:
            raise UsageError(
                f"{folder / file} cannot be read ({err.strerror or err}): write it by lvedge-export"
            ) from err
        except BundleError as err:
            raise UsageError(f"{folder / file} {err}") from err
        names = [[tensor.name for tensor in tensors] for tensors in (scan.inputs, scan.outputs)]
        if names != [list(inputs), list(outputs)]:
            raise UsageError(f"{folder / file} is no {name} graph: write it by lvedge-export")
        found[name, kind] = data
    return found


def _device(timing_cache: Path | None) -> tuple[dict[str, Any], Build]:
    """What builds on this device, and what is said of it."""
    from lvedge_runtime.engines.trt_build import build_engine
    from lvedge_runtime.engines.trt_module import tensorrt_module

    if timing_cache is not None:
        _write(timing_cache.parent, {})  # a folder that cannot be written is told before a build of minutes
    about = {"builder": {"name": "TensorRT", "version": tensorrt_module().__version__}}
    return about, lambda graph, options, bars: build_engine(graph, options, timing_cache, bars)


def _rtx(target: str) -> tuple[dict[str, Any], Build]:
    """What builds for other devices, and what is said of it."""
    from lvedge_export.rtx import load_rtx, rtx_engine, targets_from_text

    module = load_rtx()
    targets = targets_from_text(module, target)
    about = {"builder": {"name": "TensorRT-RTX", "version": module.__version__}, "targets": targets}
    return about, lambda graph, options, bars: rtx_engine(module, graph, targets, options, bars)


def _layers(engines: Mapping[str, bytes]) -> dict[str, Any]:
    from lvedge_runtime.engines.trt_build import layers_of

    return {file: layers_of(engine) for file, engine in engines.items()}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Each file whole or not at all; the folder is made.

    Raises:
        UsageError: if the folder cannot be written.
    """
    from lvedge.disk import write_whole

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_whole(folder / name, data)
    except OSError as err:
        raise UsageError(f"{folder} cannot be written: {err.strerror or err}") from err


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
