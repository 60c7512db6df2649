"""Hand-made measurements: a ring of muscle around a cavity, an RV beside it, in any direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_bundle import ABOUT, SHAPES, tiny_graphs

from lvedge.bundle import write_bundle
from lvedge.frame import Frame, Orientation
from lvedge.geometry import indices_from_rays, rays_from_maps
from lvedge.indices import Label, Phase
from lvedge.measurement import Cycle, Finding, Measurement, Mode
from lvedge.view import SEPTUM_IN_VIEW_DEG, View, view_of_frame

VIEW_PX = 80
MM_PER_PX = 1.5

# Directions whose normal lies along the mean short axis, and the same picture seen from behind.
RADIOLOGICAL = Orientation((0.78, 0.55, 0.29), (-0.02, 0.49, -0.87))
MIRRORED = Orientation((-0.02, 0.49, -0.87), (0.78, 0.55, 0.29))

FINDING = Finding(
    case="HCM",
    label="consistent with a thick wall: ≥ 15 mm",
    source="a guideline, doi 10.1000/1",
    caveat="not a diagnosis",
    row="rule 12",
    severity=2,
)

MakeMeasurement = Callable[..., Measurement]


def ring_mask(
    endo_mm: float, epi_mm: float, septum_in_view_deg: float = SEPTUM_IN_VIEW_DEG
) -> NDArray[np.float32]:
    """[4, S, S] probabilities of concentric circles in the view's middle, the RV on the septum's side."""
    middle = (VIEW_PX - 1) / 2
    y, x = (np.indices((VIEW_PX, VIEW_PX)) - middle) * MM_PER_PX
    radius = np.hypot(x, y)

    def inside(distance_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(distance_mm / MM_PER_PX + 0.5, 0.0, 1.0)

    angle = np.deg2rad(septum_in_view_deg)
    off = np.hypot(x - 30 * np.cos(angle), y - 30 * np.sin(angle))
    cavity, heart = inside(endo_mm - radius), inside(epi_mm - radius)
    rv = inside(24 - off) * inside(radius - epi_mm - 2)
    return np.stack([1 - heart - rv, rv, heart - cavity, cavity]).astype(np.float32)


def measurement_of(
    *,
    slice_index: int = 0,
    frame_index: int = 0,
    endo_mm: float = 22.0,
    epi_mm: float = 32.0,
    centre_px: tuple[float, float] = (70.0, 60.0),
    septum_deg: float = 180.0,
    turned_deg: float = 0.0,
    spacing_mm: tuple[float, float] = (1.25, 1.25),
    shape: tuple[int, int] = (128, 144),
    orientation: Orientation | None = RADIOLOGICAL,
    mode: Mode = Mode.CLOSED,
    series: str = "phantom",
    cine_length: int | None = 8,
    finding: Finding | None = FINDING,
) -> Measurement:
    """A measured frame whose mask is a ring; ``turned_deg`` turns its septum away from the view's axis."""
    empty = Frame(np.zeros(shape, np.float32), spacing_mm, series, orientation=orientation)
    view = view_of_frame(empty, centre_px, septum_deg, VIEW_PX, MM_PER_PX)
    in_view = SEPTUM_IN_VIEW_DEG + (-turned_deg if view.mirrored else turned_deg)
    mask = ring_mask(endo_mm, epi_mm, in_view)
    rays = rays_from_maps(mask[Label.CAVITY], mask[Label.MYOCARDIUM], (MM_PER_PX, MM_PER_PX))
    assert rays is not None
    indices = indices_from_rays(rays, in_view)
    return Measurement(
        frame=Frame(
            pixels=_picture(view, mask, shape),
            spacing_mm=spacing_mm,
            series=series,
            slice_index=slice_index,
            frame_index=frame_index,
            time_ms=40.0 * frame_index,
            orientation=orientation,
            cine_length=cine_length,
            slice_count=2,
        ),
        measured=True,
        mode=mode,
        indices=indices,
        geometric=indices,
        phase=Phase.SYSTOLE if 0 < frame_index < 4 else Phase.DIASTOLE,
        p_systole=0.875 if 0 < frame_index < 4 else 0.125,
        phase_settled=True,
        quality=0.9375,
        wall_max_mm=rays.wall_max_mm,
        view=view,
        septum_deg=(septum_deg + turned_deg) % 360.0,
        mask=mask,
        latency_ms={"decode": 1.0, "step": 12.25, "total": 13.25},
        finding=finding,
    )


def unmeasured_of(measurement: Measurement, reason: str = "no LV in this frame") -> Measurement:
    """The same frame as one in which nothing was found."""
    nothing = dict.fromkeys(("indices", "geometric", "phase", "p_systole", "wall_max_mm", "finding"))
    return replace(
        measurement,
        measured=False,
        reason=reason,
        quality=0.0,
        phase_settled=False,
        view=None,
        septum_deg=None,
        mask=None,
        **nothing,
    )


def beat_of(frames: int = 8, slice_index: int = 0, **changes: object) -> tuple[list[Measurement], Cycle]:
    """A contracting ring, its frame 6 not measured, and the summary of its beat."""
    measurements = []
    for k in range(frames):
        squeeze = 6.0 * np.sin(np.pi * min(k / (frames - 1), 1.0))
        arguments = {"slice_index": slice_index, "frame_index": k, "endo_mm": 22.0 - squeeze, **changes}
        measurements.append(measurement_of(**arguments))  # type: ignore[arg-type]
    if frames > 6:
        measurements[6] = unmeasured_of(measurements[6])
    ed, es = measurements[0].indices, measurements[frames // 2 - 1].indices
    assert ed is not None
    assert es is not None
    cycle = Cycle(
        series=measurements[0].frame.series,
        slice_index=slice_index,
        mode=measurements[0].mode,
        frames=frames,
        measured=sum(m.measured for m in measurements),
        ed_frame=0,
        es_frame=frames // 2 - 1,
        ed=ed,
        es=es,
        fac=float(1 - es.areas_mm2[0] / ed.areas_mm2[0]),
        thickening=es.rwt_mm / ed.rwt_mm - 1,
        quality=0.9375,
        slice_count=2,
        finding=FINDING,
        findings=(FINDING,),
    )
    return measurements, cycle


@pytest.fixture
def make_measurement() -> MakeMeasurement:
    """The builder of a measured frame."""
    return measurement_of


@pytest.fixture
def make_unmeasured() -> Callable[..., Measurement]:
    """The builder of a frame without an LV, from a measured one."""
    return unmeasured_of


@pytest.fixture
def make_beat() -> Callable[..., tuple[list[Measurement], Cycle]]:
    """The builder of a slice's measurements and its cycle."""
    return beat_of


@pytest.fixture
def mirrored() -> Orientation:
    """Directions of a frame that shows the heart the other way round."""
    return MIRRORED


def _picture(view: View, mask: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Grey values of the labels: bright blood, dark muscle."""
    grey = np.array([60.0, 200.0, 80.0, 210.0], dtype=np.float32)
    return grey[view.labels_in_source(mask, shape)]


@pytest.fixture(scope="session")
def tiny_bundle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle made by hand whose graphs take no time."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.lvedge"
    write_bundle(path, shapes=SHAPES, graphs=tiny_graphs(), about=ABOUT, licence="", model_card="")
    return path
