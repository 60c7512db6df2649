"""Several streams by one command: each gives what it gives alone, and none disturbs another."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cine_files import ge, siemens
from disc_bundle import disc_bundle
from discs import BEAT
from object_room import conformant
from peers import written
from test_receiver_command import lines_of, validate, whole
from tiny_bundle import open_tiny

from lvedge.errors import SourceError, UsageError
from lvedge.frame import Given
from lvedge_runtime import cli
from lvedge_runtime.engines import open_engine
from lvedge_runtime.engines.onnxruntime_gpu import OnnxRuntimeTensorRt
from lvedge_runtime.engines.tensorrt import TensorRt
from lvedge_runtime.run import read_settings
from lvedge_runtime.sources import SOURCES
from lvedge_runtime.sources.dicom import DicomSource

Line = dict[str, Any]
NAMED_ALIKE = "1.2.840.113619.2.1"
TORN_AFTER = 30


class Torn(DicomSource):
    """Fails within its last slice."""

    def __iter__(self) -> Iterator[Given]:
        for number, item in enumerate(super().__iter__()):
            if number == TORN_AFTER:
                raise SourceError("the disk is gone: mount it again")
            yield item


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folders of discs, two of them with a series of the same name, and the bundle that sees discs."""
    folder = tmp_path_factory.mktemp("several")
    disc_bundle(folder / "discs.lvedge")
    written(folder / "a", conformant(ge(NAMED_ALIKE)))
    written(folder / "b", conformant(ge(NAMED_ALIKE, sizes=(0.85, 0.75))))
    written(folder / "c", conformant(siemens(beat=BEAT)))
    written(folder / "damaged", ge("1.2.9"))
    (folder / "damaged" / "0005.dcm").write_bytes(b"no picture")
    (folder / "words.txt").write_text("no picture")
    return folder


@pytest.fixture
def torn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source ``torn:PATH``."""
    monkeypatch.setattr("lvedge_runtime.sources.SOURCES", {**SOURCES, "torn": f"{__name__}:Torn"})
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Torn.__module__])


def run(room: Path, streams: list[str], *args: object) -> int:
    """The command on folders of the room; its exit code."""
    named = [f"--stream={scheme}{room / name}" for scheme, name in map(split, streams)]
    return cli.main([*named, "--bundle", str(room / "discs.lvedge"), "--quiet", *map(str, args)])


def split(stream: str) -> tuple[str, str]:
    scheme, colon, name = stream.rpartition(":")
    return scheme + colon, name


def said(line: Line) -> Line:
    """What a line is about: the frame itself, or what stands under its one key."""
    return next(iter(line.values())) if len(line) == 1 else line


def by_stream(lines: list[Line]) -> dict[int, list[Line]]:
    """The lines of each stream, without its number."""
    found: dict[int, list[Line]] = {}
    for line in lines:
        found.setdefault(said(line).pop("stream"), []).append(line)
    return found


def alone(room: Path, out: Path, stream: str, *args: object) -> list[Line]:
    """What a stream gives by itself, without the times."""
    run(room, [stream], "--sink", f"jsonl:{out}", *args)
    return whole(lines_of(out))


@pytest.mark.parametrize("args", [(), ("--live",), ("--limit", 17), ("--series", "FIESTA")])
def test_each_stream_gives_what_it_gives_alone(
    tmp_path: Path, room: Path, args: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two series have the same name, one has another length; ``--series`` is what two of them match."""
    streams = ["a", "b"] if "--series" in args else ["a", "b", "c"]
    expected = {k: alone(room, tmp_path / f"{k}.jsonl", name, *args) for k, name in enumerate(streams)}
    out = tmp_path / "out.jsonl"
    assert run(room, streams, "--sink", f"jsonl:{out}", *args) == 0
    lines = lines_of(out)
    validate(lines)
    order = [said(line)["stream"] for line in lines]
    assert order != sorted(order)  # nobody waits until another is through
    assert by_stream(whole(lines)) == expected
    assert said(expected[0][0])["series"] == said(expected[1][0])["series"]
    assert expected[0] != expected[1]
    assert sum(line.get("measured", False) for line in expected[0]) >= 12
    assert capsys.readouterr().err == ""


