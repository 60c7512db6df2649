"""Pictures painted with what was drawn on them, and a stepper that reads the paint: every score can be said.

The grey value of a pixel is the blend of its labels' greys, so that a mask read from it is the drawn one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from heart_samples import sample_of

from lvedge.contract import ContractShapes, Floats, ReplayResult, State, StepResult
from lvedge.indices import DEFAULT_LAYOUT, Label
from lvedge.phantom import Heart, Phantom, Placement, preset_phantom, stack
from lvedge.reading import MaskReading, read_mask
from lvedge.training.data.sample import Sample

COARSE = Placement(rows=64, columns=64, spacing_mm=(2.5, 2.5))
BACKGROUND = 80
SHAPES = ContractShapes(
    view_px=64,
    view_mm_per_px=2.0,
    regression_state=1,
    phase_state=1,
    features=1 + DEFAULT_LAYOUT.size,
    locator_px=64,
    locator_mm_per_px=3.0,
)
SAID_TOO_MUCH_MM = 0.5
"""The stepper regresses every wall this much thicker than it draws it."""


def painted(sample: Sample) -> Sample:
    """The sample with its labels as grey values: RV 0, background 80, myocardium 160, cavity 240."""
    rv, wall, cavity = (sample.maps[..., k].astype(float) / 255 for k in range(3))
    grey = BACKGROUND * (1 + wall + 2 * cavity - rv)
    return replace(sample, pixels=np.round(grey).astype(np.uint8))


def blank(sample: Sample) -> Sample:
    """The sample with nothing to be seen in its picture."""
    return replace(sample, pixels=np.full_like(sample.pixels, BACKGROUND))


def undrawn(sample: Sample) -> Sample:
    """The sample with nothing drawn on its picture."""
    return replace(sample, maps=np.zeros_like(sample.maps))


@cache
def painted_stack(count: int = 4, subject: str = "patient001", preset: str = "healthy") -> tuple[Sample, ...]:
    """A stack at ED, then at ES; shared by the tests, so not to be written to."""
    slices = stack(preset_phantom(preset, COARSE), count)
    return tuple(
        painted(sample_of(phantom, frame, phase=phase, subject=subject, slice_index=k, slice_count=count))
        for phase, frame in (("ED", 0), ("ES", slices[0].heart.es_frame))
        for k, phantom in enumerate(slices)
    )


def painted_beat(frames: int = 20, start: float = 0.0, **changes: object) -> list[Sample]:
    """A slice of york over its beat."""
    phantom = Phantom(heart=Heart(frames=frames, start_fraction=start), placement=COARSE)
    return [painted(sample_of(phantom, k, "york", **changes)) for k in range(frames)]


class PaintReader:
    """Reads painted pictures. A frame is in systole where its cavity is smaller than the last one."""

    @property
    def shapes(self) -> ContractShapes:
        return SHAPES

    def step(self, frame: Floats, state: State) -> StepResult:
        mask = _mask(frame[0, 0])[None]
        reading = read_mask(mask[0], SHAPES.view_mm_per_px)
        values = np.zeros(DEFAULT_LAYOUT.size)
        if isinstance(reading, MaskReading):
            values = reading.indices.vector.copy()
            values[DEFAULT_LAYOUT.rwt] += SAID_TOO_MUCH_MM
        in_px = values / SHAPES.view_mm_per_px ** DEFAULT_LAYOUT.unit_power()
        features = np.array([[mask[0, Label.CAVITY].sum(), *in_px]], np.float32)
        result = self.replay(features, state)
        return StepResult(result.indices, result.phase, mask, features, result.state)

    def replay(self, features: Floats, state: State) -> ReplayResult:
        systole = np.float32(features[0, 0] < state.h_phase[0, 0])
        phase = np.array([[1 - systole, systole]], np.float32)
        return ReplayResult(features[:, 1:].copy(), phase, replace(state, h_phase=features[:, :1].copy()))

    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        mask = _mask(frame[0, 0])
        points, confidence = np.zeros((3, 2)), np.zeros(3)
        if mask[Label.CAVITY].any():
            points[0], confidence[0] = _centroid(mask[Label.CAVITY]), 0.9
            off = np.array([-1.0, 0.0])
            if mask[Label.RV].any():
                off, confidence[1:] = _centroid(mask[Label.RV]) - points[0], 0.9
            # The insertions stand at right angles to the septum, the anterior one clockwise of it.
            points[1], points[2] = points[0] + (-off[1], off[0]), points[0] + (off[1], -off[0])
        return points[None].astype(np.float32), confidence[None].astype(np.float32)


def _mask(picture: Floats) -> Floats:
    """Membership [4, S, S] of a painted picture, whose commonest grey is background and brightest cavity."""
    level = np.zeros_like(picture)
    background = float(np.median(picture))
    if picture.max() > background:
        level = (picture - background) / (1.0 - background)  # wall 0.5, cavity 1, RV -0.5
    cavity = np.clip(2 * level - 1, 0, 1)
    wall = np.clip(1 - np.abs(2 * level - 1), 0, 1)
    rv = np.clip(-2 * level, 0, 1)
    return np.stack([1 - cavity - wall - rv, rv, wall, cavity]).astype(np.float32)


def _centroid(share: Floats) -> np.ndarray:
    y, x = np.indices(share.shape)
    return np.array([(share * x).sum(), (share * y).sum()]) / share.sum()
