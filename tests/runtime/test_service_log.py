"""The log: what a line holds, and that no error's message gets into it."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path

import pytest

from lvedge_runtime.service.log import logged, unspoken

LOG = logging.getLogger("lvedge_runtime.somewhere")


def test_text_is_a_line_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with logged("lvedge-run"):
        LOG.info("two\nlines of %d", 3)
        LOG.debug("unheard")
    assert capsys.readouterr().err == "lvedge-run: two lines of 3\n"


def test_json_is_an_object_a_line_with_the_event_s_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with logged("lvedge-run", "debug", "json"):
        LOG.debug("it %s", "ended", extra={"fields": {"event": "association released", "instances": 3}})
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "debug",
        "room": "somewhere",
        "message": "it ended",
        "event": "association released",
        "instances": 3,
    }


def test_afterwards_nothing_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("lvedge_runtime")
    before = logger.level, list(logger.handlers)
    with logged("lvedge-run", "error"):
        LOG.warning("unheard")
    assert (logger.level, list(logger.handlers)) == before
    assert capsys.readouterr().err == ""


def test_journald_gets_priorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        monkeypatch.setattr("sys.stderr", stream)
        with logged("lvedge-run"):
            LOG.error("worse")
            LOG.info("so")
        stream.seek(0)
        assert stream.read() == "<3>lvedge-run: worse\n<6>lvedge-run: so\n"


def raise_with_a_name() -> None:
    raise ValueError("Doe^Jane 4711")


def test_an_error_that_nobody_expected_is_told_without_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left, logged("lvedge-run", form="json"), unspoken():
        raise_with_a_name()
    assert left.value.code == 1
    said = capsys.readouterr().err
    line = json.loads(said)
    assert (line["level"], line["event"]) == ("critical", "bug")
    assert "ValueError" in line["message"]
    assert "in raise_with_a_name" in line["message"]
    assert "Doe" not in said


def test_nor_is_that_of_another_thread(capsys: pytest.CaptureFixture[str]) -> None:
    with logged("lvedge-run"), unspoken():
        thread = threading.Thread(target=raise_with_a_name)
        thread.start()
        thread.join()
    said = capsys.readouterr().err
    assert "ValueError" in said
    assert "Doe" not in said
