"""The comparison: every difference, interval and verdict below can be worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from scored_records import scored as scored_slice

from benchmarks.baselines.compare import compare, main, means_of_ours, read_slices, verdict
from benchmarks.baselines.result import (
    LINES,
    Means,
    Place,
    acdc_means,
    means_by_place,
    read_result,
    write_fold,
    york_means,
)
from lvedge.errors import DataError
from lvedge.training.data import Split, read_split
from lvedge.training.evaluation.beat import ScoredBeat
from lvedge.training.evaluation.still import ScoredSlice

NAN, INF = float("nan"), float("inf")
TRUTH = np.array([6.0] * 6 + [40.0] * 3 + [1200.0, 1000.0])
BY_KEY = {line.key: line for line in LINES}


def scored(subject: str, off: float = 0.0, **changes: Any) -> ScoredSlice:
    """A mid slice whose every value is off by so much."""
    return scored_slice(subject, off, **{"septum_deg": 3.0, "hausdorff_mm": np.zeros(4), **changes})


def beat(subject: str, **changes: Any) -> ScoredBeat:
    """Ten frames whose cavity is largest at frame 0 and smallest at frame 4; systole is said right."""
    cavity = 1000.0 + 200.0 * np.array([5, 4, 2, 0.5, 0, 1, 2, 3, 4, 4.5])
    areas = np.column_stack([cavity, np.full(10, 900.0)])
    systole = np.arange(10) < 4
    scored_beat = ScoredBeat(
        subject=subject,
        slice_index=2,
        start=0,
        found=np.ones(10, dtype=bool),
        systole_true=systole,
        systole_said=systole,
        systole_layer=systole,
        systole_live=systole,
        clock=systole,
        ed_off=0.0,
        es_off=1.0,
        areas_true=areas,
        areas_regressed=areas,
        centre_mm=1.0,
        dice=(0.9, 0.8),
    )
    return replace(scored_beat, **changes)


def sides(ours: list[float], theirs: list[float], key: str = "rwt_mm") -> dict[str, Any]:
    """What the comparison says of one line, from each subject's means on both sides."""
    own: dict[Place, Means] = {Place("acdc", 0, k): {key: value} for k, value in enumerate(ours)}
    subjects = {"acdc": [{key: value} for value in theirs]}
    found = compare(own, {"method": "other", "folds": {"0": {"subjects": subjects}}})
    assert list(found) == [key]
    line: dict[str, Any] = found[key]
    return line


# --- the verdict -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "better", "worse"), [("rwt_mm", "ahead", "behind"), ("dice_cavity", "behind", "ahead")]
)
def test_less_is_better_for_an_error_and_worse_for_dice(key: str, better: str, worse: str) -> None:
    assert sides([0.5, 0.6], [0.7, 0.8], key)["verdict"] == better
    assert sides([0.7, 0.8], [0.5, 0.6], key)["verdict"] == worse
    assert sides([0.7, 0.8], [0.7, 0.8], key)["verdict"] == "level"


def test_a_difference_of_either_sign_is_level() -> None:
    # Differences -1 and 1: of two subjects a draw has -1, 0 or 1, the outer ones in a quarter each.
    found = sides([1.0, 3.0], [2.0, 2.0])
    assert found == {
        "lvedge": 2.0,
        "baseline": 2.0,
        "difference": 0.0,
        "interval_95": [-1.0, 1.0],
        "subjects": 2,
        "verdict": "level",
    }


def test_the_interval_is_that_of_the_paired_difference() -> None:
    # The subjects lie far apart, the two sides always 0.01: unpaired nobody could say who is ahead.
    theirs = [1.0, 5.0, 9.0, 20.0]
    found = sides([value - 0.01 for value in theirs], theirs)
    assert found["interval_95"] == [-0.01, -0.01]
    assert (found["lvedge"], found["baseline"], found["verdict"]) == (8.74, 8.75, "ahead")
    # The same values on other subjects are no pairs of that kind.
    assert sides([value - 0.01 for value in theirs[::-1]], theirs)["verdict"] == "level"


def test_an_interval_that_ends_at_zero_does_not_exclude_it() -> None:
    line = BY_KEY["rwt_mm"]
    assert verdict({"interval_95": [-0.2, 0.0], "subjects": 9}, line) == "level"
    assert verdict({"interval_95": [-0.2, -0.0001], "subjects": 9}, line) == "ahead"
    assert verdict({"interval_95": [0.0001, 0.2], "subjects": 9}, line) == "behind"


def test_one_subject_proves_nothing() -> None:
    assert sides([0.1], [9.0])["verdict"] == "level"


