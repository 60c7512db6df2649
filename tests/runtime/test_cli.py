"""The command: its arguments, its exit codes, and what it says where."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from signing import Maker, write_signed, write_tiny, write_trust

from lvedge.bundle_cli import main as bundle_main
from lvedge.contract import ContractShapes, ReplayResult, State, StepResult
from lvedge.errors import SourceError
from lvedge.frame import Rejected, Subject
from lvedge.indices import IndexLayout
from lvedge_runtime import cli, opening
from lvedge_runtime.demo import DEMO_PHASES, DEMO_SLICES
from lvedge_runtime.engines import ENGINES, PassedOver
from lvedge_runtime.sinks import RunContext
from lvedge_runtime.sources import SourceOptions
from lvedge_runtime.sources.source import BaseSource

REFUSED = Rejected("7.dcm", "truncated: copy the file again", "phantom")


@pytest.fixture
def play(monkeypatch) -> Callable[[Iterable[object]], None]:
    """Lets the command measure what the test says."""

    def play_items(items: Iterable[object]) -> None:
        @contextmanager
        def opened(*_arguments) -> Iterator[opening.Opened]:
            numbered = ((0, item) for item in items)
            context = RunContext("onnxruntime", "default", "1.2")
            yield opening.Opened({0: BaseSource(SourceOptions())}, numbered, [opening.Tally()], context)

        monkeypatch.setattr(cli, "opened", opened)

    return play_items


def run(*args: str) -> int:
    return cli.main([*args])


def test_without_a_source_the_help_is_shown_and_the_code_is_2(capsys):
    assert run() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: lvedge-run")


def test_help_and_version_are_no_errors(capsys):
    assert run("--help") == 0
    assert run("--version") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("lvedge 0.")


def test_the_demo_is_the_source_where_none_is_named():
    parser = cli.build_parser()
    assert parser.parse_args(["--stream"]).stream == ["demo:"]
    assert parser.parse_args(["--stream", "--sink", "jsonl:-"]).stream == ["demo:"]
    assert parser.parse_args(["--stream", "folder"]).stream == ["folder"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--limit", "0"], "'0' is not a whole number of at least 1"),
        (["--limit", "1.5"], "'1.5' is not a whole number"),
        (["--age", "-3"], "'-3' is not an age in years"),
        (["--age", "nan"], "'nan' is not an age in years"),
        (["--bsa", "170"], "'170' is not a body surface area"),
        (["--sex", "X"], "invalid choice: 'X'"),
        (["--threads", "many"], "'many' is not a whole number"),
        (["--smoke"], "unrecognized arguments: --smoke"),
    ],
)
def test_arguments_that_cannot_be_meant(capsys, args, words):
    assert run("--stream", *args) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--sink", "smoke:signals"], "unknown sink smoke:"),
        (["--sink", "jsonl:-", "--sink", "csv:-"], "two sinks write to standard output"),
        (["--spacing-mm", "much"], "--spacing-mm 'much': expected one number or two"),
        (["--spacing-mm", "0"], "implausible"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(capsys, args, words):
    assert run("--stream", *args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("lvedge-run: error: ")
    assert words in line


def test_what_is_said_of_source_and_person_reaches_the_source():
    options = cli.build_parser().parse_args(
        ["--stream=x", "--spacing-mm=1.4,1.5", "--sex=F", "--age=52", "--bsa=1.75", "--series=cine"]
    )
    source_options = opening._source_options(options)
    assert source_options.spacing_mm == (1.4, 1.5)
    assert source_options.subject == Subject("F", 52.0, 1.75)
    assert source_options.series == "cine"


def test_all_measured(capsys, play, make_beat):
    measurements, cycle = make_beat()
    play([*measurements, cycle])
    assert run("--stream", "--quiet") == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line.get("frame") for line in lines] == [0, 1, 2, 3, 4, 5, 6, 7, None]
    assert captured.err == ""


def test_a_refused_item_is_told_and_the_rest_is_measured(capsys, play, make_measurement):
    play([REFUSED, make_measurement()])
    assert run("--stream", "--quiet") == 3
    captured = capsys.readouterr()
    assert captured.err == "lvedge-run: refused: 7.dcm: truncated: copy the file again\n"
    first, second = (json.loads(line) for line in captured.out.splitlines())
    assert list(first) == ["rejected"]
    assert second["measured"] is True


@pytest.mark.parametrize("items", [[], [REFUSED]])
def test_nothing_measured(capsys, play, items):
    play(items)
    assert run("--stream", "folder") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("lvedge-run: error: nothing could be measured in folder")


def test_frames_without_an_lv_are_work_done_and_no_refusal(capsys, play, make_measurement, make_unmeasured):
    play([make_unmeasured(make_measurement())])
    assert run("--stream", "folder") == 0
    captured = capsys.readouterr()
    assert "no left ventricle was found in any of 1 frames" in captured.err
    assert json.loads(captured.out)["measured"] is False


def test_limit_stops_after_so_many_frames(capsys, play, make_beat):
    measurements, _ = make_beat()
    play([REFUSED, *measurements])
    assert run("--stream", "--limit", "3", "--quiet") == 3
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_several_sinks_at_once_and_people_read_standard_error(tmp_path, capsys, play, make_beat):
    measurements, cycle = make_beat()
    play([*measurements, cycle])
    sinks = [f"--sink=jsonl:{tmp_path}/a.jsonl", f"--sink=csv:{tmp_path}/a.csv", f"--sink=png:{tmp_path}/png"]
    assert run("--stream", "--quiet", *sinks, f"--sink=nifti:{tmp_path}/masks") == 0
    assert capsys.readouterr().out == ""
    assert len((tmp_path / "a.jsonl").read_text("utf-8").splitlines()) == 9
    assert len((tmp_path / "a.csv").read_text("utf-8").splitlines()) == 9
    assert len(list((tmp_path / "png").iterdir())) == 8
    assert len(list((tmp_path / "masks").iterdir())) == 8


def failing(items: Iterable[object], error: BaseException) -> Iterator[object]:
    yield from items
    raise error


def test_an_error_on_the_way_keeps_what_was_measured(tmp_path, capsys, play, make_measurement):
    play(failing([make_measurement()], SourceError("the folder is gone: mount it again")))
    assert run("--stream", "--quiet", f"--sink=csv:{tmp_path}/a.csv") == 2
    assert capsys.readouterr().err == "lvedge-run: error: the folder is gone: mount it again\n"
    assert len((tmp_path / "a.csv").read_text("utf-8").splitlines()) == 2


def test_ctrl_c_ends_quietly_and_loses_nothing(tmp_path, capsys, play, make_measurement):
    play(failing([make_measurement()], KeyboardInterrupt()))
    assert run("--stream", "--quiet", f"--sink=csv:{tmp_path}/a.csv") == 130
    assert capsys.readouterr().err == ""
    assert len((tmp_path / "a.csv").read_text("utf-8").splitlines()) == 2


def test_a_request_to_end_closes_the_sinks(tmp_path, play, make_measurement):
    def asked_to_end() -> Iterator[object]:
        yield make_measurement()
        os.kill(os.getpid(), signal.SIGTERM)
        yield make_measurement(frame_index=1)

    before = signal.getsignal(signal.SIGTERM)
    play(asked_to_end())
    assert run("--stream", "--quiet", f"--sink=csv:{tmp_path}/a.csv") == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert len((tmp_path / "a.csv").read_text("utf-8").splitlines()) == 2


def test_a_bug_shows_its_trace(play):
    play(failing([], ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run("--stream", "--quiet")


SHAPES = ContractShapes(80, 1.5, 4, 4, 8, 96, 4.0)


class RingEngine:
    """An engine that sees the same ring everywhere, and counts how it was used."""

    name = "ring"
    shapes = SHAPES
    passed_over = (
        PassedOver("far", "no driver here", was_tried=False),
        PassedOver("near", "it failed: mend it", was_tried=True),
    )

    def __init__(self, mask: np.ndarray, threads: int) -> None:
        self.mask = mask
        self.threads = threads
        self.is_open = False
        self.steps = 0

    def __enter__(self) -> RingEngine:
        self.is_open = True
        return self

    def __exit__(self, *_error: object) -> None:
        self.is_open = False

    def locate(self, _frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = np.array([[[47.5, 47.5], [40.0, 40.0], [40.0, 55.0]]], dtype=np.float32)
        return points, np.ones((1, 3), dtype=np.float32)

    def step(self, _frame: np.ndarray, state: State) -> StepResult:
        self.steps += 1
        features = np.zeros((1, 8), dtype=np.float32)
        again = self.replay(features, state)
        return StepResult(again.indices, again.phase, self.mask[None], features, state)

    def replay(self, _features: np.ndarray, state: State) -> ReplayResult:
        indices = np.array([[6.0] * 6 + [29.0] * 3 + [676.0, 754.0]], dtype=np.float32)
        return ReplayResult(indices, np.array([[0.75, 0.25]], dtype=np.float32), state)


@pytest.fixture
def ring(monkeypatch, make_measurement) -> list[RingEngine]:
    """Puts the ring engine and a bundle without weights in the command's hands."""
    opened: list[RingEngine] = []
    bundle = SimpleNamespace(
        name="rings",
        version="1",
        sha256="",
        modality="MR",
        licence_notice="free rings (CC0).",
        quality={},
        shapes=SHAPES,
    )

    def open_ring(_bundle: object, name: str, threads: int, streams: int) -> RingEngine:
        assert (name, streams) == ("auto", 1)
        opened.append(RingEngine(make_measurement().mask, threads))
        return opened[-1]

    monkeypatch.setattr("lvedge.bundle.open_bundle", lambda _path: bundle)
    monkeypatch.setattr("lvedge_runtime.engines.open_engine", open_ring)
    return opened


