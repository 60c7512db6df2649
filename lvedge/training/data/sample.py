"""One sample type for every data set: a picture, what was drawn on it, and where it belongs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lvedge.errors import DataError
from lvedge.geometry import Rays, Septum, rays_from_maps, septum_from_map
from lvedge.indices import Label

DATA_VARIABLE = "LVEDGE_DATA"

MAP_LABELS = (Label.RV, Label.MYOCARDIUM, Label.CAVITY)
"""Channel order of ``Sample.maps``."""

MID_SLICE_RANGE = (0.2, 0.8)


@dataclass(frozen=True)
class Sample:
    """An annotated slice at one phase.

    Args:
        source: data set, "acdc", "york" or "sunnybrook".
        subject: subject within the data set.
        slice_index: position in the stack, from 0.
        slice_count: slices of the stack.
        frame_index: position in the cine, from 0.
        pixels: [rows, columns] uint8 grey values.
        maps: [rows, columns, 3] uint8 membership of RV, myocardium, cavity: 0 none, 255 all of the pixel.
        spacing_mm: (row, column) spacing; nominal where ``has_spacing`` is false.
        has_spacing: whether millimetres mean anything.
        has_rv: whether the RV was drawn; where not, its pixels count as background in ``maps``.
        has_epicardium: whether the myocardium was drawn.
        phase: "ED" or "ES", or None for a frame between them.
        group: the subject's diagnosis group, or None.
        slice_mm: distance from slice to slice, or None where the source does not say.
    """

    source: str
    subject: str
    slice_index: int
    slice_count: int
    frame_index: int
    pixels: NDArray[np.uint8]
    maps: NDArray[np.uint8]
    spacing_mm: tuple[float, float]
    has_spacing: bool
    has_rv: bool
    has_epicardium: bool = True
    phase: str | None = None
    group: str | None = None
    slice_mm: float | None = None

    @property
    def key(self) -> str:
        """Name of the sample, unique over all data sets."""
        return f"{self.source}/{self.subject}/s{self.slice_index:02d}/t{self.frame_index:02d}"

    def map(self, label: Label) -> NDArray[np.float32]:
        """Membership of one label, [rows, columns] float32, 0 .. 1."""
        share: NDArray[np.float32] = self.maps[..., MAP_LABELS.index(label)].astype(np.float32) / np.float32(
            255.0
        )
        return share

    @property
    def has_lv(self) -> bool:
        """Whether any cavity was drawn."""
        return bool(self.maps[..., MAP_LABELS.index(Label.CAVITY)].any())

    @property
    def is_mid_slice(self) -> bool:
        """k / (n − 1) in [0.2, 0.8] with RV (where drawn), myocardium and cavity present."""
        place = self.slice_index / max(self.slice_count - 1, 1)
        if not MID_SLICE_RANGE[0] <= place <= MID_SLICE_RANGE[1]:
            return False
        needed = MAP_LABELS if self.has_rv else MAP_LABELS[1:]
        return all(bool(self.maps[..., MAP_LABELS.index(label)].any()) for label in needed)

    def rays(self) -> Rays | None:
        """The walls as drawn, at the picture's own spacing; None without a cavity."""
        return rays_from_maps(self.map(Label.CAVITY), self.map(Label.MYOCARDIUM), self.spacing_mm)

    def septum(self, rays: Rays) -> Septum | None:
        """Mid-septum as drawn; None without an RV."""
        return septum_from_map(rays, self.map(Label.RV)) if self.has_rv else None


def stacks_of(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Stacks of acdc at one phase, each from its first slice to its last.

    Args:
        samples: whole subjects, in any order.
    """
    stacks: dict[tuple[str, str | None], list[Sample]] = defaultdict(list)
    for sample in samples:
        stacks[sample.subject, sample.phase].append(sample)
    return [sorted(members, key=lambda s: s.slice_index) for members in stacks.values()]


def data_root(path: str | Path | None = None) -> Path:
    """The folder that holds ``acdc/``, ``york/`` and ``sunnybrook/``.

    Args:
        path: the folder, or None for ``$LVEDGE_DATA`` and then ``../shared/data`` beside the checkout.

    Raises:
        DataError: if it is not there.
    """
    said = path or os.environ.get(DATA_VARIABLE)
    root = Path(said) if said else Path("../shared/data")
    if not root.is_dir():
        raise DataError(f"no data at {root}: name the folder with --data or ${DATA_VARIABLE}")
    return root
