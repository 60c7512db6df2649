"""Scoring one frame: the picture as a source would give it, and what was drawn against what is returned."""

from __future__ import annotations

import numpy as np

from lvedge.frame import Frame
from lvedge.geometry import indices_from_rays
from lvedge.indices import DEFAULT_LAYOUT, FloatArray, Label
from lvedge.measurement import Measurement
from lvedge.training.data.sample import Sample


def frame_of_sample(sample: Sample, frame_index: int = 0, cine_length: int | None = 1) -> Frame:
    """The frame that a source would give for an annotated picture."""
    return Frame(
        pixels=sample.pixels.astype(np.float32),
        spacing_mm=sample.spacing_mm,
        series=f"{sample.source}-{sample.subject}-{sample.phase or 'cine'}",
        slice_index=sample.slice_index,
        frame_index=frame_index,
        cine_length=cine_length,
        slice_count=sample.slice_count,
        origin=sample.key,
    )


def truth_of(sample: Sample) -> FloatArray:
    """The drawn values, [L] mm and mm²; NaN without an LV or without an RV to count sectors from."""
    rays = sample.rays()
    septum = sample.septum(rays) if rays is not None else None
    if rays is None or septum is None:
        return np.full(DEFAULT_LAYOUT.size, np.nan)
    return indices_from_rays(rays, septum.direction_deg).vector


def areas_mm2_of(sample: Sample) -> list[float]:
    """Drawn cavity and myocardial area, mm²."""
    pixel_mm2 = sample.spacing_mm[0] * sample.spacing_mm[1]
    return [float(sample.map(label).sum()) * pixel_mm2 for label in (Label.CAVITY, Label.MYOCARDIUM)]


def dice(sample: Sample, measurement: Measurement) -> tuple[float, float]:
    """Dice of cavity and myocardium in the source's grid; 0 where one side is empty, NaN where both are."""
    labels = measurement.labels()
    scores = []
    for label in (Label.CAVITY, Label.MYOCARDIUM):
        drawn, said = sample.map(label) >= 0.5, labels == label
        total = int(drawn.sum()) + int(said.sum())
        scores.append(2.0 * int((drawn & said).sum()) / total if total else float("nan"))
    return scores[0], scores[1]


def centre_off_mm(sample: Sample, measurement: Measurement) -> float:
    """Distance of the LV centre from the drawn centroid, mm; NaN without LV, infinite without a view.

    The centre is the one that is reported: as seen in the frame, the view's where none is seen.
    """
    rays = sample.rays()
    if rays is None:
        return float("nan")
    if measurement.view is None:
        return float("inf")
    centre_px = measurement.centre_px or measurement.view.centre_px
    off = (np.array(centre_px) - rays.centre_px) * np.array(sample.spacing_mm[::-1])
    return float(np.hypot(*off))
