"""The trunk around the heart: fat under the skin, chest wall, lung, diaphragm, liver, spleen, stomach."""

from __future__ import annotations

import numpy as np

from lvedge.frame import Pixels
from lvedge.phantom.look import Look
from lvedge.phantom.paint import Canvas, cloud, cover, ellipse
from lvedge.phantom.placement import Placement

TRUNK_CENTRE_MM = (32.0, 40.0)
TRUNK_RADII_MM = (118.0, 175.0)


def body_grid(placement: Placement) -> tuple[Pixels, Pixels]:
    """Body coordinates (right, down) of each pixel, mm, two float32 arrays [rows, columns]."""
    x_px, y_px = (
        np.arange(placement.columns, dtype=float)[None],
        np.arange(placement.rows, dtype=float)[:, None],
    )
    x, y = placement.body_points(x_px, y_px)
    return x.astype(np.float32), y.astype(np.float32)


def paint_trunk(
    look: Look, x: Pixels, y: Pixels, mm_per_px: float, rng: np.random.Generator, *, heart: bool = True
) -> Canvas:
    """The trunk without the LV and the RV.

    Args:
        look: signals and sizes.
        x: [rows, columns] mm to the right of the LV centre.
        y: [rows, columns] mm below it.
        mm_per_px: size of a pixel, for textures.
        rng: decides shapes and textures.
        heart: paint the fat beside a heart.
    """
    canvas = Canvas.empty((x.shape[0], x.shape[1]))
    x = x + np.float32(4.0) * cloud(rng, canvas.water.shape, 75.0 / mm_per_px)
    y = y + np.float32(4.0) * cloud(rng, canvas.water.shape, 75.0 / mm_per_px)
    tissue = 1.0 + look.texture * cloud(rng, canvas.water.shape, 14.0 / mm_per_px)
    tissue += 0.6 * look.texture * cloud(rng, canvas.water.shape, 4.0 / mm_per_px)
    edge = max(look.edge_mm, mm_per_px)
    depth, angle = _depth_under_skin(look, x, y, rng)
    layer = look.chest_fat_mm * (1.0 + 0.35 * np.cos(angle - rng.uniform(0, 2 * np.pi)))
    layer += 0.12 * look.chest_fat_mm * np.cos(3 * angle + rng.uniform(0, 2 * np.pi))
    layer = layer.astype(np.float32)
    canvas.paint(cover(depth, edge), fat=look.fat * tissue)
    pitch = angle + rng.uniform(0.05, 0.15) * np.cos(2 * angle + rng.uniform(0, 6))
    ribs = np.clip(1.5 * np.cos(rng.integers(15, 21) * pitch + rng.uniform(0, 6)) - 0.4, 0, 1).astype(
        np.float32
    )
    middle = np.abs(depth - layer - (0.35 + 0.2 * np.cos(angle)) * look.chest_wall_mm)
    marrow = cover(0.42 * look.chest_wall_mm * np.sqrt(ribs) - middle - 1.0, edge) * rng.uniform(0.3, 0.9)
    wall = cover(depth - layer, edge)
    canvas.paint(wall, water=look.muscle * tissue * (1.0 - 0.8 * marrow), fat=0.55 * look.fat * marrow)
    lining = cover(depth - layer - look.chest_wall_mm, edge)
    canvas.paint(lining, fat=0.5 * look.fat * tissue)
    chest = cover(depth - layer - look.chest_wall_mm - rng.uniform(1.0, 4.0), edge)
    canvas.paint(chest, water=_lung(look, canvas.water.shape, mm_per_px, rng))
    x = x + np.float32(2.0) * cloud(rng, canvas.water.shape, 22.0 / mm_per_px)
    y = y + np.float32(2.0) * cloud(rng, canvas.water.shape, 22.0 / mm_per_px)
    below = y - np.float32(look.diaphragm_mm)
    below -= np.float32(rng.uniform(-0.22, 0.18)) * x - 0.0016 * np.square(
        x - np.float32(rng.uniform(-50, -10))
    )
    below += 2.0 * np.sin(x / np.float32(rng.uniform(18, 30)))
    if heart:
        _paint_mediastinum(canvas, look, rng, x=x, y=y, chest=chest, tissue=tissue, edge=edge)
    inside = chest * cover(below, edge)
    _paint_abdomen(canvas, look, rng, x=x, y=y, inside=inside, tissue=tissue, mm_per_px=mm_per_px)
    return canvas


def coil_gain(look: Look, x: Pixels, y: Pixels, rng: np.random.Generator) -> Pixels:
    """Sensitivity of the coil with the dark bands of off-resonance, [rows, columns], about 1 at the heart."""
    front = rng.uniform(190.0, 240.0)
    towards = (np.cos(np.deg2rad(front)) * x + np.sin(np.deg2rad(front)) * y) / np.float32(90.0)
    side = (np.sin(np.deg2rad(front)) * x - np.cos(np.deg2rad(front)) * y) / np.float32(110.0)
    gain = np.exp(look.bias * np.tanh(towards) + rng.uniform(-0.3, 0.3) * look.bias * np.tanh(side))
    # Resonance drifts away from the shimmed heart, fastest where lung and bowel meet tissue.
    cx, cy = rng.uniform(-15, 15, size=2)
    far = np.sqrt(np.square(x - cx) + np.square((y - cy) * rng.uniform(0.7, 1.1))) / rng.uniform(105, 135)
    drift = 1.15 * np.pi * np.power(far, 3.2)
    band = np.exp(-np.square((np.mod(drift, 2 * np.pi) - np.pi) / 0.55))
    return np.asarray(gain * (1.0 - look.banding * band), dtype=np.float32)


