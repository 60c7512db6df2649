"""The command lvedge-train: its stages on little data, and one line for everything that a user can mend."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from data_folder import SPLIT, write_data, write_run  # noqa: E402
from painted_hearts import PaintReader  # noqa: E402

from lvedge.errors import DataError  # noqa: E402
from lvedge.frame import Frame  # noqa: E402
from lvedge.phantom import NEGATIVE_KINDS  # noqa: E402
from lvedge.quality import FEATURES, QualityModel  # noqa: E402
from lvedge.training import cli, fitting  # noqa: E402
from lvedge.training.checkpoint import read_checkpoint, write_checkpoint  # noqa: E402
from lvedge.training.cli import STAGES, build_parser, main  # noqa: E402
from lvedge.training.data import Sample, Split  # noqa: E402
from lvedge.training.judging import JudgedFrames  # noqa: E402
from lvedge.training.pictures import FITTED_SEEDS  # noqa: E402

Capture = pytest.CaptureFixture[str]
Train = Callable[..., int]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def train(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """The command on the small data set, into ``tmp_path``."""
    monkeypatch.setattr(cli, "read_split", lambda **_fold: SPLIT)
    return lambda *args: main([*map(str, args), "--data", str(data), "--run", str(tmp_path)])


def line_of(capsys: Capture) -> str:
    """The one line on standard error; nothing may stand on standard output."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("lvedge-train: error: ")
    return line.removeprefix("lvedge-train: error: ")


