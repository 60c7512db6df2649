"""How sinks are named, opened together, and closed."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from lvedge.errors import SinkError, UsageError
from lvedge_runtime.sinks import (
    SINKS,
    TARGETS,
    BaseSink,
    RunContext,
    Sinks,
    check_uris,
    has_standard_output,
    open_sink,
    split_uri,
)

CONTEXT = RunContext(engine="onnxruntime", bundle="default", bundle_version="1.2")


def test_every_scheme_names_a_sink():
    assert list(SINKS) == list(TARGETS)
    for place in SINKS.values():
        module, name = place.split(":")
        assert issubclass(getattr(importlib.import_module(module), name), BaseSink)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (
            "smoke:signals",
            "unknown sink smoke: (known: term:, jsonl:, csv:, png:, nifti:, dicomsr:, dicomseg:, dicomsc:, "
            "store://)",
        ),
        ("out.jsonl", "dicomsc:DIR, store://HOST:PORT"),
        ("store:pacs", "store:// takes a host and a port"),
        ("out.jsonl", "names no scheme: write one of term:, jsonl:PATH, csv:PATH, png:DIR, nifti:DIR"),
        ("", "an empty sink"),
        ("jsonl:", "lacks its target: write jsonl:PATH"),
        ("term:somewhere", "takes no target"),
        ("png:-", "name a folder"),
        ("jsonl://host:80", "takes a path and no host"),
    ],
)
def test_a_uri_that_cannot_be_meant_says_what_to_write(uri: str, words: str):
    with pytest.raises(UsageError) as caught:
        split_uri(uri)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "uris", [["jsonl:-", "csv:-"], ["jsonl:a", "csv:a"], ["png:a", "png:a"], ["term:", "term:"]]
)
def test_two_sinks_do_not_share_a_place(uris: list[str]):
    with pytest.raises(UsageError):
        check_uris(uris)


def test_folders_may_be_shared_by_sinks_that_name_their_files_apart():
    check_uris(["png:out", "nifti:out", "jsonl:out.jsonl", "term:"])


def test_standard_output_is_noticed():
    assert has_standard_output(["png:a", "csv:-"])
    assert not has_standard_output(["png:a", "csv:b"])


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    for uri in (
        f"jsonl:{blocker}/a",
        f"csv:{blocker}/a",
        f"png:{blocker}",
        f"nifti:{blocker}/a",
        f"csv:{tmp_path}",
    ):
        with pytest.raises(SinkError, match="cannot write to"):
            open_sink(uri, CONTEXT)


def test_what_was_opened_before_a_failure_is_closed(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError):
        Sinks([f"csv:{tmp_path}/a.csv", f"png:{tmp_path}/file"], CONTEXT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "file"]


def test_all_sinks_are_closed_and_the_first_failure_is_told(tmp_path, make_measurement):
    class Failing(BaseSink):
        def close(self) -> None:
            raise SinkError("full")

    sinks = Sinks([f"csv:{tmp_path}/a.csv"], CONTEXT)
    sinks._open.append(Failing())
    sinks._open[0].write(make_measurement())
    with pytest.raises(SinkError, match="full"):
        sinks.close()
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 2


def test_sinks_survive_an_error_of_the_run(tmp_path, make_measurement):
    def interrupted_run() -> None:
        with Sinks([f"csv:{tmp_path}/a.csv", f"nifti:{tmp_path}"], CONTEXT) as sinks:
            sinks.write(make_measurement())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "phantom_t00.nii.gz"]


def test_nothing_heavy_is_imported_before_it_is_chosen():
    code = (
        "import sys, lvedge_runtime.cli\n"
        "from lvedge_runtime.sinks import jsonl, csvfile, png, nifti, term\n"
        "print([m for m in ('rich', 'nibabel', 'onnxruntime', 'pydicom', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
