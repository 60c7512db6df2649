"""``lvedge-export engine``: what it refuses before anything is built, and its bars. Needs no torch."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from lvedge.bundle import DEFAULT_PATH, Bundle
from lvedge.graph import GRAPHS
from lvedge_export.cli import main
from lvedge_export.progress import BuildBars


@pytest.fixture
def graphs(bundle: Bundle, tmp_path: Path) -> Path:
    """A folder with FP32 graphs."""
    folder = tmp_path / "graphs"
    folder.mkdir()
    for name in GRAPHS:
        (folder / f"{name}.onnx").write_bytes(bundle.graph(name))
    return folder


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line on standard error."""
    assert main(["engine", *map(str, words)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line.removeprefix("lvedge-export: ").rstrip("\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--onnx", "x", "--rtx"], "--rtx and --target belong together: "),
        (["--onnx", "x", "--target", "sm86"], "--rtx and --target belong together: "),
        (
            ["--onnx", "x", "--rtx", "--target", "sm86", "--dla", "0", "--layers", "l.json"],
            "--dla, --layers cannot be had with --rtx: ",
        ),
        (["--onnx", "x", "--dla", "0", "--version-compatible"], "an engine for a DLA is for this device"),
        (["--onnx", "x"], "x/step.fp16.onnx cannot be read (No such file or directory): "),
        (["--bundle", "x"], "there is no bundle at x: "),
    ],
)
def test_what_cannot_be_meant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], said: str
) -> None:
    assert refused(capsys, "--out", tmp_path / "out", *words).startswith(said)
    assert not (tmp_path / "out").exists()


def test_a_precision_that_the_bundle_does_not_hold(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = refused(capsys, "--bundle", DEFAULT_PATH, "--precision", "int8", "--out", tmp_path / "out")
    assert line.startswith(f"the bundle {DEFAULT_PATH} holds no graphs in INT8: ")


def test_a_graph_under_another_name(
    capsys: pytest.CaptureFixture[str], graphs: Path, tmp_path: Path, bundle: Bundle
) -> None:
    (graphs / "step.onnx").write_bytes(bundle.graph("replay"))
    line = refused(capsys, "--onnx", graphs, "--precision", "fp32", "--out", tmp_path / "out")
    assert line == f"{graphs / 'step.onnx'} is no step graph: write it by lvedge-export"


def test_a_file_that_is_no_graph(capsys: pytest.CaptureFixture[str], graphs: Path, tmp_path: Path) -> None:
    (graphs / "replay.onnx").write_bytes(b"no graph")
    line = refused(capsys, "--onnx", graphs, "--precision", "fp32", "--out", tmp_path / "out")
    assert line.startswith(f"{graphs / 'replay.onnx'} holds a replay graph that ")


def test_int8_takes_fp16_where_there_is_no_int8(
    capsys: pytest.CaptureFixture[str], graphs: Path, tmp_path: Path
) -> None:
    (graphs / "step.onnx").rename(graphs / "step.int8.onnx")
    line = refused(capsys, "--onnx", graphs, "--precision", "int8", "--out", tmp_path / "out")
    assert line.startswith(f"{graphs / 'replay.fp16.onnx'} cannot be read")


def drawn(terminal: bool) -> str:
    """What is drawn while a phase and one inside it go on."""
    file = io.StringIO()
    with BuildBars(Console(file=file, force_terminal=terminal, width=100)) as bars:
        bars.graph = "step"
        bars.started("Building", None, 4)
        bars.started("Timing", "Building", 7)
        bars.stepped("Timing", 4)
        bars.started("Timing", "Timing", 1)  # a name may come again
        bars.finished("Timing")
        bars.stepped("Building", 0)
        bars._bars.refresh()
        bars.finished("Timing")
        bars.finished("Building")
        assert not bars._bars.tasks
    return file.getvalue()


def test_bars_show_the_phases() -> None:
    shown = drawn(terminal=True)
    assert "step: Building" in shown
    assert "  Timing" in shown
    assert "1/4" in shown
    assert "5/7" in shown


def test_where_there_is_no_terminal_nothing_is_drawn() -> None:
    assert drawn(terminal=False) == ""
