"""LVQuan18's own protocol: folds, averages over values, and what is scored where nothing is returned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from data_folder import write_run
from lvquan_file import write_lvquan18
from painted_hearts import PaintReader
from scored_records import even

from lvedge.contract import Stepper
from lvedge.quality import DEFAULT_QUALITY, QualityModel
from lvedge.training.data.lvquan18 import QuantifiedSubject, read_lvquan18
from lvedge.training.evaluation.cli import main
from lvedge.training.evaluation.lvquan import (
    LVQUAN_PROTOCOL,
    ScoredSubject,
    lvquan_figures,
    lvquan_markdown,
    score_lvquan18,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lvquan18(tmp_path_factory.mktemp("lvquan") / "cardiac.mat")


@pytest.fixture(scope="module")
def subjects(path: Path) -> list[QuantifiedSubject]:
    return read_lvquan18(path)


class Absent(PaintReader):
    """Sees no heart."""

    def locate(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points, confidence = super().locate(frame)
        return points, np.zeros_like(confidence)


def test_each_fold_has_its_own_network_and_the_others_means(subjects: list[QuantifiedSubject]) -> None:
    def measures(number: int) -> tuple[Stepper, QualityModel]:
        return (Absent() if number == 2 else PaintReader()), DEFAULT_QUALITY

    folds = score_lvquan18(subjects, measures)
    assert [len(fold) for fold in folds] == [1] * 5
    assert [fold[0].found.mean() for fold in folds] == [1.0, 1.0, 0.0, 1.0, 1.0]
    # Areas need no septum, which these pictures have not: what is painted is what is published.
    for number in (0, 1, 3, 4):
        np.testing.assert_allclose(folds[number][0].said[:, 9], subjects[number].values[:, 9], rtol=0.06)
    others = np.concatenate([subjects[k].values for k in (0, 1, 3, 4)]).mean(axis=0)
    np.testing.assert_allclose(folds[2][0].said, np.tile(others, (20, 1)))
    assert folds[2][0].wrong_phase.all()
    assert not folds[0][0].wrong_phase.any()


def scored(off: float, wrong: int) -> ScoredSubject:
    truth = np.tile(np.array([8.0] * 6 + [40.0] * 3 + [1200.0, 1000.0]), (20, 1))
    truth = truth * np.linspace(0.8, 1.0, 20)[:, None]
    said = truth + off * np.array([1.0, -1.0, 0, 0, 0, 0, 3.0, 0, 0, 10.0, 30.0])
    return ScoredSubject(np.ones(20, dtype=bool), truth, said, np.arange(20) < wrong)


def test_figures_are_averages_over_values_then_over_folds() -> None:
    figures = lvquan_figures([[scored(1.0, 1), scored(3.0, 3)], [scored(-6.0, 4), scored(6.0, 4)]])
    assert (figures["subjects"], figures["frames"], figures["coverage"]) == (4, 80, even(1.0, 4))
    expected = {
        "rwt_mm": [2 / 3, 2.0],  # a third of 2 and 6
        "dims_mm": [2.0, 6.0],
        "areas_mm2": [40.0, 120.0],
        "phase_error": [0.1, 0.2],
    }
    for name, folds in expected.items():
        found = figures[name]
        assert found["folds"] == pytest.approx(folds, abs=1e-4)
        assert found["mean_over_folds"] == pytest.approx(np.mean(folds), abs=1e-4)
        assert found["sd_over_folds"] == pytest.approx(np.std(folds), abs=1e-4)
        assert found["by_subject"]["subjects"] == 4
    assert figures["per_index"]["rwt_IS_mm"]["bias"] == 1.0
    assert lvquan_markdown(figures).splitlines()[2:] == [
        "| coverage | 100.0 % |",
        "| RWT, MAE | 1.33 ± 0.67 mm |",
        "| diameters, MAE | 4.00 ± 2.00 mm |",
        "| areas, MAE | 80.00 ± 40.00 mm² |",
        "| phase error | 15.00 ± 5.00 % |",
    ]


def test_the_command_measures_the_file(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a network that has learned nothing: every subject scores the means of the other folds."""
    out, page = tmp_path / "figures.json", tmp_path / "page.md"
    run = write_run(tmp_path / "run")
    arguments = ["--lvquan18", str(path), "--run", str(run), "--out", str(out), "--markdown", str(page)]
    assert main(arguments) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["protocol"] == LVQUAN_PROTOCOL
    assert str(tmp_path) not in out.read_text(encoding="utf-8")
    assert (figures["lvquan18"]["subjects"], figures["lvquan18"]["coverage"]["mean"]) == (5, 0.0)
    assert figures["lvquan18"]["phase_error"]["mean_over_folds"] == 1.0
    table = capsys.readouterr().out
    assert table == lvquan_markdown(figures["lvquan18"])
    assert page.read_text(encoding="utf-8").endswith(table)


def test_a_file_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--lvquan18", str(tmp_path / "none.mat")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lvedge-eval: error: ")
    assert line.endswith("none.mat cannot be read as a .mat file: FileNotFoundError")
