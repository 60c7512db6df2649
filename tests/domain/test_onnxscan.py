"""The reader of ONNX bytes: what it finds, and that nothing makes it fall."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_bundle import field, graph, model, node, tensor, tiny_graph, value, varint

from lvedge.errors import BundleError
from lvedge.onnxscan import MOST_FIELDS, GraphTensor, scan_graph

ONE = np.ones((1,), dtype=np.float32)
STEP = tiny_graph("step")


def branch(inner: bytes) -> bytes:
    """A graph whose only node holds another graph."""
    return graph([node("If", ["x"], ["y"], then_branch=inner)])


def test_a_graph_is_read_as_written() -> None:
    inputs, outputs = [value("x", ("B", 1, 4))], [value("y", ("B", 7), element=10)]
    scan = scan_graph(model(graph([node("Relu", ["x"], ["y"])], [tensor("w", ONE)], inputs, outputs)))
    assert scan.inputs == (GraphTensor("x", 1, ("B", 1, 4)),)
    assert scan.outputs == (GraphTensor("y", 10, ("B", 7)),)
    assert scan.opsets == {"": 17}
    assert (scan.ir_version, scan.functions, scan.external) == (8, 0, ())
    assert (scan.domains, scan.operators) == (frozenset(("",)), frozenset(("Relu",)))


def test_a_shape_that_is_not_stated_is_empty() -> None:
    scan = scan_graph(model(graph(inputs=[field(1, "x")], outputs=[value("y", ())])))
    assert scan.inputs == (GraphTensor("x", 0, ()),)
    assert scan.outputs == (GraphTensor("y", 1, ()),)


@pytest.mark.parametrize(
    "main",
    [
        graph(tensors=[tensor("w", ONE, "weights.bin")]),
        graph(tensors=[field(8, "w") + field(14, 1)]),
        graph(tensors=[field(8, "w") + field(14, 1 << 32 | 1)]),
        graph([node("Constant", [], ["y"]) + field(5, field(5, tensor("w", ONE, "/etc/passwd")))]),
        graph([node("Constant", [], ["y"]) + field(5, field(10, tensor("w", ONE, "../w")))]),
        graph([node("Constant", [], ["y"]) + field(5, field(22, field(1, tensor("w", ONE, "w"))))]),
        graph([node("Constant", [], ["y"]) + field(5, field(23, field(2, tensor("w", ONE, "w"))))]),
        graph() + field(15, field(1, tensor("w", ONE, "w"))),
        branch(graph(tensors=[tensor("w", ONE, "w")])),
        branch(branch(graph(tensors=[tensor("w", ONE, "w")]))),
        graph([node("If", ["x"], ["y"]) + field(5, field(11, graph(tensors=[tensor("w", ONE, "w")])))]),
    ],
)
def test_external_data_is_found_wherever_it_hides(main: bytes) -> None:
    assert scan_graph(model(main)).external == ("w",)


def test_functions_and_training_graphs_are_walked() -> None:
    inside = graph([node("Evil", [], [], domain="there")], [tensor("w", ONE, "w")])
    function = field(1, "f") + field(7, node("Odd", [], [], domain="here")) + field(10, "own")
    scan = scan_graph(model(graph(), functions=[function]) + field(20, field(1, inside)))
    assert scan.functions == 1
    assert scan.domains == frozenset(("here", "there"))
    assert scan.external == ("w",)


def test_domains_and_opsets_of_all_levels_are_found() -> None:
    inner = graph([node("Gemm", [], [], domain="com.example")])
    scan = scan_graph(model(branch(inner), domains=("", "com.example")))
    assert scan.domains == frozenset(("", "com.example"))
    assert scan.opsets == {"": 17, "com.example": 17}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no graph"),
        (b"\0\0\0\0ORTM", "own format"),
        (field(7, graph()) * 2, "twice"),
        (model(graph([node("Relu", [], []) + field(7, "a") + field(7, "b")])), "twice"),
        (model(graph(inputs=[value("x", ()) + field(1, "y")])), "twice"),
        (field(7, 3), "expected"),
        (field(1, b"8") + field(7, graph()), "expected"),
        (field(7, graph([field(7, b"\xff\xfe")])), "no text"),
        (b"\x3b", "no wire type"),
        (b"\x3a\x7f", "cut short"),
        (b"\x3a", "cut short"),
        (b"\x09\x00", "cut short"),
        (b"\x00\x00", "cannot begin"),
        (varint(1 << 32 | 7 << 3 | 2) + b"\0", "cannot begin"),
        (b"\x08" + b"\xff" * 12, "no end"),
    ],
)
def test_damage_is_named(data: bytes, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        scan_graph(data)


def test_unknown_fields_are_passed_over() -> None:
    odd = (
        field(1000, b"x")
        + field(1001, 5)
        + varint(1002 << 3 | 5)
        + b"1234"
        + varint(1003 << 3 | 1)
        + b"12345678"
    )
    assert scan_graph(odd + model(graph())).opsets == {"": 17}


def test_deep_nesting_needs_no_deep_stack() -> None:
    inner = graph([node("Evil", [], [], domain="deep")])
    for _ in range(3000):
        inner = field(1, field(5, field(6, inner)))
    assert scan_graph(model(inner)).domains >= {"deep"}


def test_a_flood_of_fields_is_refused() -> None:
    with pytest.raises(BundleError, match="fields"):
        scan_graph(model(field(1, b"") * (MOST_FIELDS + 1)))


def total(data: bytes) -> None:
    """A scan gives a result or a ``BundleError``, nothing else."""
    with contextlib.suppress(BundleError):
        scan_graph(data)


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_are_scanned_or_refused(data: bytes) -> None:
    total(data)


@given(st.lists(st.tuples(st.integers(0, len(STEP) - 1), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=300)
def test_mutated_graphs_are_scanned_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(STEP)
    for place, byte in changes:
        data[place] = byte
    total(bytes(data))


@given(st.integers(0, len(STEP)), st.integers(0, len(STEP)), st.binary(max_size=20))
@settings(max_examples=200)
def test_spliced_graphs_are_scanned_or_refused(start: int, end: int, between: bytes) -> None:
    total(STEP[:start] + between + STEP[end:])
