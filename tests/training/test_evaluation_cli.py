"""The command lvedge-eval: what it writes, and one line for everything that a user can mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from data_folder import SPLIT, write_data, write_run
from painted_hearts import PaintReader
from scored_records import beat, scored

from lvedge.contract import Floats, ReplayResult, State
from lvedge.errors import DataError
from lvedge.indices import DEFAULT_LAYOUT
from lvedge.training.data.sample import DATA_VARIABLE
from lvedge.training.data.split import Split
from lvedge.training.evaluation import cli, fold
from lvedge.training.evaluation.cli import build_parser, check_complete, command_line, main
from lvedge.training.evaluation.store import Scores
from lvedge.training.evaluation.table import extent, markdown, report

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of data and one of a run."""
    return write_data(tmp_path_factory.mktemp("data")), write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def evaluated(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command on the small data set."""
    monkeypatch.setattr(cli, "read_split", lambda **_fold: SPLIT)
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
        (["--jobs", "0"], "argument --jobs: '0' is not a whole number of at least 1"),
        (["--only", "0"], "--only chooses among the folds of --folds"),
        (["--folds", "x", "--only", "5"], "argument --only: '5' is not a whole number from 0 to 4"),
        (["--folds", "x", "--run", "y"], "argument --run: not allowed with argument --folds"),
        (["--folds", "x", "--part", "watch"], "--folds measures every fold's test part with its own quality"),
        (["--folds", "x", "--fold", "1"], "--folds measures every fold's test part with its own quality"),
        (["--folds", "x", "--training", "acdc"], "--folds measures every fold's test part with its own"),
        (["--training", "all"], "argument --training: invalid choice: 'all'"),
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
        "folds": None,
        "only": None,
        "part": "test",
        "fold": 0,
        "training": "fold",
        "quality": None,
        "starts": 5,
        "limit": None,
        "lvquan18": None,
        "out": None,
        "markdown": None,
        "plots": None,
        "slices": None,
        "keep": None,
        "jobs": 1,
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
    assert captured.out == f"{extent(figures)}\n\n{markdown(figures)}"
    assert list(figures) == [
        "protocol",
        "command",
        "form",
        "part",
        "training",
        "folds",
        "partial",
        "subjects",
        "versions",
        "acdc",
        "quality",
        "retrieval",
        "refusals",
        "volumes",
        "york",
        "sunnybrook",
    ]
    assert [figures[key] for key in ("form", "part", "folds", "partial")] == ["hold-out", "test", [0], False]
    assert figures["subjects"] == {"acdc": 2, "york": 1, "named_in": "lvedge/training/data/split.json"}
    acdc, york = figures["acdc"], figures["york"]
    assert acdc["mid_slices"] == 8  # two subjects, two slices, two phases
    for clip in (acdc, acdc["warm"], acdc["hand_made"]):
        assert clip["mid_slices"] == 8
        found = [clip[name]["mean"] for name in ("coverage", "dice_cavity", "dice_myocardium")]
        assert found == [0.0, 0.0, 0.0]
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
    assert york["phase_error_live_second_beat"]["mean"] == 1.0
    assert york["complete_slices"] == 1
    assert figures["sunnybrook"]["frames"] == 0
    assert figures["volumes"]["given"] == 0
    assert sum(kind["returned"] for kind in figures["refusals"].values()) == 0
    lines = [json.loads(line, parse_constant=refuse) for line in slices.read_text().splitlines()]
    expected = [(u, k, p) for u in SPLIT.subjects("acdc", "test") for p in ("ED", "ES") for k in range(4)]
    assert [(s["subject"], s["slice_index"], s["phase"]) for s in lines] == expected
    assert not any(s["found"] for s in lines)


def test_a_network_that_reads_what_is_drawn_is_right(
    evaluated: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fold, "stepper_from_run", lambda _: PaintReader())
    out = tmp_path / "figures.json"
    assert evaluated("--out", out, "--starts", 4) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    acdc, york = figures["acdc"], figures["york"]
    assert [acdc["coverage"]["mean"], york["coverage"]["mean"]] == [1.0, 1.0]
    assert acdc["dice_cavity"]["mean"] > 0.95
    assert acdc["geometric"]["dims_mm"]["mean"] < 1.0
    assert acdc["locator"]["within_6mm"]["mean"] == acdc["septum"]["within_15deg"]["mean"] == 1.0
    # Frame by frame one is late at either end of systole, wherever the beat begins; of a whole beat none is.
    errors = ("phase_error_stored", "phase_error_random_start", "phase_error_live_second_beat")
    assert [york[name]["mean"] for name in errors] == [0.0, 0.0, 0.1]
    assert york["phase_error_layer_alone"]["mean"] == 0.1
    assert acdc["septum"]["sector_confusion"]["mean"] == 0.0
    assert acdc["hausdorff_mm"]["endocardium"]["max"]["mean"] < 3.6
    assert acdc["warm"]["coverage"]["mean"] == acdc["hand_made"]["coverage"]["mean"] == 1.0
    assert abs(acdc["warm_minus_cold"]["regressed"]["rwt_mm"]["mean"]) < 0.1
    assert acdc["retest"]["shift"]["geometric"]["dims_mm"]["mean"] < 0.1
    assert (york["ed_off_median_frames"], york["es_off_median_frames"]) == (0.0, 0.0)
    assert york["dice_cavity"]["mean"] > 0.95


@pytest.mark.parametrize(("source", "counts"), [("acdc", (0, 3)), ("york", (4, 0))])
def test_a_run_of_one_source_is_measured_on_the_whole_other(
    source: str,
    counts: tuple[int, int],
    evaluated: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(fold, "stepper_from_run", lambda _: PaintReader())
    out, page = tmp_path / "figures.json", tmp_path / "page.md"
    assert evaluated("--out", out, "--markdown", page, "--starts", 1, "--training", source) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert (figures["form"], figures["training"]) == ("other source", source)
    assert (figures["subjects"]["acdc"], figures["subjects"]["york"]) == counts
    assert figures["retrieval"] == {"subjects": 0}
    (relative,) = (
        figures[name]["areas_relative_error"]
        for name, count in zip(("acdc", "york"), counts, strict=True)
        if count
    )
    assert relative["cavity"]["mean"] < 0.1


def test_the_limit_is_of_subjects_and_the_part_is_named(
    evaluated: Callable[..., int], tmp_path: Path
) -> None:
    found = {}
    for part, limit in (("test", 1), ("watch", 5)):
        out = tmp_path / f"{part}.json"
        assert evaluated("--out", out, "--part", part, "--limit", limit, "--starts", 1) == 0
        figures = json.loads(out.read_text(encoding="utf-8"))
        assert figures["partial"] is True
        found[part] = (figures["part"], figures["subjects"]["acdc"], figures["subjects"]["york"])
        command = figures["command"].split()
        assert command[0] == "lvedge-eval"
        assert command[-6:] == ["--part", part, "--limit", str(limit), "--starts", "1"]
    assert found == {"test": ("test", 1, 1), "watch": ("watch", 1, 1)}


def test_no_subject_is_named_in_the_figures(evaluated: Callable[..., int], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    assert evaluated("--out", out, "--starts", 1, "--limit", 1) == 0
    assert "patient" not in out.read_text(encoding="utf-8")


def test_the_report_and_the_plots_are_written(
    evaluated: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(fold, "stepper_from_run", lambda _: PaintReader())
    out, page, plots = tmp_path / "figures.json", tmp_path / "deep" / "page.md", tmp_path / "plots"
    assert evaluated("--out", out, "--markdown", page, "--plots", plots, "--starts", 1, "--limit", 1) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert page.read_text(encoding="utf-8") == report(figures)
    assert sorted(path.name for path in plots.iterdir()) == [
        "areas.png",
        "dims.png",
        "quality.png",
        "rwt.png",
    ]
    assert str(tmp_path) not in out.read_text(encoding="utf-8") + page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--run", "runs/a", "--limit", "2"], "lvedge-eval --run runs/a --limit 2"),
        (["--data", "/some/where/data", "--out=/a/b.json"], "lvedge-eval --data data --out=b.json"),
        ([], "lvedge-eval "),
    ],
)
def test_the_command_is_kept_without_the_folders_of_absolute_paths(words: list[str], shown: str) -> None:
    assert command_line(words) == shown


# --- cross-validation ------------------------------------------------------------------------------

FOLD_SPLITS = [
    Split(
        {
            "train": {"acdc": ["patient001"], "york": ["1"]},
            "watch": {"acdc": [], "york": []},
            "test": {"acdc": [acdc], "york": [york]},
        }
    )
    for acdc, york in (("patient003", "3"), ("patient004", "2"))
]


class Thick(PaintReader):
    """Regresses every wall by this much more."""

    more_px = 1.0

    def replay(self, features: Floats, state: State) -> ReplayResult:
        result = super().replay(features, state)
        result.indices[:, DEFAULT_LAYOUT.rwt] += np.float32(self.more_px)
        return result


@pytest.fixture
def cross_validated(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., int]:
    """The command on two folds: the first one's network reads right, the other's walls are 2 mm too thick."""
    for name, number in (("FOLDS", 2), ("ACDC_MID_SLICES", 8), ("YORK_SUBJECTS", 2)):
        monkeypatch.setattr(cli, name, number)
    monkeypatch.setattr(cli, "read_split", lambda **of: FOLD_SPLITS[of["fold"]])
    readers = {"fold0": PaintReader(), "fold1": Thick()}
    monkeypatch.setattr(fold, "stepper_from_run", lambda run: readers[run.name])
    for name in readers:
        (tmp_path / "cv" / name).mkdir(parents=True)

    def evaluate(*args: object) -> int:
        return main(
            ["--data", str(folders[0]), "--folds", str(tmp_path / "cv"), "--starts", "1", *map(str, args)]
        )

    return evaluate


def test_each_fold_is_measured_by_its_own_network_and_all_are_pooled(
    cross_validated: Callable[..., int], tmp_path: Path, capsys: Capture
) -> None:
    found = {}
    for name, only in (("all", []), ("first", ["--only", 0]), ("second", ["--only", 1])):
        out = tmp_path / f"{name}.json"
        assert cross_validated("--out", out, *only) == 0
        found[name] = json.loads(out.read_text(encoding="utf-8"))
    said = {name: figures["acdc"]["regressed"]["rwt_mm"] for name, figures in found.items()}
    assert said["second"]["mean"] - said["first"]["mean"] == pytest.approx(2.0, abs=0.3)
    assert said["all"]["mean"] == pytest.approx(
        (said["first"]["mean"] + said["second"]["mean"]) / 2, abs=1e-3
    )
    assert [figures["acdc"]["mid_slices"] for figures in found.values()] == [8, 4, 4]
    assert [figures["subjects"]["york"] for figures in found.values()] == [2, 1, 1]
    assert [figures["folds"] for figures in found.values()] == [[0, 1], [0], [1]]
    assert [figures["partial"] for figures in found.values()] == [False, True, True]
    assert {figures["form"] for figures in found.values()} == {"cross-validation"}
    lines = [line for line in capsys.readouterr().out.splitlines() if "cross-validation" in line]
    assert [line.startswith("PARTIAL") for line in lines] == [False, True, True]


def test_a_cross_validation_that_is_not_whole_is_refused(
    cross_validated: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(cli, "ACDC_MID_SLICES", 1041)
    assert cross_validated() == 2
    assert line_of(capsys) == (
        "8 different mid slices of acdc were scored cold, 8 in all, not 1041: the data set or the split is "
        "not whole"
    )
    assert cross_validated("--only", 0) == 0


def test_a_fold_that_was_not_trained_is_named(
    cross_validated: Callable[..., int], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "cv" / "fold1").rmdir()
    assert cross_validated() == 2
    assert line_of(capsys).startswith(f"no run at {tmp_path / 'cv' / 'fold1'}: train it with lvedge-train")


def test_all_slices_and_subjects_have_to_be_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("ACDC_MID_SLICES", 2), ("YORK_SUBJECTS", 1)):
        monkeypatch.setattr(cli, name, number)
    pair = (scored("a"), scored("b"))
    whole = Scores(cold=(*pair, scored("c", mid=False)), warm=pair, hand_made=pair, beats=(beat("1"),) * 2)
    check_complete(whole)
    for changed, words in (
        (
            replace(whole, cold=(*pair, scored("a"))),
            "2 different mid slices of acdc were scored cold, 3 in all",
        ),
        (replace(whole, warm=pair[:1]), "1 different mid slices of acdc were scored warm"),
        (replace(whole, hand_made=()), "0 different mid slices of acdc were scored hand-made"),
        (replace(whole, beats=(beat("1"), beat("2"))), "2 subjects of york were scored, not 1"),
    ):
        with pytest.raises(DataError, match=words):
            check_complete(changed)
