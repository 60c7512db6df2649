"""Which way round a picture is, from its tags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvedge.frame import SHORT_AXIS_NORMAL_LPS, Frame, Handedness, Orientation

PIXELS = np.zeros((2, 2), np.float32)
AXIS = np.array(SHORT_AXIS_NORMAL_LPS)


def frame_with(orientation: Orientation | None) -> Frame:
    return Frame(PIXELS, (1.0, 1.0), "s", orientation=orientation)


def orientation_with(cosine: float) -> Orientation:
    """Unit directions whose normal has the given product with the mean short axis."""
    length = float(np.linalg.norm(AXIS))
    along = AXIS / length
    across = np.cross(along, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    share = cosine / length
    normal = share * along + np.sqrt(1.0 - share**2) * across
    row = np.cross(normal, [1.0, 0.0, 0.0])
    row /= np.linalg.norm(row)
    column = np.cross(normal, row)
    return Orientation(tuple(map(float, row)), tuple(map(float, column)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cosine", "expected"),
    [
        (1.0, Handedness.RADIOLOGICAL),
        (0.5 + 1e-9, Handedness.RADIOLOGICAL),
        (0.5 - 1e-9, Handedness.ASSUMED),
        (0.0, Handedness.ASSUMED),
        (-0.5 + 1e-9, Handedness.ASSUMED),
        (-0.5 - 1e-9, Handedness.MIRRORED),
        (-1.0, Handedness.MIRRORED),
    ],
)
def test_the_limits(cosine: float, expected: Handedness) -> None:
    orientation = orientation_with(cosine)
    assert float(orientation.normal @ AXIS) == pytest.approx(cosine, abs=1e-12)
    assert frame_with(orientation).handedness is expected


@pytest.mark.parametrize(
    ("height", "expected"), [(0.5, Handedness.RADIOLOGICAL), (-0.5, Handedness.MIRRORED)]
)
def test_the_limit_itself_counts(height: float, expected: Handedness) -> None:
    # Which neighbour of the quotient gives the limit exactly depends on how a machine rounds.
    column = height / SHORT_AXIS_NORMAL_LPS[2]
    near = [column + k * float(np.spacing(column)) for k in range(-4, 5)]
    tried = [Orientation((1.0, 0.0, 0.0), (0.0, c, 0.0)) for c in near]
    (orientation, *_) = (o for o in tried if float(o.normal @ AXIS) == height)
    assert frame_with(orientation).handedness is expected


def test_no_orientation_and_the_identity_are_assumed() -> None:
    assert frame_with(None).handedness is Handedness.ASSUMED
    assert frame_with(Orientation((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))).handedness is Handedness.ASSUMED
    assert [h.value for h in Handedness] == ["tags", "tags, mirrored", "assumed"]


@given(st.floats(0.51, 1.0), st.floats(0.0, 360.0))
def test_a_turn_keeps_the_way_round_and_a_flip_changes_it(cosine: float, turn_deg: float) -> None:
    upright = orientation_with(cosine)
    row, column = np.array(upright.row), np.array(upright.column)
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))

    def as_triple(vector: np.ndarray) -> tuple[float, float, float]:
        return float(vector[0]), float(vector[1]), float(vector[2])

    turned = Orientation(as_triple(c * row + s * column), as_triple(c * column - s * row))
    assert frame_with(turned).handedness is Handedness.RADIOLOGICAL
    for flipped in (
        Orientation(as_triple(-row), as_triple(column)),
        Orientation(as_triple(row), as_triple(-column)),
        Orientation(as_triple(column), as_triple(row)),
    ):
        assert frame_with(flipped).handedness is Handedness.MIRRORED