def test_what_is_one_stream_names_none(tmp_path: Path, room: Path) -> None:
    (tmp_path / "box.toml").write_text(f'[run]\nstream = ["{room}/a"]\nbundle = "{room}/discs.lvedge"')
    out = tmp_path / "out.jsonl"
    assert cli.main(["--config", f"{tmp_path}/box.toml", f"--sink=jsonl:{out}", "--limit=1", "--quiet"]) == 0
    (line,) = lines_of(out)
    assert "stream" not in line


def test_rows_and_plain_lines_name_their_stream(
    tmp_path: Path, room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    streams, out = ["a", "b"], tmp_path / "out.csv"
    assert run(room, streams, "--sink", f"csv:{out}", "--sink", "term:") == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert next(iter(rows[0])) == "stream"
    shown = capsys.readouterr().out.splitlines()
    for number, name in enumerate(streams):
        assert run(room, [name], "--sink", f"csv:{tmp_path}/one.csv", "--sink", "term:") == 0
        with (tmp_path / "one.csv").open(encoding="utf-8", newline="") as file:
            right = list(csv.DictReader(file))
        found = [row for row in rows if row["stream"] == str(number)]
        unlike = {"latency_ms": "", "stream": ""}
        assert [row | unlike for row in found] == [row | unlike for row in right]
        own = [line.removeprefix(f"stream {number}  ") for line in shown if line[7] == str(number)]
        lines = capsys.readouterr().out.splitlines()
        assert [timeless(line) for line in own] == [timeless(line) for line in lines]


def timeless(line: str) -> str:
    """The line without how long it took."""
    return re.sub(r"[0-9.]+ ms", "", line)


def test_files_by_the_names_of_series_lie_in_a_folder_for_each_stream(tmp_path: Path, room: Path) -> None:
    def sinks(folder: Path) -> list[str]:
        kinds = ("png", "nifti", "dicomsr", "dicomseg", "dicomsc")
        return [f"--sink={kind}:{folder / kind}" for kind in kinds]

    streams = ["a", "b"]
    assert run(room, streams, *sinks(tmp_path / "out")) == 0
    for number, name in enumerate(streams):
        assert run(room, [name], *sinks(tmp_path / name)) == 0
        right = sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.*"))
        found = sorted((tmp_path / "out").rglob(f"stream{number}/*"))
        assert [Path(path.parent.parent.name, path.name) for path in found] == right
        assert {path.parent.name for path in right} == {"png", "nifti", "dicomsr", "dicomseg", "dicomsc"}
        for path, one in zip(found, right, strict=True):
            if path.suffix != ".dcm":  # which say when they were made
                assert path.read_bytes() == (tmp_path / name / one).read_bytes()
    assert len(list((tmp_path / "out").rglob("*.png"))) == 36 + 24


# --- one that fails, and exit codes --------------------------------------------------------------------


def test_a_source_that_fails_on_the_way_ends_itself_alone(
    tmp_path: Path, room: Path, torn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = alone(room, tmp_path / "b.jsonl", "b")
    before = alone(room, tmp_path / "torn.jsonl", "torn:a")
    assert "the disk is gone" in capsys.readouterr().err
    out = tmp_path / "out.jsonl"
    assert run(room, ["torn:a", "b"], "--sink", f"jsonl:{out}") == 2
    found = by_stream(whole(lines_of(out)))
    assert found == {0: before, 1: expected}
    assert len(before) == 2 * 13  # the slices that were whole before it failed
    error = "lvedge-run: error: stream 0: the disk is gone: mount it again\n"
    assert capsys.readouterr().err == error


@pytest.mark.parametrize(
    ("streams", "code", "words"),
    [
        (["a", "damaged"], 3, ["refused: stream 1: 0005.dcm: "]),
        (["damaged", "gone", "b"], 2, ["error: stream 1: ", "refused: stream 0: 0005.dcm: "]),
        (["a", "words.txt"], 2, ["error: stream 1: "]),
        (["gone", "words.txt"], 2, ["error: stream 0: ", "error: stream 1: ", "error: none of 2 streams"]),
        (
            ["a", "dicom:words.txt"],
            2,
            ["refused: stream 1: words.txt: ", "error: nothing could be meas"],
        ),
    ],
)
def test_the_exit_code_is_the_worst_of_the_streams(
    tmp_path: Path,
    room: Path,
    capsys: pytest.CaptureFixture[str],
    streams: list[str],
    code: int,
    words: list[str],
) -> None:
    out = tmp_path / "out.jsonl"
    assert run(room, streams, "--sink", f"jsonl:{out}") == code
    err = capsys.readouterr().err.splitlines()
    assert len(err) == len(words)
    for line, start in zip(err, words, strict=True):
        assert line.startswith(f"lvedge-run: {start}")
    good = [number for number, name in enumerate(streams) if name in ("a", "b")]
    if not good:
        assert not out.exists()  # what an earlier run left is not replaced by nothing
        return
    lines = lines_of(out)
    validate(lines)
    found = by_stream(lines)
    frames = [sum("frame" in line for line in found[k]) for k in good]
    assert frames == [36 if "a" in streams else 24]


def test_a_fault_that_is_not_the_source_s_ends_all(
    tmp_path: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: DicomSource) -> Iterator[Given]:
        raise ZeroDivisionError

    monkeypatch.setattr(DicomSource, "__iter__", broken)
    with pytest.raises(ZeroDivisionError):
        run(room, ["a", "b"], "--sink", f"jsonl:{tmp_path}/out.jsonl")


def test_a_request_to_end_ends_all_streams(
    tmp_path: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, sent = cli.pump, []

    def pump(items: Any, sinks: Any, tallies: Any, limit: Any, saw: Any) -> None:
        def saw_one(item: Any) -> None:
            saw(item)
            sent.append(item)
            os.kill(os.getpid(), signal.SIGTERM)

        original(items, sinks, tallies, limit, saw_one)

    monkeypatch.setattr(cli, "pump", pump)
    assert run(room, ["a", "b"], "--sink", f"csv:{tmp_path}/out.csv") == 143
    assert len(sent) == 1
    assert len((tmp_path / "out.csv").read_text("utf-8").splitlines()) == 2


# --- what can be meant ---------------------------------------------------------------------------------


def test_the_file_names_streams_and_the_command_line_replaces_them(tmp_path: Path) -> None:
    path = tmp_path / "box.toml"
    path.write_text('[run]\nstream = ["dicom:a", "nifti:b"]\n')
    assert read_settings(["--config", str(path)]).options.stream == ["dicom:a", "nifti:b"]
    assert read_settings(["--config", str(path), "--stream", "c"]).options.stream == ["c"]
    path.write_text('[run]\nstream = "dicom:a"\n')
    assert read_settings(["--config", str(path)]).options.stream == ["dicom:a"]
    assert read_settings(["--stream", "--stream", "b"]).options.stream == ["demo:", "b"]


@pytest.mark.parametrize("stream", ["[]", "7", "[7]", '["a", 7]', "true"])
def test_streams_are_texts(tmp_path: Path, stream: str) -> None:
    path = tmp_path / "box.toml"
    path.write_text(f"[run]\nstream = {stream}\n")
    with pytest.raises(UsageError, match=r"run.stream: expected a URI, or a list of them"):
        read_settings(["--config", str(path)])


@pytest.mark.parametrize(
    ("args", "text", "words"),
    [
        (
            ["--stream=a", "--stream=dicom://:11112"],
            "",
            "'dicom://:11112' receives from any number of scanners",
        ),
        ([], "stream = ['dicom://:1', 'dicom://:2']", "'dicom://:1' receives from any number"),
        (
            ["--stream=a", "--stream=b", "--sink=store://pacs:104"],
            "",
            "'store://pacs:104' sends what one",
        ),
        (["--stream=a", "--stream=smoke:b"], "", "unknown source smoke:"),
        (
            [],
            "stream = ['a', 'b']\n[journal]\nfolder = 'j'",
            "box.toml: [journal] can be meant for one",
        ),
        ([], "stream = ['a', 'b']\n[dicom]\nae_title = 'A'", "box.toml: [dicom] can be meant for one"),
    ],
)
def test_what_goes_with_one_stream_alone_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], text: str, words: str
) -> None:
    if text:
        (tmp_path / "box.toml").write_text(f"[run]\n{text}\n")
        args = [*args, "--config", str(tmp_path / "box.toml")]
    assert cli.main(args) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("lvedge-run: error: ")
    assert words in line
    assert captured.out == ""


def test_objects_of_what_is_not_dicom_are_refused_before_anything_is_measured(
    tmp_path: Path, room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "x.npz", frames=np.zeros((2, 64, 64), np.float32), spacing_mm=(1.5, 1.5))
    args = [f"--stream={room}/a", f"--stream={tmp_path}/x.npz", f"--sink=dicomsr:{tmp_path}/sr", "--quiet"]
    assert cli.main([*args, f"--bundle={room}/discs.lvedge"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"dicomsr: refers to DICOM images, and {tmp_path}/x.npz has none" in line


# --- engines -------------------------------------------------------------------------------------------


def test_engines_say_how_many_streams_they_take(tiny_bundle_file: Path) -> None:
    bundle = open_tiny(tiny_bundle_file.read_bytes())
    assert open_engine(bundle, "onnxruntime-cpu", streams=3).most is None
    assert open_engine(bundle, "openvino", streams=3).most is None  # one by one, whatever the batch
    assert (TensorRt(bundle).most, TensorRt(bundle, streams=3).most) == (1, 3)
    assert OnnxRuntimeTensorRt(bundle, streams=3).most == 1


# --- real pictures, the bundle that ships ---------------------------------------------------------------


@pytest.mark.real
@pytest.mark.usefixtures("bundle")
def test_two_real_stacks_together_are_those_alone(tmp_path: Path, data_root: Path) -> None:
    """To 0.01 mm and 0.1 mm², as between engines; two slices of each, closed."""
    folders = [data_root / "sunnybrook" / name for name in ("SCD0000101", "SCD0000201")]
    args = ["--limit=40", "--engine=onnxruntime-cpu", "--quiet"]
    expected = []
    for folder in folders:
        assert cli.main([f"--stream={folder}", f"--sink=jsonl:{tmp_path}/one.jsonl", *args]) == 0
        expected.append(lines_of(tmp_path / "one.jsonl"))
    streams = [f"--stream={folder}" for folder in folders]
    assert cli.main([*streams, f"--sink=jsonl:{tmp_path}/out.jsonl", *args]) == 0
    lines = lines_of(tmp_path / "out.jsonl")
    validate(lines)
    assert str(data_root) not in json.dumps(lines)
    found = by_stream(lines)
    for number, right in enumerate(expected):
        assert len(found[number]) == len(right) == 41  # the cycle of the first slice
        for line, one in zip(found[number], right, strict=True):
            assert line.keys() == one.keys()
            if "frame" not in line:
                continue
            same = ("series", "slice", "frame", "measured", "phase")
            assert [line[key] for key in same] == [one[key] for key in same]
            for key, tolerance in (("rwt_mm", 0.01), ("dims_mm", 0.01), ("areas_mm2", 0.1)):
                if one[key] is not None:
                    np.testing.assert_allclose(line[key], one[key], rtol=0, atol=tolerance + 0.001)
    assert sum(line.get("measured", False) for lines in expected for line in lines) >= 40
