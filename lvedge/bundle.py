"""The bundle: one file with the three graphs, in FP32 or in FP16 too, and the manifest that tells of them.

A bundle is read once into memory and checked whole; the bytes that were checked are the bytes that go to an
engine, never a path. What the manifest does not name is refused, and so is a graph that would read other
files, use operators from outside the ONNX standard, or take and give anything but the contract's tensors.

The hashes tell damage and mix-ups. Whoever can rewrite a whole bundle can rewrite its hashes too: therefore
the signature (``lvedge.signature``), and the rules that say whose is taken (``lvedge.trust``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvedge.archive import MOST_BYTES, archive_bytes, entries_from_archive
from lvedge.contract import CONTRACT_VERSION, ContractShapes
from lvedge.disk import write_whole
from lvedge.errors import BundleError, TrustError
from lvedge.graph import GRAPHS, PRECISIONS, check_graph, graph_file
from lvedge.indices import IndexLayout
from lvedge.manifest import check_statements, json_object
from lvedge.signature import SIGNATURE, Signature, read_signature, signature_of
from lvedge.store import Store
from lvedge.trust import NO_RULES, Trust, trust_from_settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT_VERSION = 1
DEFAULT_PATH = Path(__file__).resolve().parent / "weights" / "default.lvedge"
"""The bundle that ships; absent from a build without weights."""
CHECKSUM = "default.lvedge.sha256"
"""Beside it, its SHA-256 as ``sha256sum`` writes it: the one unsigned bundle that is taken unasked."""

MANIFEST, LICENCE, MODEL_CARD = "manifest.json", "LICENSE", "model-card.md"
ENTRIES = (*(graph_file(name) for name in GRAPHS), LICENCE, MODEL_CARD)
"""What a bundle holds beside its manifest and its signature, all of it and in this order."""
HALF_ENTRIES = tuple(graph_file(name, "fp16") for name in GRAPHS)
"""What may follow: the same graphs typed in FP16, for engines that gain by it; all of them or none."""

_LARGEST_SIZE = 4096
_LARGEST_MM = 100.0


@dataclass(frozen=True)
class Bundle:
    """A checked bundle, in memory.

    Args:
        manifest: everything that the bundle says of itself; not to be changed.
        shapes: sizes of every tensor.
        sha256: of the whole file.
        origin: where it was read from, for messages.
        entries: name to bytes of everything but the manifest and the signature; not to be changed.
        manifest_bytes: the manifest as it stands in the file.
        signature: what the bundle states; who opened it without rules has not checked it.
    """

    manifest: Mapping[str, Any]
    shapes: ContractShapes
    sha256: str
    origin: str
    entries: Mapping[str, bytes]
    manifest_bytes: bytes = b""
    signature: Signature | None = None

    def graph(self, name: str, precision: str = "fp32") -> bytes:
        """The checked ONNX bytes of "step", "replay" or "locator", in one of ``precisions``."""
        return self.entries[graph_file(name, precision)]

    @property
    def precisions(self) -> tuple[str, ...]:
        """What all graphs are there in, FP32 first."""
        return tuple(p for p in PRECISIONS if all(graph_file(name, p) in self.entries for name in GRAPHS))

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


def open_bundle(path: Path | None = None, trust: Trust | None = None) -> Bundle:
    """Read a bundle, check all of it, and hold it against the rules of this machine.

    Args:
        path: the file; None for the one that was installed, else the one that ships with lvedge.
        trust: other rules than those that are configured.

    Raises:
        BundleError: if there is none, or it is altered, incomplete, foreign, or for another version.
        TrustError: if it is not taken here.
        StoreError: if the installed one cannot be read.
        UsageError: if the configured rules cannot be understood.
    """
    rules = trust_from_settings() if trust is None else trust
    if path is None:
        return bundle_store(rules).current()
    return bundle_from_bytes(read_bundle_file(path), str(path), rules)


def bundle_store(trust: Trust) -> Store[Bundle]:
    """What was installed in place of the bundle that ships; it is taken only while a key is trusted."""

    def read(path: Path | None) -> Bundle:
        if path is None:
            return _shipped(trust)
        if not trust.keys:
            raise TrustError(
                f"the installed bundle {path} is not taken while no key is trusted: trust its maker's key,"
                " or go back with lvedge-bundle rollback"
            )
        return bundle_from_bytes(read_bundle_file(path), str(path), trust)

    return Store("bundle", "bundle", ".lvedge", "lvedge-bundle", read)


def read_bundle_file(path: Path) -> bytes:
    """The bytes of a file that is not too large for a bundle; nothing else is known of them.

    Raises:
        BundleError: if there is none, or it is too large or cannot be read.
    """
    try:
        if not path.is_file():
            raise BundleError(f"there is no bundle at {path}: name a file made by lvedge-export bundle")
        if path.stat().st_size > MOST_BYTES:
            raise BundleError(f"{path} is larger than the {MOST_BYTES >> 20} MB that a bundle may have")
        return path.read_bytes()
    except OSError as err:
        raise BundleError(f"the bundle {path} cannot be read: {err.strerror or err}") from err


def bundle_from_bytes(data: bytes, origin: str = "in memory", trust: Trust = NO_RULES) -> Bundle:
    """The bundle that a file's bytes are, checked whole; its signature first, before anything is parsed.

    Args:
        data: the file's bytes.
        origin: where they come from, for messages.
        trust: the rules that it is held against; by default only its soundness is checked.

    Raises:
        BundleError: as for ``open_bundle``.
        TrustError: likewise.
    """
    return _checked(data, hashlib.sha256(data).hexdigest(), origin, trust)


def _checked(data: bytes, sha256: str, origin: str, trust: Trust) -> Bundle:
    """As ``bundle_from_bytes``, for bytes whose hash is known."""
    try:
        trust.check_file(sha256)
        entries = entries_from_archive(data)
        stated = entries.pop(SIGNATURE, None)
        signature = None if stated is None else read_signature(stated)
        manifest_bytes = entries.get(MANIFEST, b"")
        if sha256 != shipped_sha256():
            trust.check_signature(signature, manifest_bytes)
        manifest = _manifest(entries)
        _check_statement(signature, manifest)
        trust.check_version(manifest["version"])
        shapes = shapes_from_manifest(manifest["shapes"])
        del entries[MANIFEST]
        for precision in PRECISIONS:
            for name in GRAPHS:
                if graph_file(name, precision) in entries:
                    check_graph(name, entries[graph_file(name, precision)], shapes)
    except TrustError as err:
        raise TrustError(f"the bundle {origin} {err}") from err
    except BundleError as err:
        raise BundleError(f"the bundle {origin} {err}; get it again or make one with lvedge-export") from err
    return Bundle(manifest, shapes, sha256, origin, entries, manifest_bytes, signature)


def shipped_sha256() -> str:
    """SHA-256 of the bundle that ships; empty in a build without weights."""
    try:
        return DEFAULT_PATH.with_name(CHECKSUM).read_text("ascii").partition(" ")[0]
    except OSError:
        return ""


def _shipped(trust: Trust) -> Bundle:
    if not DEFAULT_PATH.is_file():
        raise BundleError("this build of lvedge ships no weights: name a bundle with --bundle")
    data = read_bundle_file(DEFAULT_PATH)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != shipped_sha256():
        raise BundleError(
            f"{DEFAULT_PATH} is not the bundle that this lvedge was built with: install lvedge again"
        )
    return _checked(data, sha256, str(DEFAULT_PATH), trust)


def sign_bundle(bundle: Bundle, private_key: Ed25519PrivateKey, path: Path) -> Bundle:
    """Write a bundle with its signature, whole or not at all; a signature that it has is replaced.

    Args:
        bundle: a checked one.
        private_key: its maker's, from ``lvedge.signature.private_key_from_pem``.
        path: where it goes; a bundle there is replaced.

    Raises:
        BundleError: if it cannot be written.
    """
    signature = signature_of(bundle.manifest_bytes, bundle.version, CONTRACT_VERSION, private_key)
    return _written(path, {MANIFEST: bundle.manifest_bytes, SIGNATURE: signature.entry, **bundle.entries})


def write_bundle(
    path: Path,
    *,
    shapes: ContractShapes,
    graphs: Mapping[str, bytes],
    about: Mapping[str, Any],
    licence: str,
    model_card: str,
    half: Mapping[str, bytes] | None = None,
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
        half: the same three graphs typed in FP16; None to leave them out.

    Returns:
        The bundle as a reader sees it.

    Raises:
        BundleError: if a reader would refuse it, or it cannot be written.
    """
    content = {graph_file(name): graphs[name] for name in GRAPHS}
    content |= {LICENCE: licence.encode("utf-8"), MODEL_CARD: model_card.encode("utf-8")}
    content |= {} if half is None else {graph_file(name, "fp16"): half[name] for name in GRAPHS}
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
    return _written(path, {MANIFEST: f"{text}\n".encode(), **content})


