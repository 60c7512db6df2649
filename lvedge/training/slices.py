"""Annotated slices prepared once for training: everything that augmentation does not change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvedge.frame import Handedness
from lvedge.geometry import circular_median_deg, indices_from_rays
from lvedge.indices import DEFAULT_LAYOUT, FloatArray, IndexLayout
from lvedge.training.data.sample import Sample
from lvedge.view import View

TYPICAL_SEPTUM_DEG = 180.0
"""About the mean direction over both sets (acdc: 117 to 247); used only where nothing better is known."""


@dataclass(frozen=True)
class PreparedSlice:
    """A slice with its truth, ready to be seen through any view.

    Args:
        sample: picture and maps.
        layers: [rows, columns, 4] uint8: picture, RV, myocardium, cavity, so that one warp moves all.
        centre_px: LV centre (x, y): the cavity's centroid, or the nearest slice's where there is no LV.
        septum_deg: mid-septum as drawn, or inferred from neighbouring slices, or typical.
        septum_drawn: whether the RV of this very slice gave it.
        values_mm: [L] truth in mm and mm²; NaN where it cannot be known.
    """

    sample: Sample
    layers: NDArray[np.uint8]
    centre_px: tuple[float, float]
    septum_deg: float
    septum_drawn: bool
    values_mm: FloatArray

    def view(self, size_px: int, mm_per_px: float, **changes: float) -> View:
        """The hand-made view: centred on the truth, turned by the truth.

        Args:
            size_px: side of the view.
            mm_per_px: its pixel size.
            changes: ``dx_mm``, ``dy_mm`` and ``turn_deg`` move it off the truth; ``mirrored`` flips it.
        """
        return View(
            centre_px=(
                self.centre_px[0] + changes.get("dx_mm", 0.0) / self.sample.spacing_mm[1],
                self.centre_px[1] + changes.get("dy_mm", 0.0) / self.sample.spacing_mm[0],
            ),
            septum_deg=self.septum_deg + changes.get("turn_deg", 0.0),
            spacing_mm=self.sample.spacing_mm,
            size_px=size_px,
            mm_per_px=mm_per_px,
            mirrored=bool(changes.get("mirrored", 0.0)),
            handedness=Handedness.ASSUMED,
        )


def prepare(samples: Iterable[Sample], layout: IndexLayout = DEFAULT_LAYOUT) -> list[PreparedSlice]:
    """Truth of every sample, slices without an RV or an LV completed from their neighbours in the stack.

    Args:
        samples: whole subjects, in any order.
        layout: M and N.
    """
    stacks: dict[tuple[str, str, str | None], list[Sample]] = defaultdict(list)
    for sample in samples:
        # A york frame's neighbours are the slices of the same instant, an acdc slice's those of its phase.
        stacks[sample.source, sample.subject, sample.phase or f"t{sample.frame_index}"].append(sample)
    prepared: list[PreparedSlice] = []
    for stack in stacks.values():
        prepared += _prepare_stack(sorted(stack, key=lambda s: s.slice_index), layout)
    return prepared


def _prepare_stack(stack: list[Sample], layout: IndexLayout) -> list[PreparedSlice]:
    rays = [sample.rays() for sample in stack]
    septa = [sample.septum(r) if r is not None else None for sample, r in zip(stack, rays, strict=True)]
    found = [k for k, r in enumerate(rays) if r is not None]
    if not found:
        return []
    drawn = np.array([s.direction_deg for s in septa if s is not None])
    prepared = []
    for k, sample in enumerate(stack):
        nearest = min(found, key=lambda j: abs(j - k))
        near = rays[nearest]
        if near is None:
            raise AssertionError("a slice counted as found has no rays")
        septum = septa[k]
        direction = (
            septum.direction_deg
            if septum is not None
            else circular_median_deg(drawn)
            if drawn.size
            else TYPICAL_SEPTUM_DEG
        )
        values = np.full(layout.size, np.nan)
        ray = rays[k]
        if ray is not None:
            known = indices_from_rays(ray, direction, layout).vector
            values[layout.areas.start] = known[layout.areas.start]
            if sample.has_epicardium:
                values[layout.areas] = known[layout.areas]
                if sample.has_rv:
                    values = known.copy()
        prepared.append(
            PreparedSlice(
                sample=sample,
                layers=np.ascontiguousarray(np.dstack([sample.pixels, sample.maps])),
                centre_px=near.centre_px,
                septum_deg=direction,
                septum_drawn=septum is not None,
                values_mm=values,
            )
        )
    return prepared
