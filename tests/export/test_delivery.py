"""What ``lvedge-export onnx`` and ``int8`` write, and what they refuse to write."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxslim")

from data_folder import SPLIT, write_data  # noqa: E402
from small_run import STEM, scaled_stem  # noqa: E402

from lvedge.bundle import Bundle, open_bundle  # noqa: E402
from lvedge.graph import GRAPHS  # noqa: E402
from lvedge_export import convert, delivery, error, precision  # noqa: E402
from lvedge_export.cli import main  # noqa: E402
from lvedge_export.convert import onnx_from_graph  # noqa: E402
from lvedge_export.engine import Exported  # noqa: E402
from lvedge_export.finish import ExportError, metadata  # noqa: E402
from lvedge_export.graph import LocatorGraph  # noqa: E402
from lvedge_export.lint import faults  # noqa: E402
from lvedge_export.pack import Run, read_run  # noqa: E402
from lvedge_export.precision import halves  # noqa: E402


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return read_run(run_folder)


@pytest.fixture
def exported_once(monkeypatch: pytest.MonkeyPatch, exported: Any) -> None:
    """The graphs are those of the bundle's export: a third one would give the same bytes."""
    monkeypatch.setattr(delivery, "exported_from_run", lambda _run: exported)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def command(*words: object) -> list[str]:
    return [str(word) for word in words]


class WithDeterminant(LocatorGraph):
    """A locator that asks for what no TensorRT 10.1 computes."""

    def forward(self, frame: Any) -> tuple[Any, ...]:
        points, confidence = super().forward(frame)
        return points, confidence + 0 * torch.linalg.det(frame[:, 0, :3, :3])[:, None]


class InDouble(LocatorGraph):
    """A locator that computes in float64."""

    def forward(self, frame: Any) -> tuple[Any, ...]:
        points, confidence = super().forward(frame)
        return (points.double() * frame.double().mean()).float(), confidence


def export_locator(run: Run, graph: Any = LocatorGraph) -> bytes:
    return onnx_from_graph(graph(run.locator).eval(), "locator", run.shapes, run.sources)


def test_an_operator_that_tensorrt_lacks_is_caught(run: Run) -> None:
    with pytest.raises(
        ExportError, match=r"fp32 locator graph cannot go .* uses Det, which TensorRT 10\.1 lacks"
    ):
        export_locator(run, WithDeterminant)


def test_a_type_that_tensorrt_lacks_is_caught(run: Run) -> None:
    with pytest.raises(ExportError, match="computes in double, not in float32"):
        export_locator(run, InDouble)


def test_a_renamed_tensor_is_caught(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "GRAPHS", {"locator": (("frame",), ("points", "certainty"))})
    with pytest.raises(ExportError, match="gives 'points', 'certainty' and not points, confidence"):
        export_locator(run)


def test_an_opset_that_is_too_new_is_caught(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "NEWEST_OPSET", 20)
    with pytest.raises(ExportError, match="opset 20 and IR 10, newer than 18 and 10"):
        export_locator(run)


def test_an_opset_that_is_too_old_is_caught(small: Bundle) -> None:
    model = onnx.load_from_string(small.graph("locator"))
    model.opset_import[0].version = 16
    assert faults(model.SerializeToString(), "locator", small.shapes) == ["is of opset 16, older than 17"]


PARTS = {
    "step": ("classification", "convolution", "glue", "polar", "recurrent", "segmentation", "shared"),
    "locator": ("context", "down", "enlarge", "glue", "maps", "stem", "up"),
}
ALL_BUT_PRESENCE = [f"{network}.{part}" for network, parts in PARTS.items() for part in parts]


