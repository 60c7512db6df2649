"""The polar reading: walls, diameters and areas off the soft mask, differentiable, inside the step graph.

It gives the recurrent layer the geometry that the segmentation layer has drawn. Along a ray the integral of
a soft mask is the radius of what it fills, so every value below is a sum of products, and gradients reach
the mask. Lengths are view pixels; the view knows the millimetres.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lvedge.indices import Label
from lvedge.network.config import NetworkConfig

EPSILON = 1e-4
RADIAL_STEP_PX = 0.5
CONTACT_BAND_PX = (0.5, 3.0)
"""Band outside the epicardium in which the RV counts as touching (0.75 to 4.5 mm at 1.5 mm a pixel)."""


class PolarReading(nn.Module):
    """Mask probabilities to the L values, as [B, L] view pixels, and to the direction of mid-septum.

    The direction comes from a small network on the RV's contact profile, since the middle of an arc is no
    smooth function of it; it is trained on the direction drawn by experts.
    """

    directions: Tensor
    radii: Tensor
    grid: Tensor
    axis: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        angles = torch.arange(config.rays) * (2 * math.pi / config.rays)
        radii = (torch.arange(config.radii) + 0.5) * RADIAL_STEP_PX
        # Ray k points k steps clockwise from "right", as everywhere.
        self.register_buffer("directions", torch.stack([angles.cos(), angles.sin()], dim=1), persistent=False)
        self.register_buffer("radii", radii, persistent=False)
        offsets = torch.stack([angles.cos()[:, None] * radii, angles.sin()[:, None] * radii], dim=-1)
        self.register_buffer(
            "grid", offsets, persistent=False
        )  # [rays, radii, 2] view pixels from the centroid
        axis = torch.arange(config.view_px, dtype=torch.float32) - (config.view_px - 1) / 2
        self.register_buffer("axis", axis, persistent=False)
        self.septum = nn.Sequential(nn.Linear(2 * config.rays, 32), nn.ReLU(inplace=True), nn.Linear(32, 2))
        self.outputs = 2 + 2 + 2  # septum, contact and presence of the RV, centroid

    def forward(self, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # [B, 4, S, S] probabilities
        cavity, myocardium = mask[:, Label.CAVITY], mask[:, Label.MYOCARDIUM]
        area = cavity.sum(dim=(1, 2)) + EPSILON  # [B]
        wall_area = myocardium.sum(dim=(1, 2))
        centre = torch.stack(
            [
                (cavity.sum(dim=1) * self.axis).sum(dim=1) / area,
                (cavity.sum(dim=2) * self.axis).sum(dim=1) / area,
            ],
            dim=1,
        )  # [B, 2] (x, y) from the view's middle
        grid = (centre[:, None, None, :] + self.grid) * (2.0 / self.config.view_px)  # [B, rays, radii, 2]
        polar = nn.functional.grid_sample(
            mask[:, 1:].contiguous(), grid, padding_mode="zeros", align_corners=False
        )
        rv, wall, blood = polar[:, 0], polar[:, 1], polar[:, 2]  # each [B, rays, radii]
        endo = blood.sum(dim=2) * RADIAL_STEP_PX  # [B, rays]
        epi = endo + wall.sum(dim=2) * RADIAL_STEP_PX
        near, far = CONTACT_BAND_PX
        beyond = self.radii - epi[:, :, None]
        band = torch.sigmoid((beyond - near) * 4.0) * torch.sigmoid((far - beyond) * 4.0)
        contact = (rv * band).sum(dim=2) * RADIAL_STEP_PX / (far - near)  # [B, rays], about 0 .. 1
        presence = rv.sum(dim=2) * (RADIAL_STEP_PX / 20.0)
        septum = self._septum(contact, presence)  # [B, 2] unit vector
        values = self._values(endo, epi - endo, torch.stack([area, wall_area], dim=1), septum)
        touching = torch.stack([contact.mean(dim=1), presence.mean(dim=1)], dim=1)
        return values, septum, torch.cat([septum, touching, centre / 10.0], dim=1)

    def _septum(self, contact: Tensor, presence: Tensor) -> Tensor:
        # The contact's own mean direction, corrected by what the small network has learned of the profile.
        drawn: Tensor = (contact / (contact.sum(dim=1, keepdim=True) + 0.1)) @ self.directions
        raw = drawn + self.septum(torch.cat([contact, presence], dim=1))
        unit: Tensor = raw / torch.sqrt((raw * raw).sum(dim=1, keepdim=True) + EPSILON)
        return unit

    def _values(self, endo: Tensor, wall: Tensor, areas: Tensor, septum: Tensor) -> Tensor:
        layout = self.config.layout
        weights = self._sector_weights(septum)  # [B, M, rays]
        thickness = (weights * wall[:, None, :]).sum(dim=2)
        radius = (weights * endo[:, None, :]).sum(dim=2)
        half = layout.sectors // 2
        diameters = radius[:, : layout.diameters] + radius[:, half : half + layout.diameters]
        return torch.cat([thickness, diameters, areas], dim=1)  # [B, L]

    def _sector_weights(self, septum: Tensor) -> Tensor:
        """Share of each ray in each sector, [B, M, rays]; sectors run counter-clockwise from mid-septum."""
        width = 2 * math.pi / self.config.layout.sectors
        # Angle of a ray, counter-clockwise from mid-septum, without arctangent of the network's output:
        # compare with each sector's middle by the cosine of the difference.
        middles = (torch.arange(self.config.layout.sectors, device=septum.device) + 0.5) * width
        cos, sin = middles.cos(), middles.sin()
        middle_x = septum[:, :1] * cos + septum[:, 1:] * sin  # turned counter-clockwise as shown
        middle_y = septum[:, 1:] * cos - septum[:, :1] * sin
        cosine = middle_x[:, :, None] * self.directions[:, 0] + middle_y[:, :, None] * self.directions[:, 1]
        # Half a sector away the cosine is cos(width / 2); the slope there is sin(width / 2) per radian.
        step = 2 * math.pi / self.config.rays
        edge = (cosine - math.cos(width / 2)) / (math.sin(width / 2) * step)
        inside = (edge + 0.5).clamp(0.0, 1.0)
        # Without any sign of a septum its direction has no length and no ray is inside: 0, not NaN.
        return inside / inside.sum(dim=2, keepdim=True).clamp(min=EPSILON)
