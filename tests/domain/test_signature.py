"""Signatures and trust: what no trusted key signed, byte for byte, is refused before it is parsed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from signing import Maker, trusting, write_signed, write_tiny, write_trust
from tiny_bundle import ABOUT

from lvedge import bundle, graph, manifest
from lvedge.archive import archive_bytes, entries_from_archive
from lvedge.bundle import MANIFEST, SIGNATURE, Bundle, bundle_from_bytes, open_bundle
from lvedge.errors import BundleError, LvedgeError, TrustError, UsageError
from lvedge.signature import (
    Signature,
    private_key_from_pem,
    public_key_from_pem,
    read_signature,
    signature_of,
    version_from_text,
)
from lvedge.trust import NO_RULES, Trust, trust_from_folder, trust_from_settings

MAKER, OTHER = Maker(), Maker()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_signed(tmp_path_factory.mktemp("signed") / "tiny.lvedge", MAKER)


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("unsigned") / "tiny.lvedge"
    write_tiny(path)
    return path.read_bytes()


@pytest.fixture
def nothing_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal comes before the manifest is read as JSON and a graph as ONNX."""

    def parse(*_: object) -> None:
        raise AssertionError("parsed before it was trusted")

    monkeypatch.setattr(manifest.json, "loads", parse)
    monkeypatch.setattr(graph, "scan_graph", parse)


def opened(data: bytes, trust: Trust = NO_RULES) -> Bundle:
    return bundle_from_bytes(data, "tiny.lvedge", trust)


def refusal(data: bytes, trust: Trust, kind: type[LvedgeError] = TrustError) -> str:
    with pytest.raises(kind) as caught:
        opened(data, trust)
    message = str(caught.value)
    assert message.startswith("the bundle tiny.lvedge ")
    assert message.isprintable()
    return message


def with_signature(data: bytes, signature: bytes) -> bytes:
    return archive_bytes({**entries_from_archive(data), SIGNATURE: signature})


# --- a signature ---------------------------------------------------------------------------------------


def test_a_signed_bundle_is_the_same_bundle(signed: bytes, unsigned: bytes):
    found, plain = opened(signed, trusting(MAKER)), opened(unsigned)
    assert (found.manifest, found.entries) == (plain.manifest, plain.entries)
    assert plain.signature is None
    assert found.signature is not None
    stated = found.signature
    assert (stated.key, stated.version, stated.contract) == (MAKER.key, "7", 1)
    assert stated.entry == entries_from_archive(signed)[SIGNATURE]


def test_the_signature_covers_the_statement_and_the_manifest_and_nothing_else_is_signed(signed: bytes):
    entries = entries_from_archive(signed)
    head = f"lvedge bundle signature 1\nkey {MAKER.key}\nversion 7\ncontract 1\n".encode()
    value = MAKER.private.sign(head + entries[MANIFEST])
    assert entries[SIGNATURE] == head + f"ed25519 {value.hex()}\n".encode()
    assert MAKER.key == hashlib.sha256(MAKER.public).hexdigest()[:16]


def test_the_same_key_signs_to_the_same_bytes(tmp_path: Path, signed: bytes):
    assert write_signed(tmp_path / "again.lvedge", MAKER) == signed


def test_every_flipped_byte_of_a_signed_bundle_is_refused(signed: bytes):
    trust = trusting(MAKER)
    entries = entries_from_archive(signed)
    places = set(range(0, len(signed), 37)) | set(range(len(signed) - 700, len(signed)))
    for entry in (entries[MANIFEST], entries[SIGNATURE], entries["step.onnx"], entries["model-card.md"]):
        start = signed.index(entry)
        places |= set(range(start, start + len(entry), 5 if len(entry) > 300 else 1))
    for place in sorted(places):
        for bit in (0, 7):
            damaged = bytearray(signed)
            damaged[place] ^= 1 << bit
            with pytest.raises(BundleError):
                opened(bytes(damaged), trust)


