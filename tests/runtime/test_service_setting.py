"""The one file of settings: a run and its service, what cannot be meant, and the pages about it."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from importlib.resources import files as packaged
from pathlib import Path

import pytest

from lvedge.errors import UsageError
from lvedge_runtime import cli
from lvedge_runtime.config import TABLES, config_from_file
from lvedge_runtime.receiver.setting import Limits
from lvedge_runtime.run import build_parser, read_settings
from lvedge_runtime.service.setting import ServiceSettings, service_from_config

ROOT = Path(__file__).resolve().parents[2]

WHOLE = """
[run]
stream = "dicom://:11113"
sinks = ["jsonl:a.jsonl", "csv:b.csv"]
live = true
limit = 7
series = "sax"
spacing_mm = "1.4,1.5"
sex = "F"
age = 52
bsa = 1.75
bundle = "b.lvedge"
engine = "onnxruntime-cpu"
threads = 2
cases = "c.sqlite"
verbose = true

[service]
http = true
address = "0.0.0.0"
port = 9999
log_level = "debug"
log_format = "json"
deadline_ms = 20
hang_s = 5.5
"""


def written(folder: Path, text: str) -> str:
    path = folder / "box.toml"
    path.write_text(text)
    return str(path)


def test_the_file_says_what_the_command_line_says(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    arguments = (
        "--stream dicom://:11113 --sink jsonl:a.jsonl --sink csv:b.csv --live --limit 7 --series sax "
        "--spacing-mm 1.4,1.5 --sex F --age 52 --bsa 1.75 --bundle b.lvedge --engine onnxruntime-cpu "
        "--threads 2 --cases c.sqlite --verbose"
    )
    told = read_settings(["--config", path])
    options, service = told.options, told.service
    assert vars(options) == vars(build_parser().parse_args([*arguments.split(), "--config", path]))
    assert service == ServiceSettings(True, "0.0.0.0", 9999, "debug", "json", 20, 5.5)


def test_every_option_can_stand_in_the_file() -> None:
    stated = set(re.findall(r"^(\w+) = ", WHOLE.split("[service]", maxsplit=1)[0], re.MULTILINE)) | {"quiet"}
    options = {action.dest for action in build_parser()._actions} - {"help", "version", "config"}
    assert stated == options - {"sink"} | {"sinks"}


def test_the_command_line_counts_more_than_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    options = read_settings(["--config", path, "--sink", "term:", "--limit", "3"]).options
    assert (options.sink, options.limit, options.threads) == (["term:"], 3, 2)


def test_a_file_that_says_nothing_of_receiving_runs_any_source(tmp_path: Path) -> None:
    told = read_settings(["--config", written(tmp_path, '[run]\nstream = "demo:"\n')])
    assert (told.options.stream, told.service) == (["demo:"], ServiceSettings())
    assert (told.config, told.receiver) == (None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[runs]", "runs: no such setting (known: run, service, dicom, series, journal, outbox)"),
        ("[run]\nsmoke = 1", "run.smoke: no such setting (known: stream, sinks, live"),
        ("[run]\nsink = 'term:'", "run.sink: no such setting"),
        ("[run]\nsinks = 'term:'", "run.sinks: expected a list of URIs"),
        ("[run]\nsinks = ['smoke:x']", "unknown sink smoke:"),
        ("[run]\nstream = 'smoke:x'", "unknown source smoke:"),
        ("[run]\nlive = 1", "run.live: expected true or false"),
        ("[run]\nlimit = 0", "run.limit: '0' is not a whole number of at least 1"),
        ("[run]\nlimit = [1]", "run.limit: expected a text or a number"),
        ("[run]\nsex = 'X'", "run.sex: 'X' is none of F, M"),
        ("[run]\nquiet = true\nverbose = true", "run.verbose: not together with run.quiet"),
        ("[service]\nhttps = true", "service.https: no such setting (known: http, address"),
        ("[service]\nhttp = 1", "service.http: expected true or false"),
        ("[service]\nport = 70000", "service.port: 70000 is no port"),
        ("[service]\naddress = 'box'", "service.address: 'box' is none, write 127.0.0.1"),
        ("[service]\naddress = 7", "service.address: 7 is none"),
        ("[service]\nlog_level = 'loud'", "service.log_level: 'loud' is none of debug, info, warning, error"),
        ("[service]\nlog_format = 'xml'", "service.log_format: 'xml' is none of text, json"),
        ("[service]\nhang_s = 0", "service.hang_s: 0 is not a number above 0"),
        ("service = 1", "service: expected a table, [service]"),
    ],
)
def test_what_cannot_be_meant_is_named_before_anything_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    assert cli.main(["--stream=demo:", "--config", written(tmp_path, text)][("stream" in text) :]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lvedge-run: error: ")
    assert words in line


def test_all_rooms_tell_their_faults_at_once(tmp_path: Path) -> None:
    text = "[run]\nthreads = 0\n[service]\nport = 0\nhttp = 1\n[dicom]\nwindow = 0\n"
    with pytest.raises(UsageError) as refused:
        read_settings(["--config", written(tmp_path, text)])
    told = str(refused.value)
    assert [
        place
        for place in ("run.threads", "service.port", "service.http", "dicom.window")
        if place not in told
    ] == []
    assert "\n" not in told


def test_a_table_that_nobody_knows_hides_no_other_fault(tmp_path: Path) -> None:
    text = '[run]\nstream = "demo:"\n[jurnal]\nfolder = "a"\n[dicom]\nserie_s = 5\n[service]\nport = 0\n'
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        read_settings(["--config", path])
    told = [
        fault.removeprefix(f"{path}: ").partition(" (known")[0] for fault in str(refused.value).split("; ")
    ]
    assert told == [
        "jurnal: no such setting",
        "service.port: 0 is not a whole number above 0",
        "dicom.serie_s: no such setting",
    ]


def test_a_file_without_a_source_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"box.toml: run.stream: say what to measure"):
        read_settings(["--config", written(tmp_path, "")])


def test_the_page_states_the_defaults(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "service.md").read_text("utf-8")
    (text,) = re.findall(r"```toml\n(\[run\].*?)```", page, re.DOTALL)
    config = config_from_file(Path(written(tmp_path, text)))
    assert set(config.tables) < set(TABLES)
    assert set(config.table("service")) == {f.name for f in fields(ServiceSettings)}
    assert service_from_config(config) == ServiceSettings()


def test_the_page_states_the_queues_as_they_are() -> None:
    from lvedge_runtime.receiver.intake import HELD_UP_S, QUEUED
    from lvedge_runtime.receiver.setting import Settings

    page = (ROOT / "docs" / "service.md").read_text("utf-8")
    bounds = [f"{QUEUED}", f"{HELD_UP_S:g} s", f"{Settings().window}", f"{Limits().kept_pictures}"]
    section = page.split("## Queues")[1].split("\n## ")[0]
    assert [bound for bound in bounds if f"{bound}" not in section] == []


def test_the_limits_are_stated_with_the_threats() -> None:
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    assert [name for name in asdict(Limits()) if f"`{name}`" not in page] == []


def test_the_file_to_begin_with_can_be_meant(tmp_path: Path) -> None:
    text = packaged("lvedge_runtime.service").joinpath("box.toml").read_text("utf-8")
    path = written(tmp_path, text)
    told = read_settings(["--config", path])
    service = told.service
    assert (told.options.stream, service.http, service.log_format) == (
        ["dicom://0.0.0.0:11112"],
        True,
        "json",
    )
    assert told.receiver is not None
    assert [peer.ae_title for peer in told.receiver.peers] == ["SCANNER1"]
    # What was acknowledged outlives the process, in a folder that the results do not lie in.
    journal = told.receiver.journal.folder
    assert journal == Path("/var/lib/lvedge/journal")
    assert told.options.sink == ["jsonl:/var/lib/lvedge/values.jsonl"]
    # The pages name the same folder.
    for page in ("dicom.md", "service.md"):
        named = re.findall(r'(?m)^folder = "(.*?)"', (ROOT / "docs" / page).read_text("utf-8"))
        assert named == [str(journal)]


def test_the_page_installs_all_that_the_service_may_need() -> None:
    page = (ROOT / "docs" / "service.md").read_text("utf-8")
    assert re.findall(r"lvedge\[(.*?)\]'", page) == ["dicom-net,dicom-objects,codecs,service"] * 2
