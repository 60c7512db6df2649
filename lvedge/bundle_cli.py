"""The command ``lvedge-bundle``: makes, signs, verifies, shows, installs and rolls back bundles."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvedge.bundle import (
    ENTRIES,
    HALF_ENTRIES,
    LICENCE,
    MODEL_CARD,
    Bundle,
    bundle_from_bytes,
    bundle_store,
    open_bundle,
    read_bundle_file,
    shapes_from_manifest,
    shipped_sha256,
    sign_bundle,
    write_bundle,
)
from lvedge.disk import write_whole
from lvedge.errors import BundleError, LvedgeError, TrustError, UsageError
from lvedge.graph import GRAPHS, graph_file
from lvedge.manifest import json_object
from lvedge.signature import key_id, private_key_from_pem, public_key_from_pem, version_from_text
from lvedge.trust import Trust, trust_from_settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OK, FAILED = 0, 2
ABOUT = "about.json"
"""In a folder that ``make`` packs: what the manifest says beside the entries' hashes."""

_FROM_CONTENT = ("format", "contract", "entries")
"""Keys of the manifest that follow from what is packed."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: the arguments without the command's name; those of the process by default.

    Returns:
        0 when it was done; 2 on wrong usage, or when a bundle is refused, with one line on standard error.
    """
    try:
        options = build_parser().parse_args(args)
    except SystemExit as leave:
        return int(leave.code or 0)
    try:
        options.run_command(options)
    except LvedgeError as err:
        sys.stderr.write(f"lvedge-bundle: {err}\n")
        return FAILED
    return OK


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="lvedge-bundle",
        description="Makes, signs, verifies, shows, installs and rolls back bundles.",
        epilog="Trusted keys stand in /etc/lvedge/trust, or in the folder that $LVEDGE_TRUST names; "
        "exit codes: 0 done; 2 refused, or wrong usage.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    make = commands.add_parser("make", help="pack a folder as a bundle")
    make.add_argument(
        "folder", type=Path, metavar="DIR", help=f"with {', '.join(_files())}, as show --unpack writes them"
    )
    make.add_argument("--out", type=Path, required=True, metavar="FILE", help="the bundle to write")
    for name, what in (("quality", "quality model"), ("accuracy", "measured accuracy")):
        make.add_argument(f"--{name}", type=Path, metavar="JSON", help=f"a {what} in place of the folder's")
    make.add_argument("--card", type=Path, metavar="MD", help="a model card in place of the folder's")
    make.set_defaults(run_command=_make)

    sign = commands.add_parser("sign", help="sign a bundle")
    sign.add_argument("file", type=Path, metavar="FILE", help="a bundle; a signature that it has is replaced")
    sign.add_argument(
        "--key",
        type=Path,
        required=True,
        metavar="PEM",
        help="an Ed25519 private key, as openssl genpkey -algorithm ed25519 makes it; "
        "the password of an encrypted one is asked for",
    )
    sign.add_argument("--out", type=Path, metavar="FILE", help="where it goes (default: in place)")
    sign.set_defaults(run_command=_sign)

    verify = commands.add_parser("verify", help="check that a bundle is sound and signed by a trusted key")
    verify.add_argument("file", type=Path, metavar="FILE", help="a bundle")
    verify.add_argument(
        "--key", type=Path, metavar="PEM", help="trust this public key instead of the configured ones"
    )
    verify.set_defaults(run_command=_verify)

    show = commands.add_parser("show", help="say what a bundle holds, trusted or not")
    show.add_argument("file", type=Path, nargs="?", metavar="FILE", help="a bundle (default: the one in use)")
    show.add_argument("--json", action="store_true", help="the whole manifest and the signature as JSON")
    show.add_argument("--unpack", type=Path, metavar="DIR", help="write its content to a new folder")
    show.set_defaults(run_command=_show)

    update = commands.add_parser("update", help="put a signed bundle in use, and keep the one before")
    update.add_argument("file", type=Path, metavar="FILE", help="a bundle, signed by a trusted key")
    update.set_defaults(run_command=_update)

    rollback = commands.add_parser("rollback", help="go back to the bundle before the last update")
    rollback.set_defaults(run_command=_rollback)
    return parser


def _make(options: argparse.Namespace) -> None:
    folder: Path = options.folder
    has_half = any((folder / name).exists() for name in HALF_ENTRIES)
    content = {name: _content(folder / name) for name in (*_files(), *(HALF_ENTRIES if has_half else ()))}
    about = _json_of(content[ABOUT], folder / ABOUT)
    try:
        shapes = shapes_from_manifest(about.pop("shapes", None))
    except BundleError as err:
        raise UsageError(f"{folder / ABOUT} {err}") from err
    for name in ("quality", "accuracy"):
        if (file := getattr(options, name)) is not None:
            about[name] = _json_of(_content(file), file)
    if options.quality is not None:
        from lvedge.quality import QualityModel  # with OpenCV behind it, which no other command needs

        QualityModel.from_manifest(about["quality"])
    if options.card is not None:
        content[MODEL_CARD] = _content(options.card)
    surplus = [key for key in _FROM_CONTENT if key in about]
    if surplus:
        raise UsageError(f"{folder / ABOUT} states {', '.join(surplus)}: leave out what the content decides")
    made = write_bundle(
        options.out,
        shapes=shapes,
        graphs={name: content[graph_file(name)] for name in GRAPHS},
        half={name: content[graph_file(name, "fp16")] for name in GRAPHS} if has_half else None,
        about=about,
        licence=_decoded(content[LICENCE], folder / LICENCE),
        model_card=_decoded(content[MODEL_CARD], options.card or folder / MODEL_CARD),
    )
    _say(f"{options.out}: {_titled(made)}, not signed")


