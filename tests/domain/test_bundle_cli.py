"""The command lvedge-bundle, and what lvedge-cases installs: what is refused is one line and code 2."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from signing import Maker, write_signed, write_tiny, write_trust
from tiny_bundle import tiny_graphs

from lvedge import bundle as bundle_module
from lvedge.bundle import Bundle, open_bundle
from lvedge.bundle_cli import main
from lvedge.casetable import open_case_table
from lvedge.casetable.cli import main as cases_main
from lvedge.errors import TrustError
from lvedge.quality import DEFAULT_QUALITY

MAKER, OTHER = Maker(), Maker()
HEADER = "scope,conditions,case,label,severity,source\n"


@pytest.fixture(autouse=True)
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, nothing trusted; gives the folder of trust."""
    monkeypatch.setenv("LVEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LVEDGE_TRUST", str(write_trust(tmp_path / "trust")))
    return tmp_path / "trust"


def run(*args: object) -> int:
    return main([str(arg) for arg in args])


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    assert run(*args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("lvedge-bundle: ")
    return line


# --- make, sign, verify, show --------------------------------------------------------------------------


def test_what_is_unpacked_is_packed_to_the_same_bytes(tmp_path: Path, capsys):
    write_signed(tmp_path / "signed.lvedge", MAKER)
    plain = write_tiny(tmp_path / "plain.lvedge")
    assert run("show", tmp_path / "signed.lvedge", "--unpack", tmp_path / "parts") == 0
    capsys.readouterr()
    assert run("make", tmp_path / "parts", "--out", tmp_path / "again.lvedge") == 0
    assert capsys.readouterr().out == f"{tmp_path}/again.lvedge: tiny 7, not signed\n"
    assert open_bundle(tmp_path / "again.lvedge").sha256 == plain.sha256


def test_fp16_graphs_are_unpacked_and_packed_again(tmp_path: Path, capsys):
    plain = write_tiny(tmp_path / "plain.lvedge", half=tiny_graphs("half"))
    run("show", tmp_path / "plain.lvedge", "--unpack", tmp_path / "parts")
    assert run("make", tmp_path / "parts", "--out", tmp_path / "again.lvedge") == 0
    assert open_bundle(tmp_path / "again.lvedge") == replace(plain, origin=f"{tmp_path}/again.lvedge")
    (tmp_path / "parts" / "step.fp16.onnx").unlink()
    capsys.readouterr()
    assert run("make", tmp_path / "parts", "--out", tmp_path / "less.lvedge") == 2
    assert "step.fp16.onnx cannot be read" in capsys.readouterr().err


def test_quality_figures_and_card_may_take_the_place_of_the_folder_s(tmp_path: Path, capsys):
    tiny = write_tiny(tmp_path / "tiny.lvedge")
    run("show", tmp_path / "tiny.lvedge", "--unpack", tmp_path / "parts")
    quality, accuracy, card = (tmp_path / name for name in ("quality.json", "accuracy.json", "card.md"))
    entry = replace(DEFAULT_QUALITY, flag_below=0.25).as_manifest()
    quality.write_text(json.dumps(entry))
    accuracy.write_text('{"protocol": "none"}')
    card.write_text("# Another card\n")
    others = ("--quality", quality, "--accuracy", accuracy, "--card", card)
    assert run("make", tmp_path / "parts", *others, "--out", tmp_path / "other.lvedge") == 0
    made = open_bundle(tmp_path / "other.lvedge")
    assert made.manifest["quality"] == entry
    assert made.manifest["accuracy"] == {"protocol": "none"}
    assert made.model_card == "# Another card\n"
    assert made.graph("step") == tiny.graph("step")
    capsys.readouterr()
    make = ("make", tmp_path / "parts", "--quality", quality, "--out", tmp_path / "none.lvedge")
    quality.write_text('{"weights": {"other": 1}}')
    assert "reads other features" in refusal(capsys, *make)
    quality.write_text("{")
    assert "quality.json has a manifest that cannot be read" in refusal(capsys, *make)
    assert not (tmp_path / "none.lvedge").exists()


def test_a_folder_that_makes_no_bundle_is_told(tmp_path: Path, capsys):
    write_tiny(tmp_path / "tiny.lvedge")
    run("show", tmp_path / "tiny.lvedge", "--unpack", tmp_path / "parts")
    capsys.readouterr()
    about = tmp_path / "parts" / "about.json"
    make = ("make", tmp_path / "parts", "--out", tmp_path / "out.lvedge")
    content = json.loads(about.read_text())
    for changed, words in (
        ({**content, "entries": {}}, "about.json states entries: leave out what the content decides"),
        ({**content, "version": "newest"}, "does not state its version as numbers with dots"),
        ({**content, "shapes": {}}, "about.json does not state the shapes"),
    ):
        about.write_text(json.dumps(changed))
        assert words in refusal(capsys, *make)
    about.write_text("{")
    assert "about.json has a manifest that cannot be read" in refusal(capsys, *make)
    about.unlink()
    assert "about.json cannot be read: No such file" in refusal(capsys, *make)
    assert "name a new folder" in refusal(
        capsys, "show", tmp_path / "tiny.lvedge", "--unpack", tmp_path / "parts"
    )
    assert not (tmp_path / "out.lvedge").exists()


def test_a_bundle_is_signed_with_a_key_of_openssl_and_verified(tmp_path: Path, capsys, trust: Path):
    key, public = tmp_path / "maker.key", trust / "maker.pem"
    for command in (
        ("genpkey", "-algorithm", "ed25519", "-out", str(key)),
        ("pkey", "-in", str(key), "-pubout", "-out", str(public)),
    ):
        try:
            subprocess.run(["openssl", *command], check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("no openssl on this machine")
    write_tiny(tmp_path / "tiny.lvedge")
    assert "is not signed" in refusal(capsys, "verify", tmp_path / "tiny.lvedge")
    assert run("sign", tmp_path / "tiny.lvedge", "--key", key, "--out", tmp_path / "signed.lvedge") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path}/signed.lvedge: tiny 7, signed by the key ")
    name = said.split()[-1]
    assert run("verify", tmp_path / "signed.lvedge") == 0
    assert (
        capsys.readouterr().out
        == f"{tmp_path}/signed.lvedge: tiny 7: sound; signed by the trusted key {name}\n"
    )
    assert open_bundle(tmp_path / "signed.lvedge").version == "7"


def test_a_key_with_a_password_is_asked_for_it(tmp_path: Path, capsys, monkeypatch):
    (tmp_path / "maker.key").write_bytes(MAKER.private_pem(b"secret"))
    write_tiny(tmp_path / "tiny.lvedge")
    sign = ("sign", tmp_path / "tiny.lvedge", "--key", tmp_path / "maker.key")
    monkeypatch.setattr("getpass.getpass", lambda _prompt: "wrong")
    assert "its password is another" in refusal(capsys, *sign)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: "secret")
    assert run(*sign) == 0
    assert MAKER.key in capsys.readouterr().out
    (tmp_path / "maker.pem").write_bytes(MAKER.public_pem)
    assert run("verify", tmp_path / "tiny.lvedge", "--key", tmp_path / "maker.pem") == 0


