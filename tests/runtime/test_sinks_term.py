"""The terminal: a live picture where there is one, plain lines elsewhere."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from lvedge.frame import Rejected
from lvedge.measurement import Cycle, Mode
from lvedge.volume import StackVolumes
from lvedge_runtime.sinks import NOTICE, RunContext, dashboard, open_sink
from lvedge_runtime.sinks.term import plain_line

CONTEXT = RunContext(engine="onnxruntime", bundle="default", bundle_version="1.2", source="demo:")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class AsciiTerminal(Terminal):
    encoding = "ascii"


def test_plain_lines_without_a_terminal(capsys, make_beat):
    measurements, cycle = make_beat()
    with open_sink("term:", CONTEXT) as sink:
        for item in (measurements[0], measurements[6], cycle, Rejected("7.dcm", "truncated")):
            sink.write(item)
        sink.write(Cycle("phantom", 1, Mode.CLOSED, 8, 0, reason="no LV in this slice"))
    first, second, third, fourth = capsys.readouterr().out.splitlines()
    assert first == (
        "phantom s00 t00  diastole  wall IS 10.0 I 10.0 IL 10.0 AL 10.0 A 10.0 AS 10.0 mm  "
        "dims 44.0 44.0 44.0 mm  cavity 1522 myocardium 1695 mm2  quality 0.94  13.2 ms  "
        "consistent with a thick wall: ≥ 15 mm [rule 12]"
    )
    assert second == "phantom s00 t06  not measured: no LV in this frame"
    assert third.startswith("phantom s00 beat  7 of 8 frames measured  ED t00 ES t03  FAC 4")
    assert third.endswith("[rule 12; a guideline, doi 10.1000/1] not a diagnosis")
    assert fourth == "phantom s01 beat  0 of 8 frames measured  no LV in this slice"


def test_a_stack_s_volumes_are_one_plain_line():
    volumes = StackVolumes("phantom", 8, 10, 10.0, 0, 7, 131.25, 47.5, 0.638095, 104.0)
    assert plain_line(volumes, CONTEXT.layout) == (
        "phantom stack  8 of 10 slices with an LV  EDV 131 ml  ESV 48 ml  EF 64 %  mass 104 g"
    )
    none = StackVolumes("phantom", 2, 12, reason="the slices do not lie evenly")
    assert plain_line(none, CONTEXT.layout) == "phantom stack  no volumes: the slices do not lie evenly"


def test_a_run_ends_with_its_volumes_on_the_terminal(terminal, make_beat):
    measurements, cycle = make_beat()
    volumes = StackVolumes("phantom", 8, 10, 10.0, 0, 7, 131.0, 47.0, 0.64, 104.0)
    with redirect_stdout(terminal), open_sink("term:", CONTEXT) as sink:
        for item in (*measurements, cycle, volumes):
            sink.write(item)
    assert "EDV 131 ml" in terminal.getvalue()
    assert "refused" not in terminal.getvalue()


def test_standard_error_where_results_fill_standard_output(capsys, make_measurement):
    with open_sink("term:", replace(CONTEXT, console_is_stderr=True)) as sink:
        sink.write(make_measurement())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("phantom s00 t00")


def test_a_terminal_without_unicode_gets_plain_lines(make_measurement):
    terminal = AsciiTerminal()
    with redirect_stdout(terminal), open_sink("term:", CONTEXT) as sink:
        sink.write(make_measurement())
    assert terminal.getvalue().isascii()
    assert "\x1b" not in terminal.getvalue()


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    screen = Terminal()
    for name, value in (("COLUMNS", "120"), ("LINES", "40"), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return screen


def test_the_first_measurement_is_on_the_terminal_at_once(terminal, make_measurement):
    with redirect_stdout(terminal), open_sink("term:", CONTEXT) as sink:
        assert terminal.getvalue() == ""
        sink.write(make_measurement())
        shown = terminal.getvalue()
    for words in (
        "demo:",
        "default 1.2",
        "onnxruntime",
        "slice 0  frame 0/8",
        "diastole",
        "1522",
        "rule 12",
        NOTICE,
    ):
        assert words in shown


def test_the_end_leaves_one_row_a_beat(terminal, make_beat):
    measurements, cycle = make_beat()
    with redirect_stdout(terminal), open_sink("term:", CONTEXT) as sink:
        for item in (*measurements, cycle, Rejected("7.dcm", "truncated")):
            sink.write(item)
        sink.write(Cycle("phantom", 1, Mode.CLOSED, 8, 0, reason="no LV in this slice"))
    shown = terminal.getvalue()
    assert "1 refused" in shown
    rest = shown[shown.rindex("thickening") :]
    assert "7/8" in rest
    assert "no LV in this slice" in rest
    assert "not a diagnosis  [a guideline, doi 10.1000/1]" in rest


def test_an_empty_run_draws_nothing(terminal):
    with redirect_stdout(terminal), open_sink("term:", CONTEXT):
        pass
    assert terminal.getvalue() == ""


def test_the_small_heart_shows_the_ring_and_the_rv_on_the_left(make_measurement, make_unmeasured):
    rows = dashboard.heart_text(make_measurement()).plain.split("\n")
    columns, count = dashboard.HEART_CELLS
    assert [len(row) for row in rows] == [columns] * count
    middle = rows[count // 2]
    assert "\u28ff" in middle
    assert middle[0] != "\u2800"
    assert middle[-1] == "\u2800"
    nothing = dashboard.heart_text(make_unmeasured(make_measurement())).plain
    assert nothing.strip() == ""


def test_a_frame_without_an_lv_says_so_on_the_terminal(terminal, make_measurement, make_unmeasured):
    with redirect_stdout(terminal), open_sink("term:", CONTEXT) as sink:
        sink.write(make_unmeasured(make_measurement(), "no LV in this frame"))
    assert "not measured" in terminal.getvalue()
    assert "no LV in this frame" in terminal.getvalue()


def test_sparkline_runs_from_the_lowest_to_the_highest():
    assert dashboard.sparkline([1.0, 2.0, np.nan, 8.0]) == "▁▂ █"
    assert dashboard.sparkline([3.0, 3.0]) == "▁▁"
    assert dashboard.sparkline([np.nan]) == ""


def test_beats_fit_a_narrow_terminal(make_beat):
    _, cycle = make_beat()
    console = Console(file=io.StringIO(), width=80)
    console.print(dashboard.beats_table([cycle]))
    assert max(len(line) for line in console.file.getvalue().splitlines()) <= 80


def test_the_live_picture_fits_the_smallest_usual_terminal(make_measurement):
    console = Console(file=io.StringIO(), width=80, height=24)
    board = dashboard.Dashboard(io.StringIO(), CONTEXT)
    board.take(make_measurement())
    console.print(board._picture())
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= 23
    assert max(len(line) for line in lines) <= 80
    assert "…" not in console.file.getvalue()


def test_of_several_streams_one_is_shown_until_its_beat_is_over(make_beat, monkeypatch):
    context = replace(CONTEXT, streams={0: CONTEXT, 1: CONTEXT})
    board = dashboard.Dashboard(io.StringIO(), context)
    (first, second, *_), cycle = make_beat()
    now = [0.0]
    monkeypatch.setattr(dashboard.time, "perf_counter", lambda: now[0])

    def shown() -> str:
        console = Console(file=io.StringIO(), width=80, height=24)
        console.print(board._picture())
        return console.file.getvalue()

    board.take(first, 1)
    board.take(first, 0)
    board.take(second, 0)
    assert "stream 1  phantom  slice 0  frame 0/8" in shown()
    board.take(cycle, 0)
    board.take(second, 0)
    assert "stream 1" in shown()
    board.take(cycle, 1)
    board.take(second, 0)
    assert "stream 0  phantom  slice 0  frame 1/8" in shown()
    now[0] = dashboard.STAYS_S  # stream 0 has come to its end meanwhile
    board.take(second, 1)
    assert "stream 1  phantom  slice 0  frame 1/8" in shown()
    assert [beat.series for beat in board._beats] == ["stream 0  phantom", "stream 1  phantom"]
