"""Reader for LVQuan18, for whoever has the file (the data are not part of this project).

145 subjects × 20 frames, cropped to 80 × 80 and turned by two hand-marked RV insertions (Xue et al.,
arXiv:1705.09307). Keys: ``images_LV`` (80, 80, N) 0 .. 1, ``endo_LV`` and ``epi_LV`` (80, 80, N) filled
masks, ``areas`` (2, N) cavity and myocardium, ``dims`` (3, N) IS-AL, I-A, IL-AS, ``rwt`` (6, N) IS, I, IL,
AL, A, AS, ``lv_phase`` (1, N) with 1 for systole, ``pix_spa`` (S, 1) mm, ``ratio_resize_inverse`` (20, S),
read column by column. Frame f of subject s is column 20 s + f. Lengths are normalised by the side of the
picture: mm = y × pix_spa × ratio_resize_inverse × 80, mm² with the square, each frame with its own factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.errors import DataError
from lvedge.geometry import Rays, indices_from_rays
from lvedge.indices import DEFAULT_LAYOUT, FloatArray
from lvedge.training.data.sample import Sample

NAME = "lvquan18"
FRAMES = 20
SIDE_PX = 80
FOLDS = 5
KEYS = (
    "images_LV",
    "endo_LV",
    "epi_LV",
    "areas",
    "dims",
    "rwt",
    "lv_phase",
    "pix_spa",
    "ratio_resize_inverse",
)
CHECKED_FRAMES = 200
"""The order of ``dims`` is checked on at most so many frames, spread evenly."""

TURN_STEP_DEG = 5
CLEARLY = 0.8
"""Another order fits clearly better where its error is under this share of the given order's."""

MOST_OFF = 0.15
"""Diameters that differ from the masks' by more than this share, on average, are none of these masks."""


@dataclass(frozen=True)
class QuantifiedSubject:
    """One subject, with the published values.

    Args:
        subject: its number, from 0.
        samples: its frames, in time; spacing is that of the cropped picture.
        values: [20, L] published values, mm and mm².
        systole: [20] published phases.
    """

    subject: int
    samples: tuple[Sample, ...]
    values: FloatArray
    systole: NDArray[np.bool_]


def read_lvquan18(path: Path) -> list[QuantifiedSubject]:
    """All subjects of the file, in its order.

    Raises:
        DataError: if the file cannot be read, lacks a key, has other shapes, or its ``dims`` do not stand in
            the order IS-AL, I-A, IL-AS by the diameters measured on its masks.
    """
    arrays = _arrays(path)
    subjects = arrays["pix_spa"].size
    spacing_mm = arrays["pix_spa"].reshape(-1, 1) * arrays["ratio_resize_inverse"].T  # [S, 20]
    side_mm = spacing_mm.reshape(-1) * SIDE_PX
    lengths = np.concatenate([arrays["rwt"], arrays["dims"]]) * side_mm
    values = np.concatenate([lengths, arrays["areas"] * side_mm**2]).T
    found = []
    for number in range(subjects):
        columns = slice(FRAMES * number, FRAMES * (number + 1))
        found.append(
            QuantifiedSubject(
                subject=number,
                samples=tuple(
                    _sample(arrays, number, frame, float(spacing_mm[number, frame]))
                    for frame in range(FRAMES)
                ),
                values=values[columns],
                systole=arrays["lv_phase"].reshape(-1)[columns] == 1,
            )
        )
    _check_order(path, found)
    return found


