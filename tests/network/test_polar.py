"""The polar reading against the geometry, on masks whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from lvedge.geometry import indices_from_rays, rays_from_maps  # noqa: E402
from lvedge.indices import IndexLayout, Label  # noqa: E402
from lvedge.network.config import NetworkConfig  # noqa: E402
from lvedge.network.polar import PolarReading  # noqa: E402
from lvedge.phantom import random_phantom  # noqa: E402
from lvedge.view import View  # noqa: E402

CONFIG = NetworkConfig()
SIDE, MM = CONFIG.view_px, CONFIG.view_mm_per_px


def reading(config: NetworkConfig = CONFIG) -> PolarReading:
    """A reading whose small network says nothing: mid-septum is the contact's own mean direction."""
    polar = PolarReading(config)
    for parameter in polar.septum.parameters():
        nn.init.zeros_(parameter)
    return polar.eval()


def phantom_mask(seed: int, turn_deg: float = 0.0, mm_per_px: float = MM) -> np.ndarray:
    """One-hot labels of a random heart as the view shows them, [4, S, S], turned counter-clockwise."""
    phantom = random_phantom(np.random.default_rng(seed))
    turn_deg = -turn_deg if phantom.placement.mirrored else turn_deg
    view = View(
        phantom.centre_px(0),
        phantom.septum_deg + turn_deg,
        phantom.placement.spacing_mm,
        size_px=SIDE,
        mm_per_px=mm_per_px,
        mirrored=phantom.placement.mirrored,
    )
    labels = phantom.labels(0)
    soft = np.stack([view.crop((labels == label).astype(np.float32)) for label in Label])
    return np.eye(4, dtype=np.float32)[soft.argmax(axis=0)].transpose(2, 0, 1)


def degrees(direction: Tensor) -> np.ndarray:
    return np.rad2deg(np.arctan2(direction[:, 1].numpy(), direction[:, 0].numpy())) % 360


@pytest.mark.parametrize("layout", [IndexLayout(), IndexLayout(4, 2), IndexLayout(8, 4)])
def test_on_one_hot_masks_it_agrees_with_the_geometry(layout: IndexLayout) -> None:
    masks = np.stack([phantom_mask(seed, turn_deg=7.0 * seed - 20) for seed in range(6)])
    polar = reading(NetworkConfig(layout=layout))
    with torch.no_grad():
        values, septum, extra = polar(torch.from_numpy(masks))
    assert tuple(extra.shape) == (6, polar.outputs)
    np.testing.assert_allclose(septum.norm(dim=1).numpy(), 1.0, atol=1e-3)
    for mask, found, direction in zip(masks, values.numpy(), degrees(septum), strict=True):
        rays = rays_from_maps(mask[Label.CAVITY], mask[Label.MYOCARDIUM], (1.0, 1.0))
        assert rays is not None
        truth = indices_from_rays(rays, float(direction), layout).vector
        np.testing.assert_allclose(found[layout.rwt], truth[layout.rwt], atol=0.3)
        np.testing.assert_allclose(found[layout.dims], truth[layout.dims], atol=0.4)
        np.testing.assert_allclose(found[layout.areas], truth[layout.areas], rtol=1e-4)


def test_mid_septum_is_near_where_the_rv_is() -> None:
    masks = np.stack([phantom_mask(seed, turn_deg=15.0) for seed in range(6)])
    with torch.no_grad():
        _, septum, extra = reading()(torch.from_numpy(masks))
    off = (degrees(septum) - 165.0 + 180) % 360 - 180
    assert np.abs(off).max() < 12.0
    contact, presence = extra[:, 2].numpy(), extra[:, 3].numpy()
    assert (contact > 0.1).all()
    assert (presence > 0.05).all()


def test_without_an_rv_there_is_no_contact() -> None:
    mask = phantom_mask(0)
    mask[Label.BACKGROUND] += mask[Label.RV]
    mask[Label.RV] = 0.0
    with torch.no_grad():
        values, septum, extra = reading()(torch.from_numpy(mask[None]))
    np.testing.assert_allclose(extra[0, 2:4].numpy(), 0.0, atol=1e-6)
    # No direction to count sectors from: nothing, not NaN, which a state would keep for good.
    np.testing.assert_array_equal(values[0, :9].numpy(), np.zeros(9))
    np.testing.assert_array_equal(septum[0].numpy(), np.zeros(2))


def test_it_turns_with_the_picture() -> None:
    masks = torch.from_numpy(np.stack([phantom_mask(seed) for seed in (1, 4)]))
    polar = reading()
    with torch.no_grad():
        values, septum, _ = polar(masks)
        for quarter in (1, 2, 3):
            turned, where, _ = polar(torch.rot90(masks, quarter, dims=(2, 3)))
            np.testing.assert_allclose(turned.numpy(), values.numpy(), rtol=1e-3, atol=2e-3)
            # rot90 turns counter-clockwise as shown.
            np.testing.assert_allclose(
                (degrees(septum) - 90 * quarter - degrees(where) + 180) % 360, 180.0, atol=0.1
            )


def test_a_mirrored_mask_reverses_the_sectors() -> None:
    masks = torch.from_numpy(np.stack([phantom_mask(seed) for seed in (2, 3)]))
    with torch.no_grad():
        values, septum, _ = reading()(masks)
        flipped, where, _ = reading()(torch.flip(masks, dims=(2,)))
    np.testing.assert_allclose(flipped[:, :6].numpy(), values[:, :6].numpy()[:, ::-1], atol=2e-3)
    np.testing.assert_allclose(flipped[:, 6:9].numpy(), values[:, 6:9].numpy()[:, ::-1], atol=2e-3)
    np.testing.assert_allclose(where.numpy(), septum.numpy() * [1, -1], atol=1e-4)


def test_gradients_reach_the_mask_from_every_value() -> None:
    logits = torch.from_numpy(3.0 * phantom_mask(5)[None]).requires_grad_()
    values, septum, _ = reading()(torch.softmax(logits, dim=1))
    for k in range(values.shape[1]):
        (gradient,) = torch.autograd.grad(values[0, k], logits, retain_graph=True)
        assert torch.isfinite(gradient).all()
        assert float(gradient[0, Label.MYOCARDIUM if k < 6 else Label.CAVITY].abs().max()) > 1e-3
    (gradient,) = torch.autograd.grad(septum[0, 1], logits)
    assert float(gradient[0, Label.RV].abs().max()) > 1e-5


def test_gradients_say_where_the_area_grows() -> None:
    logits = torch.from_numpy(2.0 * phantom_mask(5)[None]).requires_grad_()
    values, _, _ = reading()(torch.softmax(logits, dim=1))
    (gradient,) = torch.autograd.grad(values[0, 9], logits)
    assert bool((gradient[0, Label.CAVITY] > 0).all())


def test_an_empty_mask_gives_finite_values() -> None:
    mask = torch.zeros(1, 4, SIDE, SIDE)
    mask[:, Label.BACKGROUND] = 1.0
    mask.requires_grad_()
    values, septum, extra = reading()(mask)
    (values.sum() + septum.sum() + extra.sum()).backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(extra).all()
    assert mask.grad is not None
    assert torch.isfinite(mask.grad).all()
    np.testing.assert_allclose(values.detach().numpy(), 0.0, atol=1e-3)
