"""The bundle: one file with the three graphs and the manifest that says everything about them.

A bundle is read once into memory and checked whole; the bytes that were checked are the bytes that go to an
engine, never a path. What the manifest does not name is refused, and so is a graph that would read other
files, use operators from outside the ONNX standard, or take and give anything but the contract's tensors.

The hashes tell damage and mix-ups. Whoever can rewrite a whole bundle can rewrite its hashes too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from lvedge.archive import MOST_BYTES, archive_bytes, entries_from_archive
from lvedge.contract import (
    CONTRACT_VERSION,
    LOCATOR_INPUTS,
    LOCATOR_OUTPUTS,
    REPLAY_INPUTS,
    REPLAY_OUTPUTS,
    STEP_INPUTS,
    STEP_OUTPUTS,
    ContractShapes,
)
from lvedge.errors import BundleError
from lvedge.indices import IndexLayout
from lvedge.onnxscan import FLOAT, GraphTensor, scan_graph

FORMAT_VERSION = 1
DEFAULT_PATH = Path(__file__).resolve().parent / "weights" / "default.lvedge"
"""The bundle that ships; absent from a build without weights."""

GRAPHS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "step": (STEP_INPUTS, STEP_OUTPUTS),
    "replay": (REPLAY_INPUTS, REPLAY_OUTPUTS),
    "locator": (LOCATOR_INPUTS, LOCATOR_OUTPUTS),
}
"""Name of a graph to its inputs and outputs."""

MANIFEST, LICENCE, MODEL_CARD = "manifest.json", "LICENSE", "model-card.md"
ENTRIES = (*(f"{name}.onnx" for name in GRAPHS), LICENCE, MODEL_CARD)
"""What a bundle holds beside its manifest, all of it and in this order."""

STANDARD_DOMAINS = frozenset(("", "ai.onnx"))
NEWEST_OPSET, NEWEST_IR = 18, 10
"""What TensorRT 10.1 and ONNX Runtime 1.20 still take."""

MOST_MANIFEST_BYTES = 1024 * 1024

_TEXTS = ("name", "version", "created", "modality")
_OBJECTS = ("view", "locator", "licence", "training", "accuracy", "quality", "versions", "checkpoint")
_LARGEST_SIZE = 4096
_LARGEST_MM = 100.0
_LONGEST_LINE = 300


@dataclass(frozen=True)
class Bundle:
    """A checked bundle, in memory.

    Args:
        manifest: everything that the bundle says of itself; not to be changed.
        shapes: sizes of every tensor.
        sha256: of the whole file.
        origin: where it was read from, for messages.
        entries: name to bytes of everything but the manifest; not to be changed.
    """

    manifest: Mapping[str, Any]
    shapes: ContractShapes
    sha256: str
    origin: str
    entries: Mapping[str, bytes]

    def graph(self, name: str) -> bytes:
        """The checked ONNX bytes of "step", "replay" or "locator"."""
        return self.entries[f"{name}.onnx"]

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        return str(self.manifest["version"])

    @property
    def modality(self) -> str:
        """DICOM modality that the networks were trained on."""
        return str(self.manifest["modality"])

    @property
    def licence_notice(self) -> str:
        """One line on the weights' licence, to be shown once a run."""
        return str(self.manifest["licence"]["notice"])

    @property
    def quality(self) -> Mapping[str, Any]:
        """Coefficients of the quality model; empty where none was fitted."""
        quality: Mapping[str, Any] = self.manifest["quality"]
        return quality

    @cached_property
    def model_card(self) -> str:
        """What the weights are for, what they were trained on, how well they measure (Markdown)."""
        return self.entries[MODEL_CARD].decode("utf-8")


def open_bundle(path: Path | None = None) -> Bundle:
    """Read a bundle and check all of it.

    Args:
        path: the file; None for the bundle that ships with lvedge.

    Raises:
        BundleError: if there is none, or it is altered, incomplete, foreign, or for another version.
    """
    if path is None:
        path = DEFAULT_PATH
        if not path.is_file():
            raise BundleError("this build of lvedge ships no weights: name a bundle with --bundle")
    try:
        if not path.is_file():
            raise BundleError(f"there is no bundle at {path}: name a file made by lvedge-export bundle")
        if path.stat().st_size > MOST_BYTES:
            raise BundleError(f"{path} is larger than the {MOST_BYTES >> 20} MB that a bundle may have")
        data = path.read_bytes()
    except OSError as err:
        raise BundleError(f"the bundle {path} cannot be read: {err.strerror or err}") from err
    return bundle_from_bytes(data, str(path))


