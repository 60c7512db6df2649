"""The phantom: a beating heart in a trunk, as pictures, label maps and frames, with its exact values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from lvedge.frame import Frame, Orientation, Pixels, Subject
from lvedge.indices import DEFAULT_LAYOUT, FloatArray, IndexLayout, Indices, Phase
from lvedge.phantom.body import body_grid, coil_gain, paint_trunk
from lvedge.phantom.heart import Heart
from lvedge.phantom.look import Look
from lvedge.phantom.paint import Canvas, cloud, cover
from lvedge.phantom.placement import Placement
from lvedge.phantom.series import Series

TABLE = 1440
MARGIN_MM = 10.0


@dataclass(frozen=True)
class Phantom:
    """One slice of a phantom's cine. Equal phantoms give equal pixels, in whatever order frames are drawn.

    Args:
        heart: geometry and beat.
        placement: the picture's grid, rotation and mirroring.
        look: signals, noise, body habitus.
        seed: decides the trunk's shapes, textures and noise.
        series: name of the series.
        slice_index: position in the stack, from 0.
        slice_count: number of slices of the stack, or None.
        depth_mm: how far towards the apex this slice lies from the stack's middle.
        subject: what the frames say of the person.
        tagged: whether the frames carry orientation and position.
    """

    heart: Heart = field(default_factory=Heart)
    placement: Placement = field(default_factory=Placement)
    look: Look = field(default_factory=Look)
    seed: int = 0
    series: str = "phantom"
    slice_index: int = 0
    slice_count: int | None = None
    depth_mm: float = 0.0
    subject: Subject = field(default_factory=Subject)
    tagged: bool = True

    @property
    def septum_deg(self) -> float:
        """Direction of mid-septum in the picture, degrees clockwise from "towards increasing columns"."""
        return self.placement.direction_deg(self.heart.septum_deg)

    @cached_property
    def orientation(self) -> Orientation:
        """Directions of rows and columns that agree with rotation and mirroring."""
        return self.placement.orientation

    @cached_property
    def position_mm(self) -> tuple[float, float, float]:
        """Patient coordinates (LPS) of the centre of the first pixel."""
        return self.placement.position_mm(self.depth_mm)

    def centre_px(self, frame: int) -> tuple[float, float]:
        """The LV centre in a frame, (x, y) = (column, row), pixels."""
        return self.placement.picture_point(*self.heart.shift_mm(frame))

    def indices(self, frame: int, layout: IndexLayout = DEFAULT_LAYOUT) -> Indices:
        """The exact values of a frame."""
        return self.heart.indices(frame, layout)

    def truth(self, layout: IndexLayout = DEFAULT_LAYOUT) -> FloatArray:
        """The exact values of every frame, [frames, L]."""
        return np.stack([self.heart.indices(i, layout).vector for i in range(self.heart.frames)])

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Phase of each frame."""
        return self.heart.phases

    def labels(self, frame: int, placement: Placement | None = None) -> NDArray[np.uint8]:
        """Label map of a frame by exact tests at pixel centres, [rows, columns] uint8, at any placement."""
        grid = placement or self.placement
        x, y = grid.body_points(
            np.arange(grid.columns, dtype=float)[None], np.arange(grid.rows, dtype=float)[:, None]
        )
        return self.heart.labels_at(x, y, frame)

    def label_cine(self) -> NDArray[np.uint8]:
        """Label maps of all frames, [frames, rows, columns]."""
        return np.stack([self.labels(i) for i in range(self.heart.frames)])

    def pixels(self, frame: int) -> Pixels:
        """Grey values of a frame, [rows, columns] float32; the caller owns them."""
        rng = np.random.default_rng((self.seed, self.slice_index, frame, 1))
        trunk, still, gain = _scene(self.look, self.placement, self.seed)
        rows, columns = self._window
        heart = trunk.copy(rows, columns)
        self._paint_heart(heart, frame, rng)
        signal: Pixels = still.copy()
        signal[rows, columns] = heart.signal
        signal *= gain
        noise: Pixels = rng.standard_normal((2, *signal.shape), dtype=np.float32)
        noise *= np.float32(self.look.noise)
        signal += noise[0]
        noise[1] *= noise[1]
        signal *= signal
        signal += noise[1]
        np.sqrt(signal, out=signal)
        signal *= np.float32(self.look.grey_level)
        return signal

    def cine(self) -> Pixels:
        """Grey values of all frames, [frames, rows, columns] float32."""
        return np.stack([self.pixels(i) for i in range(self.heart.frames)])

    def frame(self, index: int) -> Frame:
        """A frame with its tags.

        Raises:
            IndexError: if the cine has no such frame.
        """
        if not 0 <= index < self.heart.frames:
            raise IndexError(f"the cine has {self.heart.frames} frames, there is no frame {index}")
        return Frame(
            pixels=self.pixels(index),
            spacing_mm=self.placement.spacing_mm,
            series=self.series,
            slice_index=self.slice_index,
            frame_index=index,
            time_ms=float(self.heart.times_ms[index]),
            orientation=self.orientation if self.tagged else None,
            position_mm=self.position_mm if self.tagged else None,
            cine_length=self.heart.frames,
            slice_count=self.slice_count,
            subject=self.subject,
            origin=f"{self.series}/slice{self.slice_index}/frame{index}",
        )

    def frames(self) -> Iterator[Frame]:
        """All frames in order, drawn one by one."""
        return (self.frame(i) for i in range(self.heart.frames))

    def with_heart(self, **changes: object) -> Phantom:
        """The same phantom with some of the heart's fields changed."""
        return replace(self, heart=replace(self.heart, **changes))  # type: ignore[arg-type]

    @property
    def _px_mm(self) -> float:
        return max(self.placement.spacing_mm)

    @cached_property
    def _texture(self) -> Pixels:
        """The muscle's uneven signal in the window, the same in every frame."""
        rng = np.random.default_rng((self.seed, self.slice_index, 3))
        rows, columns = self._window
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        uneven = 1.0 + 0.8 * self.look.texture * cloud(rng, shape, 7.0 / self._px_mm)
        return np.asarray(self.look.myocardium * uneven, dtype=np.float32)

    @cached_property
    def _window(self) -> tuple[slice, slice]:
        """Rows and columns that the heart can reach in any frame."""
        heart = self.heart
        reach = MARGIN_MM + self.look.epicardial_fat_mm + float(np.hypot(*heart.motion_mm))
        reach += max(
            float(heart.epi(i).at(np.linspace(0, 6.28, 90)).max()) for i in (heart.ed_frame, heart.es_frame)
        )
        if heart.rv_contact_deg > 0:
            reach += heart.rv_depth_mm * (1.0 + abs(heart.rv_skew))
        x0, y0 = self.placement.centre_px
        px, py = reach / self.placement.spacing_mm[1], reach / self.placement.spacing_mm[0]
        return _bounds(y0, py, self.placement.rows), _bounds(x0, px, self.placement.columns)

    @cached_property
    def _points(self) -> tuple[Pixels, Pixels]:
        rows, columns = self._window
        x, y = self.placement.body_points(
            np.arange(columns.start, columns.stop, dtype=float)[None],
            np.arange(rows.start, rows.stop, dtype=float)[:, None],
        )
        return x.astype(np.float32), y.astype(np.float32)

    @cached_property
    def _roughness(self) -> tuple[Pixels, Pixels]:
        """Around the circle, [TABLE] each: how dark the trabeculae are, and how thick the epicardial fat."""
        rng = np.random.default_rng((self.seed, self.slice_index, 2))
        theta = np.linspace(0, 2 * np.pi, TABLE, endpoint=False)
        rough = sum(np.cos(k * theta + rng.uniform(0, 6.28)) for k in rng.integers(9, 34, size=5))
        free_wall = 0.55 - 0.45 * np.cos(theta)
        fat = 0.2 + sum(np.cos(k * theta + rng.uniform(0, 6.28)) / k for k in (1, 2, 3, 5))
        return (
            np.asarray(np.clip(0.35 + 0.5 * rough, 0, 1) * free_wall, dtype=np.float32),
            np.asarray(self.look.epicardial_fat_mm * np.clip(fat, 0, 1), dtype=np.float32),
        )

    def _paint_heart(self, canvas: Canvas, frame: int, rng: np.random.Generator) -> None:
        heart, look = self.heart, self.look
        edge = max(look.edge_mm, self._px_mm)
        dx, dy = heart.shift_mm(frame)
        x, y = self._points[0] - np.float32(dx), self._points[1] - np.float32(dy)
        rho = np.sqrt(x * x + y * y)
        theta = np.float32(np.deg2rad(heart.septum_deg)) - np.arctan2(y, x)
        place = np.mod((theta * np.float32(TABLE / (2 * np.pi)) + np.float32(0.5)).astype(np.int32), TABLE)
        epi_mm = _table(heart.epi(frame))
        fat_mm, outside = self._roughness[1][place], rho - epi_mm[place]
        if heart.rv_contact_deg > 0:
            self._paint_rv(canvas, frame, rng, outside=outside, theta=theta, fat_mm=fat_mm)
        else:
            canvas.paint(cover(fat_mm - outside, edge), fat=look.fat)
        near = self._around_lv(float(epi_mm.max()) + 2 * edge, (dx, dy))
        x, y, rho, place = x[near], y[near], rho[near], place[near]
        lv, muscle = canvas.part(*near), self._texture[near]
        lv.paint(cover(-outside[near], edge), water=muscle)
        depth = _table(heart.endo(frame))[place] - rho
        cavity = cover(depth, edge)
        blood = 1.0 + np.float32(look.flow) * cloud(rng, muscle.shape, 9.0 / self._px_mm)
        blood -= np.float32(0.25 * look.flow * heart.contraction[frame])
        if heart.trabeculae_mm > 0:
            shrunk = float(heart.endo(frame).cos[0]) / (heart.diameter_ed_mm / 2)
            rough = self._roughness[0][place]
            reach = np.float32(heart.trabeculae_mm * shrunk) * (np.float32(0.25) + rough)
            layer = cover(reach - depth, edge) * np.float32(look.trabeculation) * rough
            blood += layer * (muscle - blood)
        lv.paint(cavity, water=blood)
        if heart.papillary_mm > 0:
            self._paint_papillaries(lv, frame, x=x, y=y, muscle=muscle, cavity=cavity)

    def _around_lv(self, reach_mm: float, shift_mm: tuple[float, float]) -> tuple[slice, slice]:
        """Rows and columns of the window within reach of the LV centre."""
        rows, columns = self._window
        x, y = self.placement.picture_point(*shift_mm)
        return (
            _bounds(y - rows.start, reach_mm / self.placement.spacing_mm[0], rows.stop - rows.start),
            _bounds(x - columns.start, reach_mm / self.placement.spacing_mm[1], columns.stop - columns.start),
        )

    def _paint_rv(
        self,
        canvas: Canvas,
        frame: int,
        rng: np.random.Generator,
        *,
        outside: Pixels,
        theta: Pixels,
        fat_mm: Pixels,
    ) -> None:
        heart, look, muscle = self.heart, self.look, self._texture
        edge = max(look.edge_mm, self._px_mm)
        around = np.mod(theta + np.float32(np.pi), np.float32(2 * np.pi)) - np.float32(np.pi)
        value = heart.rv_field(outside, around, frame)
        # Distance to the border from the field's slope; the angle's seam lies opposite the RV.
        down, right = np.gradient(value)
        rows_mm, columns_mm = (
            np.float32(self.placement.spacing_mm[0]),
            np.float32(self.placement.spacing_mm[1]),
        )
        steep = np.sqrt(np.square(down / rows_mm) + np.square(right / columns_mm))
        inside = value / np.maximum(steep, np.float32(0.02))
        wrapped = np.maximum(fat_mm - outside, inside + np.float32(heart.rv_wall_mm) + 0.6 * fat_mm)
        canvas.paint(cover(wrapped, edge), fat=look.fat)
        canvas.paint(cover(inside + np.float32(heart.rv_wall_mm), edge), water=muscle)
        mottle = np.clip(cloud(rng, muscle.shape, 6.0 / self._px_mm), -2.0, 1.0)
        blood = np.float32(look.rv_blood) * (1.0 + (0.14 + np.float32(look.flow)) * mottle)
        canvas.paint(cover(inside, edge), water=blood)

    def _paint_papillaries(
        self, canvas: Canvas, frame: int, *, x: Pixels, y: Pixels, muscle: Pixels, cavity: Pixels
    ) -> None:
        heart = self.heart
        edge = max(self.look.edge_mm, self._px_mm)
        endo = heart.endo(frame)
        for number, degrees in enumerate(heart.papillary_deg):
            theta = np.deg2rad(degrees)
            wall_mm = float(endo.at(np.array(theta)))
            radius = min(heart.papillary_mm * (1.0 - 0.12 * number), 0.27 * wall_mm)
            middle = wall_mm - 0.8 * radius
            along = np.deg2rad(heart.septum_deg) - theta
            cx, cy = np.cos(along), np.sin(along)
            radial = x * np.float32(cx) + y * np.float32(cy) - np.float32(middle)
            across = y * np.float32(cx) - x * np.float32(cy)
            lobe = np.float32(0.18 * radius) * np.cos(across * np.float32(2.2 / radius) + number)
            size = np.sqrt(np.square(radial + lobe) * np.float32(0.6) + np.square(across) * np.float32(1.2))
            canvas.paint(cover(np.float32(radius) - size, edge) * cavity, water=muscle * np.float32(1.05))


@lru_cache(maxsize=4)
def _scene(look: Look, placement: Placement, seed: int) -> tuple[Canvas, Pixels, Pixels]:
    """The trunk, its signal and the coil's gain: the same in every frame of every slice of a stack."""
    rng = np.random.default_rng((seed, 0))
    x, y = body_grid(placement)
    trunk = paint_trunk(look, x, y, max(placement.spacing_mm), rng)
    return trunk, trunk.signal, coil_gain(look, x, y, rng)


@cache
def _circle() -> NDArray[np.complex128]:
    circle: NDArray[np.complex128] = np.exp(1j * np.linspace(0, 2 * np.pi, TABLE, endpoint=False))
    return circle


def _table(series: Series) -> Pixels:
    return series.at_unit(_circle()).astype(np.float32)


def _bounds(middle: float, reach: float, size: int) -> slice:
    """The part of 0 .. size that lies within reach, never empty."""
    start = int(np.clip(np.floor(middle - reach), 0, size - 1))
    return slice(start, int(np.clip(np.ceil(middle + reach) + 1, start + 1, size)))
