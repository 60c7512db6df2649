"""The quality model: its manifest entry, and what lowers it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvedge.aim import Aim
from lvedge.errors import BundleError
from lvedge.frame import Frame
from lvedge.geometry import Rays, Septum
from lvedge.indices import Indices
from lvedge.quality import (
    DEFAULT_QUALITY,
    FEATURES,
    NO_HEART_LIKELY,
    NO_LV_LIKELY,
    SIGNS,
    PresenceModel,
    QualityModel,
    quality_features,
    towards_end,
)
from lvedge.reading import MaskReading
from lvedge.view import View

NONE = np.zeros(len(FEATURES))
AIM = Aim(View((40.0, 40.0), 180.0, (1.5, 1.5)), inferred=False, confidence=0.9, septum_confidence=0.75)


def reading_of(vector: np.ndarray, septum: Septum | None = None, **changes: float) -> MaskReading:
    rays = Rays((40.0, 40.0), (1.5, 1.5), np.ones(360), np.ones(360), np.ones(2))
    figures = {"closed": 1.0, "confidence": 1.0, "entropy": 0.0, "other_share": 0.0, **changes}
    return MaskReading(rays=rays, septum=septum, indices=Indices(vector), **figures)


def frame(slice_index: int, slice_count: int | None) -> Frame:
    pixels = np.zeros((8, 8), np.float32)
    return Frame(pixels, (1.5, 1.5), "series", slice_index=slice_index, slice_count=slice_count)


def test_features_in_full() -> None:
    read = np.array([5.0] * 6 + [30.0] * 3 + [600.0, 900.0])
    said = read + np.array([0, 0, -1.5, 0, 0.6, 0, 2.5, 0, 0, -100.0, 200.0])
    before = Indices(said + np.array([0.6, -0.6, 0.6, -0.6, 0.6, -0.6, 9, 9, 9, 99, 99]))
    reading = reading_of(read, closed=0.9, confidence=0.8, entropy=0.2, other_share=0.05)
    np.testing.assert_allclose(
        quality_features(Indices(said), reading, before, AIM, frame(6, 8)),
        [
            *[0.5, 0.5, 0.5, 0.6, 0.2, 0.1, 0.05, 1.0, np.exp(-2.0), np.exp(-5 / 3), 0.0, 0.5, 0.2],
            *[np.sqrt(500.0) / 50.0, np.sqrt(1100.0) / 50.0, 0.28, 0.175, 0.2425, 0.125, 0.1, 0.25],
        ],
    )
    read[:6] = [3.0, 9.0] * 3
    seen = reading_of(read, Septum(180.0, 90.0))
    np.testing.assert_allclose(
        quality_features(Indices(read), seen, None, AIM, frame(0, None)),
        [
            *[0, 0, 0, 0, 0, 0, 0, 0, np.exp(-2.0), np.exp(-1.0), 0.5, 0, 0],
            *[np.sqrt(600.0) / 50.0, 0.6, 0.45, 0.15, 0.3, 0.0, 0.1, 0.25],
        ],
    )


@pytest.mark.parametrize(
    ("slice_index", "slice_count", "expected"),
    [
        (0, 9, 1.0),
        (8, 9, 1.0),
        (1, 9, 0.5),
        (4, 9, 1 / 16),
        (0, 5, 1.0),
        (0, 4, 0.0),
        (0, 1, 0.0),
        (3, None, 0.0),
    ],
)
def test_only_a_stack_has_ends(slice_index: int, slice_count: int | None, expected: float) -> None:
    assert towards_end(frame(slice_index, slice_count)) == expected


def test_the_manifest_entry_comes_back() -> None:
    model = QualityModel(np.linspace(-3.0, 0.5, len(FEATURES)).round(6), 2.25, 0.4375)
    entry = model.as_manifest()
    assert set(entry) == {"weights", "bias", "flag_below"}
    again = QualityModel.from_manifest({**entry, "fitted_on": {"frames": 3}})
    np.testing.assert_array_equal(again.weights, model.weights)
    assert (again.bias, again.flag_below) == (2.25, 0.4375)


@pytest.mark.parametrize("name", ["presence", "heart"])
def test_presence_travels_with_quality(name: str) -> None:
    presence = PresenceModel(np.linspace(0.5, -2.0, len(FEATURES)).round(6), 1.5, 0.125)
    model = QualityModel(np.zeros(len(FEATURES)), 0.0, 0.5, **{name: presence})
    read = QualityModel.from_manifest(model.as_manifest())
    again = getattr(read, name)
    assert [read.presence, read.heart].count(None) == 1
    np.testing.assert_array_equal(again.weights, presence.weights)
    assert (again.bias, again.reject_below) == (1.5, 0.125)
    assert again.probability(NONE) == pytest.approx(1 / (1 + np.exp(-1.5)))


def test_an_objection_names_what_speaks_against_an_lv() -> None:
    sure, unsure = (PresenceModel(np.zeros(len(FEATURES)), bias, 0.5) for bias in (1.0, -1.0))
    model = QualityModel(np.zeros(len(FEATURES)), 0.0, 0.5)
    assert model.objection(NONE) is None
    assert replace(model, presence=sure, heart=sure).objection(NONE) is None
    assert replace(model, presence=unsure, heart=sure).objection(NONE) == NO_LV_LIKELY
    assert replace(model, presence=unsure, heart=unsure).objection(NONE) == NO_HEART_LIKELY


@pytest.mark.parametrize(
    ("presence", "words"),
    [
        (0.5, "its model of presence is no object"),
        ({"weights": {"other": 1.0}}, "reads other features"),
        ({**DEFAULT_QUALITY.as_manifest()}, "reject_below is no number"),
    ],
)
@pytest.mark.parametrize("name", ["presence", "heart"])
def test_entries_that_are_no_presence(name: str, presence: object, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        QualityModel.from_manifest({**DEFAULT_QUALITY.as_manifest(), name: presence})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": {"other": 1.0}}, "reads other features"),
        ({"weights": [1.0, 2.0]}, "reads other features"),
        ({"bias": "high"}, "is incomplete"),
        ({"bias": None}, "is incomplete"),
        ({"weights": dict.fromkeys(FEATURES, "x")}, "is incomplete"),
        ({"weights": dict.fromkeys(FEATURES)}, "is incomplete"),
    ],
)
def test_entries_that_are_no_model(change: dict[str, object], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        QualityModel.from_manifest({**DEFAULT_QUALITY.as_manifest(), **change})


@pytest.mark.parametrize("missing", ["weights", "bias", "flag_below"])
def test_an_entry_with_something_missing(missing: str) -> None:
    entry = DEFAULT_QUALITY.as_manifest()
    del entry[missing]
    with pytest.raises(BundleError, match="is incomplete"):
        QualityModel.from_manifest(entry)


def test_known_qualities() -> None:
    model = QualityModel(np.eye(len(FEATURES))[0] * -2.0, 1.0, 0.5)
    assert model.quality(NONE) == pytest.approx(1 / (1 + np.exp(-1)))
    assert model.quality(np.eye(len(FEATURES))[0] * 0.5) == 0.5


@given(
    st.lists(st.floats(0.0, 20.0), min_size=len(FEATURES), max_size=len(FEATURES)),
    st.integers(0, len(SIGNS) - 1),
    st.floats(0.01, 5.0),
)
def test_worse_features_never_raise_quality(features: list[float], which: int, more: float) -> None:
    before = np.array(features)
    after = before + more * np.eye(len(FEATURES))[which]
    high, low = DEFAULT_QUALITY.quality(before), DEFAULT_QUALITY.quality(after)
    assert 0.0 <= low < high <= 1.0