def test_a_subject_without_the_figure_on_one_side_is_no_pair() -> None:
    own: dict[Place, Means] = {
        Place("acdc", 0, 0): {"rwt_mm": 1.0},
        Place("acdc", 0, 1): {"rwt_mm": None},
        Place("acdc", 1, 0): {"rwt_mm": 9.0},
    }
    rows = [{"rwt_mm": 3.0}, {"rwt_mm": 4.0}]
    found = compare(own, {"method": "other", "folds": {"0": {"subjects": {"acdc": rows}}}})
    assert (found["rwt_mm"]["subjects"], found["rwt_mm"]["difference"]) == (1, -2.0)


def test_a_measured_subject_that_lvedge_lacks_is_named_by_its_fold() -> None:
    own: dict[Place, Means] = {Place("acdc", 0, 0): {"rwt_mm": 1.0}}
    rows: dict[str, list[Means]] = {"acdc": [{"rwt_mm": 3.0}], "york": [{"york_coverage": 1.0}]}
    baseline = {"method": "other", "folds": {"0": {"subjects": rows}}}
    assert list(compare(own, baseline)) == ["rwt_mm"]  # lvedge's slices say nothing of york at all
    baseline["folds"]["3"] = {"subjects": rows}  # type: ignore[index]
    with pytest.raises(DataError, match=r"lvedge's side lacks 1 subjects that other measured \(fold 3\)"):
        compare(own, baseline)


# --- means by subject ------------------------------------------------------------------------------


def test_the_lines_of_acdc() -> None:
    slices = [
        scored("a", off=1.0),
        scored("a", off=-3.0, found=False, dice=(0.0, 0.0), centre_mm=5.5, septum_deg=15.5),
        scored("a", off=99.0, mid=False, centre_mm=INF),
        scored("a", off=99.0, mid=False, has_lv=False, truth=np.full(11, NAN), centre_mm=NAN),
        scored("b", septum_deg=NAN),
        scored("c", mid=False, has_lv=False, centre_mm=NAN),
    ]
    means = acdc_means(slices)
    assert means["a"] == {
        "coverage": 0.5,
        "rwt_mm": 2.0,
        "dims_mm": 2.0,
        "areas_mm2": 2.0,
        "dice_cavity": 0.45,
        "dice_myocardium": 0.4,
        "centre_within_5mm": pytest.approx(1 / 3, abs=1e-6),
        "septum_within_15deg": 0.5,
    }
    assert (means["b"]["septum_within_15deg"], means["b"]["rwt_mm"]) == (0.0, 0.0)
    assert set(means["c"].values()) == {None}


def test_the_lines_of_york() -> None:
    first = beat("1")
    means = york_means(
        [
            replace(
                first, areas_regressed=first.areas_true + np.array([57.5, -90.0]), ed_off=2.0, es_off=5.0
            ),
            replace(first, start=5, systole_said=~first.systole_true),
        ]
    )
    assert set(means["1"]) == {line.key for line in LINES if line.source == "york"}
    assert means["1"] == {
        "york_coverage": 1.0,
        "phase_error_stored": 0.0,
        "phase_error_random": 0.5,
        "ed_off_frames": 2.0,
        "es_off_frames": 5.0,
        "cavity_relative": pytest.approx(57.5 / first.areas_true[:, 0].mean(), abs=1e-6),
        "myocardium_relative": 0.1,
    }


# --- the file of a method --------------------------------------------------------------------------

SPLIT = Split({"test": {"acdc": ["patient007", "patient003"], "york": ["11"]}})


