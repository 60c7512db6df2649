"""Where a phantom lies in its picture: size, spacing, shift, rotation, mirroring, and the tags that match."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvedge.frame import Orientation
from lvedge.indices import FloatArray

# Rows run to the left and back, columns down: a usual radiological short axis, in patient coordinates (LPS).
RIGHT_LPS = np.array([0.770380, 0.618446, 0.155046])
DOWN_LPS = np.array([-0.151610, 0.413890, -0.897613])
HEART_LPS_MM = np.array([52.0, -18.0, -24.0])


@dataclass(frozen=True)
class Placement:
    """The picture's grid over the body.

    Args:
        rows: number of rows.
        columns: number of columns.
        spacing_mm: distance between rows and between columns, (row, column), mm.
        offset_mm: the LV centre's distance (right, down) from the picture's middle, in the picture.
        rotation_deg: how far the body is turned clockwise in the picture, after mirroring.
        mirrored: the picture shows the body the other way round (left and right exchanged).

    Raises:
        ValueError: if the grid is empty or a spacing is not positive.
    """

    rows: int = 192
    columns: int = 192
    spacing_mm: tuple[float, float] = (1.6, 1.6)
    offset_mm: tuple[float, float] = (0.0, 0.0)
    rotation_deg: float = 0.0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1 or min(self.spacing_mm) <= 0:
            raise ValueError(f"a picture of {self.rows} × {self.columns} at {self.spacing_mm} mm cannot be")

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns

    @property
    def centre_px(self) -> tuple[float, float]:
        """The body's origin (the LV centre at end diastole), (x, y) = (column, row)."""
        return (
            (self.columns - 1) / 2 + self.offset_mm[0] / self.spacing_mm[1],
            (self.rows - 1) / 2 + self.offset_mm[1] / self.spacing_mm[0],
        )

    @property
    def to_body(self) -> FloatArray:
        """Matrix [2, 2] from mm (right, down) in the picture to mm (right, down) in the body's usual view."""
        turn = np.deg2rad(self.rotation_deg)
        unturn = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        to_body: FloatArray = np.diag([-1.0 if self.mirrored else 1.0, 1.0]) @ unturn
        return to_body

    def body_points(self, x_px: FloatArray, y_px: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Pixel coordinates (column, row) as body coordinates (right, down), mm; the arrays broadcast."""
        x0, y0 = self.centre_px
        m = self.to_body
        x_mm, y_mm = (x_px - x0) * self.spacing_mm[1], (y_px - y0) * self.spacing_mm[0]
        return m[0, 0] * x_mm + m[0, 1] * y_mm, m[1, 0] * x_mm + m[1, 1] * y_mm

    def picture_point(self, right_mm: float, down_mm: float) -> tuple[float, float]:
        """A point of the body as pixel coordinates (x, y) = (column, row)."""
        x_mm, y_mm = self.to_body.T @ np.array([right_mm, down_mm])
        x0, y0 = self.centre_px
        return float(x0 + x_mm / self.spacing_mm[1]), float(y0 + y_mm / self.spacing_mm[0])

    def direction_deg(self, body_deg: float) -> float:
        """A direction in the body's usual view as one in the picture.

        Both are degrees clockwise from "towards increasing columns"; the result is 0 .. 360.
        """
        angle = np.deg2rad(body_deg)
        x, y = self.to_body.T @ np.array([np.cos(angle), np.sin(angle)])
        return float(np.rad2deg(np.arctan2(y, x)) % 360.0)

    @property
    def orientation(self) -> Orientation:
        """Directions of rows and columns in patient coordinates that agree with rotation and mirroring."""
        body = np.stack([RIGHT_LPS / np.linalg.norm(RIGHT_LPS), _orthogonal_down()])
        row, column = self.to_body.T @ body
        return Orientation(row=_triple(row), column=_triple(column))

    def position_mm(self, depth_mm: float = 0.0) -> tuple[float, float, float]:
        """Patient coordinates (LPS) of the first pixel's centre, in a slice ``depth_mm`` towards the apex."""
        x0, y0 = self.centre_px
        row, column = np.asarray(self.orientation.row), np.asarray(self.orientation.column)
        towards_base = np.cross(RIGHT_LPS, DOWN_LPS)
        corner = HEART_LPS_MM - towards_base * depth_mm
        return _triple(corner - row * (x0 * self.spacing_mm[1]) - column * (y0 * self.spacing_mm[0]))


def _orthogonal_down() -> FloatArray:
    right = RIGHT_LPS / np.linalg.norm(RIGHT_LPS)
    down = DOWN_LPS - right * float(right @ DOWN_LPS)
    orthogonal: FloatArray = down / np.linalg.norm(down)
    return orthogonal


def _triple(vector: FloatArray) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