@pytest.mark.usefixtures("nothing_is_parsed")
def test_every_flipped_bit_of_manifest_and_signature_is_refused_unparsed(signed: bytes):
    """Repacked, so that the archive is sound and only the signature can tell."""
    entries, trust = entries_from_archive(signed), trusting(MAKER)
    for name in (MANIFEST, SIGNATURE):
        for place in range(len(entries[name])):
            changed = bytearray(entries[name])
            changed[place] ^= 1 << place % 8
            refusal(archive_bytes({**entries, name: bytes(changed)}), trust)


def test_an_entry_that_was_exchanged_is_refused(signed: bytes):
    entries = {**entries_from_archive(signed), "model-card.md": b"# Best of all\n"}
    assert "model-card.md is not what" in refusal(archive_bytes(entries), trusting(MAKER), BundleError)


def test_a_manifest_that_was_made_to_fit_another_entry_is_refused(signed: bytes):
    entries = {**entries_from_archive(signed), "model-card.md": b"# Best of all\n"}
    stated = json.loads(entries[MANIFEST])
    stated["entries"]["model-card.md"] = bundle._fingerprint(entries["model-card.md"])
    entries[MANIFEST] = json.dumps(stated).encode()
    assert opened(archive_bytes(entries)).model_card == "# Best of all\n"
    assert "its signature does not fit" in refusal(archive_bytes(entries), trusting(MAKER))


@pytest.mark.parametrize("line", ["version 8", "contract 2"])
def test_a_signature_of_another_version_or_contract_is_refused(signed: bytes, line: str):
    """Even where its maker signed just that."""
    version, contract = ("8", 1) if line.startswith("version") else ("7", 2)
    manifest_bytes = entries_from_archive(signed)[MANIFEST]
    wrong = signature_of(manifest_bytes, version, contract, MAKER.private)
    assert line.encode() in wrong.entry
    assert "another version or contract" in refusal(
        with_signature(signed, wrong.entry), trusting(MAKER), BundleError
    )


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b"\n", b"\r\n"),
        (b"signature 1", b"signature 2"),
        (b"version 7", b"version 07"),
        (b"version 7", b"version 7.x"),
        (b"version 7", b"version 7\nversion 7"),
        (b"ed25519", b"none"),
        (b"ed25519 ", b"ed25519 0"),
        (b"lvedge", b"\xff" * 1000),
        (b"lvedge", b"LVEDGE"),
    ],
)
def test_a_signature_in_another_form_is_refused(signed: bytes, part: bytes, instead: bytes):
    text = entries_from_archive(signed)[SIGNATURE]
    for other in (text.replace(part, instead), b"", text[:-1], text + b"\n"):
        for trust in (trusting(MAKER), NO_RULES):
            assert "signature that cannot be read" in refusal(with_signature(signed, other), trust)


def test_what_a_signature_states_is_read_back():
    stated = Signature("0123456789abcdef", "1.20", 3, bytes(range(64)))
    assert read_signature(stated.entry) == stated


@pytest.mark.parametrize(
    ("lower", "higher"), [("1", "2"), ("9", "10"), ("1.9", "1.10"), ("1", "1.0.1"), ("0", "0.0.1")]
)
def test_versions_are_compared_as_numbers(lower: str, higher: str):
    low, high = version_from_text(lower), version_from_text(higher)
    assert low is not None
    assert high is not None
    assert low < high


def test_equal_versions_and_texts_that_are_none():
    assert version_from_text("1.10.0") == version_from_text("1.10")
    for text in ("", "1.", ".1", "v1", "1.2.3.4.5", "01", "1 ", "1\n", "١", "-1", "1" * 11):
        assert version_from_text(text) is None


# --- trust ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_is_parsed")
def test_unsigned_and_foreign_bundles_are_refused_unparsed_where_a_key_is_trusted(
    signed: bytes, unsigned: bytes
):
    assert "is not signed" in refusal(unsigned, trusting(MAKER))
    words = refusal(signed, trusting(OTHER))
    assert f"key {MAKER.key}, which is not trusted here: get one signed by {OTHER.key}" in words