def test_the_demo_from_dicom_to_looked_up_results(tmp_path, capsys, ring):
    assert run("--stream", f"--sink=jsonl:{tmp_path}/a.jsonl", "--threads=2") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "lvedge-run: free rings (CC0); research use, not a medical device",
        "lvedge-run: engine near passed over: it failed: mend it",
    ]
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    frames = [line for line in lines if "frame" in line]
    assert [(line["slice"], line["frame"]) for line in frames] == [
        (s, f) for s in range(DEMO_SLICES) for f in range(DEMO_PHASES)
    ]
    assert ["cycle" in line for line in lines] == ([False] * DEMO_PHASES + [True]) * DEMO_SLICES
    for line in frames:
        assert (line["measured"], line["mode"], line["engine"], line["bundle"]) == (
            True,
            "closed",
            "ring",
            "rings 1",
        )
        assert line["rwt_mm"] == [9.0] * 6
        assert line["areas_mm2"] == [1521.0, 1696.5]
        assert line["result"]["row"]
        assert "step" in line["latency_ms"]
    assert (ring[0].threads, ring[0].is_open) == (2, False)


def test_engines_that_were_passed_over_are_told_on_request(capsys, ring):
    assert run("--stream", "--limit", "1", "--verbose") == 0
    assert capsys.readouterr().err.splitlines()[1:] == [
        "lvedge-run: engine far passed over: no driver here",
        "lvedge-run: engine near passed over: it failed: mend it",
    ]
    assert run("--stream", "--quiet", "--verbose") == 2


