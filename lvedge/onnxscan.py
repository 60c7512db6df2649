"""What an ONNX graph would make an engine do, read off its bytes without importing ``onnx``.

A small reader of the protobuf wire format that walks a model's graph, its subgraphs and functions, and
collects what decides whether the graph may be run: operator sets, domains, tensors kept outside the file,
inputs and outputs. It reads no weights. On hostile bytes it raises, in time linear in their number.

Field numbers: onnx/onnx.proto of ONNX 1.18 (IR 11); wire format: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lvedge.errors import BundleError

MOST_FIELDS = 200_000
"""A real graph has some ten thousand fields; weights count as one each."""

FLOAT = 1
"""TensorProto.DataType of float32."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MANY = True

# Message to field number to (what it is, whether it repeats). What is not named here is passed over.
_Fields = Mapping[int, tuple[str, bool]]
_MESSAGES: Mapping[str, _Fields] = {
    "model": {
        1: ("=ir_version", False),
        7: ("graph", False),
        8: ("opset", _MANY),
        20: ("training", _MANY),
        25: ("function", _MANY),
    },
    "opset": {1: ("=domain", False), 2: ("=version", False)},
    "training": {1: ("graph", False), 2: ("graph", False)},
    "graph": {
        1: ("node", _MANY),
        5: ("tensor", _MANY),
        11: ("input", _MANY),
        12: ("output", _MANY),
        15: ("sparse", _MANY),
    },
    "function": {7: ("node", _MANY), 9: ("opset", _MANY), 10: ("=domain", False), 11: ("attribute", _MANY)},
    "node": {4: ("=operator", False), 5: ("attribute", _MANY), 7: ("=domain", False)},
    "attribute": {
        5: ("tensor", False),
        6: ("graph", False),
        10: ("tensor", _MANY),
        11: ("graph", _MANY),
        22: ("sparse", False),
        23: ("sparse", _MANY),
    },
    "sparse": {1: ("tensor", False), 2: ("tensor", False)},
    "tensor": {8: ("=name", False), 13: ("=external", _MANY), 14: ("=location", False)},
    "input": {1: ("=name", False), 2: ("type", False)},
    "output": {1: ("=name", False), 2: ("type", False)},
    "type": {1: ("tensor_type", False)},
    "tensor_type": {1: ("=element", False), 2: ("shape", False)},
    "shape": {1: ("dimension", _MANY)},
    "dimension": {1: ("=size", False), 2: ("=symbol", False)},
}
_NUMBERS = {"ir_version", "version", "location", "element", "size"}
_TEXTS = {"domain", "operator", "name", "symbol"}


@dataclass(frozen=True)
class GraphTensor:
    """An input or output of the graph.

    Args:
        name: its name.
        element: its TensorProto.DataType; 1 is float32, 0 unknown.
        shape: sizes, a name where one is dynamic, None where nothing is said.
    """

    name: str
    element: int
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class GraphScan:
    """What a model's bytes hold.

    Args:
        ir_version: version of the file format.
        opsets: operator set version by domain; "" is ONNX's own.
        domains: domains of all nodes, subgraphs' included.
        operators: operator types of all nodes.
        inputs: of the outermost graph, in order.
        outputs: of the outermost graph, in order.
        external: names of tensors whose data lie in another file.
        functions: how many functions the model defines.
    """

    ir_version: int
    opsets: Mapping[str, int]
    domains: frozenset[str]
    operators: frozenset[str]
    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    external: tuple[str, ...]
    functions: int


@dataclass
class _Message:
    """A message that is being read: where it lies, its own values, the messages in it."""

    kind: str
    start: int
    end: int
    values: dict[str, int | str] = field(default_factory=dict)
    children: list[_Message] = field(default_factory=list)


def scan_graph(data: bytes) -> GraphScan:
    """Walk a model.

    Args:
        data: a serialised ``ModelProto``.

    Raises:
        BundleError: if the bytes are no well-formed model, or larger than any real one.
    """
    if data[4:8] == b"ORTM":
        raise BundleError("is in ONNX Runtime's own format, which cannot be checked: give ONNX")
    messages = _walk(data)
    model = messages[0]
    main = [child for child in model.children if child.kind == "graph"]
    if not main:
        raise BundleError("holds no graph")
    nodes = [message for message in messages if message.kind == "node"]
    opsets: dict[str, int] = {}
    for message in messages:
        if message.kind == "opset":
            domain, version = _text(message, "domain"), _number(message, "version")
            opsets[domain] = max(version, opsets.get(domain, 0))
    return GraphScan(
        ir_version=_number(model, "ir_version"),
        opsets=opsets,
        domains=frozenset(_text(node, "domain") for node in nodes),
        operators=frozenset(_text(node, "operator") for node in nodes),
        inputs=tuple(_graph_tensor(child) for child in main[0].children if child.kind == "input"),
        outputs=tuple(_graph_tensor(child) for child in main[0].children if child.kind == "output"),
        external=tuple(
            _text(message, "name")
            for message in messages
            if message.kind == "tensor" and ("external" in message.values or _number(message, "location"))
        ),
        functions=sum(message.kind == "function" for message in messages),
    )


