"""A bundle small enough for tests, made without torch or onnx: its graphs are written on the wire by hand.

The graphs keep the contract's names and shapes and compute something simple enough to be repeated in numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.archive import archive_bytes
from lvedge.bundle import GRAPHS, Bundle, bundle_from_bytes
from lvedge.contract import ContractShapes
from lvedge.indices import IndexLayout

SHAPES = ContractShapes(
    view_px=16,
    view_mm_per_px=1.5,
    regression_state=4,
    phase_state=3,
    features=5,
    locator_px=16,
    locator_mm_per_px=2.75,
    layout=IndexLayout(),
)
ABOUT: dict[str, Any] = {
    "name": "tiny",
    "version": "7",
    "created": "2026-01-02",
    "modality": "MR",
    "view": {},
    "locator": {},
    "licence": {"spdx": "CC0-1.0", "notice": "weights: made up"},
    "training": {},
    "accuracy": {"protocol": "none"},
    "quality": {"bias": 1.0},
    "versions": {},
    "checkpoint": {},
}

_rng = np.random.default_rng(0)
WEIGHTS: dict[str, NDArray[np.float32]] = {
    name: _rng.normal(size=shape).astype(np.float32)
    for name, shape in {
        "to_features": (1, 5),
        "to_regression": (5, 4),
        "to_phase": (5, 3),
        "to_indices": (4, 11),
        "to_classes": (3, 2),
        "to_points": (1, 6),
        "to_confidence": (1, 3),
    }.items()
}


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | str | bytes) -> bytes:
    """A field of a message: a number as a varint, anything else with its length before it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    payload = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def attribute(name: str, value: int | list[int] | bytes) -> bytes:
    """An AttributeProto: an integer, integers, or a serialised graph."""
    if isinstance(value, bytes):
        return field(1, name) + field(6, value) + field(20, 5)
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, 2)
    return field(1, name) + b"".join(field(8, v) for v in value) + field(20, 7)


def node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **kept: Any
) -> bytes:
    """A NodeProto."""
    parts = [field(1, name) for name in inputs] + [field(2, name) for name in outputs] + [field(4, operator)]
    parts += [field(5, attribute(name, value)) for name, value in kept.items()]
    return b"".join(parts) + (field(7, domain) if domain else b"")


def tensor(name: str, array: NDArray[np.float32], location: str = "") -> bytes:
    """A TensorProto of float32; with a location its data lie in another file."""
    parts = [field(1, int(n)) for n in array.shape] + [field(2, 1), field(8, name)]
    if not location:
        return b"".join([*parts, field(9, array.tobytes())])
    return b"".join([*parts, field(13, field(1, "location") + field(2, location)), field(14, 1)])


def value(name: str, shape: Sequence[int | str], element: int = 1) -> bytes:
    """A ValueInfoProto."""
    sizes = b"".join(field(1, field(2, n) if isinstance(n, str) else field(1, n)) for n in shape)
    return field(1, name) + field(2, field(1, field(1, element) + field(2, sizes)))


def graph(
    nodes: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    inputs: Sequence[bytes] = (),
    outputs: Sequence[bytes] = (),
) -> bytes:
    """A GraphProto."""
    parts = [field(1, n) for n in nodes] + [field(2, "tiny")] + [field(5, t) for t in tensors]
    return b"".join([*parts, *(field(11, v) for v in inputs), *(field(12, v) for v in outputs)])


def model(
    main: bytes, opset: int = 17, ir: int = 8, domains: Sequence[str] = ("",), functions: Sequence[bytes] = ()
) -> bytes:
    """A ModelProto."""
    opsets = [field(8, field(1, domain) + field(2, opset)) for domain in domains]
    return b"".join([field(1, ir), field(7, main), *opsets, *(field(25, f) for f in functions)])


