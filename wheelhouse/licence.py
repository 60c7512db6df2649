"""Holds the licences of packages against an allow-list; as a command, those of all that is installed here.

A package's licence is its SPDX expression, else what licences.toml says of it, else its classifiers. One that
states none of these is refused like one whose licence is not on the list.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import tomllib
from boolean.boolean import ParseError
from license_expression import ExpressionError, get_spdx_licensing

RULES = Path(__file__).with_name("licences.toml")
CLASSIFIER = "License :: "

SPDX = get_spdx_licensing()
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rules:
    """The allow-list.

    Args:
        allowed: SPDX identifiers that any package may have.
        beyond: package to identifiers that it alone may have.
        classifiers: classifier, without its first part, to SPDX expression.
        stated: package to SPDX expression, where its metadata say it in words only.
    """

    allowed: frozenset[str]
    beyond: Mapping[str, frozenset[str]]
    classifiers: Mapping[str, str]
    stated: Mapping[str, str]


def read_rules(path: Path = RULES) -> Rules:
    content = tomllib.loads(path.read_text("utf-8"))
    beyond = {name: frozenset(licences) for name, licences in content["beyond"].items()}
    return Rules(frozenset(content["allowed"]), beyond, content["classifiers"], content["stated"])


def licence_of(metadata: Message, rules: Rules) -> str | None:
    """A package's licence as an SPDX expression; None where it states none that is understood.

    Args:
        metadata: the core metadata of the package.
        rules: what is known of packages and classifiers.
    """
    expression = metadata["License-Expression"] or rules.stated.get(metadata["Name"].lower())
    if expression is None and _parsed(metadata["License"] or "") is not None:
        expression = metadata["License"]
    if expression is None:
        stated = [
            c.removeprefix(CLASSIFIER) for c in metadata.get_all("Classifier", []) if c.startswith(CLASSIFIER)
        ]
        known = [rules.classifiers.get(text) for text in stated]
        if known and None not in known:
            expression = " AND ".join(dict.fromkeys(text for text in known if text))
    return expression


def faults(packages: Iterable[Message], rules: Rules) -> Iterator[str]:
    """One line for each package whose licence is not on the list."""
    for metadata in packages:
        name, expression = metadata["Name"], licence_of(metadata, rules)
        package, allowed = (
            f"{name} {metadata['Version']}",
            rules.allowed | rules.beyond.get(name.lower(), NOTHING),
        )
        if expression is None:
            yield f"{package} states no licence that is understood: read it, and add it to {RULES.name}"
        elif not _is_allowed(_parsed(expression), allowed):
            yield f"{package} has the licence {expression}: not on the list of {RULES.name}"


def _parsed(expression: str) -> Any:
    """A parsed SPDX expression of known identifiers; None for another text."""
    if "\n" in expression:  # whole licences stand in the old field
        return None
    try:
        return SPDX.parse(expression, validate=True)
    except (ExpressionError, ParseError):
        return None


def _is_allowed(node: Any, allowed: frozenset[str]) -> bool:
    """Whether a licence is allowed: all parts of an AND, one part of an OR."""
    if isinstance(node, SPDX.AND):
        return all(_is_allowed(part, allowed) for part in node.args)
    if isinstance(node, SPDX.OR):
        return any(_is_allowed(part, allowed) for part in node.args)
    return str(node) in allowed


def main() -> str | None:
    packages = [distribution.metadata for distribution in distributions()]
    found = sorted(faults(packages, read_rules()))  # type: ignore[arg-type]
    sys.stdout.write(f"licences of {len(packages)} installed packages: {len(found)} not allowed\n")
    return "\n".join(found) or None


if __name__ == "__main__":
    sys.exit(main())
