"""The robustness benchmark: its figures by hand, its pictures, and one small run from end to end."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

# A script finds its neighbours beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import robustness as bench
from data_folder import SPLIT, write_data
from painted_hearts import PaintReader, painted_stack

from lvedge.measurement import Measurement
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.degradation import DEGRADATIONS
from lvedge.training.scoring import truth_of

MEANS = np.full(11, 50.0)


def outcome(subject: str, returned: bool, flagged: bool, gross: bool, error: float) -> object:
    return bench.Outcome(subject, returned, flagged, gross, np.full(11, error))


def test_figures_are_means_over_subjects_and_name_what_is_silent() -> None:
    figures = bench.figures_of(
        [
            outcome("a", True, False, False, 1.0),
            outcome("a", True, True, True, 4.0),
            outcome("a", True, False, True, 5.0),
            outcome("a", False, False, False, 10.0),
            outcome("b", True, False, False, 2.0),
        ]
    )
    assert (figures["pictures"], figures["subjects"]) == (5, 2)
    assert figures["rwt_mm"]["mean"] == figures["areas_mm2"]["mean"] == (20.0 / 4 + 2.0) / 2
    assert figures["trusted"]["dims_mm"] == (3.0 + 2.0) / 2
    assert (figures["coverage"], figures["flagged"], figures["gross"]) == (0.875, 0.125, 0.25)
    assert (figures["silent"]["mean"], figures["silent_of_gross"]) == (0.125, 0.5)


def test_without_gross_errors_nothing_is_a_share_of_them() -> None:
    figures = bench.figures_of([outcome("a", False, False, False, 7.0)])
    assert figures["silent_of_gross"] is None
    assert figures["trusted"] == {"rwt_mm": None, "dims_mm": None, "areas_mm2": None}
    assert figures["coverage"] == 0.0


@pytest.mark.parametrize(
    ("off_mm", "quality", "expected"),
    [(2.9, 0.9, (False, False)), (3.1, 0.9, (False, True)), (3.1, 0.4, (True, True))],
)
def test_an_outcome_is_judged_by_the_reported_values(
    off_mm: float, quality: float, expected: tuple[bool, bool]
) -> None:
    (shown,) = list(bench.degraded(painted_stack()[1:2], DEGRADATIONS[0], 0.05))
    bench_, found = bench.Bench(PaintReader(), DEFAULT_QUALITY, MEANS), []
    assert bench_.figures([shown])["coverage"] == 1.0
    indices = measured_of(shown.frame).indices
    assert indices is not None
    vector = shown.truth.copy()
    vector[2] += off_mm
    measurement = Measurement(shown.frame, True, indices=replace(indices, vector=vector), quality=quality)
    got = bench.outcome_of(shown, measurement, DEFAULT_QUALITY, MEANS)
    found.append((got.flagged, got.gross))
    assert found == [expected]
    assert got.error[2] == pytest.approx(off_mm)
    missed = bench.outcome_of(shown, Measurement(shown.frame, False), DEFAULT_QUALITY, MEANS)
    assert (missed.returned, missed.flagged, missed.gross) == (False, False, False)
    np.testing.assert_array_equal(missed.error, np.abs(MEANS - shown.truth))


def measured_of(frame: object) -> Measurement:
    (measurement,) = bench.SliceMeasurer(PaintReader(), DEFAULT_QUALITY).measure_closed([frame])
    return measurement


def test_a_slice_is_drawn_alike_at_every_severity() -> None:
    effect = next(e for e in DEGRADATIONS if e.name == "noise")
    sample = painted_stack()[1]
    mild, severe = (next(bench.degraded([sample], effect, s)) for s in (1e-3, 2e-3))
    first, second = (shown.frame.pixels.astype(float) - sample.pixels for shown in (mild, severe))
    bright = sample.pixels > 100  # where the noise is Gaussian, it grows with its SD
    np.testing.assert_allclose(second[bright], 2 * first[bright], atol=0.01)
    np.testing.assert_array_equal(mild.truth, truth_of(sample))


def test_only_thin_stacks_are_tilted_and_only_where_the_lv_stays_inside() -> None:
    stack = painted_stack(15)
    assert list(bench.tilted_stacks(stack, 10.0)) == []
    thin = [replace(sample, slice_mm=5.0) for sample in stack]
    shown = list(bench.tilted_stacks(thin, 10.0))
    indices = sorted({picture.frame.slice_index for picture in shown})
    assert indices
    assert indices[0] * 5.0 >= 15.0
    assert (14 - indices[-1]) * 5.0 >= 15.0
    assert [s.frame.slice_index for s in bench.tilted_stacks(thin, 30.0)] == [
        s.frame.slice_index for s in shown
    ]
    # A stack that hardly tapers, tilted: areas grow by about 1 / cos.
    level = {(s.stack, s.frame.slice_index): s.truth for s in bench.tilted_stacks(thin, 0.0)}
    for picture in bench.tilted_stacks(thin, 30.0):
        ratio = picture.truth[9] / level[picture.stack, picture.frame.slice_index][9]
        assert ratio == pytest.approx(1 / np.cos(np.deg2rad(30.0)), rel=0.06)


def test_a_run_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(bench, "read_split", lambda **_fold: SPLIT)
    monkeypatch.setattr(bench, "stepper_from_run", lambda _run: PaintReader())
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("# A\n\n<!-- robustness -->\nlong ago\n<!-- end robustness -->\n\nB\n", encoding="utf-8")
    out, plots = tmp_path / "results" / "r.json", tmp_path / "results" / "plots"
    words = ["--data", str(write_data(tmp_path / "data")), "--run", str(tmp_path), "--limit", "1"]
    assert bench.main([*words, "--out", str(out), "--plots", str(plots), "--page", str(page)]) == 0
    figures = json.loads(out.read_text("utf-8"))
    assert (figures["subjects"], figures["quality"]["fitted"]) == (1, False)
    # acdc's slices lie 10 mm apart here: no stack is tilted.
    assert list(figures["curves"]) == [*(e.name for e in DEGRADATIONS), "tilt, phantoms"]
    clean = figures["clean"]
    assert (clean["pictures"], clean["coverage"]) == (4, 1.0)
    assert clean["rwt_mm"]["mean"] < 1.0
    turned = figures["curves"]["rotation"]["points"]
    assert [point["severity"] for point in turned] == list(bench.DEGRADATIONS[5].severities)
    assert turned[2]["rwt_mm"]["mean"] == pytest.approx(clean["rwt_mm"]["mean"], abs=0.3)
    assert [p.name for p in sorted(plots.iterdir())] == ["error.png", "flags.png"]
    text = page.read_text("utf-8")
    assert "long ago" not in text
    assert "![Errors against severity](../results/plots/error.png)" in text
    assert "1 subjects, 4 mid slices" in text
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 2 + sum(len(c["points"]) for c in figures["curves"].values())
    assert "as it is: " in capsys.readouterr().err


def test_what_a_user_can_mend_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "r.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("robustness: error: no data at ")
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(SystemExit, match="has no place between"):
        bench.write_page(page, "text")
