"""A bundle that takes the bright disc of a picture for the cavity: `discs` as graphs made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tiny_bundle import (
    ABOUT,
    GRAPHS,
    SHAPES,
    graph,
    model,
    node,
    points_shape,
    recurrence_of,
    tensor,
    tensors_of,
)

from lvedge.bundle import write_bundle

SIDE = 64
WALL_PX = 6
DISC_SHAPES = replace(SHAPES, view_px=SIDE, locator_px=SIDE, locator_mm_per_px=1.5)
POINTS = np.array([[35, 30, 25, 20, 25, 40]], np.float32)
"""Centre and insertions of the discs in ``cine_files``, (x, y) each."""


def disc_bundle(path: Path) -> None:
    """Write the bundle."""
    write_bundle(
        path,
        shapes=DISC_SHAPES,
        graphs={name: _graph(name) for name in GRAPHS},
        about={**ABOUT, "name": "discs", "quality": {}},
        licence="CC0.\n",
        model_card="# Discs\n",
    )


def _graph(name: str) -> bytes:
    nodes, tensors = {"locator": _locator, "replay": _replay, "step": _step}[name]()
    sides = [tensors_of(name, side, DISC_SHAPES) for side in (0, 1)]
    return model(graph(nodes, tensors, *sides))


def _weights() -> list[bytes]:
    """Positive values that follow the disc's size, and a little the state."""
    made = {
        "to_features": np.full((1, 5), 4.0, np.float32),
        "to_regression": np.full((5, 4), 0.01, np.float32),
        "to_phase": np.array([[1, -1, 0]] * 5, np.float32) / 50,
        "to_indices": np.linspace(1, 9, 55, dtype=np.float32).reshape(5, 11),
        "of_state": np.full((4, 11), 0.1, np.float32),
        "to_classes": np.array([[1, -1], [-1, 1], [0, 0]], np.float32),
    }
    return [tensor(name, weights) for name, weights in made.items()]


def _recurrence() -> list[bytes]:
    return recurrence_of(
        [
            node("MatMul", ["features", "to_indices"], ["now"]),
            node("MatMul", ["h_regression_next", "of_state"], ["before"]),
            node("Add", ["now", "before"], ["indices"]),
        ]
    )


def _replay() -> tuple[list[bytes], list[bytes]]:
    return _recurrence(), _weights()[1:]


def _step() -> tuple[list[bytes], list[bytes]]:
    """Cavity: what is bright; muscle: a square ring around it; RV: beside it, on the left."""
    side = 2 * WALL_PX + 1
    nodes = [
        node("Relu", ["frame"], ["bright"]),
        node("Min", ["bright", "one"], ["cavity"]),
        node("MaxPool", ["cavity"], ["heart"], kernel_shape=[side, side], pads=[WALL_PX] * 4),
        node("Sub", ["heart", "cavity"], ["muscle"]),
        node("Sub", ["one", "heart"], ["outside"]),
        node("Mul", ["outside", "left"], ["rv"]),
        node("Sub", ["outside", "rv"], ["background"]),
        node("Concat", ["background", "rv", "muscle", "cavity"], ["mask"], axis=1),
        node("ReduceMean", ["cavity"], ["mean"], axes=[2, 3], keepdims=0),
        node("MatMul", ["mean", "to_features"], ["features"]),
    ]
    constants = [tensor("one", np.ones(1, np.float32)), tensor("left", _left())]
    return nodes + _recurrence(), [*_weights(), *constants]


def _left() -> NDArray[np.float32]:
    rows, columns = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    beside = (np.abs(rows) < 12) & (columns < 0)
    return beside[None, None].astype(np.float32)


def _locator() -> tuple[list[bytes], list[bytes]]:
    zero = {"to_points": np.zeros((1, 6), np.float32), "to_confidence": np.zeros((1, 3), np.float32)}
    nodes = [
        node("ReduceMean", ["frame"], ["mean"], axes=[2, 3], keepdims=0),
        node("MatMul", ["mean", "to_points"], ["none"]),
        node("Add", ["none", "at"], ["flat"]),
        node("Reshape", ["flat", "points_shape"], ["points"]),
        node("MatMul", ["mean", "to_confidence"], ["nothing"]),
        node("Add", ["nothing", "sure"], ["raw"]),
        node("Sigmoid", ["raw"], ["confidence"]),
    ]
    constants = {**zero, "at": POINTS, "sure": np.full((1, 3), 3.0, np.float32)}
    return nodes, [*(tensor(n, w) for n, w in constants.items()), points_shape()]
