"""Kills updates and rollbacks of the bundle and the case table at random moments, and looks at what is left.

    python -m benchmarks.kill_update --kills 300 --out benchmarks/results/kill_update.json

A worker installs three versions and goes back, over and over; it is killed (SIGKILL) at a random moment. Each
time one of them has to be in use, whole, going back has to be possible, and the next update to succeed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from signing import Maker, write_tiny, write_trust

from benchmarks.provenance import provenance
from lvedge.bundle import Bundle, bundle_store, sign_bundle
from lvedge.casetable import CaseTable
from lvedge.casetable.cli import main as cases_main
from lvedge.casetable.table import case_table_store
from lvedge.store import HOME_VARIABLE, NONE, SHIPPED, Store
from lvedge.trust import TRUST_VARIABLE, trust_from_settings

CARD = "all about it\n" * 160_000
MOST_STEPS = 6
"""A round of the worker is three updates and a rollback."""
LONGEST_S = 0.05
"""About what a step takes, its waiting for the disk included."""

MEASURES = ("lvedge/store.py", "lvedge/disk.py", "lvedge/bundle.py", "lvedge/casetable/table.py")
"""Where an update happens."""

Installed = Store[Bundle] | Store[CaseTable]


def store_of(kind: str) -> Installed:
    """The store of "bundle" or "cases", under the settings of the environment."""
    return bundle_store(trust_from_settings()) if kind == "bundle" else case_table_store()


def versions_of(kind: str, folder: Path) -> list[bytes]:
    """Three versions to install, so that each update writes a file that is not there any more.

    Args:
        kind: "bundle" or "cases"; bundles are small, with a card of 2 MB, and their key is trusted.
        folder: where they are made.
    """
    numbers = ("1", "2", "3")
    if kind == "cases":
        rules = folder / "rules.csv"
        rules.write_text(
            "scope,conditions,case,label,severity,source\ncycle,fac < 0.4,weak,consistent with weak,2,us\n"
        )
        for number in numbers:
            with contextlib.redirect_stdout(sys.stderr):
                cases_main(["make", str(folder / number), "--rules", str(rules), "--table-version", number])
    else:
        maker = Maker()
        write_trust(Path(os.environ[TRUST_VARIABLE]), maker)
        for number in numbers:
            bundle = write_tiny(folder / number, number, card=CARD)
            sign_bundle(bundle, maker.private, folder / number)
    return [(folder / number).read_bytes() for number in numbers]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=300, help="how many of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the random times")
    parser.add_argument("--out", type=Path, help="the JSON to write (default: only print)")
    options = parser.parse_args()
    command = f"python -m benchmarks.kill_update --kills {options.kills} --seed {options.seed}"
    head = provenance(command, MEASURES) if options.out else None
    drawn, found = random.Random(options.seed), {}
    for kind in ("bundle", "cases"):
        with TemporaryDirectory() as name:
            folder = Path(name)
            for variable in (HOME_VARIABLE, TRUST_VARIABLE):
                (folder / variable).mkdir()
                os.environ[variable] = str(folder / variable)
            versions = versions_of(kind, folder)
            left: Counter[str] = Counter()
            steps = []
            for _ in range(options.kills):
                after, delay_s = drawn.randrange(MOST_STEPS), drawn.uniform(0, LONGEST_S)
                steps.append(kill_once(kind, versions, after, delay_s))
                parts = len(list((folder / HOME_VARIABLE).rglob("*.part")))
                left["cut while a file was written"] += bool(parts)
                left[check_left(kind, versions)] += 1
        found[kind] = {"kills": options.kills, "broken": 0, "steps_done": sum(steps), **left}
    if head:
        options.out.write_text(json.dumps({**head, "results": found}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
