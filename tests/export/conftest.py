"""The small run and its bundle, exported once for all tests of the export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lvedge.bundle import Bundle, open_bundle

if TYPE_CHECKING:
    from lvedge.training.stepper import TorchStepper
    from lvedge_export.engine import Exported


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from small_run import write_run

    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def reference(run_folder: Path) -> TorchStepper:
    from lvedge.training.stepper import TorchStepper
    from lvedge_export.pack import read_run

    run = read_run(run_folder)
    return TorchStepper(run.network, run.locator)


@pytest.fixture(scope="session")
def packed(run_folder: Path) -> Path:
    """The bundle of the small run, made by the command."""
    from lvedge_export.cli import main

    out, report = run_folder / "small.lvedge", run_folder / "report.json"
    arguments = ["bundle", "--run", run_folder, "--out", out, "--name", "small", "--version", "3"]
    assert main([str(a) for a in (*arguments, "--created", "2026-01-02", "--report", report)]) == 0
    return out


@pytest.fixture(scope="session")
def small(packed: Path) -> Bundle:
    return open_bundle(packed)


@pytest.fixture(scope="session")
def exported(run_folder: Path) -> Exported:
    """The small run's graphs in FP32, as devices get them."""
    from lvedge_export.convert import onnx_from_graph
    from lvedge_export.engine import Exported
    from lvedge_export.graph import graphs_of
    from lvedge_export.pack import read_run

    run = read_run(run_folder)
    graphs = {
        name: onnx_from_graph(module, name, run.shapes, run.sources)
        for name, module in graphs_of(run.network, run.locator).items()
    }
    return Exported(run.shapes, run.sources, graphs)