def test_verify_vouches_for_nothing_that_it_cannot_check(tmp_path: Path, capsys):
    write_signed(tmp_path / "tiny.lvedge", MAKER)
    assert "is sound, but no key is trusted here" in refusal(capsys, "verify", tmp_path / "tiny.lvedge")
    (tmp_path / "other.pem").write_bytes(OTHER.public_pem)
    words = refusal(capsys, "verify", tmp_path / "tiny.lvedge", "--key", tmp_path / "other.pem")
    assert "which is not trusted here" in words
    assert "there is no bundle at" in refusal(capsys, "verify", tmp_path / "none")


def test_show_says_what_a_bundle_is_and_how_it_stands_here(tmp_path: Path, capsys, trust: Path):
    path = tmp_path / "tiny.lvedge"
    write_signed(path, MAKER)

    def standing() -> str:
        assert run("show", path) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("signature:")]
        return line.removeprefix("signature:").strip()

    assert standing() == f"by the key {MAKER.key}, not checked: no key is trusted here"
    write_trust(trust, MAKER)
    assert standing() == f"by the key {MAKER.key}, trusted"
    write_trust(trust, revoked=MAKER.key)
    assert standing().startswith(
        f"refused here: the bundle {path} is signed by the key {MAKER.key}, which was"
    )
    assert run("show", path, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["manifest"]["name"], shown["signature"]["key"]) == ("tiny", MAKER.key)
    assert shown["sha256"] == open_bundle(path, bundle_module.NO_RULES).sha256


def test_the_bundle_that_ships_is_shown_and_verified(bundle: Bundle, capsys, trust: Path):
    write_trust(trust, MAKER)
    assert run("show") == 0
    assert "none needed: it is the bundle that ships with lvedge" in capsys.readouterr().out
    assert run("verify", bundle.origin) == 0
    assert "sound; it is the bundle that ships" in capsys.readouterr().out