def contiguous_folds(subjects: int, folds: int = FOLDS) -> list[range]:
    """The data set's own folds: consecutive subjects, 29 each of 145.

    Raises:
        DataError: if the subjects do not divide evenly.
    """
    if subjects % folds:
        raise DataError(f"{subjects} subjects of {NAME} do not make {folds} equal folds: use the whole file")
    size = subjects // folds
    return [range(k * size, (k + 1) * size) for k in range(folds)]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(str(path))
    except NotImplementedError as err:
        raise DataError(f"{path} is a MATLAB 7.3 file: save it with -v7 in MATLAB, then read it") from err
    except (OSError, ValueError, TypeError, MatReadError) as err:
        raise DataError(f"{path} cannot be read as a .mat file: {type(err).__name__}") from err
    absent = [key for key in KEYS if key not in content]
    if absent:
        raise DataError(f"{path} is not LVQuan18's file: it lacks {', '.join(absent)}")
    arrays = {key: np.asarray(content[key], dtype=np.float64) for key in KEYS}
    subjects = arrays["pix_spa"].size
    count = FRAMES * subjects
    picture = (SIDE_PX, SIDE_PX, count)
    expected = {
        **dict.fromkeys(("images_LV", "endo_LV", "epi_LV"), picture),
        "areas": (2, count),
        "dims": (3, count),
        "rwt": (6, count),
        "lv_phase": (1, count),
        "pix_spa": (subjects, 1),
        "ratio_resize_inverse": (FRAMES, subjects),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise DataError(f"{path}: {key} has the shape {arrays[key].shape}, not {shape}")
    return arrays


def _sample(arrays: dict[str, NDArray[Any]], number: int, frame: int, mm_per_px: float) -> Sample:
    column = FRAMES * number + frame
    cavity = arrays["endo_LV"][..., column] > 0.5
    wall = (arrays["epi_LV"][..., column] > 0.5) & ~cavity
    return Sample(
        source=NAME,
        subject=str(number),
        slice_index=0,
        slice_count=1,
        frame_index=frame,
        pixels=np.round(np.clip(arrays["images_LV"][..., column], 0.0, 1.0) * 255).astype(np.uint8),
        maps=np.dstack([np.zeros_like(cavity), wall, cavity]).astype(np.uint8) * np.uint8(255),
        spacing_mm=(mm_per_px, mm_per_px),
        has_spacing=True,
        has_rv=False,
    )


def _check_order(path: Path, subjects: list[QuantifiedSubject]) -> None:
    """Compare ``dims`` with the masks' diameters in every order.

    The pictures are turned alike, but the file does not say to which side: mid-septum is where the masks'
    wall thickness, sector by sector, fits ``rwt`` best; the diameters are measured from there.
    """
    frames = [
        (rays, subject.values[k])
        for subject in subjects
        for k, sample in enumerate(subject.samples)
        if (rays := sample.rays()) is not None
    ]
    if not frames:
        raise DataError(f"{path}: no mask holds a cavity")
    frames = frames[:: -(-len(frames) // CHECKED_FRAMES)]
    septum_deg = _septum_deg(frames)
    dims = DEFAULT_LAYOUT.dims
    measured = np.array([indices_from_rays(rays, septum_deg).vector[dims] for rays, _ in frames])
    given = np.array([values[dims] for _, values in frames])
    names = DEFAULT_LAYOUT.diameter_names
    off = {order: float(np.abs(given - measured[:, list(order)]).mean()) for order in permutations(range(3))}
    best = min(off, key=lambda order: off[order])
    if off[best] < CLEARLY * off[0, 1, 2]:
        shown = ", ".join(names[k] for k in best)
        raise DataError(
            f"{path}: by the masks, the rows of dims are {shown}, not {', '.join(names)}: reorder them"
        )
    share = off[0, 1, 2] / float(measured.mean())
    if share > MOST_OFF:
        raise DataError(
            f"{path}: dims differ from the masks' diameters by {share:.0%}: are pix_spa, "
            "ratio_resize_inverse and dims of the same file?"
        )


def _septum_deg(frames: list[tuple[Rays, FloatArray]]) -> float:
    """The direction of mid-septum at which the masks' walls fit the published ones."""
    walls = DEFAULT_LAYOUT.rwt
    turns = np.arange(0.0, 360.0, TURN_STEP_DEG)
    given = np.array([values[walls] for _, values in frames])
    off = []
    for turn in turns.tolist():
        drawn = np.array([indices_from_rays(rays, turn).vector[walls] for rays, _ in frames])
        off.append(float(np.abs(drawn - given).mean()))
    return float(turns[int(np.argmin(off))])