def bundle_from_bytes(data: bytes, origin: str = "in memory") -> Bundle:
    """The bundle that a file's bytes are, checked whole.

    Args:
        data: the file's bytes.
        origin: where they come from, for messages.

    Raises:
        BundleError: as for ``open_bundle``.
    """
    try:
        entries = entries_from_archive(data)
        manifest = _manifest(entries)
        shapes = shapes_from_manifest(manifest["shapes"])
        del entries[MANIFEST]
        for name in GRAPHS:
            check_graph(name, entries[f"{name}.onnx"], shapes)
    except BundleError as err:
        raise BundleError(f"the bundle {origin} {err}; get it again or make one with lvedge-export") from err
    return Bundle(manifest, shapes, hashlib.sha256(data).hexdigest(), origin, entries)


def write_bundle(
    path: Path,
    *,
    shapes: ContractShapes,
    graphs: Mapping[str, bytes],
    about: Mapping[str, Any],
    licence: str,
    model_card: str,
) -> Bundle:
    """Write a bundle whole or not at all; the same arguments give the same bytes.

    Args:
        path: where it goes; a bundle there is replaced.
        shapes: sizes of every tensor.
        graphs: ONNX bytes of "step", "replay" and "locator".
        about: the manifest beside what follows from the other arguments: the texts ``name``, ``version``,
            ``created`` (a date) and ``modality``, and the objects ``view``, ``locator``, ``licence``
            (``spdx``, ``notice``), ``training``, ``accuracy``, ``quality``, ``versions`` and ``checkpoint``.
        licence: the weights' licence in full.
        model_card: Markdown.

    Returns:
        The bundle as a reader sees it.

    Raises:
        BundleError: if a reader would refuse it, or it cannot be written.
    """
    content = {f"{name}.onnx": graphs[name] for name in GRAPHS}
    content |= {LICENCE: licence.encode("utf-8"), MODEL_CARD: model_card.encode("utf-8")}
    manifest = {
        **about,
        "format": FORMAT_VERSION,
        "contract": CONTRACT_VERSION,
        "shapes": asdict(shapes),
        "entries": {name: _fingerprint(entry) for name, entry in content.items()},
    }
    try:
        text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as err:
        raise BundleError(f"what the manifest is to hold is no JSON: {err}") from err
    data = archive_bytes({MANIFEST: f"{text}\n".encode(), **content})
    bundle = bundle_from_bytes(data, str(path))
    try:
        _replace(path, data)
    except OSError as err:
        raise BundleError(f"the bundle {path} cannot be written: {err.strerror or err}") from err
    return bundle


def shapes_from_manifest(stated: object) -> ContractShapes:
    """The shapes that a manifest states, all of them and within reason.

    Raises:
        BundleError: if a field is missing, unknown, of another type or out of bounds.
    """
    layout = stated.get("layout") if isinstance(stated, dict) else None
    names = {f.name for f in fields(ContractShapes)}
    if not isinstance(stated, dict) or not isinstance(layout, dict) or set(stated) != names:
        raise BundleError(f"does not state the shapes as {', '.join(sorted(names))}")
    for name, value in {**stated, **layout}.items():
        if name == "layout":
            continue
        is_length = name.endswith("_mm_per_px")
        largest = _LARGEST_MM if is_length else _LARGEST_SIZE
        kinds = (int, float) if is_length else (int,)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value <= largest:
            raise BundleError(f"states an impossible shape: {name} is {value!r}")
    try:
        return ContractShapes(**{**stated, "layout": IndexLayout(**layout)})
    except (TypeError, ValueError) as err:
        raise BundleError(f"states an impossible layout: {err}") from err


def _manifest(entries: Mapping[str, bytes]) -> dict[str, Any]:
    """The manifest, with everything in it that the entries can be checked against."""
    unknown = [name for name in entries if name not in (MANIFEST, *ENTRIES)]
    missing = [name for name in (MANIFEST, *ENTRIES) if name not in entries]
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"holds {', '.join(unknown)}, which none may"
        raise BundleError(what)
    manifest = _json_object(entries[MANIFEST])
    for what, version, ours in (
        ("format", manifest.get("format"), FORMAT_VERSION),
        ("contract", manifest.get("contract"), CONTRACT_VERSION),
    ):
        if version != ours or isinstance(version, bool):
            raise BundleError(f"is of {what} {version!r}, this lvedge takes {ours}: update the older of both")
    _check_statements(manifest)
    if set(manifest["entries"]) != set(ENTRIES):
        raise BundleError("names other entries in its manifest than it holds")
    for name in ENTRIES:
        if manifest["entries"][name] != _fingerprint(entries[name]):
            raise BundleError(f"is altered: {name} is not what the manifest says")
    for name in (LICENCE, MODEL_CARD):
        try:
            entries[name].decode("utf-8")
        except UnicodeDecodeError as err:
            raise BundleError(f"holds {name}, which is no text") from err
    return manifest