# --- update and rollback -------------------------------------------------------------------------------


def test_updates_and_rollbacks_change_what_is_opened_unasked(
    tmp_path: Path, capsys, bundle: Bundle, trust: Path
):
    write_trust(trust, MAKER)
    for version in ("7", "8"):
        write_signed(tmp_path / f"{version}.lvedge", MAKER, version)
        assert run("update", tmp_path / f"{version}.lvedge") == 0
        assert capsys.readouterr().out == f"in use: tiny {version}\n"
        assert (open_bundle().name, open_bundle().version) == ("tiny", version)
    words = refusal(capsys, "update", tmp_path / "7.lvedge")
    assert "the bundle is tiny 7, older than the 8 in use" in words
    assert run("rollback") == 0
    assert capsys.readouterr().out == "in use again: tiny 7\n"
    assert open_bundle().version == "7"
    assert run("rollback") == 0
    assert open_bundle().version == "8"


def test_a_rollback_leads_back_to_what_ships(tmp_path: Path, capsys, bundle: Bundle, trust: Path):
    write_trust(trust, MAKER)
    write_signed(tmp_path / "tiny.lvedge", MAKER)
    assert run("update", tmp_path / "tiny.lvedge") == run("rollback") == 0
    assert open_bundle().sha256 == bundle.sha256


def test_only_what_is_trusted_is_installed(tmp_path: Path, capsys, trust: Path):
    path = tmp_path / "tiny.lvedge"
    write_signed(path, OTHER)
    assert "is not installed while no key is trusted" in refusal(capsys, "update", path)
    write_trust(trust, MAKER)
    assert "which is not trusted here" in refusal(capsys, "update", path)
    write_tiny(path)
    assert "is not signed" in refusal(capsys, "update", path)
    write_trust(trust, lowest="8")
    write_signed(path, MAKER)
    assert "older than 8, the lowest taken here" in refusal(capsys, "update", path)
    assert "no bundle to go back to" in refusal(capsys, "rollback")
    assert not (tmp_path / "home").exists()


def test_what_was_installed_is_held_against_the_rules_of_today(tmp_path: Path, capsys, trust: Path):
    write_trust(trust, MAKER)
    for version in ("7", "8"):
        write_signed(tmp_path / "tiny.lvedge", MAKER, version)
        assert run("update", tmp_path / "tiny.lvedge") == 0
    capsys.readouterr()
    write_trust(trust, lowest="8")
    assert "older than 8" in refusal(capsys, "rollback")
    assert open_bundle().version == "8"
    (trust / "lowest-version").unlink()
    (trust / f"{MAKER.key}.pem").unlink()
    with pytest.raises(TrustError, match="is not taken while no key is trusted"):
        open_bundle()
    write_trust(trust, OTHER)
    with pytest.raises(TrustError, match="which is not trusted here"):
        open_bundle()


# --- case tables ---------------------------------------------------------------------------------------


def make_table(folder: Path, name: str) -> Path:
    rules, table = folder / "rules.csv", folder / f"{name}.sqlite"
    rules.write_text(f"{HEADER}cycle,fac < 0.4,{name},consistent with {name},2,us\n")
    assert cases_main(["make", str(table), "--rules", str(rules), "--replace"]) == 0
    return table


def test_case_tables_are_updated_and_rolled_back(tmp_path: Path, capsys):
    for name in ("weak", "slow"):
        table = make_table(tmp_path, name)
        capsys.readouterr()
        assert cases_main(["update", str(table)]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"in use: {name}, version 1; ")
        table.unlink()
        with open_case_table() as found:
            assert found.find_cycle({"fac": 0.1})[0].case == name
    assert cases_main(["rollback"]) == 0
    assert capsys.readouterr().out.startswith("in use again: weak, version 1; ")
    assert cases_main(["query", "--values", "fac=0.1"]) == 0
    assert "consistent with weak" in capsys.readouterr().out


def test_a_case_table_that_is_refused_is_not_in_use(tmp_path: Path, capsys):
    assert cases_main(["update", str(make_table(tmp_path, "weak"))]) == 0
    capsys.readouterr()
    damaged = make_table(tmp_path, "slow")
    damaged.write_bytes(damaged.read_bytes()[:-4096])
    capsys.readouterr()
    assert cases_main(["update", str(damaged)]) == 2
    assert capsys.readouterr().err.startswith(f"lvedge-cases: {damaged}: ")
    with open_case_table() as found:
        assert found.meta["title"] == "weak"