def _written(path: Path, entries: Mapping[str, bytes]) -> Bundle:
    """Write an archive as a bundle, if a reader would take it."""
    data = archive_bytes(entries)
    bundle = bundle_from_bytes(data, str(path))
    try:
        write_whole(path, data)
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
    expected = (*ENTRIES, *HALF_ENTRIES) if any(name in entries for name in HALF_ENTRIES) else ENTRIES
    unknown = [name for name in entries if name not in (MANIFEST, *expected)]
    missing = [name for name in (MANIFEST, *expected) if name not in entries]
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"holds {', '.join(unknown)}, which none may"
        raise BundleError(what)
    manifest = json_object(entries[MANIFEST])
    for what, version, ours in (
        ("format", manifest.get("format"), FORMAT_VERSION),
        ("contract", manifest.get("contract"), CONTRACT_VERSION),
    ):
        if version != ours or isinstance(version, bool):
            raise BundleError(f"is of {what} {version!r}, this lvedge takes {ours}: update the older of both")
    check_statements(manifest)
    if set(manifest["entries"]) != set(expected):
        raise BundleError("names other entries in its manifest than it holds")
    for name in expected:
        if manifest["entries"][name] != _fingerprint(entries[name]):
            raise BundleError(f"is altered: {name} is not what the manifest says")
    for name in (LICENCE, MODEL_CARD):
        try:
            entries[name].decode("utf-8")
        except UnicodeDecodeError as err:
            raise BundleError(f"holds {name}, which is no text") from err
    return manifest


def _check_statement(signature: Signature | None, manifest: Mapping[str, Any]) -> None:
    """Refuse a signature that names another version or contract than the manifest."""
    stated = (manifest["version"], manifest["contract"])
    if signature is not None and (signature.version, signature.contract) != stated:
        raise BundleError("is altered: its signature names another version or contract than its manifest")


def _fingerprint(entry: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(entry).hexdigest(), "size": len(entry)}