# --- what a user can mend --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "the following arguments are required: stage"),
        (["dream"], "argument stage: invalid choice: 'dream'"),
        (["perception", "locator"], "unrecognized arguments: locator"),
        (["all", "--fold", "5"], "argument --fold: '5' is not a whole number from 0 to 4"),
        (["all", "--training", "watch"], "argument --training: invalid choice: 'watch'"),
        (["all", "--steps", "0"], "argument --steps: '0' is not a whole number of at least 1"),
        (["all", "--steps", "1e3"], "argument --steps: '1e3' is not a whole number of at least 1"),
        (["all", "--seed", "-1"], "argument --seed: '-1' is not a whole number of at least 0"),
        (["all", "--threads", "-1"], "argument --threads: '-1' is not a whole number of at least 0"),
    ],
)
def test_arguments_that_cannot_be_meant(args: list[str], words: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as raised:
        main(args)
    assert raised.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith(f"lvedge-train: error: {words}")


def test_what_holds_where_nothing_is_said() -> None:
    assert vars(build_parser().parse_args(["all"])) == {
        "stage": "all",
        "data": None,
        "run": "runs/default",
        "steps": None,
        "fold": 0,
        "training": "fold",
        "seed": 0,
        "threads": 0,
        "folds": None,
        "start": None,
        "bfloat16": False,
    }


@pytest.mark.parametrize("stage", [*STAGES, "all"])
def test_missing_data_is_one_line(stage: str, tmp_path: Path, capsys: Capture) -> None:
    where, run = tmp_path / "none", tmp_path / "run"
    assert main([stage, "--data", str(where), "--run", str(run)]) == 2
    assert line_of(capsys) == f"no data at {where}: name the folder with --data or $LVEDGE_DATA"
    assert not run.exists()


@pytest.mark.parametrize("stage", ["perception", "locator", "recurrence"])
def test_a_folder_without_the_data_sets_is_one_line(stage: str, tmp_path: Path, capsys: Capture) -> None:
    assert main([stage, "--data", str(tmp_path), "--run", str(tmp_path / "run")]) == 2
    said = line_of(capsys)
    assert said.startswith(f"no {tmp_path / 'acdc'}")
    assert said.endswith("Info.cfg: name the folder that holds acdc/ with --data")


def test_a_stage_whose_forerunner_is_missing_is_one_line(
    train: Train, tmp_path: Path, capsys: Capture
) -> None:
    missing = f"no checkpoint at {tmp_path / 'perception.pt'}: train first, or name another with --run"
    for stage in ("recurrence", "quality"):
        assert train(stage) == 2
        assert line_of(capsys) == missing
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_forerunner_is_one_line(train: Train, tmp_path: Path, capsys: Capture) -> None:
    write_checkpoint(tmp_path / "perception.pt", {"step": 3})
    assert train("recurrence") == 2
    assert line_of(capsys).startswith(f"{tmp_path / 'perception.pt'} is no checkpoint of this stage")


def test_a_run_without_logs_has_nothing_to_plot(tmp_path: Path, capsys: Capture) -> None:
    # Curves need no data: the folder of the run is enough.
    assert main(["plot", "--data", str(tmp_path / "none"), "--run", str(tmp_path)]) == 2
    assert line_of(capsys) == f"no training log in {tmp_path}"


def test_quality_cannot_be_fitted_to_a_network_that_finds_nothing(
    train: Train, tmp_path: Path, capsys: Capture
) -> None:
    write_run(tmp_path)
    assert train("quality") == 2
    assert line_of(capsys).startswith("no LV was found in any frame that quality is fitted on")
    assert not (tmp_path / "quality.json").exists()


# --- stages ----------------------------------------------------------------------------------------


def test_all_stages_run_in_order_and_stop_at_the_first_error(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    run: list[str] = []
    monkeypatch.setattr(cli, "_run_stage", lambda stage, _: run.append(stage))
    assert main(["all"]) == 0
    assert main(["locator"]) == 0
    assert run == ["perception", "locator", "recurrence", "quality", "locator"]
    run.clear()

    def fail_at_the_second(stage: str, _: object) -> None:
        run.append(stage)
        if len(run) == 2:
            raise DataError("mend me")

    monkeypatch.setattr(cli, "_run_stage", fail_at_the_second)
    assert main(["all"]) == 2
    assert run == ["perception", "locator"]
    assert line_of(capsys) == "mend me"


def test_the_recurrence_stage_and_its_curves(train: Train, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    write_run(tmp_path)
    assert train("recurrence", "--steps", 2, "--seed", 5) == 0
    content = read_checkpoint(tmp_path / "recurrence.pt")
    assert (content["step"], content["loop_config"]["steps"], content["loop_config"]["seed"]) == (2, 2, 5)
    first = read_checkpoint(tmp_path / "perception.pt")
    assert content["network_config"] == first["network_config"]
    moved = {key.split(".")[0] for key, v in first["weights"].items() if not v.equal(content["weights"][key])}
    assert moved == {"recurrent", "classification"}
    (line,) = (tmp_path / "recurrence.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["step"] == 2
    assert train("plot") == 0
    assert (tmp_path / "recurrence.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("bfloat16", [(), ("--bfloat16",)])
def test_the_perception_stage_begins_from_another_network(
    bfloat16: tuple[str, ...], train: Train, tmp_path: Path
) -> None:
    write_run(tmp_path)
    start = tmp_path / "start.pt"
    (tmp_path / "perception.pt").rename(start)
    assert train("perception", "--steps", 1, "--start", start, *bfloat16) == 0
    content, first = read_checkpoint(tmp_path / "perception.pt"), read_checkpoint(start)
    assert content["network_config"] == first["network_config"]
    assert content["loop_config"]["bfloat16"] is bool(bfloat16)
    # The first step of a warm-up is short: what was learned before is still there.
    moved = {
        key: float((value - content["weights"][key]).abs().max())
        for key, value in first["weights"].items()
        if value.dtype.is_floating_point and "running" not in key
    }
    assert 0.0 < max(moved.values()) < 1e-3


def test_the_quality_of_a_run_is_written_beside_its_checkpoints(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(fitting, "stepper_from_run", lambda _: PaintReader())
    assert train("quality") == 0
    entry = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))
    # The reader takes grey levels for labels, and so a few pictures without a heart for one.
    assert list(entry) == ["weights", "bias", "flag_below", "heart", "fitted_on"]
    model = QualityModel.from_manifest(entry)
    assert 0.0 < model.flag_below < 1.0
    # Two subjects of eight slices each: as they are all right, degraded often not.
    fitted = entry["fitted_on"]
    assert 16 < fitted["frames"] <= 32
    assert 0 < fitted["gross"] <= fitted["frames"] - 16
    assert fitted["auroc"] > 0.9
    assert capsys.readouterr().out == f"quality fitted: {fitted}\n"


def test_frames_that_are_all_right_leave_the_auroc_open(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "stepper_from_run", lambda _: PaintReader())
    monkeypatch.setattr("lvedge.training.judging.degraded", lambda frame, _: frame)
    assert train("quality") == 0

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = (tmp_path / "quality.json").read_text(encoding="utf-8")
    fitted = json.loads(text, parse_constant=refuse)["fitted_on"]
    assert fitted.pop("no_heart") == fitted.pop("no_heart_given_up") > 0
    assert fitted == {
        "subjects": "its own training and watched subjects",
        "frames": 32,
        "gross": 0,
        "auroc": None,
        "without_lv": 0,
        "without_lv_given_up": 0,
    }


def test_the_quality_of_a_fold_is_fitted_on_what_the_others_left_out(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Fold k's frames hold 2^k gross ones, so that their number tells which folds a model was fitted on."""
    runs = [tmp_path / f"fold{number}" for number in range(5)]
    for run in runs:
        run.mkdir()
    asked: list[tuple[str, list[str]]] = []
    shown: list[int] = []

    def judged(run: str, samples: list[Sample], pictures: Iterable[Frame]) -> JudgedFrames:
        shown.append(sum(1 for _ in pictures))
        asked.append((run, sorted({sample.subject for sample in samples})))
        number = int(run[-1])
        gross = np.arange(40) < 2**number
        features = np.random.default_rng(number).uniform(size=(40, len(FEATURES))) + gross[:, None]
        every = np.ones(40, dtype=bool)
        return JudgedFrames(features, every, every, every, every, gross, every)

    def split_of(fold: int = 0) -> Split:
        return replace(SPLIT, parts={**SPLIT.parts, "test": {"acdc": [f"patient{fold % 4 + 1:03d}"]}})

    monkeypatch.setattr(fitting, "stepper_from_run", lambda run: run.name)
    monkeypatch.setattr(fitting, "read_split", split_of)
    monkeypatch.setattr(fitting, "judged_frames", judged)
    assert train("quality", "--folds", tmp_path) == 0
    assert asked == [(f"fold{k}", [f"patient{k % 4 + 1:03d}"]) for k in range(5)]
    entries = [
        json.loads((folder / "quality.json").read_text(encoding="utf-8"))["fitted_on"]
        for folder in (*runs, tmp_path)
    ]
    assert min(shown) >= len(FITTED_SEEDS) * len(NEGATIVE_KINDS)
    assert [entry["gross"] for entry in entries] == [30, 29, 27, 23, 15, 31]
    assert [entry["frames"] for entry in entries] == [160] * 5 + [200]
    assert entries[2]["subjects"] == "the test subjects of all folds but 2"
    assert len(capsys.readouterr().out.splitlines()) == 6
