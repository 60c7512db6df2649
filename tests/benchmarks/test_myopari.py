"""Labels on whole frames as measurements; the shipped network itself where it is installed."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from painted_hearts import painted_stack

from benchmarks.baselines.myopari import VERSION, Myopari, measured_stack
from lvedge.errors import DataError
from lvedge.indices import Label
from lvedge.quality import DEFAULT_QUALITY
from lvedge.training.data import Sample
from lvedge.training.evaluation.still import scored_slice
from lvedge.training.scoring import truth_of

ED = [s for s in painted_stack() if s.phase == "ED"]
NOTHING = np.full(11, 7.0)


def hard(sample: Sample) -> tuple[Sample, np.ndarray]:
    """The sample with every pixel wholly of one label, and these labels."""
    shares = np.dstack([255 - sample.maps.sum(axis=2, dtype=int), sample.maps])
    labels = shares.argmax(axis=2).astype(np.uint8)
    maps = np.dstack([255 * (labels == k) for k in (1, 2, 3)]).astype(np.uint8)
    return replace(sample, maps=maps), labels


def test_labels_that_are_the_drawn_ones_measure_the_truth() -> None:
    samples, drawn = zip(*(hard(sample) for sample in ED), strict=True)
    for sample, measurement in zip(samples, measured_stack(samples, drawn), strict=True):
        scored = scored_slice(sample, measurement, DEFAULT_QUALITY, NOTHING)
        assert scored.found
        np.testing.assert_allclose(scored.regressed, truth_of(sample), rtol=1e-4)
        np.testing.assert_array_equal(scored.geometric, scored.regressed)
        assert scored.dice == (1.0, 1.0)
        assert scored.centre_mm == pytest.approx(0.0, abs=1e-6)
        assert scored.septum_deg == pytest.approx(0.0, abs=0.5)


def test_without_an_rv_the_sectors_are_counted_from_the_other_slices_septa() -> None:
    samples, drawn = zip(*(hard(sample) for sample in ED), strict=True)
    without = drawn[1].copy()
    without[without == Label.RV] = Label.BACKGROUND
    whole = measured_stack(samples, drawn)
    found = measured_stack(samples, [drawn[0], without, *drawn[2:]])
    assert [m.septum_inferred for m in found] == [False, True, False, False]
    others = [whole[k].septum_deg for k in (0, 2, 3)]
    assert found[1].septum_deg is not None
    assert min(others) <= found[1].septum_deg <= max(others)


def test_a_slice_without_an_lv_scores_as_nothing_returned() -> None:
    sample, labels = hard(ED[1])
    (measurement,) = measured_stack([sample], [np.where(labels == Label.RV, labels, 0).astype(np.uint8)])
    assert (measurement.measured, measurement.reason) == (False, "no LV cavity in this frame")
    scored = scored_slice(sample, measurement, DEFAULT_QUALITY, NOTHING)
    assert (scored.found, scored.dice, scored.centre_mm) == (False, (0.0, 0.0), np.inf)
    np.testing.assert_array_equal(scored.regressed, NOTHING)


def test_pixels_that_are_no_squares_are_refused() -> None:
    sample, labels = hard(ED[1])
    with pytest.raises(DataError, match=r"pixels of 2\.5 x 2\.0 mm: only square ones can be read"):
        measured_stack([replace(sample, spacing_mm=(2.5, 2.0))], [labels])


def test_the_shipped_network_labels_a_stack() -> None:
    try:
        assert metadata.version("myopari") == VERSION
    except metadata.PackageNotFoundError:
        pytest.skip(f"myopari is not installed: pip install --no-deps myopari=={VERSION}")
    pytest.importorskip("skimage", reason="scikit-image comes with the extra 'baselines'")
    network = Myopari()
    measured = network.measure(ED)
    assert [m.drawn.shape for m in measured] == [s.pixels.shape for s in ED]
    assert {int(label) for m in measured for label in np.unique(m.drawn)} <= {int(label) for label in Label}
    assert network.slices == len(ED)
    assert network.sha256 == "794d775a4977e714f4c4ef081c536ab371fe3d36ea682c7ce6014b52c8df0974"
