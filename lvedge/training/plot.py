"""Curves of the training logs as PNG."""

from __future__ import annotations

import json
from pathlib import Path

from lvedge.errors import DataError

NO_FIGURES = {"step", "seconds", "core_seconds", "rate"}


def plot_logs(folder: Path) -> list[Path]:
    """One PNG a stage beside its log: losses on the left, watched figures on the right.

    Args:
        folder: of a training run.

    Returns:
        The pictures written.

    Raises:
        DataError: if the folder holds no log, or one that is damaged.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    logs = sorted(folder.glob("*.jsonl"))
    if not logs:
        raise DataError(f"no training log in {folder}")
    written = []
    for log in logs:
        lines = _lines(log)
        steps = [line["step"] for line in lines]
        losses = [key for key in lines[-1] if key.startswith("loss_")]
        figures = [key for key in lines[-1] if key not in losses and key not in NO_FIGURES]
        fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
        for key in losses:
            left.plot(steps, [line.get(key) for line in lines], label=key.removeprefix("loss_"))
        for key in figures:
            right.plot(steps, [line.get(key) for line in lines], label=key)
        for axes, title in ((left, "training loss"), (right, "watched subjects")):
            axes.set(title=title, xlabel="step", yscale="log")
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend(fontsize="x-small")
        path = log.with_suffix(".png")
        fig.savefig(path, dpi=110)
        plt.close(fig)
        written.append(path)
    return written


def _lines(log: Path) -> list[dict[str, float]]:
    try:
        lines: list[dict[str, float]] = [json.loads(s) for s in log.read_text(encoding="utf-8").splitlines()]
        steps = [line["step"] for line in lines]
    except (ValueError, KeyError, TypeError) as err:
        raise DataError(f"{log} is no training log: {type(err).__name__}: {err}") from err
    if not steps:
        raise DataError(f"{log} is empty: train a while longer first")
    return lines
