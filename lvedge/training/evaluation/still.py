"""Stills: every annotated slice of acdc as one frame (cold), through the view found or made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from lvedge.aim import Stack
from lvedge.contract import Stepper
from lvedge.geometry import angle_between_deg
from lvedge.indices import FloatArray
from lvedge.measure import SliceMeasurer
from lvedge.measurement import Measurement
from lvedge.quality import QualityModel
from lvedge.training.data.sample import Sample, stacks_of
from lvedge.training.evaluation.contour import hausdorff_mm
from lvedge.training.scoring import centre_off_mm, dice, frame_of_sample, truth_of
from lvedge.training.slices import prepare


@dataclass(frozen=True)
class ScoredSlice:
    """One annotated slice of acdc, measured.

    Args:
        subject, slice_index, phase, group, spacing_mm: which slice.
        level: its place in the stack, k / (n − 1): 0 the base, 1 the apex.
        has_lv: whether an LV was drawn.
        mid: whether it is a mid slice.
        found: whether an LV was returned.
        flagged: whether its quality lies below the model's limit.
        mirrored: the view flipped the picture, which shows the usual way round.
        truth: [L] mm and mm², NaN without an LV.
        regressed, geometric: [L] returned values; the means scored instead where nothing was returned.
        centre_mm: distance of the reported LV centre from the drawn centroid, NaN without LV or view.
        septum_deg: angle between the seen and the drawn mid-septum, NaN where either is missing.
        dice: cavity and myocardium.
        hausdorff_mm: [2, 2] endocardium and epicardium, 95 % and largest; NaN without an LV.
        quality: 0 .. 1.
    """

    subject: str
    slice_index: int
    phase: str
    group: str
    spacing_mm: float
    level: float
    has_lv: bool
    mid: bool
    found: bool
    flagged: bool
    mirrored: bool
    truth: FloatArray
    regressed: FloatArray
    geometric: FloatArray
    centre_mm: float
    septum_deg: float
    dice: tuple[float, float]
    hausdorff_mm: FloatArray
    quality: float

    def as_json(self) -> dict[str, object]:
        """Plain values, arrays as lists, NaN as None."""
        plain: dict[str, object] = {}
        for key, value in asdict(self).items():
            if isinstance(value, np.ndarray):
                plain[key] = [_plain(float(v), 3) for v in value.ravel()]
            elif isinstance(value, tuple):
                plain[key] = [_plain(v, 4) for v in value]
            else:
                plain[key] = _plain(value, 4) if isinstance(value, float) else value
        return plain


def score_acdc(
    stepper: Stepper, quality: QualityModel, samples: Sequence[Sample], mean_values: FloatArray
) -> list[ScoredSlice]:
    """Every slice of acdc subjects at ED and ES, each a one-frame clip (cold), through the located view.

    Args:
        stepper: executes the network.
        quality: judges the values.
        samples: whole subjects.
        mean_values: [L] scored where no LV is returned.
    """
    scored = []
    for members in stacks_of(samples):
        stack = Stack()
        for sample in members:
            measurer = SliceMeasurer(stepper, quality, stack)
            (measurement,) = measurer.measure_closed([frame_of_sample(sample)])
            scored.append(scored_slice(sample, measurement, quality, mean_values))
    return scored


def score_hand_made(
    stepper: Stepper, quality: QualityModel, samples: Sequence[Sample], mean_values: FloatArray
) -> list[ScoredSlice]:
    """Every mid slice as a one-frame clip through the view that its drawing gives: what aiming costs.

    Arguments as for ``score_acdc``.
    """
    shapes = stepper.shapes
    scored = []
    for prepared in prepare(samples):
        if not prepared.sample.is_mid_slice:
            continue
        view = prepared.view(shapes.view_px, shapes.view_mm_per_px)
        measurer = SliceMeasurer(stepper, quality, view=view)
        (measurement,) = measurer.measure_closed([frame_of_sample(prepared.sample)])
        scored.append(scored_slice(prepared.sample, measurement, quality, mean_values))
    return scored


def scored_slice(
    sample: Sample, measurement: Measurement, quality: QualityModel, mean_values: FloatArray
) -> ScoredSlice:
    """What was returned for a sample, against what was drawn."""
    rays = sample.rays()
    found = measurement.indices is not None and measurement.geometric is not None
    regressed = measurement.indices.vector if measurement.indices is not None else mean_values
    geometric = measurement.geometric.vector if measurement.geometric is not None else mean_values
    septum = sample.septum(rays) if rays is not None else None
    septum_off = np.nan
    if septum is not None and measurement.septum_deg is not None:
        septum_off = abs(angle_between_deg(measurement.septum_deg, septum.direction_deg))
    return ScoredSlice(
        subject=sample.subject,
        slice_index=sample.slice_index,
        phase=sample.phase or "",
        group=sample.group or "",
        spacing_mm=sample.spacing_mm[0],
        level=sample.slice_index / max(sample.slice_count - 1, 1),
        has_lv=sample.has_lv,
        mid=sample.is_mid_slice,
        found=found,
        flagged=found and measurement.quality < quality.flag_below,
        mirrored=measurement.view is not None and measurement.view.mirrored,
        truth=truth_of(sample),
        regressed=regressed,
        geometric=geometric,
        centre_mm=centre_off_mm(sample, measurement),
        septum_deg=septum_off,
        dice=dice(sample, measurement),
        hausdorff_mm=hausdorff_mm(sample, measurement),
        quality=measurement.quality,
    )


def _plain(value: float, digits: int) -> float | None:
    return round(value, digits) if np.isfinite(value) else None
