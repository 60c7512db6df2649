"""A run as one picture: how its timings are distributed, and how they went along.

Drawn with OpenCV, which the base install has, in the colours of the sinks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from lvedge.errors import SinkError
from lvedge_runtime.bench.interval import Series
from lvedge_runtime.sinks.canvas import (
    ENDO,
    EPI,
    PANEL,
    QUIET,
    RULE,
    RV,
    SEPTUM,
    Colour,
    Image,
    blank,
    box,
    curve,
    dot,
    width_of,
    write,
)

WIDTH, PANEL_HEIGHT, MARGIN, LEFT = 1200, 300, 24, 76
BINS = 80
COLOURS: tuple[Colour, ...] = (ENDO, EPI, RV, SEPTUM, QUIET)
MOST_SERIES = len(COLOURS)


def write_plot(path: Path, series: Mapping[str, Series]) -> None:
    """Write the picture.

    Args:
        path: a PNG file.
        series: name to milliseconds, each sample a frame; the first five are drawn.

    Raises:
        SinkError: if it cannot be written.
    """
    done, data = cv2.imencode(".png", plot(series))
    if not done:
        raise AssertionError("OpenCV writes any picture as PNG")
    try:
        path.write_bytes(data.tobytes())
    except OSError as err:
        raise SinkError(
            f"{path}: cannot be written ({err.strerror}): name another folder with --out"
        ) from err


def plot(series: Mapping[str, Series]) -> Image:
    """The picture: the distributions above, the frames in their order below; [height, width, 3].

    Args:
        series: name to milliseconds, at least one; the first five are drawn.
    """
    drawn = dict(list(series.items())[:MOST_SERIES])
    image = blank(WIDTH, 2 * PANEL_HEIGHT + 6 * MARGIN)
    low, high = _span(drawn)
    upper, lower = 2 * MARGIN + 12, PANEL_HEIGHT + 4 * MARGIN + 12
    _panel(image, upper, "how often which milliseconds, each to its own height (logarithmic)")
    _panel(image, lower, "milliseconds of each frame, in order (logarithmic)")
    for tick in _ticks(low, high):
        x, y = _x(np.array([tick]), low, high)[0], _y(np.array([tick]), low, high, lower)[0]
        _rule(image, (x, upper), (x, upper + PANEL_HEIGHT), f"{tick:g}", (x, upper + PANEL_HEIGHT + 16), 0.5)
        _rule(image, (LEFT, y), (WIDTH - MARGIN, y), f"{tick:g}", (LEFT - 6, y + 4), 1.0)
    at = float(LEFT)
    for (name, ms), colour in zip(drawn.items(), COLOURS, strict=False):
        _distribution(image, ms, low, high, upper, colour)
        _course(image, ms, low, high, lower, colour)
        write(image, name, (at, MARGIN), colour)
        at += width_of(name, 0.45) + MARGIN
    return image


def _span(series: Mapping[str, Series]) -> tuple[float, float]:
    """The milliseconds that the axes reach over, a little more than there is."""
    everything = np.concatenate([ms[ms > 0] for ms in series.values()])
    return float(everything.min()) / 1.1, float(everything.max()) * 1.1


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between the ends; thinned where there are many."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside[:: -(-len(inside) // 12)] if inside else []


def _panel(image: Image, top: int, title: str) -> None:
    box(image, (LEFT, top), (WIDTH - MARGIN - LEFT, PANEL_HEIGHT), PANEL)
    write(image, title, (WIDTH - MARGIN, top - 6), QUIET, 0.4, align=1.0)


def _rule(
    image: Image,
    start: tuple[float, float],
    end: tuple[float, float],
    words: str,
    at: tuple[float, float],
    align: float,
) -> None:
    curve(image, np.array([start, end], dtype=np.float64), RULE)
    write(image, words, at, QUIET, 0.4, align=align)


def _distribution(image: Image, ms: Series, low: float, high: float, top: int, colour: Colour) -> None:
    """Steps over bins of equal width in the logarithm."""
    edges = np.geomspace(low, high, BINS + 1)
    counts, _ = np.histogram(ms, edges)
    height = (PANEL_HEIGHT - 30) * counts / max(int(counts.max()), 1)
    xs = np.repeat(_x(edges, low, high), 2)[1:-1]
    curve(image, np.column_stack((xs, np.repeat(top + PANEL_HEIGHT - height, 2))), colour)


def _course(image: Image, ms: Series, low: float, high: float, top: int, colour: Colour) -> None:
    """A dot a frame."""
    xs = LEFT + 4 + np.arange(ms.size) * (WIDTH - MARGIN - LEFT - 8) / max(ms.size - 1, 1)
    ys = _y(np.maximum(ms, low), low, high, top)
    for point in zip(xs, ys, strict=True):
        dot(image, point, 1.6, colour)


def _x(ms: Series, low: float, high: float) -> Series:
    return np.asarray(LEFT + (WIDTH - MARGIN - LEFT) * np.log(ms / low) / np.log(high / low))


def _y(ms: Series, low: float, high: float, top: int) -> Series:
    return np.asarray(top + PANEL_HEIGHT * (1.0 - np.log(ms / low) / np.log(high / low)))
