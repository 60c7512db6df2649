"""The named values that a case table may look at, derived from what was measured.

Frame values are the L indices by their own names, a few summaries of them, and the thickest point of the
wall. Cycle values are the frame values at end diastole (``ed_``) and end systole (``es_``), and what changes
between the two. Rules and reference cases use these names and no others.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lvedge.indices import DEFAULT_LAYOUT, IndexLayout, Indices

_FRAME_SUMMARIES = (
    "wall_max_mm",
    "rwt_mean_mm",
    "rwt_max_mm",
    "rwt_min_mm",
    "dim_mean_mm",
    "area_epicardium_mm2",
    "relative_wall_thickness",
)
_CYCLE_SUMMARIES = (
    "fac",
    "thickening_mean",
    "thickening_min",
    "thickening_spread",
    "absolute_thickening_mean_mm",
)


@lru_cache(maxsize=8)
def frame_names(layout: IndexLayout = DEFAULT_LAYOUT) -> tuple[str, ...]:
    """The names that a frame rule may constrain."""
    return (*layout.names, *_FRAME_SUMMARIES)


@lru_cache(maxsize=8)
def cycle_names(layout: IndexLayout = DEFAULT_LAYOUT) -> tuple[str, ...]:
    """The names that a cycle rule or a reference case may use."""
    return (
        *(f"ed_{name}" for name in frame_names(layout)),
        *(f"es_{name}" for name in frame_names(layout)),
        *_CYCLE_SUMMARIES,
        *(f"thickening_{sector}" for sector in layout.sector_names),
    )


def frame_features(indices: Indices, wall_max_mm: float | None = None) -> dict[str, float]:
    """All values of a frame by name, in the order of ``frame_names``; NaN where a value is not known.

    ``rwt_max_mm`` is the largest sector mean; ``relative_wall_thickness`` is 2 × mean wall / mean diameter.

    Args:
        indices: the frame's L values.
        wall_max_mm: the thickest point of the wall (95th percentile over the rays), mm, where known.
    """
    # So few numbers are summed faster as Python's own.
    layout, measured = indices.layout, indices.vector.tolist()
    rwt, dims = measured[layout.rwt], measured[layout.dims]
    cavity, myocardium = measured[layout.areas]
    rwt_mean, dim_mean = sum(rwt) / len(rwt), sum(dims) / len(dims)
    values = (
        *measured,
        float("nan") if wall_max_mm is None else float(wall_max_mm),
        rwt_mean,
        float(indices.rwt_mm.max()),
        float(indices.rwt_mm.min()),
        dim_mean,
        cavity + myocardium,
        2.0 * rwt_mean / dim_mean if dim_mean > 0 else float("nan"),
    )
    return dict(zip(frame_names(layout), values, strict=True))


def cycle_features(
    ed: Indices,
    es: Indices,
    ed_wall_max_mm: float | None = None,
    es_wall_max_mm: float | None = None,
) -> dict[str, float]:
    """All values of a beat by name, in the order of ``cycle_names``; NaN where a value is not known.

    ``fac`` is (ED − ES) / ED of the cavity area of this one slice; a sector's ``thickening`` is
    that of its wall, (ES − ED) / ED; ``thickening_spread`` is their population standard deviation.

    Args:
        ed: values at end diastole.
        es: values at end systole, of the same layout.
        ed_wall_max_mm: the thickest point of the wall at end diastole, mm, where known.
        es_wall_max_mm: the same at end systole.

    Raises:
        ValueError: if the two layouts differ.
    """
    if ed.layout != es.layout:
        raise ValueError(f"end diastole has the layout {ed.layout}, end systole {es.layout}")
    at_ed, at_es = frame_features(ed, ed_wall_max_mm), frame_features(es, es_wall_max_mm)
    ed_cavity, es_cavity = at_ed["area_cavity_mm2"], at_es["area_cavity_mm2"]
    gain_mm = es.rwt_mm - ed.rwt_mm
    thickening = np.full(ed.layout.sectors, np.nan)
    np.divide(gain_mm, ed.rwt_mm, out=thickening, where=ed.rwt_mm > 0)
    values = (
        *at_ed.values(),
        *at_es.values(),
        (ed_cavity - es_cavity) / ed_cavity if ed_cavity > 0 else float("nan"),
        float(thickening.mean()),
        float(thickening.min()),
        float(thickening.std()),
        float(gain_mm.mean()),
        *thickening.tolist(),
    )
    return dict(zip(cycle_names(ed.layout), values, strict=True))
