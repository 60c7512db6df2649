"""The export: names, shapes, versions, and numbers equal to torch, frame by frame and over whole clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxslim")

from small_run import NETWORK, STEPS, clips  # noqa: E402

from lvedge.bundle import GRAPHS, Bundle  # noqa: E402
from lvedge.contract import State, StepResult  # noqa: E402
from lvedge.onnxscan import scan_graph  # noqa: E402
from lvedge.training.checkpoint import write_checkpoint  # noqa: E402
from lvedge.training.stepper import TorchStepper  # noqa: E402
from lvedge_export.cli import main  # noqa: E402
from lvedge_export.clip import data_clips, phantom_clips  # noqa: E402
from lvedge_export.convert import ExportError, onnx_from_graph  # noqa: E402
from lvedge_export.graph import example_inputs, folded, graphs_of  # noqa: E402
from lvedge_export.pack import About, bundle_from_run, read_run  # noqa: E402
from lvedge_export.parity import TOLERANCE, compare  # noqa: E402
from lvedge_runtime.engines import open_engine  # noqa: E402

ABOUT = About(
    name="small",
    version="3",
    created="2026-01-02",
    licence="a licence",
    model_card="# Small",
    accuracy={"protocol": "none"},
)
BATCH = 3


def close(found: Any, expected: Any) -> None:
    """Within the tolerance of the range."""
    found, expected = np.asarray(found), np.asarray(expected)
    span = float(expected.max() - expected.min())
    assert np.abs(found - expected).max() <= TOLERANCE * max(span, 1e-6)


def walked(stepper: Any, views: Any, state: State) -> list[StepResult]:
    results = []
    for view in views:
        results.append(stepper.step(view, state))
        state = results[-1].state
    return results


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_names_shapes_and_versions(small: Bundle, name: str) -> None:
    model = onnx.load_from_string(small.graph(name))
    assert tuple(i.name for i in model.graph.input) == GRAPHS[name][0]
    assert tuple(o.name for o in model.graph.output) == GRAPHS[name][1]
    assert model.ir_version <= 10
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    for tensor in (*model.graph.input, *model.graph.output):
        dims = tensor.type.tensor_type.shape.dim
        assert dims[0].dim_param == "B"
        whole = name == "locator" and tensor.name == "frame"
        shape = small.shapes.locator_shape if whole else small.shapes.tensor_shape(tensor.name)
        assert tuple(d.dim_value for d in dims[1:]) == shape
    assert not model.functions
    assert not any(t.external_data for t in model.graph.initializer)


def test_only_plain_operators_are_left(small: Bundle) -> None:
    operators = {name: scan_graph(small.graph(name)).operators for name in GRAPHS}
    foreign = {"BatchNormalization", "LSTM", "Loop", "If", "Scan", "Identity", "Cast", "Transpose", "Dropout"}
    assert not set().union(*operators.values()) & foreign
    assert {"Conv", "GridSample", "Resize", "Softmax", "Gemm"} <= operators["step"]
    assert not {"Conv", "GridSample"} & operators["replay"]


def test_the_scan_agrees_with_onnx(small: Bundle) -> None:
    model = onnx.load_from_string(small.graph("step"))
    scan = scan_graph(small.graph("step"))
    assert scan.ir_version == model.ir_version
    assert scan.operators == {n.op_type for n in model.graph.node}
    assert [t.name for t in scan.outputs] == [o.name for o in model.graph.output]


def test_no_trace_of_the_exporting_machine_is_left(small: Bundle) -> None:
    for name in GRAPHS:
        model = onnx.load_from_string(small.graph(name))
        assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
        assert b".py" not in small.graph(name)


def test_the_same_run_gives_the_same_bytes(run_folder: Path, small: Bundle) -> None:
    run = read_run(run_folder)
    graph = graphs_of(run.network, run.locator)["locator"]
    assert onnx_from_graph(graph, "locator", run.shapes, run.sources) == small.graph("locator")


def test_folding_changes_nothing(run_folder: Path) -> None:
    run = read_run(run_folder)
    for name, graph in graphs_of(run.network, run.locator).items():
        inputs = example_inputs(name, run.shapes)
        kept = folded(graph)
        assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in kept.modules())
        with torch.no_grad():
            for found, expected in zip(kept(*inputs), graph(*inputs), strict=True):
                close(found, expected)
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in run.network.modules())


def test_streaming_equals_offline(run_folder: Path, reference: TorchStepper, small: Bundle) -> None:
    """Torch over the whole clip, torch step by step, ONNX Runtime step by step; three streams at once."""
    rng = np.random.default_rng(2)
    clip = rng.random((BATCH, STEPS, *small.shapes.tensor_shape("frame")), dtype=np.float32)
    run = read_run(run_folder)
    with torch.no_grad():
        seen, steps = run.network(torch.from_numpy(clip))
    views = [np.ascontiguousarray(clip[:, t]) for t in range(STEPS)]
    with open_engine(small) as engine:
        streams = [walked(s, views, State.zeros(small.shapes, BATCH)) for s in (reference, engine)]
    for stream in streams:
        for part in (small.shapes.layout.rwt, small.shapes.layout.dims, small.shapes.layout.areas):
            close([r.indices[:, part] for r in stream], [s.indices[:, part] for s in steps])
        close([r.phase for r in stream], [torch.softmax(s.phase_logits, 1) for s in steps])
        close([r.mask for r in stream], [torch.softmax(s.mask_logits, 1) for s in seen])
        close([r.features for r in stream], [s.features for s in seen])
        for k, array in enumerate(stream[-1].state.as_inputs().values()):
            close(array, steps[-1].state[k])


def test_the_second_pass_of_a_closed_beat_equals_replay(run_folder: Path, small: Bundle) -> None:
    """The clip played twice in torch; stepped once and replayed once in ONNX Runtime."""
    rng = np.random.default_rng(4)
    clip = rng.random((1, STEPS, *small.shapes.tensor_shape("frame")), dtype=np.float32)
    with torch.no_grad():
        _, steps = read_run(run_folder).network(torch.from_numpy(np.concatenate([clip, clip], axis=1)))
    expected = steps[STEPS:]
    with open_engine(small) as engine:
        first = walked(engine, [np.ascontiguousarray(clip[:, t]) for t in range(STEPS)], engine.zero_state())
        state, second = first[-1].state, []
        for result in first:
            second.append(engine.replay(result.features, state))
            state = second[-1].state
    for part in (small.shapes.layout.rwt, small.shapes.layout.dims, small.shapes.layout.areas):
        close([r.indices[:, part] for r in second], [s.indices[:, part] for s in expected])
    close([r.phase for r in second], [torch.softmax(s.phase_logits, 1) for s in expected])
    assert not np.allclose([r.indices for r in second], [r.indices for r in first], atol=1e-3)


def test_parity_is_told_output_by_output(reference: TorchStepper, small: Bundle) -> None:
    with open_engine(small) as engine:
        parity = compare(reference, engine, clips(small.shapes))
    assert parity.failures == []
    report = parity.as_json()
    assert (report["passed"], report["clips"], report["frames"]) == (True, 2, 2 * STEPS)
    assert set(report["graphs"]) == {"step", "replay", "locator"}
    states = {"h_regression_next", "c_regression_next", "h_phase_next", "c_phase_next"}
    values = {"thicknesses", "diameters", "areas", "phase"}
    assert set(report["graphs"]["step"]) == values | states | {"mask", "features"}
    assert set(report["graphs"]["replay"]) == values | states
    assert json.loads(json.dumps(report, allow_nan=False)) == report


class Spoilt:
    """A stepper that is right but for one output."""

    def __init__(self, stepper: TorchStepper, spoil: str, by: float) -> None:
        self.stepper, self.spoil, self.by = stepper, spoil, by
        self.shapes = stepper.shapes

    def step(self, frame: Any, state: State) -> Any:
        return self._spoilt(self.stepper.step(frame, state), "step")

    def replay(self, features: Any, state: State) -> Any:
        return self._spoilt(self.stepper.replay(features, state), "replay")

    def locate(self, frame: Any) -> Any:
        points, confidence = self.stepper.locate(frame)
        return points + np.float32(self.by if self.spoil == "locator" else 0), confidence

    def _spoilt(self, result: Any, name: str) -> Any:
        if self.spoil == name:
            result.indices[:, 0] += np.float32(self.by)
        return result


@pytest.mark.parametrize("by", [0.5, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("graph", "output"), [("step", "thicknesses"), ("replay", "thicknesses"), ("locator", "points")]
)
def test_what_strays_is_caught(reference: TorchStepper, graph: str, output: str, by: float) -> None:
    parity = compare(reference, Spoilt(reference, graph, by), clips(reference.shapes, 1))
    assert len(parity.failures) == 1
    assert parity.failures[0].startswith(f"{graph}.{output} strays by ")
    assert parity.worst[0] == f"{graph}.{output}"
    assert parity.as_json()["passed"] is False


def test_an_export_that_strays_is_not_written(
    run_folder: Path, small: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is exported with other weights than it is compared with."""
    run = read_run(run_folder)
    monkeypatch.setattr(
        "lvedge_export.pack.onnx_from_graph", lambda _module, name, _shapes, _sources: small.graph(name)
    )
    with torch.no_grad():
        run.network.recurrent.values.bias[0] += 0.1
    report = tmp_path / "report.json"
    with pytest.raises(ExportError, match=r"not equal to the network: step\.thicknesses strays"):
        bundle_from_run(run, ABOUT, clips(run.shapes, 1), tmp_path / "out.lvedge", report)
    assert json.loads(report.read_text())["passed"] is False
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_the_manifest_says_where_the_weights_come_from(small: Bundle, run_folder: Path) -> None:
    manifest = small.manifest
    assert (small.name, small.version, manifest["created"]) == ("small", "3", "2026-01-02")
    assert set(manifest["checkpoint"]) == {"perception.pt", "locator.pt"}
    assert manifest["parity"]["part_of_range"] <= TOLERANCE
    assert manifest["flop"]["step"] > manifest["flop"]["replay"] > 0
    assert manifest["versions"]["opset"] == 18
    assert small.shapes.view_px == NETWORK.view_px
    report = json.loads((run_folder / "report.json").read_text())
    assert report["frames"] == manifest["parity"]["frames"] >= 60


