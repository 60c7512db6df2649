"""The command that trains and measures a method: what it writes, and one line for what a user can mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from data_folder import SPLIT, write_data, write_run  # noqa: E402

from benchmarks.baselines import __main__ as command  # noqa: E402
from benchmarks.baselines import compare, method  # noqa: E402
from benchmarks.baselines.result import LINES, means_by_place, read_result  # noqa: E402
from lvedge.network.model import LeftVentricleNetwork  # noqa: E402
from lvedge.quality import DEFAULT_QUALITY  # noqa: E402
from lvedge.training.checkpoint import config_as_dict, read_checkpoint, write_checkpoint  # noqa: E402
from lvedge.training.cli import DEFAULT_STEPS  # noqa: E402

Capture = pytest.CaptureFixture[str]
Measure = Callable[..., int]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def measure(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """The command on fold 0 of the small data set, into ``tmp_path``."""
    monkeypatch.setattr(command, "read_split", lambda fold: {0: SPLIT}[fold])
    return lambda name, *args: command.main(
        [name, "--fold", "0", "--data", str(data), "--out", str(tmp_path / f"{name}.json"), *map(str, args)]
    )


def error_of(capsys: Capture) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("benchmarks.baselines: error: ")
    return line.removeprefix("benchmarks.baselines: error: ")


def run_of(folder: Path) -> Path:
    """lvedge's run with the quality model that belongs to it."""
    write_run(folder)
    (folder / "quality.json").write_text(json.dumps(DEFAULT_QUALITY.as_manifest()))
    return folder


def fold_of(path: Path) -> dict[str, Any]:
    content = read_result(path)
    assert list(content["folds"]) == ["0"]
    assert "patient" not in path.read_text().replace("patient's", "")
    entry: dict[str, Any] = content["folds"]["0"]
    assert {source: len(rows) for source, rows in entry["subjects"].items()} == {"acdc": 2, "york": 1}
    assert set(content["figures"]) == {line.key for line in LINES}
    assert entry["mid_slices"] == 8  # the two inner ones of four slices, at ED and ES, of two subjects
    return entry