@pytest.mark.usefixtures("nothing_is_parsed")
def test_a_signature_under_a_trusted_name_is_refused(signed: bytes):
    entries = entries_from_archive(signed)
    made = signature_of(entries[MANIFEST], "7", 1, OTHER.private)
    forged = Signature(MAKER.key, "7", 1, made.value)
    assert "does not fit" in refusal(with_signature(signed, forged.entry), trusting(MAKER, OTHER))


def test_without_a_trusted_key_a_named_bundle_is_taken_signed_or_not(signed: bytes, unsigned: bytes):
    assert opened(signed).version == opened(unsigned).version == "7"


def test_keys_rotate(tmp_path: Path, signed: bytes):
    """Old and new trusted; all signed anew; the old one revoked."""
    renewed = write_signed(tmp_path / "new.lvedge", OTHER)
    both = trusting(MAKER, OTHER)
    assert opened(signed, both).signature != opened(renewed, both).signature
    after = trusting(MAKER, OTHER, revoked=frozenset({MAKER.key}))
    assert opened(renewed, after).version == "7"
    assert f"by the key {MAKER.key}, which was revoked" in refusal(signed, after)


def test_a_revoked_key_is_refused_without_any_trusted_one(signed: bytes):
    assert "which was revoked" in refusal(signed, Trust(revoked=frozenset({MAKER.key})))


def test_revoking_the_only_key_opens_nothing(signed: bytes, unsigned: bytes):
    trust = trusting(MAKER, revoked=frozenset({MAKER.key}))
    assert "which was revoked" in refusal(signed, trust)
    assert "is not signed" in refusal(unsigned, trust)


def test_a_revoked_bundle_is_refused(signed: bytes, unsigned: bytes):
    for data in (signed, unsigned):
        sha256 = hashlib.sha256(data).hexdigest()
        assert f"was revoked (SHA-256 {sha256})" in refusal(
            data, trusting(MAKER, revoked=frozenset({sha256}))
        )


def test_a_bundle_below_the_lowest_version_is_refused(signed: bytes, unsigned: bytes):
    for data, trust in ((signed, trusting(MAKER, lowest=(7, 0, 1))), (unsigned, Trust(lowest=(8,)))):
        assert "is of version 7, older than" in refusal(data, trust)
    assert opened(signed, trusting(MAKER, lowest=(7,))).version == "7"


def test_the_bundle_that_ships_needs_no_signature_but_not_its_like(bundle: Bundle, tmp_path: Path):
    shipped = Path(bundle.origin).read_bytes()
    assert opened(shipped, trusting(MAKER)).sha256 == bundle.sha256
    write_tiny(tmp_path / "default.lvedge", bundle.version, bundle.name)
    assert "is not signed" in refusal((tmp_path / "default.lvedge").read_bytes(), trusting(MAKER))
    assert "was revoked" in refusal(shipped, Trust(revoked=frozenset({bundle.sha256})))
    assert "older than 2" in refusal(shipped, Trust(lowest=(2,)))


def test_the_bundle_that_ships_is_known_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_tiny(tmp_path / "default.lvedge")
    monkeypatch.setattr(bundle, "DEFAULT_PATH", tmp_path / "default.lvedge")
    with pytest.raises(
        BundleError, match="not the bundle that this lvedge was built with: install lvedge again"
    ):
        open_bundle()
    sha256 = hashlib.sha256((tmp_path / "default.lvedge").read_bytes()).hexdigest()
    (tmp_path / bundle.CHECKSUM).write_text(f"{sha256}  default.lvedge\n")
    assert open_bundle().sha256 == sha256
    assert open_bundle(trust=trusting(MAKER)).sha256 == sha256


# --- the configuration ----------------------------------------------------------------------------------


def test_rules_are_read_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listed = f"# lost in May\n{OTHER.key}  # the old laptop\n\n{'AB' * 32}\n"
    folder = write_trust(tmp_path / "trust", MAKER, OTHER, revoked=listed, lowest="1.10\n")
    (folder / ".gitignore").write_text("*")
    (folder / "revoked~").write_text("an editor's")
    expected = trusting(MAKER, OTHER, revoked=frozenset({OTHER.key, "ab" * 32}), lowest=(1, 10))
    assert trust_from_folder(folder) == expected
    monkeypatch.setenv("LVEDGE_TRUST", str(folder))
    assert trust_from_settings() == expected


