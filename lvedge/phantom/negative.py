"""Pictures that show no short-axis left ventricle: what a measurement has to refuse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lvedge.frame import Frame, Pixels
from lvedge.phantom.body import body_grid, coil_gain, paint_trunk
from lvedge.phantom.look import Look
from lvedge.phantom.paint import Canvas, cloud, cover, ellipse
from lvedge.phantom.placement import Placement

NEGATIVE_KINDS = ("blank", "noise", "abdomen", "kidney", "beyond_apex", "beyond_base")


def negative_frames(
    kind: str, seed: int = 0, frames: int = 5, placement: Placement | None = None
) -> tuple[Frame, ...]:
    """A short cine without a left ventricle.

    Args:
        kind: one of NEGATIVE_KINDS: an even picture, noise alone, a slice through liver and bowel, a slice
            through a kidney (a ring with a bright middle), a slice below the apex, one above the valves
            (atria and aorta, bright without a wall).
        seed: decides shapes, textures and noise.
        frames: number of frames.
        placement: grid, rotation and mirroring; drawn around the place where a heart would be.

    Raises:
        ValueError: if there is no such kind.
    """
    if kind not in NEGATIVE_KINDS:
        raise ValueError(f"no negative {kind!r}; there are {', '.join(NEGATIVE_KINDS)}")
    grid = placement or Placement()
    rng = np.random.default_rng((seed, NEGATIVE_KINDS.index(kind)))
    look = Look()
    signal = _SIGNALS[kind](look, grid, rng)
    return tuple(
        Frame(
            pixels=signal if kind == "blank" else _noisy(signal, look, rng),
            spacing_mm=grid.spacing_mm,
            series=f"negative-{kind}",
            frame_index=i,
            time_ms=i * 40.0,
            orientation=grid.orientation,
            position_mm=grid.position_mm(),
            cine_length=frames,
            slice_count=1,
            origin=f"negative-{kind}/frame{i}",
        )
        for i in range(frames)
    )


def _noisy(signal: Pixels, look: Look, rng: np.random.Generator) -> Pixels:
    noise = rng.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(look.noise)
    return np.asarray(np.hypot(signal + noise[0], noise[1]) * look.grey_level, dtype=np.float32)


def _nothing(_look: Look, grid: Placement, _rng: np.random.Generator) -> Pixels:
    return np.zeros(grid.shape, dtype=np.float32)


def _trunk(
    look: Look, grid: Placement, rng: np.random.Generator, heart: bool
) -> tuple[Canvas, Pixels, Pixels, Pixels, float]:
    x, y = body_grid(grid)
    pixel = max(grid.spacing_mm)
    # Without a heart the slice lies lower in the trunk.
    canvas = paint_trunk(look, x, y if heart else y + np.float32(75.0), pixel, rng, heart=heart)
    return canvas, x, y, coil_gain(look, x, y, rng), max(look.edge_mm, pixel)


def _abdomen(look: Look, grid: Placement, rng: np.random.Generator) -> Pixels:
    canvas, _, _, gain, _ = _trunk(look, grid, rng, heart=False)
    return canvas.signal * gain


def _kidney(look: Look, grid: Placement, rng: np.random.Generator) -> Pixels:
    canvas, x, y, gain, edge = _trunk(look, grid, rng, heart=False)
    mottle = 1.0 + look.texture * cloud(rng, grid.shape, 4.0 / max(grid.spacing_mm))
    turn = rng.uniform(-35, 35)
    canvas.paint(cover(ellipse(x, y, (0, 0), (44, 58), turn), edge), fat=0.7 * look.fat * mottle)
    canvas.paint(cover(ellipse(x, y, (0, 0), (26, 47), turn), edge), water=1.2 * look.liver * mottle)
    canvas.paint(cover(ellipse(x, y, (6, 0), (8, 22), turn), 2 * edge), fat=0.7 * look.fat * mottle)
    return canvas.signal * gain


def _beyond_apex(look: Look, grid: Placement, rng: np.random.Generator) -> Pixels:
    canvas, x, y, gain, edge = _trunk(look, grid, rng, heart=True)
    mottle = 1.0 + look.texture * cloud(rng, grid.shape, 6.0 / max(grid.spacing_mm))
    canvas.paint(cover(ellipse(x, y, (0, 6), (26, 17), 20), edge), fat=0.8 * look.fat * mottle)
    canvas.paint(cover(ellipse(x, y, (3, 4), (13, 9), 20), 2 * edge), water=look.myocardium * mottle)
    return canvas.signal * gain


def _beyond_base(look: Look, grid: Placement, rng: np.random.Generator) -> Pixels:
    canvas, x, y, gain, edge = _trunk(look, grid, rng, heart=True)
    mottle = 1.0 + look.texture * cloud(rng, grid.shape, 6.0 / max(grid.spacing_mm))
    canvas.paint(cover(ellipse(x, y, (0, 0), (50, 42), -10), edge), fat=0.6 * look.fat * mottle)
    rooms = (
        ((14.0, 14.0), (29.0, 18.0), 0.95),  # left atrium
        ((-6.0, -14.0), (14.0, 13.0), 1.05),  # aorta
        ((-32.0, 8.0), (16.0, 24.0), 0.85),  # right atrium
        ((2.0, -37.0), (18.0, 10.0), 0.9),  # outflow of the RV
    )
    for centre, radii, shade in rooms:
        shape = ellipse(x, y, centre, radii, rng.uniform(-20, 20))
        canvas.paint(cover(shape + 1.2, edge), water=look.muscle)
        canvas.paint(cover(shape, edge), water=shade * mottle)
    return canvas.signal * gain


_SIGNALS: dict[str, Callable[[Look, Placement, np.random.Generator], Pixels]] = {
    "blank": _nothing,
    "noise": _nothing,
    "abdomen": _abdomen,
    "kidney": _kidney,
    "beyond_apex": _beyond_apex,
    "beyond_base": _beyond_base,
}