# --- what a user can mend --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "the following arguments are required: METHOD"),
        (["resnet"], "argument METHOD: invalid choice: 'resnet'"),
        (["unet", "--fold", "5", "--run", "r"], "argument --fold: '5' is not a whole number from 0 to 4"),
        (["unet", "--fold", "0"], "the following arguments are required: --run"),
        (
            ["unet", "--fold", "0", "--run", "r", "--steps", "2", "--core-seconds", "3"],
            "argument --core-seconds: not allowed with argument --steps",
        ),
        (["myopari", "--fold", "0", "--steps", "9"], "unrecognized arguments: --steps 9"),
    ],
)
def test_arguments_that_cannot_be_meant(args: list[str], words: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(args)
    assert raised.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_where_a_training_goes_and_how_long_it_is_when_nothing_is_said() -> None:
    words = ["regression", "--fold", "3", "--run", "runs/three"]
    plan = method.Plan.of(command.build_parser().parse_args(words))
    assert plan == method.Plan(
        run=Path("runs/three"),
        checkpoints=Path("runs/regression-3"),
        seed=0,
        threads=1,
        core_seconds=None,
        steps=None,
        clip_steps=DEFAULT_STEPS["recurrence"],
    )


def test_a_missing_locator_is_said_before_anything_is_trained(
    measure: Measure, tmp_path: Path, capsys: Capture
) -> None:
    assert measure("unet", "--run", tmp_path / "none", "--checkpoints", tmp_path / "unet") == 2
    assert error_of(capsys).startswith(f"no checkpoint at {tmp_path / 'none' / 'locator.pt'}")
    assert not (tmp_path / "unet").exists()


@pytest.mark.parametrize("log", [None, "", "{}\n", "no JSON\n"])
def test_a_run_that_does_not_say_what_it_took_gives_no_budget(
    log: str | None, measure: Measure, tmp_path: Path, capsys: Capture
) -> None:
    run = write_run(tmp_path / "run")
    if log is not None:
        (run / "perception.jsonl").write_text(log)
    assert measure("unet", "--run", run, "--checkpoints", tmp_path / "unet") == 2
    assert error_of(capsys).startswith(f"{run / 'perception.jsonl'} does not say what lvedge's own training")
    assert not (tmp_path / "unet").exists()


def test_a_run_without_its_quality_model_is_said(measure: Measure, tmp_path: Path, capsys: Capture) -> None:
    assert measure("lvedge", "--run", write_run(tmp_path / "run")) == 2
    path = tmp_path / "run" / "quality.json"
    assert error_of(capsys) == f"no quality model can be read from {path}: train the run's quality stage"


# --- what is written -------------------------------------------------------------------------------


def test_lvedge_itself_is_level_with_itself(measure: Measure, tmp_path: Path, capsys: Capture) -> None:
    assert measure("lvedge", "--run", run_of(tmp_path / "run"), "--starts", "2") == 0
    assert capsys.readouterr().out.startswith("coverage of mid slices, %: {'mean': ")
    path = tmp_path / "lvedge.json"
    entry = fold_of(path)
    assert entry["command"].startswith("python -m benchmarks.baselines lvedge --fold 0 ")
    assert set(entry["versions"]) == {"lvedge", "torch", "python"}
    content = read_result(path)
    lines = compare.compare(means_by_place(content), content)
    assert set(lines) == {line.key for line in LINES}
    assert {line["verdict"] for line in lines.values()} == {"level"}


def test_fewer_subjects_where_that_is_asked_for(measure: Measure, tmp_path: Path) -> None:
    assert measure("lvedge", "--run", run_of(tmp_path / "run"), "--starts", "1", "--limit", "1") == 0
    subjects = read_result(tmp_path / "lvedge.json")["folds"]["0"]["subjects"]
    assert {source: len(rows) for source, rows in subjects.items()} == {"acdc": 1, "york": 1}


def test_the_unet_is_trained_once_and_measured_every_time(measure: Measure, tmp_path: Path) -> None:
    pytest.importorskip("monai", reason="MONAI comes with the extra 'baselines', which is not installed")
    run = write_run(tmp_path / "run")
    (run / "perception.jsonl").write_text('{"core_seconds": 3}\n{"core_seconds": 7.5}\n')
    args = ["--run", run, "--checkpoints", tmp_path / "unet", "--starts", "1"]
    assert measure("unet", *args, "--steps", "2", "--bfloat16") == 0
    first = fold_of(tmp_path / "unet.json")
    assert first["training"]["parameters"] == 1_625_849
    assert first["training"]["slices"]["steps"] == 2
    assert measure("unet", *args) == 0  # its budget is that of the training that is there
    again = fold_of(tmp_path / "unet.json")
    assert again["training"]["slices"]["budget_core_seconds"] == 7.5
    assert again["training"]["slices"]["core_seconds"] == first["training"]["slices"]["core_seconds"]
    assert again["subjects"] == first["subjects"]


def test_the_regression_learns_from_slices_and_then_from_clips(
    measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "YORK_VERSIONS", 1)
    run = write_run(tmp_path / "run")
    own = LeftVentricleNetwork()
    header = {"network_config": config_as_dict(own.config)}
    write_checkpoint(run / "perception.pt", {**header, "weights": own.state_dict()})
    args = ["--run", run, "--checkpoints", tmp_path / "regression", "--starts", "1"]
    assert measure("regression", *args, "--steps", "2", "--clip-steps", "3") == 0
    training = fold_of(tmp_path / "regression.json")["training"]
    assert (training["slices"]["steps"], training["clips"]["steps"]) == (2, 3)
    assert read_checkpoint(tmp_path / "regression" / "clips.pt")["loop_config"]["batch"] == 48
