"""Kills updates and rollbacks of the bundle and the case table at random moments, and looks at what is left.

    python benchmarks/kill_update.py --kills 300 --out benchmarks/results/kill_update.json

A worker installs two versions and goes back, over and over; it is killed (SIGKILL) at a random moment. Each
time one of the two has to be in use, whole, going back has to be possible, and the next update to succeed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lvedge.bundle import Bundle, bundle_store, open_bundle, sign_bundle
from lvedge.casetable import CaseTable
from lvedge.casetable.cli import main as cases_main
from lvedge.casetable.table import case_table_store
from lvedge.store import HOME_VARIABLE, NONE, SHIPPED, Store
from lvedge.trust import NO_RULES, TRUST_VARIABLE, trust_from_settings

MOST_STEPS = 6
"""A round of the worker is two updates and a rollback."""
LONGEST_S = 0.05
"""About what a step takes, its waiting for the disk included."""

Installed = Store[Bundle] | Store[CaseTable]


def store_of(kind: str) -> Installed:
    """The store of "bundle" or "cases", under the settings of the environment."""
    return bundle_store(trust_from_settings()) if kind == "bundle" else case_table_store()


def versions_of(kind: str, folder: Path, bundle: Path | None) -> list[bytes]:
    """Two versions to install; for bundles the trusted key is made as well, into ``$LVEDGE_TRUST``.

    Args:
        kind: "bundle" or "cases".
        folder: where they go.
        bundle: what is signed; None for the bundle that ships.
    """
    if kind == "cases":
        rules = folder / "rules.csv"
        rules.write_text(
            "scope,conditions,case,label,severity,source\ncycle,fac < 0.4,weak,consistent with weak,2,us\n"
        )
        paths = folder / "1.sqlite", folder / "2.sqlite"
        for number, path in enumerate(paths, start=1):
            cases_main(["make", str(path), "--rules", str(rules), "--table-version", str(number)])
        return [path.read_bytes() for path in paths]
    keys = [Ed25519PrivateKey.generate() for _ in range(2)]
    unsigned = open_bundle(bundle, NO_RULES)
    paths = folder / "1.lvedge", folder / "2.lvedge"
    for key, path in zip(keys, paths, strict=True):
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (Path(os.environ[TRUST_VARIABLE]) / f"{path.stem}.pem").write_bytes(pem)
        sign_bundle(unsigned, key, path)
    return [path.read_bytes() for path in paths]


def kill_once(kind: str, versions: Sequence[bytes], after: int, delay_s: float) -> int:
    """Let a forked worker do some steps, kill it a moment later, and give how many steps it had done.

    Raises:
        RuntimeError: if the worker ended by itself.
    """
    reader, writer = os.pipe()
    worker = os.fork()
    if worker == 0:
        with contextlib.suppress(BaseException):
            work(kind, versions, writer)
        os._exit(1)
    os.close(writer)
    with open(reader, "rb") as pipe:
        steps = len(pipe.read(after))
        time.sleep(delay_s)
        os.kill(worker, signal.SIGKILL)
        status = os.waitpid(worker, 0)[1]
        steps += len(pipe.read())
    if not os.WIFSIGNALED(status):
        raise RuntimeError(f"the worker ended by itself after {steps} steps")
    return steps


def work(kind: str, versions: Sequence[bytes], done: int) -> None:
    """Install and go back for ever, a byte to ``done`` for each step."""
    store = store_of(kind)
    while True:
        for data in (*versions, None):
            if data is None:
                store.rollback()
            else:
                store.update(data, lambda *_: None)
            os.write(done, b".")


def check_left(kind: str, versions: Sequence[bytes]) -> str:
    """What a killed worker left is whole, can be gone back from, and can be updated; gives what was in use.

    Raises:
        LvedgeError: if it is not.
        RuntimeError: if something else is in use than was ever installed.
    """
    store = store_of(kind)
    state = store.state
    store.current()
    if state.previous != NONE:
        store.rollback()
        store.rollback()
    if store.state != state:
        raise RuntimeError(f"two rollbacks did not lead back: {store.state} instead of {state}")
    for data in versions:
        store.update(data, lambda *_: None)
    return "shipped" if state.current == SHIPPED else "installed"


def git(*arguments: str) -> str:
    """What git says; nothing outside a checkout."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=300, help="how many of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the random times")
    parser.add_argument("--bundle", type=Path, help="what is signed and installed (default: what ships)")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    options = parser.parse_args()
    commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno")
    drawn, found = random.Random(options.seed), {}
    for kind in ("bundle", "cases"):
        with TemporaryDirectory() as name:
            folder = Path(name)
            for variable in (HOME_VARIABLE, TRUST_VARIABLE):
                (folder / variable).mkdir()
                os.environ[variable] = str(folder / variable)
            versions = versions_of(kind, folder, options.bundle)
            left: Counter[str] = Counter()
            steps = []
            for _ in range(options.kills):
                after, delay_s = drawn.randrange(MOST_STEPS), drawn.uniform(0, LONGEST_S)
                steps.append(kill_once(kind, versions, after, delay_s))
                parts = len(list((folder / HOME_VARIABLE).rglob("*.part")))
                left["cut while a file was written"] += bool(parts)
                left[check_left(kind, versions)] += 1
        found[kind] = {"kills": options.kills, "broken": 0, "steps_done": sum(steps), **left}
    content = {
        "command": f"python benchmarks/kill_update.py --kills {options.kills} --seed {options.seed}",
        "commit": commit,
        "uncommitted_changes": bool(changed),
        "python": sys.version.split()[0],
        "results": found,
    }
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
