"""Graphs for devices, written once they are proven: FP32 and FP16 from a run, INT8 from its FP32."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lvedge import __version__
from lvedge.contract import Stepper
from lvedge.errors import UsageError
from lvedge.graph import NEWEST_IR, NEWEST_OPSET, PRECISIONS, graph_file
from lvedge.quality import DEFAULT_QUALITY, QualityModel
from lvedge.training.stepper import TorchStepper
from lvedge_export.clip import Clip, sample_of_clips
from lvedge_export.convert import onnx_from_graph
from lvedge_export.drift import STEPS, Drift, drift_of
from lvedge_export.engine import Exported
from lvedge_export.error import MOST_GROWTH, change_as_measured, error_table, growth, measured_on_acdc
from lvedge_export.finish import ExportError
from lvedge_export.graph import graphs_of
from lvedge_export.half import LARGEST, emulated_from_half, emulated_in_bfloat16
from lvedge_export.int8 import PARTS, emulated_from_int8, int8_from_onnx
from lvedge_export.pace import pace
from lvedge_export.pack import Run, graphs_from_folder
from lvedge_export.parity import compare
from lvedge_export.precision import (
    AREA_MM2,
    POINT_MM,
    THICKNESS_MM,
    asked_precision,
    change,
    choose_precision,
    halves,
    overflows,
    phrase,
    rounded,
    share_of_limits,
)
from lvedge_export.reach import MARGIN

SAMPLE_CLIPS, SAMPLE_FRAMES = 12, 3
"""What each part is tried on by itself; the whole is tried on every frame."""

SHORTEST_BEAT = 10
"""Frames that a clip needs to be walked over and over: ED and ES alone are no beat."""

PACKAGES = ("torch", "onnx", "onnxscript", "onnxslim", "onnxruntime")
HALF_EMULATION = "emulated on a CPU: every FP16 result rounded at once, sums inside an operator in FP32"
BFLOAT16_EMULATION = (
    "emulated on a CPU: every weight and result rounded at once, sums inside an operator in FP32"
)
INT8_EMULATION = "emulated on a CPU: values rounded and clipped as the graph says, sums in FP32"


@dataclass(frozen=True)
class Trial:
    """What graphs are tried on.

    Args:
        clips: frames by slice, the phantom's and, where data are at hand, real ones.
        steps: how many steps the drift is watched for.
        data: the folder that holds ``acdc/``, for the error against experts; None to leave it out.
        quality: judges the values there.
    """

    clips: Sequence[Clip]
    steps: int = STEPS
    data: Path | None = None
    quality: QualityModel = DEFAULT_QUALITY

    @property
    def beat(self) -> Clip:
        """The longest clip, a real one where there is a beat of one."""
        real = [clip for clip in self.clips if not clip.is_drawn and len(clip.views) >= SHORTEST_BEAT]
        return max(real or self.clips, key=lambda clip: len(clip.views))


@dataclass(frozen=True)
class Delivery:
    """Graphs, and what is said of them.

    Args:
        files: file name to ONNX bytes.
        report: plain values.
        drifts: precision to drift.
        failures: what keeps the files from being written, one phrase each.
        said: the gist in a line.
    """

    files: Mapping[str, bytes]
    report: Mapping[str, Any]
    drifts: Mapping[str, Drift]
    failures: Sequence[str]
    said: str


def exported_from_run(run: Run) -> Exported:
    """The three graphs of a run in FP32.

    Raises:
        ExportError: if one cannot be exported, or could not go to a device.
    """
    graphs = {
        name: onnx_from_graph(module, name, run.shapes, run.sources)
        for name, module in graphs_of(run.network, run.locator).items()
    }
    return Exported(run.shapes, run.sources, graphs)


def exported_from_folder(run: Run, folder: Path) -> Exported:
    """The FP32 graphs that ``lvedge-export onnx`` wrote, if they come from this very run.

    Raises:
        DataError: as for ``graphs_from_folder``.
    """
    return Exported(run.shapes, run.sources, graphs_from_folder(run, folder, "fp32"))


def deliver_onnx(run: Run, trial: Trial, asked: Sequence[str] | None = None) -> Delivery:
    """The graphs of a run in FP32 and in FP16, compared with the network.

    Args:
        run: what was trained.
        trial: what they are tried on.
        asked: the parts that FP16 keeps in FP32, as "step.polar"; None to choose them by what they cost.

    Raises:
        ExportError: if a graph cannot be exported, or could not go to a device.
        UsageError: if there is no part of that name.
    """
    exported, clips = exported_from_run(run), trial.clips
    if asked is None:
        choice = choose_precision(exported, clips, sample_of_clips(clips, SAMPLE_CLIPS, SAMPLE_FRAMES))
    else:
        choice = asked_precision(exported, clips, asked)
    half = halves(exported, choice.kept)
    emulated = {name: emulated_from_half(graph) for name, graph in half.items()}
    brain = {name: emulated_in_bfloat16(graph) for name, graph in exported.graphs.items()}
    torch_stepper = TorchStepper(run.network, run.locator)
    with exported.engine() as full, exported.engine(**emulated) as lower, exported.engine(**brain) as lowest:
        parity = compare(torch_stepper, full, clips)
        strayed = compare(torch_stepper, lower, clips)
        moved = compare(torch_stepper, lowest, clips)
        steppers = {"fp32": full, "fp16": lower, "bf16": lowest}
        drifts = drift_of(torch_stepper, steppers, trial.beat, trial.steps)
        measured = _as_measured(trial, steppers)
    changed = change(strayed, run.shapes)
    written = {precision: drifts[precision] for precision in PRECISIONS}
    failures = [*parity.failures, *overflows(choice), *_unbounded(written)]
    if not share_of_limits(changed) <= 1:
        failures.append(f"FP16 changes more than it may: {phrase(changed)}")
    if not share_of_limits(drifts["fp16"].largest) <= 1:
        failures.append(f"FP16 drifts further than it may within {trial.steps} steps")
    files = {graph_file(name): graph for name, graph in exported.graphs.items()}
    files |= {graph_file(name, "fp16"): graph for name, graph in half.items()}
    where, worst = parity.worst
    report = {
        **_about(trial, files),
        "passed": not failures,
        "failures": failures,
        "fp32": parity.as_json(),
        "fp16": {
            "emulation": HALF_EMULATION,
            "limits": {"thickness_mm": THICKNESS_MM, "area_mm2": AREA_MM2, "point_mm": POINT_MM},
            "change": rounded(changed),
            "largest": LARGEST,
            "margin": MARGIN,
            **choice.as_json(),
            "outputs": strayed.as_json()["graphs"],
        },
        "bf16": {
            "what": "the FP32 graphs as openvino-bf16 runs them",
            "emulation": BFLOAT16_EMULATION,
            "change": rounded(change(moved, run.shapes)),
            "outputs": moved.as_json()["graphs"],
        },
        "drift": _drift_json(trial, drifts),
        **measured,
    }
    said = (
        f"fp32 equal to the network on {parity.frames} frames, worst {where} by {worst.relative:.1e} of its"
        f" range; fp16 (emulated) changes {phrase(changed)};"
        f" in FP32 stay {', '.join(choice.why) or 'no parts'}"
    )
    return Delivery(files, report, drifts, failures, said)


def deliver_int8(
    run: Run, exported: Exported, trial: Trial, calibration: Sequence[Clip], pairs: int
) -> Delivery:
    """INT8 graphs, those of them that measure as well as FP32; the report tells of all.

    Args:
        run: what was trained.
        exported: its FP32 graphs.
        trial: what they are tried on; its data are needed.
        calibration: frames that the ranges are taken from.
        pairs: how many calls are timed.

    Raises:
        ExportError: if a graph could not go to a device.
    """
    graphs = {name: int8_from_onnx(exported, name, calibration) for name in PARTS}
    emulated = {name: emulated_from_int8(graph) for name, graph in graphs.items()}
    torch_stepper = TorchStepper(run.network, run.locator)
    with ExitStack() as stack:
        full = stack.enter_context(exported.engine())
        alone = {
            f"int8 {name}": stack.enter_context(exported.engine(**{name: g})) for name, g in emulated.items()
        }
        whole = stack.enter_context(exported.engine(**emulated))
        fused = stack.enter_context(exported.engine(**graphs))
        strayed = compare(torch_stepper, whole, trial.clips)
        on_cpu = compare(torch_stepper, fused, sample_of_clips(trial.clips, SAMPLE_CLIPS, SAMPLE_FRAMES))
        drifts = drift_of(torch_stepper, {"fp32": full, "int8": whole}, trial.beat, trial.steps)
        timed = pace(full, fused, trial.beat, pairs)
        measured = _as_measured(trial, {"fp32": full, **alone, "int8": whole})
    table = measured["as_measured"]["error"]
    grown = {name: growth(table, "fp32", f"int8 {name}") for name in graphs}
    kept = [name for name in graphs if max(grown[name].values()) < MOST_GROWTH]
    if len(kept) == len(graphs) and not max(growth(table, "fp32", "int8").values()) < MOST_GROWTH:
        kept = kept[:1]
    files = {graph_file(name, "int8"): graphs[name] for name in kept}
    report = {
        **_about(trial, files),
        "calibration": {"clips": len(calibration), "frames": sum(len(clip.views) for clip in calibration)},
        "quantised": PARTS,
        "emulation": INT8_EMULATION,
        "change": rounded(change(strayed, run.shapes)),
        "outputs": strayed.as_json()["graphs"],
        "growth": {**grown, "both": growth(table, "fp32", "int8")},
        "most_growth": MOST_GROWTH,
        "kept": kept,
        "onnxruntime_on_this_cpu": {
            "what": "step, INT8 against FP32 in turn, ONNX Runtime's own INT8 kernels",
            "pace": timed,
            "change": rounded(change(on_cpu, run.shapes)),
        },
        "drift": _drift_json(trial, drifts),
        **measured,
    }
    said = (
        f"int8 (emulated) of {' and '.join(kept) or 'nothing'} kept;"
        f" {', '.join(f'{name} {max(by.values()):+.1%}' for name, by in grown.items())} in the worst error;"
        f" on this CPU {timed['speed_up_median']:.2f} times as fast as fp32"
    )
    return Delivery(files, report, drifts, [], said)


def write_delivery(delivery: Delivery, folder: Path) -> None:
    """Write the graphs.

    Raises:
        ExportError: if one of them is not proven; nothing is written then.
        UsageError: if the folder cannot be written.
    """
    if delivery.failures:
        raise ExportError(f"nothing was written to {folder}: {'; '.join(delivery.failures)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, graph in delivery.files.items():
            (folder / name).write_bytes(graph)
    except OSError as err:
        raise UsageError(f"{folder} cannot be written: {err.strerror or err}") from err


def _as_measured(trial: Trial, steppers: Mapping[str, Stepper]) -> dict[str, Any]:
    """The error against experts of each, and how far each strays from the first; nothing without data."""
    if trial.data is None:
        return {}
    measured = measured_on_acdc(steppers, trial.quality, trial.data)
    first, *others = measured
    return {
        "as_measured": {
            "protocol": "acdc, watched subjects, every slice at ED and ES located and measured as a one-frame"
            " clip; errors on mid slices, mean over subjects",
            "error": error_table(measured),
            "largest_change": {name: change_as_measured(measured[first], measured[name]) for name in others},
        }
    }


def _about(trial: Trial, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What was made, with what, and tried on what."""
    drawn = [clip for clip in trial.clips if clip.is_drawn]
    frames = sum(len(clip.views) for clip in trial.clips)
    return {
        "versions": {"lvedge": __version__, **{package: version(package) for package in PACKAGES}},
        "opset": NEWEST_OPSET,
        "ir": NEWEST_IR,
        "files": {
            name: {"bytes": len(graph), "sha256": hashlib.sha256(graph).hexdigest()}
            for name, graph in files.items()
        },
        "frames": {"phantom": sum(len(clip.views) for clip in drawn), "all": frames},
    }


def _drift_json(trial: Trial, drifts: Mapping[str, Drift]) -> dict[str, Any]:
    shown = {name: {**drift.as_json(), "bounded": drift.is_bounded} for name, drift in drifts.items()}
    return {"clip": trial.beat.name, "steps": trial.steps, **shown}


def _unbounded(drifts: Mapping[str, Drift]) -> list[str]:
    return [
        f"the drift of {name} grows with every step" for name, drift in drifts.items() if not drift.is_bounded
    ]