def test_the_phantom_fills_the_view(small: Bundle) -> None:
    for clip in phantom_clips(small.shapes):
        assert clip.views.shape[1:] == small.shapes.tensor_shape("frame")
        assert clip.frames.shape[1:] == small.shapes.locator_shape
        assert clip.views.dtype == clip.frames.dtype == np.float32
        assert clip.views.std() > 0.1


@pytest.mark.real
def test_real_clips_are_beats_of_york_and_pairs_of_acdc(reference: TorchStepper, data_root: Path) -> None:
    found = data_clips(reference.shapes, data_root)
    beats = [clip for clip in found if clip.name.startswith("york/")]
    pairs = [clip for clip in found if clip.name.startswith("acdc/")]
    assert len(beats) == 7
    assert all(len(clip.views) >= 10 for clip in beats)
    assert all(len(clip.views) == 2 for clip in pairs)
    assert sum(len(clip.views) for clip in found) >= 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--run", "nowhere"], "no checkpoint at nowhere"),
        (["--created", "yesterday"], "'yesterday' is no date"),
        (["--card", "nowhere.md"], "nowhere.md cannot be read"),
        (["--accuracy", "list.json"], "has to hold one JSON object"),
        (["--quality", "broken.json"], "is no JSON"),
        (["--run", "odd"], "are no run of this version"),
    ],
)
def test_wrong_usage_is_one_line(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "broken.json").write_text("{")
    for stage in ("perception", "locator"):
        write_checkpoint(tmp_path / "odd" / f"{stage}.pt", {"weights": {}})
    assert main(["bundle", "--run", str(run_folder), "--out", "out.lvedge", *change]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out.lvedge").exists()


def test_a_missing_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lvedge_export.cli.find_spec", lambda _name: None)
    assert main(["bundle", "--out", "out.lvedge"]) == 2
    assert "pip install 'lvedge[export]'" in capsys.readouterr().err


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert "bundle" in capsys.readouterr().out