def test_the_help_names_every_engine(capsys):
    assert run("--help") == 0
    words = "".join(capsys.readouterr().out.split())  # lines are broken at hyphens as well
    assert f"whatrunsthenetwork:{','.join(ENGINES)},orauto," in words


def test_the_demo_live(capsys, ring):
    assert run("--stream", "--live", "--limit", "30", "--quiet") == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert {line["mode"] for line in lines if "frame" in line} == {"live"}
    assert sum("frame" in line for line in lines) == 30
    assert captured.err == ""


def test_a_build_without_a_case_table_says_so_and_measures(capsys, monkeypatch, tmp_path, ring):
    monkeypatch.setattr("lvedge.casetable.table.DEFAULT_PATH", tmp_path / "none.sqlite")
    assert run("--stream", "--limit", "1") == 0
    captured = capsys.readouterr()
    assert "this build ships no case table" in captured.err
    assert json.loads(captured.out)["result"] is None


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--cases", "{tmp}/none.sqlite"], "none.sqlite"),
        (["--cases", "{tmp}/text"], "text"),
        (["--stream", "{tmp}/gone"], "there is no such file or folder"),
        (["--stream", "smoke:signals"], "unknown source smoke:"),
        (["--stream", "{tmp}"], "nothing in the folder is recognised"),
    ],
)
def test_what_cannot_be_opened_is_one_line_and_code_2(capsys, tmp_path, ring, args, words):
    (tmp_path / "text").write_text("no table")
    arguments = [arg.replace("{tmp}", str(tmp_path)) for arg in args]
    assert run(*([] if "--stream" in args else ["--stream"]), *arguments, "--quiet") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("lvedge-run: error: ")
    assert words in line
    assert not ring[0].is_open


