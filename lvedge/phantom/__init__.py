"""An analytic beating heart in short axis, whose wall, diameters, areas and phase are known exactly.

``preset_phantom("healthy")`` or ``random_phantom(rng)`` gives a ``Phantom``: frames, pictures, label maps
and the true values of every frame. ``stack`` makes slices of it, ``negative_frames`` what must be refused.
"""

from lvedge.phantom.cine import Phantom
from lvedge.phantom.heart import Heart, contraction_at
from lvedge.phantom.look import Look
from lvedge.phantom.negative import NEGATIVE_KINDS, negative_frames
from lvedge.phantom.placement import Placement
from lvedge.phantom.preset import (
    HEARTS,
    preset_phantom,
    random_heart,
    random_phantom,
    random_placement,
    stack,
)
from lvedge.phantom.series import Series, series_from_sectors

__all__ = [
    "HEARTS",
    "NEGATIVE_KINDS",
    "Heart",
    "Look",
    "Phantom",
    "Placement",
    "Series",
    "contraction_at",
    "negative_frames",
    "preset_phantom",
    "random_heart",
    "random_phantom",
    "random_placement",
    "series_from_sectors",
    "stack",
]
