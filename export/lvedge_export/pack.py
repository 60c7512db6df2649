"""From a training run to a bundle: export, prove, write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lvedge.bundle import Bundle, write_bundle
from lvedge.contract import ContractShapes
from lvedge.errors import DataError, UsageError
from lvedge.graph import GRAPHS, NEWEST_OPSET, graph_file
from lvedge.network.config import contract_shapes
from lvedge.network.locator import Locator
from lvedge.network.model import LeftVentricleNetwork
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.checkpoint import locator_from_checkpoint, network_from_checkpoint, read_checkpoint
from lvedge.training.stepper import TorchStepper
from lvedge.view import CLIP, PERCENTILES, SEPTUM_IN_VIEW_DEG
from lvedge_export.clip import Clip
from lvedge_export.convert import onnx_from_graph
from lvedge_export.engine import Exported
from lvedge_export.finish import ExportError, checkpoint_line, metadata
from lvedge_export.graph import example_inputs, graphs_of
from lvedge_export.half import emulated_from_half
from lvedge_export.lean import lean_graph
from lvedge_export.parity import Parity, compare
from lvedge_export.precision import change, phrase, rounded, share_of_limits

NETWORK_STAGES = ("recurrence", "perception")
"""Checkpoints of a run that hold the network, the last stage first."""

MODALITY = "MR"

TRAINING = {
    "acdc": {
        "what": "100 subjects, short-axis cine MRI at ED and ES with expert masks",
        "citation": "O. Bernard et al., IEEE Transactions on Medical Imaging 37(11):2514-2525, 2018,"
        " doi 10.1109/TMI.2018.2837502",
        "licence": "CC BY-NC-SA 4.0",
    },
    "york": {
        "what": "33 subjects, short-axis cine MRI of 20 frames with expert contours",
        "citation": "A. Andreopoulos and J. K. Tsotsos, Medical Image Analysis 12(3):335-357, 2008",
        "licence": "use free of charge for research, the paper to be cited",
    },
}
LICENCE = {
    "spdx": "CC-BY-NC-SA-4.0",
    "notice": "weights: CC BY-NC-SA 4.0, non-commercial (trained on acdc and york)",
}


@dataclass(frozen=True)
class Run:
    """What a training run left behind.

    Args:
        network: in evaluation mode.
        locator: in evaluation mode.
        sources: file name to SHA-256 of the checkpoints that both come from.
    """

    network: LeftVentricleNetwork
    locator: Locator
    sources: Mapping[str, str]

    @property
    def shapes(self) -> ContractShapes:
        """Sizes of all tensors."""
        return contract_shapes(self.network.config, self.network.features, self.locator.config)


@dataclass(frozen=True)
class About:
    """What the maker of a bundle says of it.

    Args:
        name: name of the bundle.
        version: its version.
        created: date.
        licence: the weights' licence in full.
        model_card: Markdown.
        accuracy: measured accuracy with its protocol.
        quality: coefficients of the quality model; None for the unfitted one.
    """

    name: str
    version: str
    created: str
    licence: str
    model_card: str
    accuracy: Mapping[str, Any]
    quality: Mapping[str, Any] | None = None


def read_run(folder: Path) -> Run:
    """The network of a run's last stage, and its locator.

    Raises:
        DataError: if a checkpoint is missing or damaged.
    """
    stages = [folder / f"{stage}.pt" for stage in NETWORK_STAGES]
    network = next((path for path in stages if path.is_file()), stages[-1])
    locator = folder / "locator.pt"
    try:
        return Run(
            network_from_checkpoint(read_checkpoint(network)),
            locator_from_checkpoint(read_checkpoint(locator)),
            {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (network, locator)},
        )
    except (KeyError, TypeError, RuntimeError, ValueError) as err:
        reason = " ".join(str(err).split())[:200]
        raise DataError(f"the checkpoints in {folder} are no run of this version: {reason}") from err


def graphs_from_folder(run: Run, folder: Path, precision: str) -> dict[str, bytes]:
    """The graphs that ``lvedge-export onnx`` wrote, if they come from this very run.

    Raises:
        DataError: if one is missing or comes from other checkpoints.
    """
    graphs = {}
    for name in GRAPHS:
        path = folder / graph_file(name, precision)
        try:
            graphs[name] = path.read_bytes()
            stated = metadata(graphs[name])
        except (OSError, DecodeError) as err:
            raise DataError(f"{path} cannot be read: write it with lvedge-export onnx ({err})") from err
        wanted = {"checkpoint": checkpoint_line(run.sources), "precision": precision, "graph": name}
        if not wanted.items() <= stated.items():
            raise DataError(f"{path} is no graph of this run: write it again with lvedge-export onnx")
    return graphs


def bundle_from_run(
    run: Run,
    about: About,
    clips: Sequence[Clip],
    path: Path,
    report: Path | None = None,
    half: Mapping[str, bytes] | None = None,
) -> tuple[Bundle, Parity]:
    """Export a run, compare the graphs with the network on clips, and write the bundle if they are equal.

    Args:
        run: what was trained.
        about: what the manifest says of it.
        clips: what both are compared on.
        path: where the bundle goes.
        report: where the comparison goes as JSON, whatever it comes to.
        half: the graphs in FP16, which are to be in it too.

    Raises:
        ExportError: if an output is out of tolerance, or FP16 changes more than it may; no bundle is written
            then.
        BundleError: if the bundle cannot be written.
    """
    modules = graphs_of(run.network, run.locator)
    graphs = {
        name: onnx_from_graph(module, name, run.shapes, run.sources) for name, module in modules.items()
    }
    graphs["step"] = lean_graph(graphs["step"], "step", run.shapes, run.sources)
    parity = parity_of_graphs(run, graphs, clips)
    if report is not None:
        write_report(report, parity.as_json())
    if parity.failures:
        raise ExportError(f"the export is not equal to the network: {'; '.join(parity.failures)}")
    made: dict[str, Any] = {
        "flop": {name: flop(module, name, run.shapes) for name, module in modules.items()}
    }
    if half is not None:
        made["fp16"] = _half_statement(Exported(run.shapes, run.sources, graphs), half, clips)
    bundle = write_bundle(
        path,
        shapes=run.shapes,
        graphs=graphs,
        about=_statements(run, about, parity) | made,
        licence=about.licence,
        model_card=about.model_card,
        half=half,
    )
    return bundle, parity


def _half_statement(exported: Exported, half: Mapping[str, bytes], clips: Sequence[Clip]) -> dict[str, Any]:
    """What FP16, emulated on this CPU, changes of FP32's values at most.

    Raises:
        ExportError: if that is more than it may.
    """
    emulated = {name: emulated_from_half(graph) for name, graph in half.items()}
    with exported.engine() as full, exported.engine(**emulated) as lower:
        strayed = compare(full, lower, clips)
    changed = change(strayed, exported.shapes)
    if not share_of_limits(changed) <= 1:
        raise ExportError(f"FP16 changes more than it may: {phrase(changed)}")
    return {"largest_change": "emulated on a CPU", "frames": strayed.frames, **rounded(changed)}


def _statements(run: Run, about: About, parity: Parity) -> dict[str, Any]:
    """The manifest, as far as the bundle does not know it by itself."""
    where, worst = parity.worst
    return {
        "name": about.name,
        "version": about.version,
        "created": about.created,
        "modality": MODALITY,
        "view": {"septum_deg": SEPTUM_IN_VIEW_DEG, "percentiles": PERCENTILES, "clip": CLIP},
        "locator": {"percentiles": PERCENTILES, "clip": CLIP},
        "licence": LICENCE,
        "training": TRAINING,
        "accuracy": about.accuracy,
        "quality": about.quality if about.quality is not None else DEFAULT_QUALITY.as_manifest(),
        "versions": {
            **{package: version(package) for package in ("torch", "onnx", "onnxscript", "onnxslim")},
            "opset": NEWEST_OPSET,
        },
        "checkpoint": run.sources,
        "parity": {
            "tolerance_of_range": parity.tolerance,
            "frames": parity.frames,
            "worst": where,
            "part_of_range": float(f"{worst.relative:.3g}"),
        },
    }


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write plain values as JSON; what is no finite number becomes null, since JSON has no other word for it.

    The folder is made where there is none: the figures took minutes.

    Raises:
        UsageError: if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_finite(report), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as err:
        raise UsageError(f"the report {path} cannot be written: {err.strerror or err}") from err


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def parity_of_graphs(run: Run, graphs: Mapping[str, bytes], clips: Iterable[Clip]) -> Parity:
    """ONNX Runtime on the CPU against torch, before the graphs are in any bundle."""
    with Exported(run.shapes, run.sources, graphs).engine() as engine:
        return compare(TorchStepper(run.network, run.locator), engine, clips)


def flop(module: nn.Module, name: str, shapes: ContractShapes) -> int:
    """Floating-point operations of one call for one stream, convolutions and matrix products counted."""
    counter = FlopCounterMode(display=False)
    with counter:
        module(*example_inputs(name, shapes, batch=1))
    return int(counter.get_total_flops())