def _check_statements(manifest: Mapping[str, Any]) -> None:
    """Refuse a manifest that leaves out what a reader relies on."""
    for name in _TEXTS:
        if not _is_line(manifest.get(name)):
            raise BundleError(f"does not state its {name} in one line")
    for name in (*_OBJECTS, "entries"):
        if not isinstance(manifest.get(name), dict):
            raise BundleError(f"does not state its {name}")
    if not all(_is_line(manifest["licence"].get(key)) for key in ("spdx", "notice")):
        raise BundleError("does not state its licence, spdx and notice, in one line each")


def _is_line(value: object) -> bool:
    """Whether a value can be shown on a terminal as one line: no control characters, not empty, not long."""
    return (
        isinstance(value, str) and bool(value.strip()) and value.isprintable() and len(value) <= _LONGEST_LINE
    )


def _json_object(data: bytes) -> dict[str, Any]:
    """Strict JSON: one object, no key twice, no NaN, no endless nesting."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key is there twice")
        return found

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON number")

    if len(data) > MOST_MANIFEST_BYTES:
        raise BundleError(f"has a manifest of more than {MOST_MANIFEST_BYTES >> 20} MB")
    try:
        manifest = json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as err:
        raise BundleError(f"has a manifest that cannot be read: {err}") from err
    if not isinstance(manifest, dict):
        raise BundleError("has a manifest that is no object")
    return manifest


def _fingerprint(entry: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(entry).hexdigest(), "size": len(entry)}


def check_graph(name: str, data: bytes, shapes: ContractShapes) -> None:
    """Refuse a graph that reads other files, needs other operators, or has other inputs and outputs.

    Raises:
        BundleError: naming what the bundle holds; it begins with "holds a ... graph".
    """
    try:
        scan = scan_graph(data)
    except BundleError as err:
        raise BundleError(f"holds a {name} graph that {err}") from err
    if scan.external:
        raise BundleError(f"holds a {name} graph whose weights lie in another file: refused")
    foreign = sorted((scan.domains | set(scan.opsets)) - STANDARD_DOMAINS)
    if foreign or scan.functions:
        named = ", ".join(map(repr, foreign)) or "functions of its own"
        raise BundleError(f"holds a {name} graph with operators from outside the ONNX standard ({named})")
    opset = max(scan.opsets.values(), default=0)
    if not 0 < opset <= NEWEST_OPSET or not 0 < scan.ir_version <= NEWEST_IR:
        raise BundleError(
            f"holds a {name} graph of opset {opset} and IR {scan.ir_version},"
            f" newer than {NEWEST_OPSET} and {NEWEST_IR}"
        )
    inputs, outputs = GRAPHS[name]
    for what, stated, expected in (("takes", scan.inputs, inputs), ("gives", scan.outputs, outputs)):
        _check_tensors(name, what, stated, _expected(name, expected, shapes))


def _expected(graph: str, names: Sequence[str], shapes: ContractShapes) -> dict[str, tuple[int, ...]]:
    """Tensor to shape without its batch dimension; the locator's ``frame`` is another than the step's."""
    found = {name: shapes.tensor_shape(name) for name in names}
    if graph == "locator" and "frame" in found:
        found["frame"] = shapes.locator_shape
    return found


def _check_tensors(
    graph: str, what: str, stated: Sequence[GraphTensor], expected: Mapping[str, tuple[int, ...]]
) -> None:
    if [tensor.name for tensor in stated] != list(expected):
        named = ", ".join(repr(tensor.name[:40]) for tensor in stated[:12])
        raise BundleError(f"holds a {graph} graph that {what} {named} and not {', '.join(expected)}")
    for tensor in stated:
        batch, *rest = tensor.shape or (0,)
        if tensor.element != FLOAT or not isinstance(batch, str) or tuple(rest) != expected[tensor.name]:
            raise BundleError(f"holds a {graph} graph that {what} {tensor.name} in another shape or type")


def _replace(path: Path, data: bytes) -> None:
    """Write beside the target, flush to disk, rename."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
