"""Reader for the Sunnybrook cardiac data (Radau et al., The MIDAS Journal, hdl 10380/3070; CC0 1.0).

``SCDxxxxxxx/N.dcm`` with slice (N − 1) // 20 and phase (N − 1) % 20; contours in
``contours/SCDxxxxxxx/{i,o}-contours/IM-0001-NNNN-{i,o}contour-manual.txt``, one ``x y`` pair a line, pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from lvedge.training.data.sample import Sample
from lvedge.training.data.york import maps_from_contours

NAME = "sunnybrook"
PHASES = 20


def read_sunnybrook(root: Path, subject: str) -> Iterator[Sample]:
    """Every frame of a subject with a drawn endocardium and a picture, in file order."""
    contours = root / NAME / "contours" / subject
    folder = root / NAME / subject
    numbers = [int(p.stem) for p in folder.glob("*.dcm")]
    slice_count = (max(numbers, default=0) - 1) // PHASES + 1
    for number in sorted(numbers):
        endo = contours / "i-contours" / f"IM-0001-{number:04d}-icontour-manual.txt"
        if not endo.is_file():
            continue
        epi = contours / "o-contours" / f"IM-0001-{number:04d}-ocontour-manual.txt"
        data = pydicom.dcmread(folder / f"{number}.dcm")
        pixels = data.pixel_array.astype(np.float32)
        spacing = tuple(float(v) for v in data.PixelSpacing)
        shape = (pixels.shape[0], pixels.shape[1])
        yield Sample(
            source=NAME,
            subject=subject,
            slice_index=(number - 1) // PHASES,
            slice_count=slice_count,
            frame_index=(number - 1) % PHASES,
            pixels=np.clip(pixels * (255.0 / np.percentile(pixels, 99.9)), 0, 255).astype(np.uint8),
            maps=maps_from_contours(np.loadtxt(endo), _optional(epi), shape),
            spacing_mm=(spacing[0], spacing[1]),
            has_spacing=True,
            has_rv=False,
            has_epicardium=epi.is_file(),
        )


def _optional(path: Path) -> NDArray[np.float64] | None:
    return np.loadtxt(path) if path.is_file() else None
