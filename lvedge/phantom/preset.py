"""Hearts and phantoms to take from the shelf, to stack into slices, or to draw at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lvedge.frame import Subject
from lvedge.phantom.cine import Phantom
from lvedge.phantom.heart import Heart, Sectors
from lvedge.phantom.look import Look
from lvedge.phantom.placement import Placement

HEALTHY = Heart()
"""Normal walls, fractional area change 0.57 as in the mid slices of healthy people."""

HYPERTROPHIC = Heart(
    heart_rate_bpm=62.0,
    diameter_ed_mm=43.0,
    fac=0.68,
    wall_ed_mm=(17.5, 13.0, 9.5, 9.0, 11.5, 18.5),
    thickening=(0.15, 0.30, 0.48, 0.52, 0.38, 0.14),
    papillary_mm=5.5,
    rv_depth_mm=20.0,
)
"""A thick septum (over 15 mm), a small cavity, vigorous contraction."""

DILATED = Heart(
    heart_rate_bpm=81.0,
    diameter_ed_mm=68.0,
    fac=0.17,
    ellipticity=0.02,
    wall_ed_mm=(6.2, 5.8, 5.6, 5.5, 5.7, 6.3),
    thickening=(0.08, 0.12, 0.16, 0.18, 0.15, 0.08),
    motion_mm=(-0.3, -0.1),
    rv_shortening=0.18,
    rv_contact_deg=84.0,
)
"""A wide cavity with thin walls that hardly contracts."""

HEARTS = {"healthy": HEALTHY, "hypertrophic": HYPERTROPHIC, "dilated": DILATED}
SLICE_DISTANCE_MM = 10.0


def preset_phantom(name: str, placement: Placement | None = None, seed: int = 0) -> Phantom:
    """A phantom with a heart from the shelf: "healthy", "hypertrophic" or "dilated".

    Raises:
        ValueError: if there is no such heart.
    """
    if name not in HEARTS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(HEARTS)}")
    return Phantom(
        heart=HEARTS[name], placement=placement or Placement(), seed=seed, series=f"phantom-{name}"
    )


def stack(phantom: Phantom, count: int = 3, distance_mm: float = SLICE_DISTANCE_MM) -> tuple[Phantom, ...]:
    """Slices of one heart, the given phantom being the middle one.

    Towards the apex the cavity narrows, the RV recedes and the papillary muscles merge with the wall;
    towards the base the RV deepens. All slices share grid, look and beat. They are numbered as a source
    sorts them, by position along the slice normal: from the apex, or from the base in a mirrored picture.

    Raises:
        ValueError: if count is below 1.
    """
    if count < 1:
        raise ValueError(f"a stack needs at least one slice, not {count}")
    slices = []
    for index in range(count):
        level = 1.0 - 2.0 * index / (count - 1) if count > 1 else 0.0
        level = -level if phantom.placement.mirrored else level
        heart = _heart_at_level(phantom.heart, level)
        depth = level * distance_mm * (count - 1) / 2
        slices.append(replace(phantom, heart=heart, slice_index=index, slice_count=count, depth_mm=depth))
    return tuple(slices)


def random_heart(rng: np.random.Generator) -> Heart:
    """A heart drawn from normal, hypertrophic, dilated and infarcted ones, 12 to 40 frames a beat.

    Wall and cavity agree: the myocardial area grows by 0 to 25 % in systole, as the long axis shortens.
    """
    kind = rng.choice(["normal", "hypertrophic", "dilated", "infarcted"], p=[0.4, 0.2, 0.2, 0.2])
    low, high, thin, thick, weak, strong = {
        "normal": (38.0, 56.0, 4.8, 9.0, 0.42, 0.68),
        "hypertrophic": (34.0, 50.0, 8.0, 15.0, 0.48, 0.80),
        "dilated": (56.0, 78.0, 4.2, 8.0, 0.06, 0.34),
        "infarcted": (44.0, 66.0, 4.8, 9.0, 0.14, 0.46),
    }[str(kind)]
    diameter, wall, fac = rng.uniform(low, high), rng.uniform(thin, thick), rng.uniform(weak, strong)
    uneven = {"hypertrophic": 0.34, "infarcted": 0.16}.get(str(kind), 0.10)
    ed = wall * _around(rng, uneven)
    mean = _mean_thickening(diameter / 2, wall, fac, rng.uniform(1.0, 1.25))
    gain = mean * _around(rng, 0.55 if kind == "infarcted" else 0.25)
    if kind == "hypertrophic":
        gain *= np.clip(wall / ed, 0.3, 1.4)
    return Heart(
        frames=int(rng.integers(12, 41)),
        heart_rate_bpm=float(rng.uniform(45, 115)),
        systole_fraction=float(rng.uniform(0.30, 0.46)),
        diameter_ed_mm=float(diameter),
        fac=float(fac),
        ellipticity=float(rng.uniform(0.0, 0.10)),
        ellipticity_deg=float(rng.uniform(0, 180)),
        squareness=float(rng.uniform(0.0, 0.02)),
        squareness_deg=float(rng.uniform(0, 90)),
        wall_ed_mm=_sectors(np.maximum(ed, 3.4)),
        thickening=_sectors(np.clip(gain, -0.10, 1.3)),
        septum_deg=float(rng.uniform(140, 185)),
        motion_mm=(float(rng.normal(-0.6, 1.2)), float(rng.normal(0, 1.2))),
        rv_contact_deg=float(rng.uniform(80, 114)),
        rv_depth_mm=float(rng.uniform(13, 31)),
        rv_shortening=float(rng.uniform(0.12, 0.5)),
        rv_skew=float(rng.uniform(-0.4, 0.3)),
        rv_overhang=float(rng.uniform(0.0, 0.35)),
        rv_wall_mm=float(rng.uniform(2.0, 4.5)),
        papillary_mm=float(rng.uniform(2.5, 7.0)) if rng.random() < 0.85 else 0.0,
        papillary_deg=(float(rng.normal(105, 12)), float(rng.normal(228, 12))),
        trabeculae_mm=float(rng.uniform(1.0, 5.5)),
    )


def random_placement(rng: np.random.Generator) -> Placement:
    """A grid with spacing 0.68 to 2.08 mm, any rotation, mirrored or not, the heart off the middle."""
    spacing = float(rng.uniform(0.68, 2.08))
    field_mm = rng.uniform(220, 380)
    rows, columns = (
        int(np.clip(round(field_mm * part / spacing), 128, 400)) for part in rng.uniform(0.8, 1, 2)
    )
    room = np.maximum(np.array([columns, rows]) * spacing / 2 - 62.0, 0.0)
    offset = np.clip(rng.normal(0, 18, 2), -room, room)
    return Placement(
        rows=rows,
        columns=columns,
        spacing_mm=(spacing, spacing),
        offset_mm=(float(offset[0]), float(offset[1])),
        rotation_deg=float(rng.uniform(0, 360)),
        mirrored=bool(rng.random() < 0.5),
    )


def random_phantom(rng: np.random.Generator, heart: Heart | None = None) -> Phantom:
    """A phantom drawn at random in everything: heart (unless given), grid, look and person.

    The same state of ``rng`` gives the same phantom.
    """
    chosen = heart or random_heart(rng)
    placement, look = random_placement(rng), Look.random(rng)
    seed = int(rng.integers(0, 2**31))
    subject = Subject(sex=str(rng.choice(["F", "M"])), age_years=float(rng.integers(18, 90)))
    return Phantom(
        heart=chosen, placement=placement, look=look, seed=seed, series=f"phantom-{seed:08x}", subject=subject
    )


def _heart_at_level(heart: Heart, level: float) -> Heart:
    """The heart nearer to the base (level −1) or to the apex (level 1)."""
    apical, basal = max(level, 0.0), max(-level, 0.0)
    narrow = 1.0 - 0.26 * apical + 0.04 * basal
    wall = np.asarray(heart.wall_ed_mm) * (1.0 - 0.10 * apical + 0.04 * basal)
    return replace(
        heart,
        diameter_ed_mm=heart.diameter_ed_mm * narrow,
        fac=min(heart.fac * (1.0 + 0.10 * apical - 0.06 * basal), 0.9),
        wall_ed_mm=_sectors(wall),
        rv_contact_deg=heart.rv_contact_deg * (1.0 - 0.18 * apical + 0.08 * basal),
        rv_depth_mm=heart.rv_depth_mm * (1.0 - 0.40 * apical + 0.15 * basal),
        papillary_mm=heart.papillary_mm * (1.0 - 0.35 * abs(level)),
        trabeculae_mm=heart.trabeculae_mm * (1.0 + 0.3 * apical - 0.4 * basal),
    )


def _around(rng: np.random.Generator, spread: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Six positive factors with mean 1 that vary smoothly from sector to sector."""
    place = np.deg2rad(np.arange(30, 360, 60))
    wave = np.cos(place - rng.uniform(0, 2 * np.pi)) + 0.5 * np.cos(2 * place - rng.uniform(0, 2 * np.pi))
    return np.asarray(np.clip(1.0 + rng.uniform(0.2, 1.0) * spread * wave, 0.3, 2.0))


def _mean_thickening(radius: float, wall: float, fac: float, area_growth: float) -> float:
    """Mean thickening with which a round wall's area grows by the given factor while the cavity contracts."""
    radius_es = radius * np.sqrt(1.0 - fac)
    area = (radius + wall) ** 2 - radius**2
    return float((np.sqrt(radius_es**2 + area_growth * area) - radius_es) / wall - 1.0)


def _sectors(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Sectors:
    a, b, c, d, e, f = (float(v) for v in values)
    return a, b, c, d, e, f
