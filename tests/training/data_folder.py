"""A folder as the data sets come, small: painted hearts as acdc, circles as york; a run of tiny networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
from heart_samples import TINY
from painted_hearts import painted_stack

from lvedge.training.data.split import Split
from lvedge.training.data.york import POINTS

SPLIT = Split(
    {
        "train": {"acdc": ["patient001"], "york": ["1"]},
        "watch": {"acdc": ["patient002"], "york": ["2"]},
        "test": {"acdc": ["patient003", "patient004"], "york": ["3"]},
    }
)
RADII_PX = 13.0 + 4.0 * np.cos(2 * np.pi * np.arange(20) / 20)
"""Of york's cavities: ED at frame 0, ES at frame 10."""

WALL_PX, SIDE_PX, MIDDLE_PX = 7.0, 80, (42.0, 38.0)


def write_data(root: Path) -> Path:
    """All subjects of ``SPLIT``, four slices at ED and ES each (acdc), one whole beat (york)."""
    everyone = {source: SPLIT.subjects(source, *SPLIT.parts) for source in ("acdc", "york")}
    for subject in everyone["acdc"]:
        write_acdc(root, subject)
    for subject in everyone["york"]:
        write_york(root, subject)
    return root


def write_acdc(root: Path, subject: str) -> None:
    folder = root / "acdc" / subject
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text("ED: 1\nES: 9\nGroup: NOR\nHeight: 180.0\n", encoding="utf-8")
    stack = painted_stack(4, subject)
    for phase, number in (("ED", 1), ("ES", 9)):
        slices = [s for s in stack if s.phase == phase]
        shares = [np.dstack([255 - s.maps.sum(axis=2, dtype=int), s.maps]) for s in slices]
        for end, volume in (
            ("", np.stack([s.pixels.T for s in slices], axis=2)),
            ("_gt", np.stack([share.argmax(axis=2).T for share in shares], axis=2).astype(np.uint8)),
        ):
            image = nib.Nifti1Image(volume, np.diag([2.5, 2.5, 10.0, 1.0]))
            nib.save(image, folder / f"{subject}_frame{number:02d}{end}.nii.gz")


def write_york(root: Path, subject: str, frames: int = 20) -> None:
    from scipy.io import savemat

    (root / "york" / "contours").mkdir(parents=True, exist_ok=True)
    (root / "york" / "images").mkdir(parents=True, exist_ok=True)
    cells = np.empty((3, frames), dtype=object)
    cells[:] = [[np.zeros((1, 1))] * frames for _ in range(3)]
    y, x = np.indices((SIDE_PX, SIDE_PX))
    away = np.hypot(x - MIDDLE_PX[0], y - MIDDLE_PX[1])
    for k, radius in enumerate(RADII_PX[:frames]):
        endo, epi = circle(radius), circle(radius + WALL_PX)
        cells[1, k] = np.concatenate([endo, np.zeros((1, 2)), epi]) + 1.0
        picture = 80 + 80 * (away < radius + WALL_PX) + 80 * (away < radius)
        name = f"mr_heart_p{int(subject):02d}t{k + 1:02d}z1.png"
        cv2.imwrite(str(root / "york" / "images" / name), picture.astype(np.uint8))
    path = root / "york" / "contours" / f"manual_seg_32points_pat{subject}.mat"
    savemat(str(path), {"manual_seg_32points": cells})


def circle(radius_px: float) -> np.ndarray:
    angle = 2 * np.pi * np.arange(POINTS) / POINTS
    return np.array(MIDDLE_PX) + radius_px * np.column_stack([np.cos(angle), np.sin(angle)])


def write_run(folder: Path) -> Path:
    """Checkpoints of a tiny network and locator that have learned nothing."""
    import torch

    from lvedge.network.config import LocatorConfig
    from lvedge.network.locator import Locator
    from lvedge.network.model import LeftVentricleNetwork
    from lvedge.training.checkpoint import config_as_dict, write_checkpoint

    torch.manual_seed(0)
    small = LocatorConfig(input_px=32, mm_per_px=6.0, channels=(2, 3, 4, 5))
    stages: list[tuple[str, str, Any, Any]] = [
        ("perception", "network_config", TINY, LeftVentricleNetwork(TINY)),
        ("locator", "locator_config", small, Locator(small)),
    ]
    for stage, key, config, module in stages:
        write_checkpoint(
            folder / f"{stage}.pt", {key: config_as_dict(config), "weights": module.state_dict()}
        )
    return folder
