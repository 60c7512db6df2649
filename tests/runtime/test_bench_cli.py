"""The command lvedge-bench: a real short run, what it writes, what it compares, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from lvedge.bundle import DEFAULT_PATH, Bundle
from lvedge.contract import Floats, State, StepResult
from lvedge.errors import EngineError
from lvedge_runtime import bench
from lvedge_runtime.bench.cli import build_parser, main
from lvedge_runtime.bench.run import SECTIONS
from lvedge_runtime.bench.start import drop_from_cache, start_of
from lvedge_runtime.demo import write_demo
from lvedge_runtime.engines import ENGINES
from lvedge_runtime.engines.onnxruntime_cpu import OnnxRuntimeCpu

SCHEMA = json.loads((Path(bench.__file__).with_name("bench.schema.json")).read_text("utf-8"))
FRAMES = 5
Json = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's series, one slice of it."""
    return write_demo(tmp_path_factory.mktemp("demo") / "series", slices=1, phases=FRAMES)


@pytest.fixture(scope="module")
def written(folder: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of all sections leaves behind."""
    out = tmp_path_factory.mktemp("bench") / "out"
    options = "--frames 11 --rate 20 --batch 1,2 --streams 1,2 --starts 1 --rounds 2 --live --quiet"
    assert main(["run", "--stream", str(folder), "--out", str(out), *options.split()]) == 0
    return out


@pytest.fixture
def told(written: Path) -> Json:
    content: Json = json.loads((written / "bench.json").read_text("utf-8"))
    return content


def saved(path: Path, content: object) -> str:
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_run_writes_what_its_schema_says(told: Json) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(told, SCHEMA)
    assert set(SECTIONS) <= set(told)
    assert told["source"] == "series"
    assert [way["streams"] for way in told["way"]] == [1, 2]
    assert [(run["rate"], run["streams"]) for run in told["paced"]] == [(20.0, 1), (20.0, 2)]
    assert {case["engine"] for case in told["steps"]["cases"]} | set(told["steps"]["absent"]) == set(ENGINES)
    assert all(way["total"]["n"] >= 11 for way in told["way"])
    paced = {"paced, 20/s x 1", "paced, 20/s x 2"}
    ways = {"way, 1 stream(s)", "way, 2 stream(s)", "together, 2 streams"}
    assert set(told["sensors"]) == {*ways, *paced, "steps"}
    assert [case["streams"] for case in told["together"]["cases"]] == [2]


def test_what_is_written_names_no_place(written: Path, folder: Path) -> None:
    text = (written / "bench.json").read_text("utf-8")
    assert str(folder.parent) not in text
    assert str(Path.home()) not in text


def test_the_timed_results_were_those_of_the_untimed_run(told: Json) -> None:
    parts = [*told["way"], *told["paced"], *told["together"]["cases"], *told["steps"]["cases"]]
    assert all(part["state_carry"]["agrees"] for part in parts)
    assert all(way["state_carry"]["identical"] for way in told["way"])


def test_the_stages_of_the_way_are_all_there(told: Json) -> None:
    stages = ["source", "decode", "locate", "view", "step", "read", "lookup", "sinks"]
    assert list(told["way"][0]["stages"]) == stages


def test_the_plot_shows_every_timing_in_its_colour(written: Path) -> None:
    image = cv2.imread(str(written / "bench.png"))
    assert image is not None
    from lvedge_runtime.bench.plot import COLOURS

    for colour in COLOURS[:4]:
        assert (image == np.array(colour)).all(axis=2).sum() > 30


def test_a_run_prints_its_tables(folder: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--frames 1 --sections way,steps --batch 1"
    assert main(["run", "--stream", str(folder), *options.split()]) == 0
    printed = capsys.readouterr()
    for words in (
        "bundle",
        "the way of a frame, back to back",
        "replay",
        "rest",
        "a frame in all",
        "bit for bit",
    ):
        assert words in printed.out
    assert "the step alone" in printed.out
    assert printed.err.startswith("lvedge-bench: way: 1 frames back to back")


class Leaking(OnnxRuntimeCpu):
    """Hides its state, and carries it from one slice into the next."""

    name = "leaking"
    hidden: State | None = None

    def _step(self, frame: Floats, state: State) -> StepResult:
        result = super()._step(frame, state if self.hidden is None else self.hidden)
        self.hidden = result.state
        return result


def test_a_run_that_differs_from_the_untimed_one_fails(
    folder: Path, bundle: Bundle, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lvedge_runtime.engines.ENGINES", {"leaking": f"{__name__}:Leaking"})
    options = "--frames 1 --sections way,steps --batch 1 --engine leaking --quiet"
    assert main(["run", "--stream", str(folder), *options.split()]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("RESULTS DIFFER from the untimed run, first at frame 0") == 2


def test_a_start_ends_with_the_first_result(folder: Path, bundle: Bundle) -> None:
    told = start_of(["--stream", str(folder)], [], warm=1, cold=0)
    assert told["first_result_s"]["median"] > told["imports_alone_s"]["median"] / 2 > 0
    assert told["cold_first_result_s"] is None


def test_a_cold_start_forgets_the_files_that_the_command_reads(
    folder: Path, bundle: Bundle, monkeypatch
) -> None:
    asked: list[list[Path]] = []
    monkeypatch.setattr(
        "lvedge_runtime.bench.start.start_of", lambda _command, files, *_: asked.append(files)
    )
    for source in (str(folder), f"dicom:{folder}", "demo:"):
        plan = [
            "run",
            "--stream",
            source,
            "--bundle",
            str(DEFAULT_PATH),
            "--sections",
            "start",
            "--quiet",
        ]
        assert main(plan) == 0
    pictures = set(folder.iterdir())
    assert [set(files) for files in asked] == [
        pictures | {DEFAULT_PATH},
        pictures | {DEFAULT_PATH},
        {DEFAULT_PATH},
    ]


def test_files_are_dropped_from_the_page_cache_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(bytes(5000))
    assert drop_from_cache([tmp_path / "there", tmp_path / "gone"]) == 1
    assert (tmp_path / "there").read_bytes() == bytes(5000)


def test_a_start_without_a_result_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"gave no result: lvedge-run: error: .*there is no such file"):
        start_of(["--stream", f"npz:{tmp_path / 'nothing.npz'}"], [], warm=1, cold=0)


def with_steps(told: Json, factor: float) -> Json:
    """The run as it would be with steps of 10 to 12 ms, so many times as long."""
    other = deepcopy(told)
    for case in other["steps"]["cases"]:
        case["total"]["ms"] = [factor * (10.0 + k % 3) for k in range(60)]
    return other


@pytest.mark.parametrize(("factor", "word"), [(3.0, "slower"), (0.2, "faster"), (1.0, "level")])
def test_two_runs_are_compared(
    told: Json, tmp_path: Path, capsys: pytest.CaptureFixture[str], factor: float, word: str
) -> None:
    before, after = (
        saved(tmp_path / f"{name}.json", with_steps(told, times))
        for name, times in (("a", 1.0), ("b", factor))
    )
    assert main(["compare", before, after]) == 0
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if "batch 1" in line]
    assert [word in line for line in lines] == [True] * len(lines) != []
    assert printed.err == ""


def test_a_comparison_says_what_else_differs(told: Json, tmp_path: Path, capsys) -> None:
    other = deepcopy(told)
    other["machine"]["processor"] = "another"
    assert main(["compare", saved(tmp_path / "a.json", told), saved(tmp_path / "b.json", other)]) == 0
    assert "not the software alone: processor: " in capsys.readouterr().err


TRTEXEC = [
    {
        "startEnqMs": 0.0, "endEnqMs": 0.1, "startH2dMs": 0.0, "endH2dMs": 0.25, "startComputeMs": 0.25,
        "endComputeMs": 1.25 + 0.001 * k, "startD2hMs": 1.25, "endD2hMs": 1.5, "h2dMs": 0.25,
        "computeMs": 1 + 0.001 * k, "d2hMs": 0.125, "latencyMs": 1.375 + 0.001 * k,
    }
    for k in range(700)
]  # fmt: skip


def test_trtexec_s_times_stand_beside_ours(told: Json, tmp_path: Path, capsys) -> None:
    times, beside = saved(tmp_path / "times.json", TRTEXEC), saved(tmp_path / "run.json", told)
    assert main(["trtexec", times, "--beside", beside]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (total,) = [line for line in lines if line[:2] == ["trtexec", "total"]]
    assert total[2:7] == ["700", "1.72", "2.00", "2.04", "2.07"]  # n, p50, p90, p95, p99
    assert sum(line[:1] == ["onnxruntime-cpu,"] for line in lines) == 4


def test_trtexec_s_older_names_are_known(tmp_path: Path) -> None:
    old = [{"inMs": 0.5, "computeMs": 1.0, "outMs": 0.25, "latencyMs": 1.75, "endToEndMs": 2.0}] * 11
    assert main(["trtexec", saved(tmp_path / "times.json", old)]) == 0


def test_trtexec_s_layers_are_told_longest_first(tmp_path: Path, capsys) -> None:
    layers = [
        {"count": 10},
        {"name": "stem + relu", "timeMs": 10.0, "averageMs": 1.0, "medianMs": 0.5, "percentage": 25.0},
        {"name": "up", "timeMs": 30.0, "averageMs": 3.0, "percentage": 75.0},
    ]
    times, profile = saved(tmp_path / "times.json", TRTEXEC), saved(tmp_path / "layers.json", layers)
    assert main(["trtexec", times, "--profile", profile]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[-2:] == ["up 3.00 85.7%", "stem + relu 0.500 14.3%"]
    assert main(["trtexec", times, "--profile", saved(tmp_path / "none.json", [{"count": 10}])]) == 2
    assert "names no layer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"a": 1}, "holds no list of queries"),
        ([], "holds no list of queries"),
        ([{"computeMs": 1.0, "latencyMs": 1.0}], "query 0 has no h2dMs"),
        ([{**TRTEXEC[0], "computeMs": "1"}], "query 0 has no computeMs"),
        ([{**TRTEXEC[0], "d2hMs": float("nan")}], "d2hMs is not finite"),
    ],
)
def test_what_trtexec_did_not_write_is_refused(content: object, reason: str, tmp_path: Path, capsys) -> None:
    assert main(["trtexec", saved(tmp_path / "times.json", content)]) == 2
    printed = capsys.readouterr().err
    assert reason in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"format": 99}', "[1]"])
def test_what_the_bench_did_not_write_is_refused(text: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    assert main(["compare", str(path), str(path)]) == 2
    assert "lvedge-bench run" in capsys.readouterr().err


def test_two_runs_without_a_common_timing_are_refused(told: Json, tmp_path: Path, capsys) -> None:
    other = {**told, "way": [], "paced": [], "together": {"cases": []}, "steps": {"cases": []}}
    del other["start"]
    assert main(["compare", saved(tmp_path / "a.json", told), saved(tmp_path / "b.json", other)]) == 2
    assert "no timing in common" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--sections way,nothing", "there is no section 'nothing'"),
        ("--engine gpu-of-tomorrow", "there is no engine 'gpu-of-tomorrow'"),
        ("--frames 0", "'0' is not a whole number of at least 1"),
        ("--rate -1", "'-1' is not a number"),
        ("--threads 1,x", "'x' is not a whole number"),
        ("--sections way --stream nowhere", "nowhere"),
        ("--sections way --sink speech:", "speech"),
    ],
)
def test_wrong_usage_is_one_clear_line(options: str, reason: str, capsys) -> None:
    assert main(["run", "--quiet", *options.split()]) == 2
    assert reason in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_timed(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert main(["run", "--out", str(tmp_path / "file" / "out")]) == 2
    assert "cannot be made" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "--help"], ["--version"]])
def test_the_help_needs_nothing(arguments: list[str]) -> None:
    assert main(arguments) == (0 if arguments else 2)


def test_lists_have_commas() -> None:
    parse: Callable[[list[str]], Any] = build_parser().parse_args
    options = parse(["run", "--threads", "1, 2,4", "--rate", "12.5,25"])
    assert (options.threads, options.rate, options.engine) == ([1, 2, 4], [12.5, 25.0], ["all"])
