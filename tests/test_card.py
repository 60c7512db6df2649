"""The model card says what was measured, and travels in the shipped bundle."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="the readers of the evaluation need the extra train")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def make_card(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("make_card")


@pytest.fixture
def make_accuracy(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("make_accuracy")


def test_the_card_is_written_from_the_figures(make_card):
    figures = json.loads(make_card.ACCURACY.read_text("utf-8"))
    assert make_card.PAGE.read_text("utf-8") == make_card.card(figures), "run: python docs/make_card.py"


def test_the_page_of_accuracy_shows_the_figures(make_accuracy):
    figures = json.loads(make_accuracy.ACCURACY.read_text("utf-8"))
    assert make_accuracy.table(figures) in make_accuracy.PAGE.read_text("utf-8"), (
        "run: python docs/make_accuracy.py"
    )


def test_a_figure_beyond_its_bound_is_said_to_be(make_accuracy):
    figures = {
        "acdc": {
            "regressed": {"rwt_mm": {"mean": 1.004, "interval_95": [0.9, 1.1]}},
            "coverage": {"mean": 0.991, "interval_95": [0.9, 1.0]},
        }
    }
    targets = {target.path: target for target in make_accuracy.TARGETS}
    walls, coverage = (targets[path].row(figures) for path in ("acdc.regressed.rwt_mm", "acdc.coverage"))
    assert walls.endswith(": ≤ 1, aim 0.75 | 1.004 [0.900, 1.100] | **no** |")
    assert coverage.endswith(": ≥ 99 %, aim 99.8 % | 99.1 % [90.0, 100.0] | yes |")


def test_the_bundle_carries_the_card_and_the_figures(bundle, make_card):
    assert bundle.manifest["accuracy"] == json.loads(make_card.ACCURACY.read_text("utf-8"))
    assert bundle.model_card == make_card.PAGE.read_text("utf-8")
