"""Agreement as pictures: what was returned against what was drawn, and their difference (Bland-Altman)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvedge.indices import AREA_NAMES, DEFAULT_LAYOUT, FloatArray
from lvedge.training.evaluation.figure import limits_of_agreement
from lvedge.training.evaluation.still import ScoredSlice

VALUES = (
    ("rwt", "regional wall thickness", "mm", DEFAULT_LAYOUT.rwt, DEFAULT_LAYOUT.sector_names),
    ("dims", "cavity diameter", "mm", DEFAULT_LAYOUT.dims, DEFAULT_LAYOUT.diameter_names),
    ("areas", "area", "mm²", DEFAULT_LAYOUT.areas, AREA_NAMES),
)
"""File, words, unit, place among the values, and a name for each of them."""


def plot_agreement(scored: Sequence[ScoredSlice], folder: Path) -> list[Path]:
    """One PNG a kind of value: scatter on the left, Bland-Altman (Lancet 327:307-310, 1986) on the right.

    Args:
        scored: mid slices, regressed values as scored.
        folder: where ``rwt.png``, ``dims.png`` and ``areas.png`` go; made if it is not there.

    Returns:
        The pictures written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    truth = np.array([s.truth for s in scored]).reshape(-1, DEFAULT_LAYOUT.size)
    said = np.array([s.regressed for s in scored]).reshape(-1, DEFAULT_LAYOUT.size)
    written = []
    for file, words, unit, where, names in VALUES:
        fig, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
        _scatter(left, truth[:, where], said[:, where], names)
        left.set(xlabel=f"{words} drawn ({unit})", ylabel=f"{words} returned ({unit})")
        _bland_altman(right, truth[:, where], said[:, where], unit)
        right.set(xlabel=f"mean of drawn and returned ({unit})", ylabel=f"returned − drawn ({unit})")
        fig.suptitle(f"{words}, {len(scored)} mid slices of {len({s.subject for s in scored})} subjects")
        path = folder / f"{file}.png"
        fig.savefig(path, dpi=110)
        plt.close(fig)
        written.append(path)
    return written


def plot_risk_coverage(figures: Mapping[str, Mapping[str, Any]], folder: Path) -> Path:
    """Share of gross errors among the frames that quality holds best, beside judging by lot and by the truth.

    Args:
        figures: clip to its figures of quality.
        folder: where ``quality.png`` goes; made if it is not there.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    known = {clip: found for clip, found in figures.items() if found["frames"]}
    fig, panels = plt.subplots(
        1, max(len(known), 1), figsize=(5.5 * max(len(known), 1), 4.5), layout="constrained", squeeze=False
    )
    for axes, (clip, found) in zip(panels[0], known.items(), strict=False):
        curve = found["risk_coverage"]
        for name, style in (("quality", "-"), ("random", ":"), ("oracle", "--")):
            axes.plot(curve["coverage"], curve[name], style, label=name)
        axes.set(
            title=f"{clip}: {found['gross']} gross errors in {found['frames']} frames",
            xlabel="share of frames kept, best quality first",
            ylabel="share of gross errors among them",
            ylim=(0, None),
        )
        axes.grid(alpha=0.3)
        axes.legend()
    path = folder / "quality.png"
    fig.savefig(path, dpi=110)
    plt.close(fig)
    return path


def _scatter(axes: Any, truth: FloatArray, said: FloatArray, names: Sequence[str]) -> None:
    for k, name in enumerate(names):
        axes.plot(truth[:, k], said[:, k], ".", markersize=3, alpha=0.4, label=name)
    if truth.size:
        ends = [min(truth.min(), said.min()), max(truth.max(), said.max())]
        axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", markerscale=3)


def _bland_altman(axes: Any, truth: FloatArray, said: FloatArray, unit: str) -> None:
    error = said - truth
    for k in range(truth.shape[1]):
        axes.plot((said[:, k] + truth[:, k]) / 2, error[:, k], ".", markersize=3, alpha=0.4)
    if error.size:
        bias, (low, high) = float(error.mean()), limits_of_agreement(error)
        for level, style, name in (
            (bias, "-", "bias"),
            (high, "--", "upper limit"),
            (low, "--", "lower limit"),
        ):
            axes.axhline(
                level, color="black", linewidth=0.8, linestyle=style, label=f"{name} {level:.2f} {unit}"
            )
        axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
