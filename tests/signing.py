"""Keys made on the spot, tiny bundles signed with them, and a folder of trust rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tiny_bundle import ABOUT, SHAPES, tiny_graphs

from lvedge.bundle import Bundle, sign_bundle, write_bundle
from lvedge.signature import key_id
from lvedge.trust import Trust


@dataclass(frozen=True)
class Maker:
    """Somebody who signs bundles."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def key(self) -> str:
        return key_id(self.public)

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def private_pem(self, password: bytes | None = None) -> bytes:
        encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def trusting(*makers: Maker, **rules: object) -> Trust:
    return Trust({maker.key: maker.public for maker in makers}, **rules)  # type: ignore[arg-type]


def write_tiny(
    path: Path,
    version: str = "7",
    name: str = "tiny",
    card: str = "# Tiny\n",
    half: Mapping[str, bytes] | None = None,
) -> Bundle:
    """An unsigned bundle."""
    return write_bundle(
        path,
        shapes=SHAPES,
        graphs=tiny_graphs(),
        about={**ABOUT, "version": version, "name": name},
        licence="CC0.\n",
        model_card=card,
        half=half,
    )


def write_signed(path: Path, maker: Maker, version: str = "7", name: str = "tiny") -> bytes:
    """A signed bundle's bytes, which also lie at the path."""
    sign_bundle(write_tiny(path, version, name), maker.private, path)
    return path.read_bytes()


def write_trust(folder: Path, *makers: Maker, revoked: str = "", lowest: str = "") -> Path:
    """The configuration of a machine."""
    folder.mkdir(exist_ok=True)
    for maker in makers:
        (folder / f"{maker.key}.pem").write_bytes(maker.public_pem)
    for name, text in (("revoked", revoked), ("lowest-version", lowest)):
        if text:
            (folder / name).write_text(text)
    return folder