def _walk(data: bytes) -> list[_Message]:
    """All messages of the named kinds, a parent before its children. No recursion, whatever the nesting."""
    found = [_Message("model", 0, len(data))]
    budget, next_one = MOST_FIELDS, 0
    while next_one < len(found):
        message = found[next_one]
        next_one += 1
        fields = _MESSAGES[message.kind]
        seen: set[int] = set()
        for number, wire, start, end in wire_fields(data, message.start, message.end):
            budget -= 1
            if budget < 0:
                raise BundleError(f"has more than {MOST_FIELDS} fields: no graph of ours is so large")
            if number not in fields:
                continue
            what, many = fields[number]
            if not many and number in seen:
                raise BundleError(f"states the {what.lstrip('=')} of a {message.kind} twice")
            seen.add(number)
            if what.startswith("="):
                message.values[what[1:]] = _value(data, what[1:], wire, start, end)
                continue
            if wire != _BYTES:
                raise BundleError(f"is damaged at byte {start}: a {what} is expected there")
            child = _Message(what, start, end)
            message.children.append(child)
            found.append(child)
    return found


def wire_fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type and the bounds of the value, field by field."""
    while start < end:
        tag, start = _varint(data, start, end)
        number, wire = tag >> 3, tag & 7
        if tag >> 32 or number == 0:
            raise BundleError(f"is damaged at byte {start}: {tag} cannot begin a field")
        if wire == _VARINT:
            stop = _varint(data, start, end)[1]
        elif wire == _BYTES:
            length, start = _varint(data, start, end)
            stop = start + length
        elif wire == _FIXED32:
            stop = start + 4
        elif wire == _FIXED64:
            stop = start + 8
        else:
            raise BundleError(f"is damaged at byte {start}: there is no wire type {wire}")
        if stop > end:
            raise BundleError(f"is cut short: a field at byte {start} runs past its end")
        yield number, wire, start, stop
        start = stop


def _varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    """A number of up to 64 bits, and where it ends."""
    if start < end and data[start] < 0x80:  # nearly all of them
        return data[start], start + 1
    value = 0
    for k in range(10):
        if start + k >= end:
            raise BundleError(f"is cut short at byte {start}")
        byte = data[start + k]
        value |= (byte & 0x7F) << (7 * k)
        if byte < 0x80:
            return value, start + k + 1
    raise BundleError(f"is damaged at byte {start}: a number has no end")


def _value(data: bytes, what: str, wire: int, start: int, end: int) -> int | str:
    """A value that the scan keeps. Of ``external`` it is enough that it is there."""
    if what in _NUMBERS and wire == _VARINT:
        return _varint(data, start, end)[0]
    if what in _TEXTS and wire == _BYTES:
        try:
            return data[start:end].decode("utf-8")
        except UnicodeDecodeError as err:
            raise BundleError(f"is damaged at byte {start}: a {what} is no text") from err
    if what == "external":
        return 1
    raise BundleError(f"is damaged at byte {start}: a {what} is expected there")


def _graph_tensor(message: _Message) -> GraphTensor:
    """An input or output with its type, as far as it is stated."""
    tensor = _child(_child(message, "type"), "tensor_type")
    shape = _child(tensor, "shape")
    return GraphTensor(
        name=_text(message, "name"),
        element=_number(tensor, "element") if tensor else 0,
        shape=tuple(_dimension(child) for child in shape.children) if shape else (),
    )


def _dimension(message: _Message) -> int | str | None:
    return message.values.get("size", message.values.get("symbol"))


def _child(message: _Message | None, kind: str) -> _Message | None:
    """The one child of a kind, or None."""
    return next((child for child in message.children if child.kind == kind), None) if message else None


def _text(message: _Message, what: str) -> str:
    return str(message.values.get(what, ""))


def _number(message: _Message, what: str) -> int:
    return int(message.values.get(what, 0))
