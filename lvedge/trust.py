"""Whose bundles are taken: trusted keys, what was revoked, the lowest version; configured in one folder.

    /etc/lvedge/trust/          or the folder that $LVEDGE_TRUST names
        NAME.pem                a trusted Ed25519 public key each
        revoked                 a key's id or a bundle's SHA-256 a line; what follows a "#" is a comment
        lowest-version          a version, as 2 or 1.4

Without a trusted key only the bundle that ships and one that the user names are taken. With one, every bundle
but the one that ships has to be signed by a trusted key. What is revoked or too old is refused in any case.
A folder that cannot be understood refuses everything: a slip must not open what it was meant to close.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lvedge.errors import TrustError, UsageError
from lvedge.signature import Signature, Version, key_id, public_key_from_pem, version_from_text

TRUST_VARIABLE = "LVEDGE_TRUST"
DEFAULT_FOLDER = Path("/etc/lvedge/trust")
KEY_SUFFIX, REVOKED, LOWEST_VERSION = ".pem", "revoked", "lowest-version"

_ID = re.compile("[0-9a-f]{16}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Trust:
    """The rules that a bundle is held against.

    Args:
        keys: id to the 32 bytes of each trusted key; a revoked one stays among them and opens nothing.
        revoked: ids of keys and SHA-256 of bundles that are no longer taken.
        lowest: the lowest accepted version; None where none is set.
    """

    keys: Mapping[str, bytes] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()
    lowest: Version | None = None

    def check_file(self, sha256: str) -> None:
        """Refuse a revoked bundle.

        Raises:
            TrustError: if it is revoked.
        """
        if sha256 in self.revoked:
            raise TrustError(f"was revoked (SHA-256 {sha256}): get a newer one")

    def check_signature(self, signature: Signature | None, manifest: bytes) -> None:
        """Refuse what no trusted key signed; without a trusted key, only what a revoked one did.

        Args:
            signature: what the bundle states; None for an unsigned one.
            manifest: the manifest's exact bytes.

        Raises:
            TrustError: if it is unsigned, or signed by another key, a revoked one, or not with these bytes.
        """
        if signature is not None and signature.key in self.revoked:
            raise TrustError(f"is signed by the key {signature.key}, which was revoked: get one signed anew")
        if not self.keys:
            return
        if signature is None:
            raise TrustError("is not signed, and only trusted keys' bundles are taken here: get a signed one")
        if signature.key not in self.keys:
            known = " or ".join(sorted(self.keys.keys() - self.revoked)) or "a key that is"
            raise TrustError(
                f"is signed by the key {signature.key}, which is not trusted here: get one signed by {known},"
                " or trust its maker's key"
            )
        if not signature.is_made_by(self.keys[signature.key], manifest):
            raise TrustError("is altered: its signature does not fit its manifest; get it again")

    def check_version(self, version: str) -> None:
        """Refuse what is older than the lowest accepted version.

        Raises:
            TrustError: if it is older.
        """
        stated = version_from_text(version)
        if self.lowest is not None and (stated is None or stated < self.lowest):
            lowest = ".".join(map(str, self.lowest))
            raise TrustError(
                f"is of version {version}, older than {lowest}, the lowest taken here: get a newer one"
            )


NO_RULES = Trust()


def trust_from_settings() -> Trust:
    """The rules of this machine.

    Raises:
        UsageError: if the configuration cannot be understood.
    """
    folder = trust_folder()
    return NO_RULES if folder is None else trust_from_folder(folder)


def trust_folder() -> Path | None:
    """Where the rules of this machine stand; None where there are none."""
    named = os.environ.get(TRUST_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_FOLDER if DEFAULT_FOLDER.exists() else None


def trust_from_folder(folder: Path) -> Trust:
    """The rules that a folder states.

    Raises:
        UsageError: if it cannot be read, or holds anything else than such rules.
    """
    keys: dict[str, bytes] = {}
    revoked: frozenset[str] = frozenset()
    lowest: Version | None = None
    try:
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.name.endswith("~"):  # of editors and file systems
                continue
            if path.suffix == KEY_SUFFIX:
                key = public_key_from_pem(path.read_bytes(), str(path))
                keys[key_id(key)] = key
            elif path.name == REVOKED:
                revoked = frozenset(_ids(path))
            elif path.name == LOWEST_VERSION:
                lowest = _lowest(path)
            else:
                raise UsageError(
                    f"{path} is no trusted key: keys are named *{KEY_SUFFIX},"
                    f" beside them stand only {REVOKED} and {LOWEST_VERSION}"
                )
    except OSError as err:
        raise UsageError(f"the trusted keys in {folder} cannot be read: {err.strerror or err}") from err
    return Trust(keys, revoked, lowest)


def _ids(path: Path) -> list[str]:
    """The ids in a list, comments taken away."""
    stated = [line.partition("#")[0].strip().lower() for line in _text(path).splitlines()]
    for word in stated:
        if word and not _ID.fullmatch(word):
            raise UsageError(f"{path}: {word[:80]!r} is neither a key's id nor a bundle's SHA-256")
    return [word for word in stated if word]


def _lowest(path: Path) -> Version:
    text = _text(path).strip()
    version = version_from_text(text)
    if version is None:
        raise UsageError(f"{path}: {text[:80]!r} is no version: write numbers with dots, as 2 or 1.4")
    return version


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as err:
        raise UsageError(f"{path} is no text") from err