def tensors_of(name: str, side: int, shapes: ContractShapes = SHAPES) -> list[bytes]:
    """Inputs (side 0) or outputs (side 1) of one of the contract's graphs."""
    found = []
    for tensor_name in GRAPHS[name][side]:
        whole = name == "locator" and tensor_name == "frame"
        shape = shapes.locator_shape if whole else shapes.tensor_shape(tensor_name)
        found.append(value(tensor_name, ("B", *shape)))
    return found


def recurrence_of(indices: Sequence[bytes]) -> list[bytes]:
    """States that add up what comes in, the values as given, and the phase."""
    return [
        node("MatMul", ["features", "to_regression"], ["regression"]),
        node("MatMul", ["features", "to_phase"], ["phase_in"]),
        node("Add", ["h_regression", "regression"], ["h_regression_next"]),
        node("Sub", ["c_regression", "regression"], ["c_regression_next"]),
        node("Add", ["h_phase", "phase_in"], ["h_phase_next"]),
        node("Sub", ["c_phase", "phase_in"], ["c_phase_next"]),
        *indices,
        node("MatMul", ["h_phase_next", "to_classes"], ["logits"]),
        node("Softmax", ["logits"], ["phase"], axis=1),
    ]


def nodes_of(name: str) -> list[bytes]:
    """What the tiny graphs compute."""
    mean = node("ReduceMean", ["frame"], ["mean"], axes=[2, 3], keepdims=0)
    if name == "locator":
        return [
            mean,
            node("MatMul", ["mean", "to_points"], ["flat"]),
            node("Reshape", ["flat", "points_shape"], ["points"]),
            node("MatMul", ["mean", "to_confidence"], ["raw"]),
            node("Sigmoid", ["raw"], ["confidence"]),
        ]
    recurrence = recurrence_of([node("MatMul", ["h_regression_next", "to_indices"], ["indices"])])
    if name == "replay":
        return recurrence
    return [
        mean,
        node("MatMul", ["mean", "to_features"], ["features"]),
        *recurrence,
        node("Concat", ["frame"] * 4, ["four"], axis=1),
        node("Softmax", ["four"], ["mask"], axis=1),
    ]


def constants_of(name: str) -> list[bytes]:
    """Weights of the tiny graphs; a Reshape's target is int64, the only one that is no float32."""
    if name != "locator":
        return [tensor(n, w) for n, w in WEIGHTS.items() if n not in ("to_points", "to_confidence")]
    return [*(tensor(n, WEIGHTS[n]) for n in ("to_points", "to_confidence")), points_shape()]


def points_shape() -> bytes:
    """What the locators reshape their points to: [B, 3, 2]."""
    shape = np.array([-1, 3, 2], dtype=np.int64)
    return b"".join([field(1, 3), field(2, 7), field(8, "points_shape"), field(9, shape.tobytes())])


def tiny_graph(name: str, **changes: Any) -> bytes:
    """One of the graphs as a model; ``changes`` go to ``model``."""
    main = graph(nodes_of(name), constants_of(name), tensors_of(name, 0), tensors_of(name, 1))
    return model(main, **changes)


def tiny_graphs(producer: str = "") -> dict[str, bytes]:
    """All three; another producer makes other bytes of the same graphs."""
    stated = field(2, producer) if producer else b""
    return {name: tiny_graph(name) + stated for name in GRAPHS}


def packed(entries: dict[str, bytes], manifest: bytes) -> bytes:
    """An archive as ``write_bundle`` makes it, from content that it might refuse to make."""
    return archive_bytes({"manifest.json": manifest, **entries})


def tiny_step(
    frame: NDArray[np.float32], state: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Indices and next states that the tiny step graph gives, in numpy."""
    features = frame.mean(axis=(2, 3)) @ WEIGHTS["to_features"]
    regression, phase = features @ WEIGHTS["to_regression"], features @ WEIGHTS["to_phase"]
    h, c, hp, cp = state
    after = [h + regression, c - regression, hp + phase, cp - phase]
    return after[0] @ WEIGHTS["to_indices"], after


def open_tiny(data: bytes) -> Bundle:
    return bundle_from_bytes(data, "tiny.lvedge")