def test_without_configuration_nothing_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LVEDGE_TRUST")
    monkeypatch.setattr("lvedge.trust.DEFAULT_FOLDER", tmp_path / "none")
    assert trust_from_settings() == NO_RULES
    write_trust(tmp_path / "none", MAKER)
    assert trust_from_settings() == trusting(MAKER)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("maker.pub", MAKER.public_pem, "is no trusted key: keys are named *.pem"),
        ("maker.pem", MAKER.private_pem(), "holds a private key"),
        ("maker.pem", b"ssh-ed25519 AAAA", "is no public key in PEM"),
        ("maker.pem", b"", "is no public key in PEM"),
        (
            "maker.pem",
            Ed448PrivateKey.generate()
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "is a key of another kind",
        ),
        ("revoked", b"everybody", "'everybody' is neither a key's id"),
        ("revoked", b"\xff", "is no text"),
        ("lowest-version", b"newest", "'newest' is no version"),
        ("lowest-version", b"", "'' is no version"),
    ],
)
def test_a_configuration_that_cannot_be_understood_refuses_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, words: str
):
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("LVEDGE_TRUST", str(tmp_path))
    for path in (None, tmp_path / "any.lvedge"):
        with pytest.raises(UsageError) as caught:
            open_bundle(path)
        assert words in str(caught.value)


def test_a_configuration_that_is_named_and_not_there_refuses_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("LVEDGE_TRUST", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="gone cannot be read: No such file"):
        open_bundle()


def test_a_key_that_cannot_be_used_for_want_of_a_package_refuses_everything(tmp_path: Path, monkeypatch):
    write_trust(tmp_path / "trust", MAKER)
    monkeypatch.setenv("LVEDGE_TRUST", str(tmp_path / "trust"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UsageError, match=r"keys need the package cryptography .*: pip install cryptography"):
        open_bundle()


def test_without_a_trusted_key_no_cryptography_is_imported(bundle: Bundle):
    code = "import sys, lvedge.bundle as b; b.open_bundle(); sys.exit('cryptography' in sys.modules)"
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": paths})


# --- key files --------------------------------------------------------------------------------------------


def test_private_keys_are_read_with_and_without_a_password():
    for password in (None, b"secret"):
        key = private_key_from_pem(MAKER.private_pem(password), "maker.pem", password)
        assert key.public_key().public_bytes_raw() == MAKER.public


@pytest.mark.parametrize(
    ("data", "password", "words"),
    [
        (MAKER.private_pem(b"secret"), b"wrong", "its password is another"),
        (MAKER.private_pem(b"secret"), None, "needs a password"),
        (MAKER.private_pem(), b"secret", "has no password"),
        (MAKER.public_pem, None, "is no private key in PEM"),
        (b"nothing", None, "is no private key in PEM"),
    ],
)
def test_private_keys_that_cannot_be_used_are_told(data: bytes, password: bytes | None, words: str):
    with pytest.raises(UsageError) as caught:
        private_key_from_pem(data, "maker.pem", password)
    assert words in str(caught.value)


def test_the_public_key_of_the_standard_is_read():
    """RFC 8410, section 10.1."""
    line = b"MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
    pem = b"-----BEGIN PUBLIC KEY-----\n" + line + b"\n-----END PUBLIC KEY-----\n"
    expected = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
    assert public_key_from_pem(pem, "rfc8410.pem").hex() == expected


def test_a_bundle_that_is_signed_again_has_the_new_signature_alone(tmp_path: Path, signed: bytes):
    path = tmp_path / "tiny.lvedge"
    path.write_bytes(signed)
    again = bundle.sign_bundle(opened(signed), OTHER.private, path)
    assert again.signature is not None
    assert again.signature.key == OTHER.key
    assert opened(path.read_bytes(), trusting(OTHER)).manifest["name"] == ABOUT["name"]