def test_onnx_writes_both_precisions_with_their_report(
    run_folder: Path, tmp_path: Path, exported_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report, plot = (tmp_path / name for name in ("out", "report.json", "drift.png"))
    words = command(
        "onnx", "--run", run_folder, "--out", out, "--report", report, "--plot", plot, "--steps", 30
    )
    assert main([*words, "--fp32-parts", *ALL_BUT_PRESENCE]) == 0
    assert "in FP32 stay step.classification, " in capsys.readouterr().out
    told = json.loads(report.read_text())
    assert told["command"].startswith("lvedge-export onnx --run ")
    assert (told["passed"], told["failures"], told["fp32"]["passed"]) == (True, [], True)
    assert list(told["fp16"]["kept_fp32"]) == ALL_BUT_PRESENCE
    assert told["fp16"]["change"]["confidence"] > 0
    assert told["fp16"]["change"]["thickness_mm"] < 1e-3
    assert set(told["fp16"]["largest_activation"]) == set(PARTS)
    assert told["bf16"]["change"]["thickness_mm"] > told["fp16"]["change"]["thickness_mm"]
    assert (told["drift"]["steps"], told["drift"]["fp16"]["bounded"]) == (30, True)
    assert told["frames"]["all"] == told["frames"]["phantom"] >= 60
    assert plot.read_bytes()[:4] == b"\x89PNG"
    assert {path.name for path in out.iterdir()} == set(told["files"])
    assert set(told["files"]) == {f"{name}{precision}.onnx" for name in GRAPHS for precision in ("", ".fp16")}
    for name in GRAPHS:
        assert metadata((out / f"{name}.fp16.onnx").read_bytes())["precision"] == "fp16"


def test_a_bundle_carries_the_fp16_graphs_of_its_run(
    run_folder: Path,
    tmp_path: Path,
    exported: Exported,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = {"step": ["polar", "segmentation", "convolution"], "locator": ["stem", "maps", "glue"]}
    half = halves(exported, kept)
    for name, graph in half.items():
        (tmp_path / f"{name}.fp16.onnx").write_bytes(graph)
    words = [
        "bundle",
        "--run",
        str(run_folder),
        "--half",
        str(tmp_path),
        "--out",
        str(tmp_path / "out.lvedge"),
    ]
    monkeypatch.setattr(precision, "POINT_MM", math.inf)  # its weights are drawn, and FP16 moves its points
    assert main(words) == 0
    made = open_bundle(tmp_path / "out.lvedge")
    assert {name: made.graph(name, "fp16") for name in half} == half
    told = made.manifest["fp16"]
    assert 0 < told["thickness_mm"] < precision.THICKNESS_MM
    assert told["frames"] == made.manifest["parity"]["frames"]
    monkeypatch.setattr(precision, "THICKNESS_MM", told["thickness_mm"] / 2)
    (tmp_path / "out.lvedge").unlink()
    capsys.readouterr()
    assert main(words) == 2
    assert "FP16 changes more than it may: a wall by at most " in capsys.readouterr().err
    (tmp_path / "replay.fp16.onnx").write_bytes(exported.graphs["replay"])
    assert main(words) == 2
    assert "replay.fp16.onnx is no graph of this run" in capsys.readouterr().err
    assert not (tmp_path / "out.lvedge").exists()


def test_what_changes_too_much_is_not_written(
    run_folder: Path,
    tmp_path: Path,
    exported: Exported,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A stem that overflows, in the FP16 graph as in FP32's comparison with the network that it was not."""
    monkeypatch.setattr(delivery, "exported_from_run", lambda _run: scaled_stem(exported, 1e6))
    out, report = tmp_path / "out", tmp_path / "report.json"
    words = command("onnx", "--run", run_folder, "--out", out, "--report", report, "--steps", 10)
    assert main([*words, "--fp32-parts", "step.polar"]) == 2
    said = capsys.readouterr().err
    assert "nothing was written" in said
    assert said.count("\n") == 1
    assert f"step's {STEM} reaches " in said
    assert "step.mask strays by " in said
    assert "FP16 changes more than it may: a wall by at most inf mm" in said
    assert not out.exists()
    assert json.loads(report.read_text())["passed"] is False


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> None:
    """The subjects of the made-up data folder."""
    monkeypatch.setattr("lvedge.training.data.read_split", lambda: SPLIT)
    monkeypatch.setattr(error, "read_split", lambda: SPLIT)


@pytest.fixture(scope="module")
def fp32_folder(small: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fp32")
    for name in GRAPHS:
        (folder / f"{name}.onnx").write_bytes(small.graph(name))
    return folder


@pytest.mark.parametrize("most_growth", [1e9, -1e9])
def test_int8_writes_what_measures_as_well_as_fp32(
    run_folder: Path,
    fp32_folder: Path,
    data: Path,
    tmp_path: Path,
    split: None,
    monkeypatch: pytest.MonkeyPatch,
    most_growth: float,
) -> None:
    monkeypatch.setattr(delivery, "MOST_GROWTH", most_growth)
    out, report = tmp_path / "out", tmp_path / "report.json"
    words = command("int8", "--run", run_folder, "--onnx", fp32_folder, "--data", data, "--out", out)
    assert main([*words, *command("--report", report, "--steps", 10, "--pairs", 10, "--subjects", 1)]) == 0
    told = json.loads(report.read_text())
    kept = ["step", "locator"] if most_growth > 0 else []
    assert told["kept"] == kept
    assert {path.name for path in out.iterdir()} == {f"{name}.int8.onnx" for name in kept}
    assert set(told["as_measured"]["error"]) == {"fp32", "int8 step", "int8 locator", "int8"}
    assert set(told["growth"]) == {"step", "locator", "both"}
    assert told["calibration"] == {"clips": 5, "frames": 28}
    assert told["onnxruntime_on_this_cpu"]["pace"]["pairs"] == 10
    assert told["change"]["thickness_mm"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["onnx", "--fp32-parts", "step.heart"],
            "there is no part step.heart: name some of step.classification",
        ),
        (["int8", "--onnx", "nowhere", "--data", "."], "step.onnx cannot be read: write it with"),
        (["int8", "--onnx", "other", "--data", "."], "is no graph of this run: write it again"),
        (["int8", "--onnx", "text", "--data", "."], "step.onnx cannot be read"),
    ],
)
def test_wrong_usage_is_one_line(
    run_folder: Path,
    tmp_path: Path,
    small: Bundle,
    exported_once: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: Sequence[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("other", "text"):
        (tmp_path / folder).mkdir()
    foreign = onnx.load_from_string(small.graph("step"))
    del foreign.metadata_props[:]
    (tmp_path / "other" / "step.onnx").write_bytes(foreign.SerializeToString())
    (tmp_path / "text" / "step.onnx").write_text("no graph")
    assert main([*words, *command("--run", run_folder, "--out", "out")]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert found.count("\n") == 1
    assert not (tmp_path / "out").exists()
