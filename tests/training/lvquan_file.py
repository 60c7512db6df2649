"""A file as LVQuan18's is laid out, small: ellipses with a wall of six thicknesses, turned alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lvedge.geometry import indices_from_rays, rays_from_maps
from lvedge.indices import DEFAULT_LAYOUT
from lvedge.training.data.lvquan18 import FRAMES, SIDE_PX

SEPTUM_DEG = 180.0
WALLS_PX = (7.0, 9.0, 11.0, 13.0, 10.0, 8.0)
MIDDLE_PX = 39.5


def masks_of(radius_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Endocardium and epicardium, filled, [80, 80] bool: an oblique ellipse, a wall of sector thicknesses."""
    y, x = np.indices((SIDE_PX, SIDE_PX)) - MIDDLE_PX
    away, angle = np.hypot(x, y), np.rad2deg(np.arctan2(y, x))
    endo = radius_px * (1.0 + 0.2 * np.cos(2 * np.deg2rad(angle - 20.0)))
    # Sectors are counted counter-clockwise from mid-septum; angles run clockwise.
    sector = (((SEPTUM_DEG - angle) % 360.0) // 60.0).astype(int)
    return away <= endo, away <= endo + np.array(WALLS_PX)[sector]


def arrays_of(subjects: int = 5) -> dict[str, np.ndarray]:
    """All keys: subject s is larger by s pixels, has pixels of 1 + s / 10 mm, resized by 1 + f / 100."""
    count = subjects * FRAMES
    images = np.zeros((SIDE_PX, SIDE_PX, count))
    endo, epi = np.zeros_like(images), np.zeros_like(images)
    values = np.zeros((count, DEFAULT_LAYOUT.size))
    for column in range(count):
        subject, frame = divmod(column, FRAMES)
        radius = 12.0 + subject + 3.0 * np.cos(2 * np.pi * frame / FRAMES)
        inner, outer = masks_of(radius)
        endo[..., column], epi[..., column] = inner, outer
        images[..., column] = (80 + 80 * outer + 80 * inner) / 255  # the colours of a painted heart
        wall = (outer & ~inner).astype(np.float32)
        rays = rays_from_maps(inner.astype(np.float32), wall, (1.0, 1.0))
        assert rays is not None
        values[column] = indices_from_rays(rays, SEPTUM_DEG).vector
    layout, side = DEFAULT_LAYOUT, float(SIDE_PX)
    return {
        "images_LV": images,
        "endo_LV": endo,
        "epi_LV": epi,
        "rwt": values[:, layout.rwt].T / side,
        "dims": values[:, layout.dims].T / side,
        "areas": values[:, layout.areas].T / side**2,
        "lv_phase": (np.arange(count) % FRAMES < FRAMES // 2).astype(np.uint8)[None],
        "pix_spa": 1.0 + np.arange(subjects)[:, None] / 10,
        "ratio_resize_inverse": np.tile(1.0 + np.arange(FRAMES)[:, None] / 100, (1, subjects)),
    }


def write_lvquan18(path: Path, **changes: np.ndarray | None) -> Path:
    """The file; a change of None leaves a key out."""
    from scipy.io import savemat

    arrays = {**arrays_of(), **changes}
    savemat(str(path), {key: value for key, value in arrays.items() if value is not None})
    return path
