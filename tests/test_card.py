"""The model card says what was measured, and travels in the shipped bundle."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="the readers of the evaluation need the extra train")

ROOT = Path(__file__).resolve().parent.parent


def _make_card():
    spec = importlib.util.spec_from_file_location("make_card", ROOT / "docs" / "make_card.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_card_is_written_from_the_figures():
    make_card = _make_card()
    figures = json.loads(make_card.ACCURACY.read_text("utf-8"))
    assert make_card.PAGE.read_text("utf-8") == make_card.card(figures), "run: python docs/make_card.py"


def test_the_bundle_carries_the_card_and_the_figures(bundle):
    make_card = _make_card()
    assert bundle.manifest["accuracy"] == json.loads(make_card.ACCURACY.read_text("utf-8"))
    assert bundle.model_card == make_card.PAGE.read_text("utf-8")
