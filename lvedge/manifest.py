"""What a manifest has to be before it is used: strict JSON that states what a reader relies on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lvedge.errors import BundleError
from lvedge.signature import version_from_text

MOST_MANIFEST_BYTES = 1024 * 1024

_TEXTS = ("name", "version", "created", "modality")
_OBJECTS = ("view", "locator", "licence", "training", "accuracy", "quality", "versions", "checkpoint")
_LONGEST_LINE = 300


def json_object(data: bytes) -> dict[str, Any]:
    """Strict JSON: one object, no key twice, no NaN, no endless nesting.

    Raises:
        BundleError: for anything else.
    """

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


def check_statements(manifest: Mapping[str, Any]) -> None:
    """Refuse a manifest that leaves out what a reader relies on.

    Raises:
        BundleError: if something is missing, or is no single line or no object where it has to be.
    """
    for name in _TEXTS:
        if not _is_line(manifest.get(name)):
            raise BundleError(f"does not state its {name} in one line")
    if version_from_text(manifest["version"]) is None:
        raise BundleError("does not state its version as numbers with dots, such as 2 or 1.4")
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
