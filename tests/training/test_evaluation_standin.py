"""Stand-ins: means and clock of the training subjects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from heart_samples import healthy, sample_of
from painted_hearts import COARSE, painted_stack
from squares import labelled

from lvedge.training.data.sample import Sample
from lvedge.training.evaluation.standin import drawn_of, stand_in
from lvedge.training.scoring import truth_of

STILLS = [drawn_of(list(painted_stack(4)))]
BEAT = [9, 7, 3, 2, 4, 6]
"""ED 0, ES 3: systole at 0, 1, 2."""


def means_of(samples: list[Sample]) -> np.ndarray:
    """The values of a stand-in for which these samples are all that was drawn."""
    return stand_in([drawn_of(samples)], [drawn_of(beat_with_areas(0, BEAT), 6)]).values


def test_means_are_those_of_the_mid_slices() -> None:
    stack = painted_stack(6)
    assert [s.slice_index for s in stack if s.is_mid_slice] == [1, 2, 3, 4] * 2
    expected = np.mean([truth_of(s) for s in stack if s.slice_index in (1, 2, 3, 4)], axis=0)
    np.testing.assert_allclose(means_of([*stack]), expected, rtol=1e-12)
    # A mid slice without a drawn RV has no truth and changes nothing.
    unknown = replace(sample_of(healthy(COARSE), source="york"), slice_index=4)
    assert unknown.is_mid_slice
    np.testing.assert_allclose(means_of([*stack, unknown]), expected, rtol=1e-12)


def beat_with_areas(slice_index: int, areas: list[int]) -> list[Sample]:
    """A slice whose cavity has so many pixels, frame by frame."""
    samples = []
    for k, area in enumerate(areas):
        sample = labelled(["3" * area + "0" * (9 - area)] * 3, has_rv=False)
        samples.append(replace(sample, source="york", slice_index=slice_index, frame_index=k))
    return samples


def test_the_clock_is_the_majority_of_complete_slices() -> None:
    late = [7, 9, 7, 3, 2, 4]  # ED 1, ES 4: systole at 1, 2, 3
    slices = [beat_with_areas(0, BEAT), beat_with_areas(1, late), beat_with_areas(2, late)]
    incomplete = [beat_with_areas(k, late)[:5] for k in (3, 4, 5)]

    def clock(*chosen: list[Sample]) -> list[int]:
        samples = [sample for members in chosen for sample in members[::-1]]
        return stand_in(STILLS, [drawn_of(samples, 6)]).clock.astype(int).tolist()

    assert clock(slices[0], *incomplete) == [1, 1, 1, 0, 0, 0]
    assert clock(*slices) == [0, 1, 1, 1, 0, 0]
    assert clock(slices[0], slices[1]) == [1, 1, 1, 1, 0, 0]  # a tie is systole


def test_slices_of_other_subjects_are_kept_apart() -> None:
    one = beat_with_areas(0, BEAT)
    other = [replace(sample, subject="q") for sample in one]
    assert drawn_of([*one, *other], 6).systole.tolist() == [[True] * 3 + [False] * 3] * 2


def test_subjects_read_apart_make_the_stand_in_of_all_together() -> None:
    first, second = list(painted_stack(4)), list(painted_stack(6, "patient002"))
    beats = [beat_with_areas(k, BEAT[k:] + BEAT[:k]) for k in range(3)]
    apart = stand_in([drawn_of(first), drawn_of(second)], [drawn_of(beat, 6) for beat in beats])
    both = stand_in([drawn_of([*first, *second])], [drawn_of([s for beat in beats for s in beat], 6)])
    np.testing.assert_allclose(apart.values, both.values, rtol=1e-12)
    np.testing.assert_allclose(apart.areas_mm2, both.areas_mm2, rtol=1e-12)
    np.testing.assert_array_equal(apart.clock, both.clock)


def test_mean_areas_are_those_of_the_drawings() -> None:
    few = labelled(["0000", "0230", "0220", "0000"])
    many = replace(
        labelled(["0000", "0233", "0223", "0000"]), spacing_mm=(2.0, 1.0), frame_index=1, subject="q"
    )
    assert drawn_of([few, many], 6).areas_mm2.tolist() == [[1.0, 3.0], [6.0, 6.0]]
    beats = [drawn_of([few, many], 6), drawn_of(beat_with_areas(0, [2] * 6), 6)]
    np.testing.assert_allclose(stand_in(STILLS, beats).areas_mm2, [(1 + 6 + 36) / 8, (3 + 6) / 8])
