"""A matrix product as an ONNX graph, and in numpy: what this machine's FLOP rate is measured with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lvedge_runtime.bench.session import session_of

IR_VERSION, OPSET = 8, 17
_FLOAT = 1


def matmul_calls(side: int, threads: int) -> dict[str, Callable[[], object]]:
    """The product of two square float32 matrices, by the name of who computes it.

    Args:
        side: of the matrices.
        threads: of ONNX Runtime; numpy's come from its library's own settings.
    """
    rng = np.random.default_rng(0)
    a, b = (rng.random((side, side), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    session = session_of(matmul_model(b), threads)
    return {
        "onnxruntime": lambda: session.run(["y"], {"a": a}),
        "numpy": lambda: np.matmul(a, b, out=out),
    }


def matmul_model(b: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> bytes:
    """A ModelProto: its input ``a`` [n, k] times a constant, which the runtime may pack beforehand.

    Field numbers: onnx/onnx.proto.

    Args:
        b: [k, m] float32, the constant.
    """
    rows, columns = b.shape
    node = _text(1, "a") + _text(1, "b") + _text(2, "y") + _text(4, "MatMul")
    weights = (
        _whole(1, rows) + _whole(1, columns) + _whole(2, _FLOAT) + _text(8, "b") + _bytes(9, b.tobytes())
    )
    graph = (
        _bytes(1, node)
        + _text(2, "matmul")
        + _bytes(5, weights)
        + _bytes(11, _value("a", rows))
        + _bytes(12, _value("y", columns))
    )
    return _whole(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _whole(2, OPSET))


def _value(name: str, columns: int) -> bytes:
    """A ValueInfoProto of a matrix with any number of rows."""
    shape = _bytes(1, _text(2, "n")) + _bytes(1, _whole(1, columns))
    return _text(1, name) + _bytes(2, _bytes(1, _whole(1, _FLOAT) + _bytes(2, shape)))


def _text(number: int, text: str) -> bytes:
    return _bytes(number, text.encode())


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
