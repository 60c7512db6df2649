"""A bundle's signature: Ed25519 (RFC 8032) over what it says of itself and the manifest's exact bytes.

The manifest holds size and SHA-256 of every other entry, so the signature covers all of the bundle. It is an
entry of six fixed lines, read by one pattern, so that nothing of a bundle reaches a parser before its
signature was checked. Keys are PEM files, as ``openssl genpkey -algorithm ed25519`` makes them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lvedge.errors import TrustError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE = "signature"
"""Name of the entry."""

_LINES = re.compile(
    rb"(lvedge bundle signature 1\n"
    rb"key ([0-9a-f]{16})\n"
    rb"version ((?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){0,3})\n"
    rb"contract ([1-9][0-9]{0,8})\n)"
    rb"ed25519 ([0-9a-f]{128})\n"
)
_VERSION = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){0,3}", re.ASCII)

Version = tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """What a signature states; nothing of it is believed before ``is_made_by``.

    Args:
        key: id of the key that made it.
        version: the bundle's version.
        contract: the contract that its graphs keep.
        value: 64 bytes.
    """

    key: str
    version: str
    contract: int
    value: bytes

    @property
    def statement(self) -> bytes:
        """The lines that are signed together with the manifest."""
        return _statement(self.key, self.version, self.contract)

    @property
    def entry(self) -> bytes:
        """The signature as it stands in a bundle."""
        return self.statement + f"ed25519 {self.value.hex()}\n".encode("ascii")

    def is_made_by(self, public_key: bytes, manifest: bytes) -> bool:
        """Whether the holder of a key signed this statement with these bytes of a manifest.

        Args:
            public_key: 32 bytes.
            manifest: the manifest's exact bytes.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(self.value, self.statement + manifest)
        except InvalidSignature:
            return False
        return True


def read_signature(entry: bytes) -> Signature:
    """The signature that an entry states.

    Raises:
        TrustError: for anything but the fixed lines.
    """
    found = _LINES.fullmatch(entry)
    if found is None:
        raise TrustError("holds a signature that cannot be read: ask its maker to sign it again")
    _, key, version, contract, value = found.groups()
    return Signature(key.decode(), version.decode(), int(contract), bytes.fromhex(value.decode()))


def signature_of(manifest: bytes, version: str, contract: int, private_key: Ed25519PrivateKey) -> Signature:
    """Sign a manifest; equal arguments give equal bytes.

    Args:
        manifest: the manifest's exact bytes.
        version: the bundle's version, as the manifest states it.
        contract: likewise.
        private_key: from ``private_key_from_pem``.
    """
    key = key_id(private_key.public_key().public_bytes_raw())
    value = private_key.sign(_statement(key, version, contract) + manifest)
    return Signature(key, version, contract, value)


def key_id(public_key: bytes) -> str:
    """The first 16 hexadecimal digits of a key's SHA-256: what names it in signatures and lists."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def public_key_from_pem(data: bytes, origin: str) -> bytes:
    """The 32 bytes of an Ed25519 public key.

    Args:
        data: content of a PEM file.
        origin: its name, for messages.

    Raises:
        UsageError: if it is no such key, or a private one.
    """
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY" in data:
        raise UsageError(f"{origin} holds a private key: give the public one (openssl pkey -in KEY -pubout)")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UsageError(f"{origin} is no public key in PEM: make one with openssl pkey -pubout") from err
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{origin} is a key of another kind: lvedge takes Ed25519 only")
    return key.public_bytes_raw()


def private_key_from_pem(data: bytes, origin: str, password: bytes | None = None) -> Ed25519PrivateKey:
    """An Ed25519 private key.

    Args:
        data: content of a PEM file.
        origin: its name, for messages.
        password: of an encrypted file.

    Raises:
        UsageError: if it is no such key, or the password does not open it.
    """
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, password)
    except TypeError as err:
        needs = "needs a password" if password is None else "has no password"
        raise UsageError(f"the private key {origin} {needs}") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UsageError(f"{origin} is no private key in PEM, or its password is another") from err
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(
            f"{origin} is a key of another kind: make one with openssl genpkey -algorithm ed25519"
        )
    return key


def version_from_text(text: str) -> Version | None:
    """A version that can be compared, "1.10" above "1.9" and equal to "1.10.0"; None for another text."""
    if _VERSION.fullmatch(text) is None:
        return None
    numbers = [int(number) for number in text.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _need_cryptography() -> None:
    """One line where the package is missing: keys are read before anything is signed or verified."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError as err:
        raise UsageError(f"keys need the package cryptography ({err}): pip install cryptography") from err


def _statement(key: str, version: str, contract: int) -> bytes:
    lines = ("lvedge bundle signature 1", f"key {key}", f"version {version}", f"contract {contract}", "")
    return "\n".join(lines).encode("ascii")
