"""Test and retest: how far the values spread when the same slice lies, is turned or is noised otherwise.

From each acdc subject the mid slice nearest the middle of the stack, at ED and at ES, each version a
one-frame clip of its own through the located view. Three kinds of version:

- shift: as it is, and moved by 3 source pixels left, right, up and down;
- turn: as it is, and turned by 10° either way about the picture's middle (cubic, edges repeated);
- rescan: four times with fresh Gaussian noise of 3 % of the picture's 99th percentile, seed below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from lvedge.contract import Stepper
from lvedge.frame import Frame, Pixels
from lvedge.indices import FloatArray
from lvedge.measure import SliceMeasurer
from lvedge.quality import QualityModel
from lvedge.training.data.sample import Sample
from lvedge.training.evaluation.figure import GROUPS, by_subject
from lvedge.training.scoring import frame_of_sample

SHIFT_PX = 3
TURN_DEG = 10.0
NOISE_SHARE = 0.03
RESCANS = 4
RETEST_SEED = 11
KINDS = ("shift", "turn", "rescan")


@dataclass(frozen=True)
class Retest:
    """One slice in several versions.

    Args:
        subject, slice_index, phase: which slice.
        kind: of version.
        found: share of the versions that an LV was returned for.
        regressed_sd, geometric_sd: [L] standard deviation over the versions (n − 1), mm and mm²; where
            nothing was returned the training set's means stand in.
    """

    subject: str
    slice_index: int
    phase: str
    kind: str
    found: float
    regressed_sd: FloatArray
    geometric_sd: FloatArray


def score_retest(
    stepper: Stepper, quality: QualityModel, samples: Sequence[Sample], mean_values: FloatArray
) -> list[Retest]:
    """The chosen slices of acdc subjects in all their versions.

    Args:
        stepper: executes the network.
        quality: judges the values.
        samples: whole subjects.
        mean_values: [L] scored where no LV is returned.
    """
    retests = []
    for sample in chosen(samples):
        for kind, frames in versions(frame_of_sample(sample)).items():
            results = [m for f in frames for m in SliceMeasurer(stepper, quality).measure_closed([f])]
            regressed = [m.indices.vector if m.indices is not None else mean_values for m in results]
            geometric = [m.geometric.vector if m.geometric is not None else mean_values for m in results]
            retests.append(
                Retest(
                    subject=sample.subject,
                    slice_index=sample.slice_index,
                    phase=sample.phase or "",
                    kind=kind,
                    found=float(np.mean([m.measured for m in results])),
                    regressed_sd=np.std(regressed, axis=0, ddof=1),
                    geometric_sd=np.std(geometric, axis=0, ddof=1),
                )
            )
    return retests


def chosen(samples: Sequence[Sample]) -> list[Sample]:
    """Of each subject and phase the mid slice nearest the middle of the stack; of two, nearer the base."""
    stacks: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.is_mid_slice:
            stacks[sample.subject, sample.phase or ""].append(sample)
    return [
        min(members, key=lambda s: (abs(2 * s.slice_index - s.slice_count + 1), s.slice_index))
        for members in stacks.values()
    ]


def versions(frame: Frame) -> dict[str, list[Frame]]:
    """All versions of a frame, by kind."""
    moved = [(SHIFT_PX, 0), (-SHIFT_PX, 0), (0, SHIFT_PX), (0, -SHIFT_PX)]
    rng = np.random.default_rng(RETEST_SEED)
    spread = NOISE_SHARE * float(np.percentile(frame.pixels, 99))
    noises = [rng.normal(0.0, spread, frame.pixels.shape) for _ in range(RESCANS)]
    return {
        "shift": [frame, *(_of(frame, _shifted(frame.pixels, dx, dy)) for dx, dy in moved)],
        "turn": [frame, *(_of(frame, _turned(frame.pixels, by)) for by in (TURN_DEG, -TURN_DEG))],
        "rescan": [_of(frame, (frame.pixels + noise).astype(np.float32)) for noise in noises],
    }


def retest_figures(retests: Sequence[Retest]) -> dict[str, Any]:
    """Standard deviation by kind of version, each the mean over a group's values, then by subject."""
    figures: dict[str, Any] = {}
    for kind in KINDS:
        some = [r for r in retests if r.kind == kind]
        subjects = [r.subject for r in some]
        figures[kind] = {
            "slices": len(some),
            "coverage": by_subject(subjects, np.array([r.found for r in some])),
            **{
                reading: {
                    name: by_subject(subjects, np.array([spread[where].mean() for spread in spreads]))
                    for name, where in GROUPS
                }
                for reading, spreads in (
                    ("regressed", [r.regressed_sd for r in some]),
                    ("geometric", [r.geometric_sd for r in some]),
                )
            },
        }
    return figures


def _of(frame: Frame, pixels: Pixels) -> Frame:
    return replace(frame, pixels=pixels)


def _shifted(pixels: Pixels, dx: int, dy: int) -> Pixels:
    """Whole pixels; the edge is repeated."""
    padded = np.pad(pixels, SHIFT_PX, mode="edge")
    rows, columns = pixels.shape
    top, left = SHIFT_PX - dy, SHIFT_PX - dx
    return np.ascontiguousarray(padded[top : top + rows, left : left + columns])


def _turned(pixels: Pixels, by_deg: float) -> Pixels:
    """Clockwise as shown, about the middle."""
    rows, columns = pixels.shape
    turn = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), -by_deg, 1.0)
    turned = cv2.warpAffine(
        pixels, turn, (columns, rows), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(turned, dtype=np.float32)
