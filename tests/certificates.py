"""Certificates made on the spot, for peers that talk over TLS."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """Who signs certificates."""

    key: EllipticCurvePrivateKey
    certificate: x509.Certificate


def write_certificate(folder: Path, name: str, by: Authority | None = None) -> Authority:
    """``NAME.pem`` and ``NAME.key`` for 127.0.0.1, signed by an authority or by itself."""
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signer = by.key if by else key
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(plain)
    return Authority(key, certificate)


def write_certificates(folder: Path, *names: str) -> None:
    """``ca``, certificates of these names that it has signed, and ``stranger``, which signed itself."""
    authority = write_certificate(folder, "ca")
    for name in names:
        write_certificate(folder, name, authority)
    write_certificate(folder, "stranger")