def test_a_bundle_that_is_refused_is_one_line(capsys, tmp_path):
    (tmp_path / "bundle").write_bytes(b"no bundle at all")
    assert run("--stream", "--bundle", f"{tmp_path}/bundle") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lvedge-run: error: the bundle ")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        ("unsigned", "is not signed, and only trusted keys' bundles are taken here"),
        ("foreign", "which is not trusted here"),
        ("flipped", "is altered"),
        ("revoked", "which was revoked"),
        ("old", "is of version 7, older than 8"),
        ("unknown", "neither a key's id nor a bundle's SHA-256"),
        ("installed", "is not taken while no key is trusted"),
    ],
)
def test_a_bundle_that_is_not_trusted_is_refused_before_an_engine_is_opened(
    capsys, tmp_path, monkeypatch, prepare, words
):
    maker, other = Maker(), Maker()
    trust, path = write_trust(tmp_path / "trust", maker), tmp_path / "tiny.lvedge"
    monkeypatch.setenv("LVEDGE_TRUST", str(trust))
    monkeypatch.setenv("LVEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("lvedge_runtime.engines.open_engine", lambda *_: pytest.fail("an engine was opened"))
    data = write_signed(path, other if prepare == "foreign" else maker)
    named = ["--bundle", str(path)]
    if prepare == "unsigned":
        write_tiny(path)
    elif prepare == "flipped":
        path.write_bytes(data.replace(b"contract", b"contracT", 1))
    elif prepare in ("revoked", "old", "unknown"):
        write_trust(trust, revoked={"revoked": maker.key, "unknown": "x"}.get(prepare, ""), lowest="8")
    elif prepare == "installed":
        assert bundle_main(["update", str(path)]) == 0
        (trust / f"{maker.key}.pem").unlink()
        named = []
    capsys.readouterr()
    assert run("--stream", *named) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("lvedge-run: error: ")
    assert words in line


def test_a_case_table_for_other_values_is_refused(capsys, monkeypatch, ring):
    closed: list[bool] = []
    other = ExitStack()
    other.layout = IndexLayout(4, 2)
    other.callback(closed.append, True)
    monkeypatch.setattr(opening, "_cases", lambda _options: other)
    assert run("--stream", "--quiet") == 2
    assert closed == [True]
    assert (
        "the case table is for 4 sectors and 2 diameters, the bundle gives 6 and 3" in capsys.readouterr().err
    )
