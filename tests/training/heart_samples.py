"""Samples drawn by the phantom, as the readers would give them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from lvedge.indices import Label
from lvedge.network.config import NetworkConfig
from lvedge.phantom import Heart, Phantom, Placement, preset_phantom
from lvedge.training.data.sample import MAP_LABELS, Sample

TINY = NetworkConfig(
    view_px=32,
    view_mm_per_px=4.0,
    stem=4,
    growth=(2, 2, 2, 2),
    expansion=(2, 2, 2, 2),
    down=(4, 4, 4, 4),
    up=(4, 4, 4, 4),
    last_squeeze=4,
    hidden=(4, 4, 4, 4, 4),
    shared=4,
    radii=24,
    regression_state=4,
    phase_state=4,
)
GRID = Placement(rows=120, columns=120, spacing_mm=(1.6, 1.6))


def soft_labels(phantom: Phantom, frame: int, fine: int = 4) -> np.ndarray:
    """Membership of RV, myocardium and cavity in each pixel, [rows, columns, 3] uint8."""
    grid = phantom.placement
    spacing = grid.spacing_mm[0] / fine, grid.spacing_mm[1] / fine
    finer = replace(grid, rows=grid.rows * fine, columns=grid.columns * fine, spacing_mm=spacing)
    labels = phantom.labels(frame, finer)
    maps = [
        cv2.resize((labels == k).astype(np.float32), grid.shape[::-1], interpolation=cv2.INTER_AREA)
        for k in MAP_LABELS
    ]
    return np.round(255 * np.dstack(maps)).astype(np.uint8)


def sample_of(phantom: Phantom, frame: int = 0, source: str = "acdc", **changes: object) -> Sample:
    """A phantom's frame as a sample of a data set."""
    drawn = source == "acdc"
    maps = soft_labels(phantom, frame)
    if not drawn:
        maps[..., MAP_LABELS.index(Label.RV)] = 0
    fields: dict[str, object] = {
        "source": source,
        "subject": "patient001" if drawn else "1",
        "slice_index": 4,
        "slice_count": 10,
        "frame_index": frame,
        "pixels": np.clip(phantom.pixels(frame) / 4, 0, 255).astype(np.uint8),
        "maps": maps,
        "spacing_mm": phantom.placement.spacing_mm,
        "has_spacing": drawn,
        "has_rv": drawn,
        "phase": None,
        "group": "NOR" if drawn else None,
        **changes,
    }
    return Sample(**fields)  # type: ignore[arg-type]


def pair_of(phantom: Phantom, **changes: object) -> list[Sample]:
    """End diastole and end systole, as acdc gives them."""
    return [
        sample_of(phantom, 0, phase="ED", **changes),
        sample_of(phantom, phantom.heart.es_frame, phase="ES", **changes),
    ]


def beat_of(frames: int = 20, start: float = 0.0, **changes: object) -> list[Sample]:
    """A whole beat, as york gives it."""
    phantom = Phantom(heart=Heart(frames=frames, start_fraction=start), placement=GRID)
    return [sample_of(phantom, k, "york", **changes) for k in range(frames)]


def healthy(placement: Placement = GRID) -> Phantom:
    return preset_phantom("healthy", placement)
