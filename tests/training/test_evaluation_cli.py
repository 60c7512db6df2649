"""The command lvedge-eval: what it writes, and one line for everything that a user can mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from data_folder import SPLIT, write_data, write_run  # noqa: E402
from lvedge.training.evaluation_cli import build_parser, main, quality_of_run  # noqa: E402
from painted_hearts import PaintReader  # noqa: E402

from lvedge.errors import BundleError, DataError  # noqa: E402
from lvedge.quality import DEFAULT_QUALITY, FEATURES, QualityModel  # noqa: E402
from lvedge.training import evaluation_cli  # noqa: E402
from lvedge.training.data.sample import DATA_VARIABLE  # noqa: E402
from lvedge.training.evaluation import markdown  # noqa: E402

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of data and one of a run."""
    return write_data(tmp_path_factory.mktemp("data")), write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def evaluated(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command on the small data set."""
    monkeypatch.setattr(evaluation_cli, "read_split", lambda fold: SPLIT)
    data, run = folders

    def evaluate(*args: object) -> int:
        return main(["--data", str(data), "--run", str(run), *map(str, args)])

    return evaluate


def line_of(capsys: Capture) -> str:
    """The one line on standard error; nothing may stand on standard output."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("lvedge-eval: error: ")
    return line.removeprefix("lvedge-eval: error: ")


# --- what a user can mend --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--part", "all"], "argument --part: invalid choice: 'all'"),
        (["--starts", "0"], "argument --starts: '0' is not a whole number from 1 to 20"),
        (["--starts", "21"], "argument --starts: '21' is not a whole number from 1 to 20"),
        (["--limit", "0"], "argument --limit: '0' is not a whole number of at least 1"),
        (["--limit", "-3"], "argument --limit: '-3' is not a whole number of at least 1"),
        (["--limit", "1.5"], "argument --limit: '1.5' is not a whole number of at least 1"),
        (["--threads", "many"], "argument --threads: 'many' is not a whole number of at least 0"),
        (["somewhere"], "unrecognized arguments: somewhere"),
    ],
)
def test_arguments_that_cannot_be_meant(args: list[str], words: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as raised:
        main(args)
    assert raised.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith(f"lvedge-eval: error: {words}")


def test_without_arguments_the_test_subjects_of_the_default_run_are_scored() -> None:
    options = vars(build_parser().parse_args([]))
    assert options == {
        "data": None,
        "run": "runs/default",
        "part": "test",
        "quality": None,
        "starts": 5,
        "limit": None,
        "out": None,
        "slices": None,
        "threads": 0,
    }


def test_missing_data_is_one_line(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    where = tmp_path / "none"
    assert main(["--data", str(where)]) == 2
    assert line_of(capsys) == f"no data at {where}: name the folder with --data or $LVEDGE_DATA"
    # A variable that points nowhere is not passed over for data that happen to lie beside the checkout.
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv(DATA_VARIABLE, str(where))
    assert main([]) == 2
    assert line_of(capsys) == f"no data at {where}: name the folder with --data or $LVEDGE_DATA"


def test_a_folder_without_the_data_sets_is_one_line(
    folders: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    assert main(["--data", str(tmp_path), "--run", str(folders[1])]) == 2
    said = line_of(capsys)
    assert said.startswith(f"no {tmp_path / 'acdc'}")
    assert said.endswith("Info.cfg: name the folder that holds acdc/ with --data")


def test_a_missing_run_is_one_line(folders: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    assert main(["--data", str(folders[0]), "--run", str(tmp_path)]) == 2
    expected = f"no checkpoint at {tmp_path / 'perception.pt'}: train first, or name another with --run"
    assert line_of(capsys) == expected


def test_a_named_quality_model_that_is_missing_is_one_line(
    evaluated: Callable[..., int], tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "none.json"
    assert evaluated("--quality", path) == 2
    assert line_of(capsys).startswith(f"no quality model can be read from {path}: ")


# --- the quality model -----------------------------------------------------------------------------


def test_the_quality_model_is_the_named_one_then_the_run_s_then_the_unfitted_one(tmp_path: Path) -> None:
    assert quality_of_run(tmp_path) is DEFAULT_QUALITY
    for name, bias in (("quality.json", 1.0), ("other.json", 2.0)):
        model = QualityModel(np.full(len(FEATURES), -0.5), bias, 0.25)
        (tmp_path / name).write_text(json.dumps(model.as_manifest()), encoding="utf-8")
    assert quality_of_run(tmp_path).bias == 1.0
    assert quality_of_run(tmp_path, str(tmp_path / "other.json")).bias == 2.0


@pytest.mark.parametrize("text", ["", "[1]", "{", "null"])
def test_a_file_that_is_no_quality_model_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "quality.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"no quality model can be read from .*quality\.json: "):
        quality_of_run(tmp_path)


def test_a_quality_model_of_other_features_is_refused(tmp_path: Path) -> None:
    entry = {"weights": {"other": 1.0}, "bias": 1.0, "flag_below": 0.5}
    (tmp_path / "quality.json").write_text(json.dumps(entry), encoding="utf-8")
    with pytest.raises(BundleError, match="reads other features"):
        quality_of_run(tmp_path)


# --- figures ---------------------------------------------------------------------------------------


def test_a_network_that_returns_nothing_is_scored_all_the_same(
    evaluated: Callable[..., int], tmp_path: Path, capsys: Capture
) -> None:
    out, slices = tmp_path / "deep" / "figures.json", tmp_path / "other" / "slices.jsonl"
    assert evaluated("--out", out, "--slices", slices, "--starts", 2) == 0
    captured = capsys.readouterr()
    assert captured.err == ""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = out.read_text(encoding="utf-8")
    figures = json.loads(text, parse_constant=refuse)
    assert text.endswith("}\n")
    assert captured.out == markdown(figures)
    assert list(figures) == [
        "protocol",
        "command",
        "part",
        "subjects",
        "versions",
        "acdc",
        "york",
        "sunnybrook",
    ]
    assert figures["part"] == "test"
    assert figures["subjects"] == {"acdc": 2, "york": 1, "named_in": "lvedge/training/data/split.json"}
    acdc, york = figures["acdc"], figures["york"]
    assert acdc["mid_slices"] == 8  # two subjects, two slices, two phases
    assert [acdc[name]["mean"] for name in ("coverage", "dice_cavity", "dice_myocardium")] == [0.0, 0.0, 0.0]
    # The means of the training subject, who is the same heart: only the phases differ.
    assert acdc["regressed"]["areas_mm2"] == acdc["geometric"]["areas_mm2"]
    assert [v["bias"] for v in acdc["regressed"]["per_index"].values()] == pytest.approx([0.0] * 11, abs=0.01)
    assert acdc["found_of_slices_with_lv"] == 0.0
    assert (acdc["empty_slices"], acdc["false_lv_on_empty"]) == (0, None)
    # Every phase counts as wrong; the clock of a subject with the same beat is always right.
    assert [york[f"{name}"]["mean"] for name in ("coverage", "phase_error_stored", "clock_error_stored")] == [
        0.0,
        1.0,
        0.0,
    ]
    assert york["complete_slices"] == 1
    assert figures["sunnybrook"]["frames"] == 0
    lines = [json.loads(line, parse_constant=refuse) for line in slices.read_text().splitlines()]
    expected = [(u, k, p) for u in SPLIT.subjects("acdc", "test") for p in ("ED", "ES") for k in range(4)]
    assert [(s["subject"], s["slice_index"], s["phase"]) for s in lines] == expected
    assert not any(s["found"] for s in lines)


def test_a_network_that_reads_what_is_drawn_is_right(
    evaluated: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(evaluation_cli, "stepper_from_run", lambda _: PaintReader())
    out = tmp_path / "figures.json"
    assert evaluated("--out", out, "--starts", 4) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    acdc, york = figures["acdc"], figures["york"]
    assert [acdc["coverage"]["mean"], york["coverage"]["mean"]] == [1.0, 1.0]
    assert acdc["dice_cavity"]["mean"] > 0.95
    assert acdc["geometric"]["dims_mm"]["mean"] < 1.0
    assert acdc["locator"]["within_6mm"]["mean"] == acdc["septum"]["within_15deg"]["mean"] == 1.0
    # One frame late at either end of systole, wherever the beat begins.
    assert york["phase_error_stored"]["mean"] == york["phase_error_random_start"]["mean"] == 0.1
    assert (york["ed_off_median_frames"], york["es_off_median_frames"]) == (0.0, 0.0)
    assert york["dice_cavity"]["mean"] > 0.95


def test_the_limit_is_of_subjects_and_the_part_is_named(
    evaluated: Callable[..., int], tmp_path: Path
) -> None:
    found = {}
    for part, limit in (("test", 1), ("watch", 5)):
        out = tmp_path / f"{part}.json"
        assert evaluated("--out", out, "--part", part, "--limit", limit, "--starts", 1) == 0
        figures = json.loads(out.read_text(encoding="utf-8"))
        found[part] = (figures["part"], figures["subjects"]["acdc"], figures["subjects"]["york"])
        command = figures["command"].split()
        assert command[0] == "lvedge-eval"
        assert command[-6:] == ["--part", part, "--limit", str(limit), "--starts", "1"]
    assert found == {"test": ("test", 1, 1), "watch": ("watch", 1, 1)}


def test_no_subject_is_named_in_the_figures(evaluated: Callable[..., int], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    assert evaluated("--out", out, "--starts", 1, "--limit", 1) == 0
    assert "patient" not in out.read_text(encoding="utf-8")
