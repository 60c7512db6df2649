"""End diastole, end systole and the phase of every frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvedge.phase import end_frames, is_systole, smoothed, systole_of_areas

areas = st.lists(st.integers(100, 3000), min_size=1, max_size=45)


def test_smoothing_goes_around_the_beat() -> None:
    np.testing.assert_array_equal(smoothed([4.0, 0.0, 0.0, 8.0]), [4.0, 1.0, 2.0, 5.0])
    np.testing.assert_array_equal(smoothed([3.0]), [3.0])


@pytest.mark.parametrize(
    ("beat", "ed", "es", "systole"),
    [
        ([10, 9, 6, 3, 2, 4, 7, 9], 0, 4, [1, 1, 1, 1, 0, 0, 0, 0]),
        ([3, 2, 4, 7, 9, 10, 9, 6], 5, 1, [1, 0, 0, 0, 0, 1, 1, 1]),  # systole passes the last frame
        ([9, 3, 9, 3, 9, 3], 0, 0, [0] * 6),  # even after smoothing: no systole
        ([5, 5, 5], 0, 0, [0, 0, 0]),
        ([7], 0, 0, [0]),
        ([9, 1], 0, 0, [0, 0]),
        ([8, 8, 8, 1, 1, 1], 1, 4, [0, 1, 1, 1, 0, 0]),
        ([8, 8, 8, 8, 1, 1, 1, 1], 1, 5, [0, 1, 1, 1, 1, 0, 0, 0]),  # the first of equal extremes
        ([10, 9, 9, 9, 9, 0, 9, 9], 0, 5, [1, 1, 1, 1, 1, 0, 0, 0]),
    ],
)
def test_beats(beat: list[float], ed: int, es: int, systole: list[int]) -> None:
    assert end_frames(beat) == (ed, es)
    np.testing.assert_array_equal(systole_of_areas(beat), np.array(systole, dtype=bool))


@given(areas, st.integers(0, 44))
def test_the_definition_and_any_first_frame(beat: list[int], start: int) -> None:
    count, start = len(beat), start % len(beat)
    curve = [beat[k - 1] + 2 * beat[k] + beat[(k + 1) % count] for k in range(count)]
    ed, es = curve.index(max(curve)), curve.index(min(curve))
    assert end_frames(beat) == (ed, es)
    systole = {(ed + k) % count for k in range((es - ed) % count)}
    assert set(np.flatnonzero(systole_of_areas(beat))) == systole
    if curve.count(max(curve)) == curve.count(min(curve)) == 1:
        rolled = beat[start:] + beat[:start]
        np.testing.assert_array_equal(systole_of_areas(rolled), np.roll(systole_of_areas(beat), -start))


def test_positions_between_frames() -> None:
    np.testing.assert_array_equal(
        is_systole([17.9, 18.0, 19.5, 0.0, 5.9, 6.0, 26.0], 18.0, 6.0, 20.0), [0, 1, 1, 1, 1, 0, 0]
    )
    assert not is_systole(np.arange(20), 4.0, 4.0, 20.0).any()


@pytest.mark.parametrize("beat", [[], [1.0, np.nan], [np.inf, 1.0]])
def test_areas_that_cannot_be(beat: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one area, all of them finite"):
        end_frames(beat)
