"""The locator: points and confidences from maps that are known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from lvedge.network.config import LocatorConfig, NetworkConfig, contract_shapes  # noqa: E402
from lvedge.network.locator import Locator  # noqa: E402

SMALL = LocatorConfig(input_px=64, channels=(4, 6, 8, 10))
SURE = torch.full((1, 3), 9.0)


def spots(locator: Locator, points: list[tuple[float, float]], spread_px: float = 2.0) -> Tensor:
    """Logits of Gaussian spots at input pixels (x, y), [1, 3, P/2, P/2]."""
    axis = locator.axis
    maps = [-((axis - x)[None, :] ** 2 + (axis - y)[:, None] ** 2) / (2 * spread_px**2) for x, y in points]
    return torch.stack(maps)[None]


def test_shapes_follow_the_contract() -> None:
    locator = Locator(SMALL).eval()
    shapes = contract_shapes(NetworkConfig(), 5, SMALL)
    frame = torch.rand(2, *shapes.locator_shape)
    with torch.no_grad():
        maps, presence = locator.heat_maps(frame)
        points, confidence = locator(frame)
    assert tuple(maps.shape) == (2, 3, 32, 32)
    assert tuple(presence.shape) == (2, 3)
    assert tuple(points.shape[1:]) == shapes.tensor_shape("points")
    assert tuple(confidence.shape[1:]) == shapes.tensor_shape("confidence")


def test_a_spot_is_found_between_the_cells() -> None:
    locator = Locator(SMALL)
    truth = [(20.0, 30.0), (41.3, 12.8), (9.7, 50.2)]
    points, confidence = locator.points(spots(locator, truth), SURE)
    np.testing.assert_allclose(points[0].numpy(), truth, atol=0.05)
    assert (confidence > 0.8).all()


def test_cells_stand_for_their_middles() -> None:
    locator = Locator(SMALL)
    maps = torch.full((1, 3, 32, 32), -50.0)
    for k, (row, column) in enumerate([(0, 0), (5, 31), (20, 7)]):
        maps[0, k, row, column] = 50.0
    points, _ = locator.points(maps, SURE)
    np.testing.assert_allclose(points[0].numpy(), [(0.5, 0.5), (62.5, 10.5), (14.5, 40.5)], atol=1e-4)


def test_absence_and_doubt_lower_the_confidence() -> None:
    locator = Locator(SMALL)
    one = spots(locator, [(20.0, 30.0)] * 3)
    _, sure = locator.points(one, SURE)
    _, absent = locator.points(one, torch.tensor([[9.0, 0.0, -9.0]]))
    assert float(absent[0, 0]) == pytest.approx(float(sure[0, 0]))
    assert float(absent[0, 1]) == pytest.approx(0.5 * float(sure[0, 1]), rel=1e-3)
    assert float(absent[0, 2]) < 1e-3
    # Two places far apart that are equally likely: neither is believed.
    two = torch.logaddexp(one, spots(locator, [(52.0, 40.0)] * 3))
    points, doubtful = locator.points(two, SURE)
    np.testing.assert_allclose(points[0].numpy(), [(36.0, 35.0)] * 3, atol=0.1)
    assert (doubtful < 0.15 * sure).all()
    _, nowhere = locator.points(torch.zeros(1, 3, 32, 32), SURE)
    assert (nowhere < 0.4 * sure).all()


def test_points_have_gradients() -> None:
    locator = Locator(SMALL)
    maps = spots(locator, [(20.0, 30.0), (40.0, 20.0), (30.0, 30.0)]).requires_grad_()
    points, _ = locator.points(maps, SURE)
    (gradient,) = torch.autograd.grad(points[0, 0, 0], maps)
    # More on the right moves the point right, more on the left moves it left; the other maps have no say.
    assert float(gradient[0, 0, 15, 11]) > 0 > float(gradient[0, 0, 15, 8])
    assert float(gradient[0, 1:].abs().max()) == 0.0
