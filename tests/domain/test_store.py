"""The store: wherever an update or a rollback is cut off, the old or the new one is in use, whole."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest
from thing_store import MARK, SHIPPED_TEXT, RefusedError, anything, content, store

from lvedge.errors import LvedgeError, StoreError
from lvedge.store import HOME_VARIABLE, State, home_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


def files(home: Path) -> set[str]:
    return {path.name for path in (home / "things").iterdir()}


def name_of(text: str) -> str:
    return f"{hashlib.sha256(content(text)).hexdigest()}.thing"


# --- updates and rollbacks ---------------------------------------------------------------------------


def test_without_an_update_what_ships_is_in_use_and_nothing_is_written(home: Path):
    assert store().current() == SHIPPED_TEXT
    assert store().state == State()
    with pytest.raises(
        StoreError, match="no thing to go back to: none was installed with lvedge-things update"
    ):
        store().rollback()
    assert not home.exists()


def test_an_update_is_in_use_and_a_rollback_goes_back_and_forth(home: Path):
    assert store().update(content("one"), anything) == "one"
    assert (store().current(), store().rollback(), store().current()) == ("one", SHIPPED_TEXT, SHIPPED_TEXT)
    assert store().rollback() == store().current() == "one"
    assert store().update(content("two"), anything) == store().current() == "two"
    assert files(home) == {"state", name_of("one"), name_of("two")}
    assert store().rollback() == "one"


def test_the_last_good_one_is_kept_and_older_ones_are_not(home: Path):
    for text in ("one", "two", "three"):
        store().update(content(text), anything)
    assert files(home) == {"state", name_of("two"), name_of("three")}
    assert store().rollback() == "two"


def test_what_is_in_use_already_changes_nothing():
    store().update(content("one"), anything)
    store().update(content("two"), anything)
    state = store().state
    assert store().update(content("two"), anything) == "two"
    assert store().state == state
    assert store().rollback() == "one"


def test_what_is_refused_is_not_in_use_and_not_kept(home: Path):
    store().update(content("one"), anything)
    before = files(home), store().state
    with pytest.raises(RefusedError):
        store().update(content("bad"), anything)

    def never(old: str, new: str) -> None:
        raise RefusedError(f"{new} may not follow {old}")

    with pytest.raises(RefusedError, match="two may not follow one"):
        store().update(content("two"), never)
    assert (files(home), store().state) == before
    assert store().current() == "one"


def test_a_damaged_one_is_told_mended_and_never_the_last_good_one(home: Path):
    store().update(content("one"), anything)
    store().update(content("two"), anything)
    (home / "things" / name_of("two")).write_bytes(b"flash rot" + MARK)
    with pytest.raises(
        StoreError, match=r"is damaged\): install one with .* update, or go back with .* rollback"
    ):
        store().current()
    assert store().update(content("two"), anything) == store().current() == "two"
    assert store().rollback() == "one"
    (home / "things" / name_of("one")).unlink()
    store().update(content("three"), anything)
    assert store().rollback() == "two"


def test_a_rollback_to_a_damaged_one_is_refused(home: Path):
    store().update(content("one"), anything)
    store().update(content("two"), anything)
    (home / "things" / name_of("one")).unlink()
    with pytest.raises(
        StoreError, match=r"\(No such file or directory\): install one with lvedge-things update$"
    ):
        store().rollback()
    assert store().current() == "two"


@pytest.mark.parametrize("text", ["", "lvedge store 1\n", "lvedge store 1\ncurrent ../x\nprevious none\n"])
def test_a_damaged_state_is_told_with_the_way_out(home: Path, text: str):
    store().update(content("one"), anything)
    (home / "things" / "state").write_text(text)
    for act in (store().current, store().rollback, lambda: store().update(content("two"), anything)):
        with pytest.raises(StoreError, match="state is damaged: remove it, and install the thing again"):
            act()
    (home / "things" / "state").unlink()
    assert store().update(content("two"), anything) == "two"


def test_a_place_that_cannot_be_written_is_told(home: Path):
    home.write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot be replaced: "):
        store().update(content("one"), anything)


def test_where_things_are_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert home_folder() == tmp_path / "home"
    monkeypatch.delenv(HOME_VARIABLE)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert home_folder() == Path("/data/lvedge")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/srv/somebody")
    assert home_folder() == Path("/srv/somebody/.local/share/lvedge")


def test_an_update_waits_for_a_reader_and_readers_do_not_wait_for_each_other(home: Path):
    store().update(content("one"), anything)
    handle = os.open(home / "things", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    update = threading.Thread(target=lambda: store().update(content("two"), anything))
    update.start()
    update.join(0.2)
    assert update.is_alive()
    assert store().current() == "one"
    os.close(handle)
    update.join()
    assert store().current() == "two"


# --- the power fails ---------------------------------------------------------------------------------


@dataclass
class Disk:
    """What a disk holds for certain, and what it may or may not hold yet, while the real calls go on.

    A write is certain after the file's fsync; a new name, a rename and a removal after the folder's.

    Args:
        names: certain names and the files (by number) behind them.
        bodies: certain content of each file.
        pending: changes of names, in order: from (None for a new file), to (None for a removal), which file.
        moments: at each call, what was certain and what was pending.
    """

    folder: Path
    names: dict[str, int] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    pending: list[tuple[str | None, str | None, int]] = field(default_factory=list)
    moments: list[tuple[dict[str, int], dict[int, bytes], list[tuple[str | None, str | None, int]]]] = field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        for path in self.folder.iterdir():
            number = path.stat().st_ino
            self.names[path.name], self.bodies[number] = number, path.read_bytes()

    def note(self) -> None:
        self.moments.append((dict(self.names), dict(self.bodies), list(self.pending)))

    def fsync(self, handle: int) -> None:
        status = os.fstat(handle)
        self.note()
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if stat.S_ISDIR(status.st_mode):
            if path == self.folder:
                for change in self.pending:
                    apply(self.names, change)
                self.pending.clear()
        else:
            if path.name not in self.names:
                self.pending.append((None, path.name, status.st_ino))
            self.note()
            self.bodies[status.st_ino] = path.read_bytes()
        self.note()

    def replace(self, before: Path, after: Path) -> None:
        self.note()
        self.pending.append((before.name, after.name, before.stat().st_ino))
        self.note()

    def unlink(self, path: Path) -> None:
        self.note()
        self.pending.append((path.name, None, path.stat().st_ino))
        self.note()

    def outcomes(self) -> Iterator[dict[str, bytes]]:
        """Every content of the folder that a power cut may leave, at every moment."""
        seen = set()
        for names, bodies, pending in self.moments:
            for kept in product((False, True), repeat=len(pending)):
                left = dict(names)
                for change, is_kept in zip(pending, kept, strict=True):
                    if is_kept:
                        apply(left, change)
                for uncertain in (b"", b"half of it"):
                    found = {name: bodies.get(number, uncertain) for name, number in left.items()}
                    key = tuple(sorted(found.items()))
                    if key not in seen:
                        seen.add(key)
                        yield found


def apply(names: dict[str, int], change: tuple[str | None, str | None, int]) -> None:
    before, after, number = change
    if before is not None:
        names.pop(before, None)
    if after is not None:
        names[after] = number


def noted(note: Callable[..., None], real: Callable[..., None]) -> Callable[..., None]:
    def call(*args: object) -> None:
        note(*args)
        real(*args)

    return call


@pytest.fixture
def power_cuts(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> Callable[[Callable[[], object]], list[dict[str, bytes]]]:
    """Does something, and gives what the folder may look like where the power fails during it."""

    def outcomes_of(act: Callable[[], object]) -> list[dict[str, bytes]]:
        disk = Disk(home / "things")
        with monkeypatch.context() as patch:
            for name in ("fsync", "replace", "unlink"):
                patch.setattr(os, name, noted(getattr(disk, name), getattr(os, name)))
            act()
        return list(disk.outcomes())

    return outcomes_of


def put_back(folder: Path, left: dict[str, bytes]) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    for name, data in left.items():
        (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("act", "before", "after"),
    [
        (lambda: store().update(content("three"), anything), "two", "three"),
        (lambda: store().update(content("one"), anything), "two", "one"),
        (lambda: store().rollback(), "two", "one"),
    ],
)
def test_a_power_cut_at_any_point_leaves_the_old_or_the_new_one(home: Path, power_cuts, act, before, after):
    store().update(content("zero"), anything)
    store().update(content("one"), anything)
    store().update(content("two"), anything)
    outcomes = power_cuts(act)
    assert store().current() == after
    found = set()
    for left in outcomes:
        put_back(home / "things", left)
        in_use = store().current()
        found.add(in_use)
        other = store().rollback()
        assert {in_use, other} <= {"one", "two", "three"}
        assert in_use != other
        assert store().update(content("next"), anything) == store().current() == "next"
        assert store().rollback() == other
        assert files(home) == {"state", name_of("next"), name_of(other)}
    assert found == {before, after}
    assert len(outcomes) >= 5


def test_the_power_cuts_of_that_test_break_a_store_that_does_not_flush(home: Path, power_cuts, monkeypatch):
    """Without fsync, renames may reach the disk before what they name."""
    monkeypatch.setattr("lvedge.disk.sync_folder", lambda _folder: None)
    store().update(content("one"), anything)
    broken = []
    for left in power_cuts(lambda: store().update(content("two"), anything)):
        put_back(home / "things", left)
        try:
            store().current()
        except LvedgeError:
            broken.append(left)
    assert broken


# --- the process is killed ---------------------------------------------------------------------------

KILLED_AT = """
import os, shutil, signal, sys
sys.path[:0] = {paths!r}
from thing_store import anything, content, store

