"""What a sink writes, as plain values: the objects of the JSON lines, shared by every textual sink.

The keys are a public interface; ``result.schema.json`` beside this file states them, ``docs/results.md``
explains them. Numbers carry three decimals; a value that does not exist or is not finite is ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from lvedge.frame import Frame, Rejected
from lvedge.indices import Indices
from lvedge.measurement import Cycle, Finding, Measurement
from lvedge.volume import StackVolumes

Record = dict[str, Any]
"""An object of the JSON lines: strings as keys, values that JSON knows."""

DECIMALS = 3


def number(value: float | None) -> float | None:
    """A value with three decimals, or None where it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), DECIMALS)


def numbers(values: Iterable[float] | None) -> list[float | None] | None:
    """Values with three decimals each, or None where there are none at all."""
    if isinstance(values, np.ndarray):
        values = values.tolist()  # Python's own numbers: an array's elements are slow to take one by one
    return None if values is None else [number(value) for value in values]


def indices_record(indices: Indices | None) -> Record:
    """The keys ``rwt_mm`` [M], ``dims_mm`` [N] and ``areas_mm2`` [2], each None where none exist."""
    if indices is None:
        return {"rwt_mm": None, "dims_mm": None, "areas_mm2": None}
    layout, values = indices.layout, [number(value) for value in indices.vector.tolist()]
    return {"rwt_mm": values[layout.rwt], "dims_mm": values[layout.dims], "areas_mm2": values[layout.areas]}


def finding_record(finding: Finding | None) -> Record | None:
    """What the case table says, or None where it says nothing."""
    if finding is None:
        return None
    return {
        "case": finding.case,
        "label": finding.label,
        "source": finding.source,
        "caveat": finding.caveat,
        "row": finding.row,
        "severity": int(finding.severity),
        "distance": number(finding.distance),
    }


def view_record(measurement: Measurement) -> Record | None:
    """The window that was measured, or None where no heart was located.

    Centre and mid-septum are those seen in this frame where they are known, else the view's.
    """
    view = measurement.view
    if view is None:
        return None
    septum_deg = view.septum_deg if measurement.septum_deg is None else measurement.septum_deg
    return {
        "centre_px": numbers(measurement.centre_px or view.centre_px),
        "septum_deg": number(septum_deg % 360.0),
        "septum_inferred": measurement.septum_inferred,
        "mm_per_px": number(view.mm_per_px),
        "orientation": view.handedness.value,
    }


def spacing_record(frame: Frame) -> Record:
    """The distances between pixels that all millimetres rest on, and who said so."""
    return {"mm": numbers(frame.spacing_mm), "source": frame.spacing_source}


def frame_record(measurement: Measurement, engine: str, bundle: str) -> Record:
    """The object of one frame; its value keys are None where the frame was not measured."""
    found = measurement if measurement.measured else None
    phase = found.phase if found else None
    return {
        "series": measurement.frame.series,
        "slice": measurement.frame.slice_index,
        "frame": measurement.frame.frame_index,
        "time_ms": number(measurement.frame.time_ms),
        "spacing": spacing_record(measurement.frame),
        "measured": measurement.measured,
        "reason": measurement.reason if measurement.measured else measurement.reason or "no reason given",
        **indices_record(found.indices if found else None),
        "phase": None if phase is None else phase.value,
        "p_systole": number(found.p_systole) if found else None,
        "quality": number(measurement.quality) or 0.0,
        "wall_max_mm": number(found.wall_max_mm) if found else None,
        "geometric": indices_record(found.geometric if found else None),
        "view": view_record(measurement),
        "mode": measurement.mode.value,
        "provisional": measurement.frame.provisional,
        "phase_settled": measurement.phase_settled,
        "result": finding_record(measurement.finding),
        "latency_ms": {stage: number(ms) for stage, ms in measurement.latency_ms.items()},
        "engine": engine,
        "bundle": bundle,
    }


def cycle_record(cycle: Cycle) -> Record:
    """The summary of one beat of one slice, under the single key ``cycle``."""
    return {
        "cycle": {
            "series": cycle.series,
            "slice": cycle.slice_index,
            "mode": cycle.mode.value,
            "frames": cycle.frames,
            "measured": cycle.measured,
            "ed_frame": cycle.ed_frame,
            "es_frame": cycle.es_frame,
            "ed": None if cycle.ed is None else indices_record(cycle.ed),
            "es": None if cycle.es is None else indices_record(cycle.es),
            "fac": number(cycle.fac),
            "thickening": numbers(None if cycle.thickening is None else np.asarray(cycle.thickening, float)),
            "quality": number(cycle.quality) or 0.0,
            "result": finding_record(cycle.finding),
            "findings": [finding_record(finding) for finding in cycle.findings],
            "reason": cycle.reason,
            "missing": list(cycle.missing),
            "provisional": cycle.provisional,
        }
    }


def volumes_record(volumes: StackVolumes) -> Record:
    """The volumes of a whole stack, or why there are none, under the single key ``volumes``."""
    return {
        "volumes": {
            "series": volumes.series,
            "slices": volumes.slices,
            "slice_count": volumes.slice_count,
            "distance_mm": number(volumes.distance_mm),
            "ed_frame": volumes.ed_frame,
            "es_frame": volumes.es_frame,
            "edv_ml": number(volumes.edv_ml),
            "esv_ml": number(volumes.esv_ml),
            "ef": number(volumes.ef),
            "mass_g": number(volumes.mass_g),
            "reason": volumes.reason,
        }
    }


def rejected_record(rejected: Rejected) -> Record:
    """Something that could not be measured, under the single key ``rejected``."""
    return {"rejected": {"item": rejected.item, "reason": rejected.reason, "series": rejected.series}}


def record_of(item: Measurement | Cycle | StackVolumes | Rejected, engine: str, bundle: str) -> Record:
    """The object of whatever the stream yields."""
    if isinstance(item, Measurement):
        return frame_record(item, engine, bundle)
    if isinstance(item, Cycle):
        return cycle_record(item)
    if isinstance(item, StackVolumes):
        return volumes_record(item)
    return rejected_record(item)


def record_of_stream(record: Record, stream: int) -> Record:
    """The object of an item, with the number of its stream as the first of its keys."""
    if len(record) > 1:
        return {"stream": stream, **record}
    return {key: {"stream": stream, **inner} for key, inner in record.items()}
