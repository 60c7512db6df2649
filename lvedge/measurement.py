"""What comes out: the measurement of a frame, the summary of a beat, what the case table says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from lvedge.frame import Frame
from lvedge.indices import FloatArray, Indices, Phase
from lvedge.view import View


class Mode(str, Enum):
    """How a cine was played."""

    CLOSED = "closed"
    """All phases were at hand: played once to warm the state, the second pass is reported."""
    LIVE = "live"
    """Frame by frame as they arrive."""


@dataclass(frozen=True)
class Finding:
    """What the case table says, and which row says it.

    Args:
        case: short name of the case, e.g. "HCM".
        label: the words to show; says "consistent with", never a diagnosis.
        source: where the row comes from (a citation, a data set).
        caveat: what the reader has to keep in mind.
        row: which row gave it, e.g. "rule 12" or "reference 40".
        severity: 0 none, 1 note, 2 abnormal, 3 marked.
        distance: distance to the nearest reference case in standard deviations, None for a rule.
    """

    case: str
    label: str
    source: str
    caveat: str
    row: str
    severity: int = 0
    distance: float | None = None


@dataclass(frozen=True)
class Measurement:
    """The measurement of one frame.

    Args:
        frame: the frame that was measured.
        measured: whether an LV was found.
        reason: why not, where it was not.
        mode: closed or live.
        indices: the reported values (the network's regression), or None.
        geometric: the same values read off the mask, or None.
        phase: systole or diastole, or None; of a closed beat by its areas, otherwise by ``p_systole``.
        p_systole: probability of systole by the classification layer, 0 .. 1, or None.
        phase_settled: the phase has seen one maximum and one minimum of the cavity.
        quality: 0 .. 1, the probability that no value is grossly wrong; 0 where nothing was measured.
        signs: [F] what quality was judged from (``lvedge.quality.FEATURES``), or None.
        wall_max_mm: 95th percentile of the wall thickness over all rays, mm, or None.
        view: the window that was measured, or None where no heart was located.
        centre_px: LV centre as seen in this frame, the centroid of the cavity that is drawn in it, also where
            that is taken for none, source pixels (x, y), or None.
        septum_deg: mid-septum as seen in this frame, degrees in the source frame, or None.
        septum_inferred: the septum comes from neighbouring slices, no RV is seen in this one.
        mask: [4, S, S] float32 probabilities in the view, or None.
        latency_ms: milliseconds by stage.
        finding: what the case table says of this frame, or None without a table.
    """

    frame: Frame
    measured: bool
    reason: str | None = None
    mode: Mode = Mode.CLOSED
    indices: Indices | None = None
    geometric: Indices | None = None
    phase: Phase | None = None
    p_systole: float | None = None
    phase_settled: bool = False
    quality: float = 0.0
    signs: FloatArray | None = None
    wall_max_mm: float | None = None
    view: View | None = None
    centre_px: tuple[float, float] | None = None
    septum_deg: float | None = None
    septum_inferred: bool = False
    mask: NDArray[np.float32] | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    finding: Finding | None = None

    def labels(self) -> NDArray[np.uint8]:
        """Label map [rows, columns] in the source frame's geometry; background where nothing was measured."""
        shape = (self.frame.pixels.shape[0], self.frame.pixels.shape[1])
        if self.mask is None or self.view is None or not self.measured:
            return np.zeros(shape, dtype=np.uint8)
        return self.view.labels_in_source(self.mask, shape)


@dataclass(frozen=True)
class Cycle:
    """The summary of one beat of one slice.

    Args:
        series: name of the series.
        slice_index: the slice, from 0.
        mode: closed or live.
        frames: number of frames of the slice.
        measured: how many of them were measured.
        ed_frame: frame index of end diastole (largest smoothed cavity), or None.
        es_frame: frame index of end systole (smallest smoothed cavity), or None.
        ed: values at end diastole, or None.
        es: values at end systole, or None.
        fac: fractional area change (ED − ES) / ED of the cavity area, 0 .. 1, or None. One slice gives no EF.
        thickening: relative wall thickening per sector, (ES − ED) / ED, [M], or None.
        quality: median quality over the measured frames.
        slice_count: number of slices of the stack, where known.
        finding: what the case table says of the beat, or None.
        findings: all rows that hold, the reported one first.
        reason: why there is no cycle, where there is none.
        missing: phases of the beat, counted from 0, that the source knows of and did not give.
        provisional: the series was still arriving; the beat comes again when it is whole.
    """

    series: str
    slice_index: int
    mode: Mode
    frames: int
    measured: int
    ed_frame: int | None = None
    es_frame: int | None = None
    ed: Indices | None = None
    es: Indices | None = None
    fac: float | None = None
    thickening: FloatArray | None = None
    quality: float = 0.0
    slice_count: int | None = None
    finding: Finding | None = None
    findings: tuple[Finding, ...] = ()
    reason: str | None = None
    missing: tuple[int, ...] = ()
    provisional: bool = False
