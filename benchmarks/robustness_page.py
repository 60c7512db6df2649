"""How the figures of ``robustness.py`` are shown: curves as PNG, a table as Markdown, both on a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lvedge.training.evaluation.figure import GROUPS

CLEAN = "as it is"
SILENT = "silently so"


def page_part(figures: dict[str, Any], out: Path, plots: Path | None, page: Path) -> str:
    """What the page shows: who was measured, the curves where they were drawn, the table."""
    clean = figures["clean"]
    fitted = "as it was fitted for the run" if figures["quality"]["fitted"] else "**not fitted for the run**"
    parts = [
        f"Fold {figures['fold']}: {clean['subjects']} subjects, {clean['pictures']} mid slices at ED and ES; "
        f"quality model {fitted}. Dotted: {CLEAN}.",
    ]
    if plots is not None:
        parts += [
            f"![{words}]({Path(os.path.relpath(plots / name, page.parent)).as_posix()})"
            for name, words in (
                ("error.png", "Errors against severity"),
                ("flags.png", "Refused, flagged, grossly wrong and silent against severity"),
            )
        ]
    return "\n\n".join([*parts, f"<!-- figures: {out.as_posix()} -->\n{table(figures)}"])


def table(figures: dict[str, Any]) -> str:
    """The curves as a Markdown table."""
    lines = [
        "| effect: severity | RWT mm | diameters mm | areas mm² | coverage % | flagged % | gross % "
        "| silent % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: list[tuple[str, dict[str, Any]]] = [(CLEAN, figures["clean"])]
    for effect, curve in figures["curves"].items():
        if "clean" in curve:
            groups.append((f"{effect}: {CLEAN}", curve["clean"]))
        groups += [(f"{effect}: {point['severity']:g} {curve['unit']}", point) for point in curve["points"]]
    for words, point in groups:
        errors = [f"{point[name]['mean']:.2f}" for name, _ in GROUPS]
        shares = [point["coverage"], point["flagged"], point["gross"], point["silent"]["mean"]]
        lines.append("| " + " | ".join([words, *errors, *(f"{100 * s:.1f}" for s in shares)]) + " |")
    return "\n".join(lines)


def plot(figures: dict[str, Any], folder: Path) -> None:
    """Two pictures: errors against severity, and what was refused, flagged and silently wrong."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    errors = (
        ("RWT, mm", "rwt_mm", 1.0),
        ("diameters, mm", "dims_mm", 1.0),
        ("areas, cm²", "areas_mm2", 0.01),
    )
    shares: tuple[tuple[str, Callable[[dict[str, Any]], float]], ...] = (
        ("not returned", lambda p: 1.0 - p["coverage"]),
        ("flagged", lambda p: p["flagged"]),
        ("grossly wrong", lambda p: p["gross"]),
        (SILENT, lambda p: p["silent"]["mean"]),
    )
    lines: dict[str, list[tuple[str, Callable[[dict[str, Any]], float]]]] = {
        "error": [(label, lambda p, k=key, by=by: by * p[k]["mean"]) for label, key, by in errors],  # type: ignore[misc]
        "flags": [(label, lambda p, f=f: 100.0 * f(p)) for label, f in shares],  # type: ignore[misc]
    }
    folder.mkdir(parents=True, exist_ok=True)
    curves = figures["curves"]
    rows = -(-len(curves) // 3)
    for picture, kinds in lines.items():
        fig, axes = plt.subplots(
            rows, 3, figsize=(11, 2.9 * rows), layout="constrained", sharey=picture == "flags"
        )
        for ax, (name, curve) in zip(axes.flat, curves.items(), strict=False):
            severities = [point["severity"] for point in curve["points"]]
            for colour, (label, value) in enumerate(kinds):
                values = [value(point) for point in curve["points"]]
                style = "--" if label == SILENT else "-"
                ax.plot(severities, values, style, marker="o", markersize=3, color=f"C{colour}", label=label)
                ax.axhline(
                    value(curve.get("clean", figures["clean"])),
                    color=f"C{colour}",
                    linestyle=":",
                    linewidth=1,
                )
            ax.set(title=name, xlabel=curve["unit"])
            ax.grid(alpha=0.3)
        for ax in axes.flat[len(curves) :]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel("mean absolute error" if picture == "error" else "% of pictures")
        axes.flat[0].legend(fontsize="x-small")
        fig.savefig(folder / f"{picture}.png", dpi=75)
        plt.close(fig)


def write_page(page: Path, text: str) -> None:
    """Put the table between the page's two comments.

    Raises:
        SystemExit: if the page lacks them.
    """
    begin, end = "<!-- robustness -->\n", "<!-- end robustness -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        sys.exit(f"{page} has no place between {begin.strip()} and {end}")
    page.write_text(before + begin + text + "\n" + end + after, encoding="utf-8")