home = {home!r}

def killed_at(n):
    count = 0
    def at(event, args):
        nonlocal count
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and home in str(args[0]):
            if count == n:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
    sys.addaudithook(at)
    store().update(content("two"), anything)

for n in range(100):
    shutil.rmtree(home)
    shutil.copytree(home + ".before", home)
    child = os.fork()
    if child == 0:
        killed_at(n)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found = store().current()
    before = store().rollback()
    after = store().update(content("next"), anything)
    print(os.waitstatus_to_exitcode(status), found, before, after)
    if status == 0:
        break
"""


def test_killed_at_each_of_its_steps_it_leaves_the_old_or_the_new_one(home: Path):
    store().update(content("zero"), anything)
    store().update(content("one"), anything)
    shutil.copytree(home, home.with_name(f"{home.name}.before"))
    code = KILLED_AT.format(paths=[str(ROOT / "tests"), *sys.path], home=str(home))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    *killed, finished = [line.split() for line in done.stdout.splitlines()]
    assert finished == ["0", "two", "one", "next"]
    old, new = ["-9", "one", "zero", "next"], ["-9", "two", "one", "next"]
    assert killed == [old] * killed.count(old) + [new] * killed.count(new)
    assert killed.count(old) > 5
    assert killed.count(new) > 2


def test_killed_at_random_moments_it_leaves_the_old_or_the_new_one():
    """Six kills of each kind; ``make long`` does hundreds."""
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kill_update", "--kills", "6"],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for found in json.loads(done.stdout).values():
        assert (found["kills"], found["broken"]) == (6, 0)
        assert found["steps_done"] > 0