def test_a_fold_is_set_beside_the_others_and_nobody_is_named(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "other.json"

    def written(fold: int, off: float) -> dict[str, Any]:
        slices = [scored("patient003", off), scored("patient007", off + 1.0)]
        return write_fold(
            path, "other", "words", fold, SPLIT, slices, [beat("11")], {"command": f"fold {fold}"}
        )

    written(0, 1.0)
    written(2, 5.0)
    content = written(0, 3.0)
    assert read_result(path) == content
    assert "patient" not in path.read_text()
    assert [(k, e["command"], e["mid_slices"]) for k, e in content["folds"].items()] == [
        ("0", "fold 0", 2),
        ("2", "fold 2", 2),
    ]
    # In the order of the split: 007 first.
    assert [m["rwt_mm"] for m in content["folds"]["0"]["subjects"]["acdc"]] == [4.0, 3.0]
    assert content["figures"]["rwt_mm"]["mean"] == 4.5  # of 4, 3, 6 and 5
    assert content["figures"]["rwt_mm"]["subjects"] == 4
    assert content["figures"]["es_off_frames"]["mean"] == 1.0
    assert set(content["figures"]) == set(BY_KEY)
    assert means_by_place(content)[Place("acdc", 2, 1)]["rwt_mm"] == 5.0


def test_a_method_that_measures_no_beat_has_no_line_of_york(tmp_path: Path) -> None:
    slices = [scored("patient003"), scored("patient007")]
    content = write_fold(tmp_path / "m.json", "m", "words", 0, SPLIT, slices, [], {})
    assert set(content["figures"]) == {line.key for line in LINES if line.source == "acdc"}


@pytest.mark.parametrize("text", ["", "[]", '{"folds": {}}', '{"method": "m", "folds": {"x": 1}}'])
def test_what_is_no_method_s_file_is_said(text: str, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"some\.json does not hold a method's results"):
        read_result(path)


# --- lvedge's own side -----------------------------------------------------------------------------


def jsonl(path: Path, slices: list[ScoredSlice]) -> Path:
    path.write_text("".join(json.dumps(s.as_json()) + "\n" for s in slices))
    return path


def test_written_slices_come_back_as_they_were(tmp_path: Path) -> None:
    slices = [
        scored("patient003", 0.25),
        scored(
            "patient007", has_lv=False, truth=np.full(11, NAN), dice=(NAN, 0.0), septum_deg=NAN, centre_mm=NAN
        ),
    ]
    for read, wrote in zip(read_slices(jsonl(tmp_path / "s.jsonl", slices)), slices, strict=True):
        np.testing.assert_equal(vars(read), vars(wrote))


def test_slices_are_put_where_the_split_has_their_subjects(tmp_path: Path) -> None:
    first, second = read_split(fold=1).subjects("acdc", "test")[:2]
    other = read_split(fold=4).subjects("acdc", "test")[3]
    files = [
        jsonl(tmp_path / "one.jsonl", [scored(second, 2.0), scored(first, 1.0)]),
        jsonl(tmp_path / "four.jsonl", [scored(other, 3.0)]),
    ]
    found = {place: means["rwt_mm"] for place, means in means_of_ours(files).items()}
    assert found == {Place("acdc", 1, 0): 1.0, Place("acdc", 1, 1): 2.0, Place("acdc", 4, 3): 3.0}


def test_a_subject_of_no_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stands in no fold: patient999"):
        means_of_ours([jsonl(tmp_path / "s.jsonl", [scored("patient999")])])


# --- the command -----------------------------------------------------------------------------------


def test_the_command_writes_figures_and_a_table_that_cites_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = read_split(fold=0)
    who = split.subjects("acdc", "test")
    ours = jsonl(tmp_path / "ours.jsonl", [scored(s, 0.5, dice=(0.95, 0.9)) for s in who])
    slices = [scored(s, 1.0) for s in who]
    write_fold(tmp_path / "other.json", "other", "words", 0, split, slices, [beat("1")], {})
    out = tmp_path / "compare.json"
    files = ["--ours", str(ours), "--baseline", str(tmp_path / "other.json"), "--out", str(out)]
    assert main(files) == 0
    found = json.loads(out.read_text())["methods"]["other"]
    assert {key: line["verdict"] for key, line in found.items()} == {
        "coverage": "level",
        "rwt_mm": "ahead",
        "dims_mm": "ahead",
        "areas_mm2": "ahead",
        "dice_cavity": "ahead",
        "dice_myocardium": "ahead",
        "centre_within_5mm": "level",
        "septum_within_15deg": "level",
    }
    table = out.with_suffix(".md").read_text()
    assert capsys.readouterr().out == table
    assert f"<!-- figures: {out.as_posix()} -->\n| figure | lvedge | other |" in table
    assert "| wall thickness, mm | 0.500 | 1.000 | -0.500 | [-0.500, -0.500] | 20 | ahead |" in table
    assert "| coverage of mid slices, % | 100.0 | 100.0 | 0.0 | [0.0, 0.0] | 20 | level |" in table


def test_lvedge_measured_like_a_baseline_is_compared_on_york_too(tmp_path: Path) -> None:
    split = read_split(fold=0)
    acdc, york = split.subjects("acdc", "test"), split.subjects("york", "test")
    for name, off in (("lvedge", 1.0), ("other", 2.0)):
        slices, beats = [scored(s, off) for s in acdc], [beat(s, ed_off=off) for s in york]
        write_fold(tmp_path / f"{name}.json", name, "words", 0, split, slices, beats, {})
    out = tmp_path / "compare.json"
    files = ["--ours", str(tmp_path / "lvedge.json"), "--baseline", str(tmp_path / "other.json")]
    assert main([*files, "--out", str(out)]) == 0
    found = json.loads(out.read_text())["methods"]["other"]
    assert set(found) == set(BY_KEY)
    assert (found["ed_off_frames"]["verdict"], found["ed_off_frames"]["subjects"]) == ("ahead", len(york))
    assert found["es_off_frames"]["verdict"] == "level"


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        ("none.jsonl", "no scored slices can be read from none.jsonl: No such file or directory"),
        ("none.json", "no results at none.json: measure the method first"),
        ("bad.jsonl", "bad.jsonl: line 1 is no scored slice: KeyError: 'subject'"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    ours: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text("{}\n")
    assert main(["--ours", ours, "--baseline", "none.json"]) == 2
    assert capsys.readouterr().err == f"benchmarks.baselines.compare: error: {said}\n"
