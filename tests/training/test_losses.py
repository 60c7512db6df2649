"""Losses: unknown entries, undrawn RVs, and values that can be said in advance."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from lvedge.indices import DEFAULT_LAYOUT, Label  # noqa: E402
from lvedge.training.losses import (  # noqa: E402
    cross_entropy,
    septum_loss,
    soft_dice_loss,
    tolerances,
    value_loss,
)

NAN = float("nan")
DRAWN, UNDRAWN = torch.tensor([True]), torch.tensor([False])


def logits_of(labels: list[int], sure: float = 30.0) -> Tensor:
    """[1, 4, 1, n] logits that are sure of one label a pixel."""
    logits = torch.zeros(1, 4, 1, len(labels))
    for k, label in enumerate(labels):
        logits[0, label, 0, k] = sure
    return logits


def maps_of(labels: list[int]) -> Tensor:
    """[1, 3, 1, n] membership of RV, myocardium, cavity."""
    maps = torch.zeros(1, 4, 1, len(labels))
    for k, label in enumerate(labels):
        maps[0, label, 0, k] = 1.0
    return maps[:, 1:]


def test_tolerances_in_pixels() -> None:
    expected = torch.tensor([4.0] * 6 + [20 / 1.5] * 3 + [400.0] * 2)
    torch.testing.assert_close(tolerances(DEFAULT_LAYOUT, 1.5), expected)


def test_cross_entropy_of_known_masks() -> None:
    truth = [Label.BACKGROUND, Label.RV, Label.MYOCARDIUM, Label.CAVITY]
    assert float(cross_entropy(logits_of(truth), maps_of(truth), DRAWN)) == pytest.approx(0.0, abs=1e-6)
    even = torch.zeros(1, 4, 1, 4)
    assert float(cross_entropy(even, maps_of(truth), DRAWN)) == pytest.approx(math.log(4))
    # Three of four right, one sure and wrong.
    said = [Label.RV, Label.RV, Label.MYOCARDIUM, Label.CAVITY]
    assert float(cross_entropy(logits_of(said, 8.0), maps_of(truth), DRAWN)) == pytest.approx(2.0, abs=0.01)


def test_an_undrawn_rv_counts_as_background() -> None:
    truth = [Label.BACKGROUND, Label.BACKGROUND, Label.MYOCARDIUM, Label.CAVITY]
    said = [Label.BACKGROUND, Label.RV, Label.MYOCARDIUM, Label.CAVITY]
    assert float(cross_entropy(logits_of(said), maps_of(truth), UNDRAWN)) == pytest.approx(0.0, abs=1e-6)
    assert float(cross_entropy(logits_of(said), maps_of(truth), DRAWN)) > 5.0
    even = torch.zeros(1, 4, 1, 4)
    expected = (2 * math.log(2) + 2 * math.log(4)) / 4  # background or RV: two chances of four
    assert float(cross_entropy(even, maps_of(truth), UNDRAWN)) == pytest.approx(expected)
    # A wall where nothing was drawn is wrong all the same.
    wrong = [Label.MYOCARDIUM, Label.RV, Label.MYOCARDIUM, Label.CAVITY]
    assert float(cross_entropy(logits_of(wrong), maps_of(truth), UNDRAWN)) > 5.0


def test_dice_of_known_masks() -> None:
    truth = [0, 1, 1, 2, 2, 3, 3, 3]
    assert float(soft_dice_loss(logits_of(truth), maps_of(truth), DRAWN)) == pytest.approx(0.0, abs=1e-5)
    said = [0, 1, 1, 2, 3, 3, 3, 3]
    dices = [1.0, (2 * 1 + 1) / (3 + 1), (2 * 3 + 1) / (7 + 1)]
    expected = 1 - sum(dices) / 3
    assert float(soft_dice_loss(logits_of(said), maps_of(truth), DRAWN)) == pytest.approx(expected, abs=1e-5)


def test_dice_leaves_an_undrawn_rv_out() -> None:
    truth, said = [0, 0, 2, 3], [1, 0, 2, 3]
    assert float(soft_dice_loss(logits_of(said), maps_of(truth), UNDRAWN)) == pytest.approx(0.0, abs=1e-5)
    both = torch.tensor([True, False])
    logits, maps = (
        torch.cat([logits_of([1, 0, 2, 3])] * 2),
        torch.cat([maps_of([1, 0, 2, 3]), maps_of(truth)]),
    )
    assert float(soft_dice_loss(logits, maps, both)) == pytest.approx(0.0, abs=1e-5)


def test_values_are_judged_where_they_are_known() -> None:
    tolerance = torch.tensor([2.0, 10.0, 1.0])
    values = torch.tensor([[3.0, 20.0, 5.0]])
    # 1 px of 2 and 10 px of 10, smooth L1 with a corner at 0.1; the third is unknown.
    expected = ((0.5 - 0.05) + (1.0 - 0.05)) / 2
    assert float(value_loss(values, torch.tensor([[2.0, 10.0, NAN]]), tolerance)) == pytest.approx(expected)
    assert float(value_loss(values, torch.full((1, 3), NAN), tolerance)) == 0.0
    small = value_loss(torch.tensor([[2.1]]), torch.tensor([[2.0]]), torch.tensor([2.0]))
    assert float(small) == pytest.approx(0.5 * 0.05**2 / 0.1, rel=1e-4)
    empty = value_loss(torch.zeros(0, 3), torch.zeros(0, 3), tolerance)
    assert float(empty) == 0.0


def test_unknown_values_give_no_gradient_and_no_nan() -> None:
    values = torch.tensor([[3.0, 20.0], [1.0, 2.0]], requires_grad=True)
    truth = torch.tensor([[2.0, NAN], [NAN, NAN]])
    value_loss(values, truth, torch.ones(2)).backward()
    torch.testing.assert_close(values.grad, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_the_septum_is_judged_by_its_angle() -> None:
    direction = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], requires_grad=True)
    truth = torch.tensor([[1.0, 0.0], [1.0, 0.0], [NAN, NAN]])
    loss = septum_loss(direction, truth)
    assert float(loss.detach()) == pytest.approx(0.5)
    loss.backward()
    assert direction.grad is not None
    torch.testing.assert_close(direction.grad[2], torch.zeros(2))
    assert float(septum_loss(direction.detach(), torch.full((3, 2), NAN))) == 0.0
    assert float(septum_loss(torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0, 0.0]]))) == 2.0