def _depth_under_skin(look: Look, x: Pixels, y: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    turn = np.deg2rad(rng.uniform(-16, 16))
    cx, cy = np.array(TRUNK_CENTRE_MM) * look.body_scale + rng.uniform(-8, 8, size=2)
    dx, dy = x - np.float32(cx), y - np.float32(cy)
    u = np.cos(turn) * dx + np.sin(turn) * dy
    v = np.cos(turn) * dy - np.sin(turn) * dx
    angle = np.arctan2(v, u).astype(np.float32)
    power = rng.uniform(2.1, 3.0)
    extra = look.chest_fat_mm - 14.0
    a, b = (radius * look.body_scale + 0.6 * extra for radius in TRUNK_RADII_MM)
    norm = np.power(np.power(np.abs(u / a), power) + np.power(np.abs(v / b), power), 1.0 / power)
    radius = np.sqrt(u * u + v * v)
    outline = radius / np.maximum(norm, 1e-6)
    for k in (2, 3, 5):
        outline *= 1.0 + rng.normal(0, 0.05 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(outline - radius, dtype=np.float32), angle


def _lung(look: Look, shape: tuple[int, int], mm_per_px: float, rng: np.random.Generator) -> Pixels:
    vessels = np.clip(cloud(rng, shape, 4.5 / mm_per_px) - 2.2, 0.0, 1.0) * rng.uniform(0.2, 0.9)
    haze = 1.0 + 0.5 * cloud(rng, shape, 22.0 / mm_per_px)
    return np.asarray(np.clip(look.lung * haze, 0.0, None) + vessels, dtype=np.float32)


def _paint_mediastinum(
    canvas: Canvas,
    look: Look,
    rng: np.random.Generator,
    *,
    x: Pixels,
    y: Pixels,
    chest: Pixels,
    tissue: Pixels,
    edge: float,
) -> None:
    centre = (rng.uniform(-54, -44), rng.uniform(0, 16))
    pad = ellipse(x, y, centre, (rng.uniform(24, 36), rng.uniform(26, 46)), rng.uniform(-25, 25))
    streaks = cloud(rng, canvas.water.shape, 3.0 * edge / look.edge_mm)
    amount = np.clip(rng.uniform(0.40, 0.70) + 0.07 * streaks, 0.05, 0.95).astype(np.float32)
    canvas.paint(
        chest * cover(pad, 2 * edge), water=look.muscle * (1 - amount), fat=look.fat * amount * tissue
    )


def _paint_abdomen(
    canvas: Canvas,
    look: Look,
    rng: np.random.Generator,
    *,
    x: Pixels,
    y: Pixels,
    inside: Pixels,
    tissue: Pixels,
    mm_per_px: float,
) -> None:
    edge = max(look.edge_mm, mm_per_px)
    shape = canvas.water.shape
    canvas.paint(inside, fat=look.fat * rng.uniform(0.45, 0.9) * tissue)
    for _ in range(int(rng.integers(14, 26))):
        where = (rng.uniform(-50, 115), rng.uniform(look.diaphragm_mm + 10, 190))
        loop = ellipse(x, y, where, (rng.uniform(4, 13), rng.uniform(4, 13)), rng.uniform(0, 180))
        shade = look.liver * rng.choice([0.4, 0.8, 1.0, 1.0, 1.3, 2.4])
        canvas.paint(inside * cover(loop, edge), water=shade * tissue)
    organs = (
        ((rng.uniform(80, 100), rng.uniform(60, 90)), (rng.uniform(13, 20), rng.uniform(28, 42)), 0.9),
        ((rng.uniform(45, 70), rng.uniform(105, 125)), (rng.uniform(19, 25), rng.uniform(28, 36)), 1.1),
        ((rng.uniform(15, 40), rng.uniform(64, 80)), (rng.uniform(14, 24), rng.uniform(14, 20)), 1.0),
        ((rng.uniform(-60, -35), rng.uniform(78, 96)), (rng.uniform(52, 78), rng.uniform(36, 52)), 1.0),
    )
    for place, radii, shade in organs:
        organ = ellipse(x, y, place, radii, rng.uniform(-25, 25))
        canvas.paint(inside * cover(organ, edge), water=look.liver * shade * tissue)
        core = ellipse(x, y, place, (radii[0] * 0.35, radii[1] * 0.4), rng.uniform(-25, 25))
        if radii[0] < 45:
            mottle = np.clip(0.6 + 0.5 * cloud(rng, shape, 4.0 / mm_per_px), 0, 2)
            canvas.paint(inside * cover(core, 2 * edge), water=look.liver * 1.8 * mottle)
    vessels = np.clip(cloud(rng, shape, 6.0 / mm_per_px) - 2.0, 0, 1) * 0.8
    liver = ellipse(x, y, organs[-1][0], organs[-1][1])
    canvas.paint(inside * cover(liver - 5.0, edge) * vessels.astype(np.float32), water=0.75)
