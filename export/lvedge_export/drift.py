"""Drift: how far a graph strays from the network when it carries its own state for a thousand steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvedge.contract import Floats, State, Stepper
from lvedge.indices import FloatArray
from lvedge_export.clip import Clip

STEPS = 1000

ROUNDING = 1e-5
"""Differences that small are float32's own."""

KINDS = ("thickness_mm", "area_mm2", "phase", "state")


@dataclass(frozen=True)
class Drift:
    """What one candidate strayed by, step for step.

    Args:
        by_kind: kind to [steps] largest difference of that step: thicknesses in mm, areas in mm², the phase's
            probability, and the states in their own unit.
    """

    by_kind: Mapping[str, FloatArray]

    @property
    def largest(self) -> dict[str, float]:
        """The largest difference of each kind on the whole way."""
        return {kind: float(values.max()) for kind, values in self.by_kind.items()}

    def as_json(self) -> dict[str, Any]:
        """The largest differences of the first and of the last hundred steps, and of all."""
        return {
            kind: {
                "largest": float(f"{values.max():.3g}"),
                "first_100": float(f"{values[:100].max():.3g}"),
                "last_100": float(f"{values[-100:].max():.3g}"),
            }
            for kind, values in self.by_kind.items()
        }

    @property
    def is_bounded(self) -> bool:
        """Whether the second half of the way strays less than twice as far as the first."""
        half = len(self.by_kind["state"]) // 2
        return all(
            bool(np.isfinite(v).all() and v[half:].max() <= 2 * v[:half].max() + ROUNDING)
            for v in self.by_kind.values()
        )


def drift_of(
    reference: Stepper, candidates: Mapping[str, Stepper], clip: Clip, steps: int = STEPS
) -> dict[str, Drift]:
    """Walk a clip over and over, each with the state that it carries itself.

    Args:
        reference: what is right. Features do not depend on the state: each frame is seen once, then replayed.
        candidates: name to what is compared with it, always through the step graph.
        clip: a beat.
        steps: how many.
    """
    shapes = reference.shapes
    start = State.zeros(shapes)
    features = [reference.step(view[None], start).features for view in clip.views]
    rows: dict[str, list[list[float]]] = {name: [] for name in candidates}
    right, states = start, dict.fromkeys(candidates, start)
    for k in range(steps):
        expected = reference.replay(features[k % len(features)], right)
        right = expected.state
        for name, candidate in candidates.items():
            found = candidate.step(clip.views[k % len(features)][None], states[name])
            states[name] = found.state
            off, size = found.indices - expected.indices, shapes.view_mm_per_px
            after = expected.state.as_inputs()
            rows[name].append(
                [
                    _largest(off[:, shapes.layout.rwt]) * size,
                    _largest(off[:, shapes.layout.areas]) * size**2,
                    _largest(found.phase - expected.phase),
                    max(_largest(array - after[key]) for key, array in found.state.as_inputs().items()),
                ]
            )
    return {name: Drift(dict(zip(KINDS, np.array(found).T, strict=True))) for name, found in rows.items()}


def plot_drift(drifts: Mapping[str, Drift], path: Path) -> None:
    """A picture of the drift, a panel for each kind.

    Args:
        drifts: name to drift.
        path: the PNG to write.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    titles = {
        "thickness_mm": "wall thickness, mm",
        "area_mm2": "area, mm²",
        "phase": "phase",
        "state": "state",
    }
    fig, panels = plt.subplots(1, len(KINDS), figsize=(14, 3.6), layout="constrained")
    for axes, kind in zip(panels, KINDS, strict=True):
        for name, drift in drifts.items():
            axes.plot(np.maximum(drift.by_kind[kind], 1e-12), label=name, linewidth=0.8)
        axes.set(title=f"largest difference: {titles[kind]}", xlabel="step", yscale="log")
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize="x-small")
    fig.savefig(path, dpi=110)
    plt.close(fig)


def _largest(difference: Floats) -> float:
    """The largest absolute difference; one that is no number counts as infinite."""
    largest = float(np.abs(difference).max())
    return largest if np.isfinite(largest) else np.inf