def _sign(options: argparse.Namespace) -> None:
    private_key = _private_key(options.key)
    bundle = bundle_from_bytes(read_bundle_file(options.file), str(options.file))
    signed = sign_bundle(bundle, private_key, options.out or options.file)
    public_key = private_key.public_key().public_bytes_raw()
    _say(f"{signed.origin}: {_titled(signed)}, signed by the key {key_id(public_key)}")


def _verify(options: argparse.Namespace) -> None:
    trust = trust_from_settings()
    if options.key is not None:
        public_key = public_key_from_pem(_content(options.key), str(options.key))
        trust = Trust({key_id(public_key): public_key}, trust.revoked, trust.lowest)
    bundle = open_bundle(options.file, trust)
    if bundle.sha256 == shipped_sha256():
        _say(f"{options.file}: {_titled(bundle)}: sound; it is the bundle that ships with lvedge")
    elif not trust.keys:
        raise TrustError(
            f"the bundle {options.file} is sound, but no key is trusted here that its signature could be"
            " checked with: name one with --key"
        )
    elif bundle.signature is not None:
        _say(f"{options.file}: {_titled(bundle)}: sound; signed by the trusted key {bundle.signature.key}")


def _show(options: argparse.Namespace) -> None:
    if options.file is None:
        bundle = open_bundle()
    else:
        bundle = bundle_from_bytes(read_bundle_file(options.file), str(options.file))
    if options.unpack is not None:
        _unpack(bundle, options.unpack)
    if options.json:
        content = {"manifest": bundle.manifest, "signature": _signature_json(bundle), "sha256": bundle.sha256}
        _say(json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True))
        return
    for name, value in _about(bundle).items():
        _say(f"{name + ':':<11} {value}")


def _update(options: argparse.Namespace) -> None:
    trust = trust_from_settings()
    data = read_bundle_file(options.file)
    new = bundle_from_bytes(
        data, str(options.file), trust
    )  # its faults are told by the name that the user knows
    if not trust.keys:
        raise TrustError(
            f"the bundle {options.file} is not installed while no key is trusted: trust its maker's key,"
            " or name the file with lvedge-run --bundle"
        )
    bundle_store(trust).update(data, _check_not_older)
    _say(f"in use: {_titled(new)}")


def _check_not_older(old: Bundle, new: Bundle) -> None:
    """Refuse an update that would go back to an older version of the same bundle."""
    before, after = version_from_text(old.version), version_from_text(new.version)
    if old.name == new.name and before is not None and after is not None and after < before:
        raise TrustError(
            f"the bundle is {new.name} {new.version}, older than the {old.version} in use: get a newer one,"
            " or go back with lvedge-bundle rollback"
        )


def _rollback(_options: argparse.Namespace) -> None:
    _say(f"in use again: {_titled(bundle_store(trust_from_settings()).rollback())}")


def _about(bundle: Bundle) -> Mapping[str, str]:
    """What a reader wants to know first."""
    manifest = bundle.manifest
    sizes = ", ".join(f"{name} {len(content):,} B" for name, content in bundle.entries.items())
    return {
        "bundle": _titled(bundle),
        "file": bundle.origin,
        "created": manifest["created"],
        "contract": str(manifest["contract"]),
        "modality": bundle.modality,
        "sha256": bundle.sha256,
        "signature": _standing(bundle),
        "licence": f"{manifest['licence']['spdx']} ({bundle.licence_notice})",
        "training": ", ".join(manifest["training"]) or "not stated",
        "content": sizes,
    }


def _standing(bundle: Bundle) -> str:
    """What the rules of this machine say of a bundle, in one line."""
    trust = trust_from_settings()
    try:
        bundle_from_bytes(read_bundle_file(Path(bundle.origin)), bundle.origin, trust)
    except BundleError as err:
        return f"refused here: {err}"
    if bundle.sha256 == shipped_sha256():
        return "none needed: it is the bundle that ships with lvedge"
    if bundle.signature is None:
        return "none"
    known = "trusted" if trust.keys else "not checked: no key is trusted here"
    return f"by the key {bundle.signature.key}, {known}"


def _signature_json(bundle: Bundle) -> dict[str, Any] | None:
    if bundle.signature is None:
        return None
    stated = bundle.signature
    return {
        "key": stated.key,
        "version": stated.version,
        "contract": stated.contract,
        "ed25519": stated.value.hex(),
    }


def _unpack(bundle: Bundle, folder: Path) -> None:
    """Write what ``make`` packs to the same bundle again."""
    about = {key: value for key, value in bundle.manifest.items() if key not in _FROM_CONTENT}
    text = json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False)
    try:
        folder.mkdir()
        for name, content in {**bundle.entries, ABOUT: f"{text}\n".encode()}.items():
            write_whole(folder / name, content)
    except OSError as err:
        raise UsageError(f"{folder} cannot be made: {err.strerror or err}; name a new folder") from err


def _json_of(content: bytes, path: Path) -> dict[str, Any]:
    try:
        return json_object(content)
    except BundleError as err:
        raise UsageError(f"{path} {err}") from err


def _private_key(path: Path) -> Ed25519PrivateKey:
    data = _content(path)
    encrypted = b"ENCRYPTED" in data
    password = getpass.getpass(f"password of {path}: ").encode() if encrypted else None
    return private_key_from_pem(data, str(path), password)


def _files() -> tuple[str, ...]:
    return (*ENTRIES, ABOUT)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"{path} cannot be read: {err.strerror or err}") from err


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as err:
        raise UsageError(f"{path} is no text") from err


def _titled(bundle: Bundle) -> str:
    return f"{bundle.name} {bundle.version}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
