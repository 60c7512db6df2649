"""The engine cache: what is taken, what is built anew and why, and who may look into it."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from doubles.fake_tensorrt import MAGIC, Fake
from tiny_bundle import SHAPES, tiny_graphs

from lvedge.bundle import Bundle
from lvedge.errors import EngineError
from lvedge_runtime.engines.cache import KEY_FILE, EngineCache, EngineKey, profile_of
from lvedge_runtime.engines.cuda import open_device
from lvedge_runtime.engines.tensorrt import TensorRt
from lvedge_runtime.engines.trt_build import BuildOptions

KEY = EngineKey("step", "ab" * 32, "10.3.0", "Orin, compute capability 8.7", "fp16", "max_batch=1")
PLAN = bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "engines"


@dataclass
class Asked:
    """A cache that is asked for engines, and what it did about it.

    Args:
        folder: of the cache.
        refused: plans that TensorRT refuses.
    """

    folder: Path
    refused: list[bytes] = field(default_factory=list)
    built: int = 0
    offered: list[bytes] = field(default_factory=list)

    def __call__(self, key: EngineKey = KEY, plan: bytes = PLAN) -> bytes:
        def build() -> bytes:
            self.built += 1
            return plan

        def accept(offered: bytes) -> bytes | None:
            self.offered.append(offered)
            return None if offered in self.refused else offered

        return EngineCache(self.folder).engine(key, build, accept)

    @property
    def file(self) -> Path:
        (path,) = self.folder.glob("*.engine")
        return path


@pytest.fixture
def ask(folder: Path) -> Asked:
    return Asked(folder)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines that were said since the last time."""
    caplog.set_level(logging.WARNING)

    def lines() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return lines


BUILDING = "building the engine of the step graph, which takes a while: "


def test_an_engine_is_built_once(ask: Asked, said: Callable[[], list[str]]) -> None:
    assert ask() == PLAN
    assert said() == [BUILDING + "there is none yet"]
    assert ask() == PLAN
    assert (ask.built, said()) == (1, [])


def test_folder_and_key_are_for_their_owner_alone(ask: Asked, folder: Path) -> None:
    before = os.umask(0)
    try:
        ask()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert len((folder / KEY_FILE).read_bytes()) == 32
    assert sorted(path.name for path in folder.iterdir()) == [KEY_FILE, KEY.file_name]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(KEY, tensorrt="10.13.3.9"), "is for TensorRT 10.3.0 and not 10.13.3.9"),
        (
            replace(KEY, gpu="Thor, compute capability 11.0"),
            "is for Orin, compute capability 8.7 and not Thor, compute capability 11.0",
        ),
        (replace(KEY, precision="fp32"), "is for fp16 and not fp32"),
        (replace(KEY, profile="max_batch=4"), "is for max_batch=1 and not max_batch=4"),
    ],
    ids=["an upgrade", "another GPU", "another precision", "another profile"],
)
def test_what_an_engine_does_not_fit_is_said(
    ask: Asked, said: Callable[[], list[str]], other: EngineKey, words: str
) -> None:
    ask()
    said()
    assert ask(other, b"another") == b"another"
    assert said() == [f"{BUILDING}the one at hand {words}"]
    assert ask.offered == [PLAN, b"another"]  # the stale one never reached TensorRT
    assert ask(other, b"a third") == b"another"


def test_engines_of_an_older_tensorrt_are_cleared_away(ask: Asked, folder: Path) -> None:
    two = replace(KEY, gpu="another, compute capability 8.6")
    ask()
    ask(two)
    assert len(list(folder.glob("*.engine"))) == 2  # two GPUs live together
    new = replace(KEY, tensorrt="11.4.0")
    ask(new)
    assert [path.name for path in folder.glob("*.engine")] == [new.file_name]


def test_another_graph_is_another_engine(ask: Asked, said: Callable[[], list[str]], folder: Path) -> None:
    ask()
    said()
    ask(replace(KEY, sha256="cd" * 32), b"another")
    assert said() == [BUILDING + "there is none yet"]
    assert len(list(folder.glob("*.engine"))) == 2


def test_a_file_of_another_engine_under_this_one_s_name_is_refused(
    ask: Asked, said: Callable[[], list[str]], folder: Path
) -> None:
    other = replace(KEY, sha256="cd" * 32)
    ask()
    ask(other, b"another")
    said()
    (folder / other.file_name).replace(folder / KEY.file_name)
    assert ask(KEY, b"built again") == b"built again"
    assert said() == [BUILDING + "the one at hand belongs to another graph"]


def first_byte_changed(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "is cut short"),
        (lambda data: data[: len(data) // 2], "is cut short"),
        (lambda data: data[:0], "is damaged"),
        (lambda data: data[:20], "is damaged"),
        (lambda data: data + b"\0", "was altered"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "was altered"),
        (lambda data: data.replace(b"10.3.0", b"10.3.1", 1), "was altered"),
        (first_byte_changed, "is damaged"),
        (lambda data: b"[" * (100_000 + len(data)), "is damaged"),
        (lambda data: b"null\n" + data, "is damaged"),
    ],
)
def test_what_was_cut_short_or_altered_never_reaches_tensorrt(
    ask: Asked, said: Callable[[], list[str]], change: Callable[[bytes], bytes], words: str
) -> None:
    ask()
    ask.file.write_bytes(change(ask.file.read_bytes()))
    ask.offered.clear()
    said()
    assert ask(plan=b"built again") == b"built again"
    assert ask.offered == [b"built again"]
    assert said() == [f"{BUILDING}the one at hand {words}"]
    assert ask() == b"built again"


def test_an_engine_of_another_device_is_built_anew(
    ask: Asked, said: Callable[[], list[str]], tmp_path: Path
) -> None:
    elsewhere = Asked(tmp_path / "elsewhere" / "engines")
    elsewhere(plan=b"foreign")
    ask()
    ask.file.write_bytes(elsewhere.file.read_bytes())
    said()
    assert ask(plan=b"built again") == b"built again"
    assert said() == [BUILDING + "the one at hand comes from another device"]
    assert b"foreign" not in ask.offered


def test_the_device_s_name_gives_nothing_of_its_key_away(ask: Asked, folder: Path) -> None:
    ask()
    key = (folder / KEY_FILE).read_bytes()
    assert key[:8].hex().encode() not in ask.file.read_bytes()


@pytest.mark.parametrize("spoil", ["open", "short", "link"])
def test_a_key_that_others_could_read_is_made_anew(
    ask: Asked, said: Callable[[], list[str]], folder: Path, tmp_path: Path, spoil: str
) -> None:
    ask()
    path = folder / KEY_FILE
    before = path.read_bytes()
    if spoil == "open":
        path.chmod(0o644)
    elif spoil == "short":
        path.write_bytes(before[:31])
    else:
        (tmp_path / "known").write_bytes(before)
        path.unlink()
        path.symlink_to(tmp_path / "known")
    said()
    assert ask(plan=b"built again") == b"built again"
    assert said()[0] == f"{path} is damaged or open to others: a new one is made"
    assert path.read_bytes() != before
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert stat.S_ISREG(path.lstat().st_mode)


def test_what_tensorrt_refuses_is_built_anew_once(ask: Asked, said: Callable[[], list[str]]) -> None:
    ask()
    said()
    ask.refused = [PLAN]
    assert ask(plan=b"built again") == b"built again"
    assert said() == [BUILDING + "TensorRT 10.3.0 refuses the one at hand"]
    ask.refused = [b"built again", b"and again"]
    with pytest.raises(EngineError, match=r"TensorRT 10\.3\.0 refuses the engine that it built for the step"):
        ask(plan=b"and again")
    assert ask.built == 3


def test_a_build_that_fails_leaves_nothing(ask: Asked, folder: Path) -> None:
    def build() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EngineCache(folder).engine(KEY, build, lambda plan: plan)
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]
    assert ask() == PLAN  # nor is the lock held


def test_what_a_killed_process_left_is_cleared_away(ask: Asked, folder: Path) -> None:
    """Killed while it wrote: the file has no name of its own yet, and nobody takes it for an engine."""
    code = (
        "import os, signal, sys; from pathlib import Path; from lvedge_runtime.engines.cache import *\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"EngineCache(Path(sys.argv[1])).engine({KEY!r}, lambda: b'plan' * 9, lambda plan: plan)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    names = sorted(path.suffix for path in folder.iterdir())
    assert names == [".key", ".part"]
    assert ask() == PLAN
    assert sorted(path.name for path in folder.iterdir()) == [KEY_FILE, KEY.file_name]


# --- the folder ---------------------------------------------------------------------------------------


def test_a_folder_that_others_may_look_into_is_refused(ask: Asked, folder: Path) -> None:
    ask()
    folder.chmod(0o755)
    with pytest.raises(EngineError, match=f"{folder} is open to others: chmod 700 {folder}"):
        ask()


def test_a_folder_of_another_user_is_refused(
    ask: Asked, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(EngineError, match=r"belongs to another user \(id \d+\): name a folder of your own"):
        ask()
    assert ask.built == 1


@pytest.mark.parametrize("kind", ["a link", "a file"])
def test_without_a_folder_engines_are_built_and_not_kept(
    ask: Asked, said: Callable[[], list[str]], folder: Path, tmp_path: Path, kind: str
) -> None:
    folder.parent.mkdir()
    if kind == "a link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "theirs")
    else:
        folder.write_text("no folder")
    assert ask() == ask() == PLAN
    assert ask.built == 2
    assert [line.partition(":")[0] for line in said()] == [f"engines cannot be kept in {folder}"] * 2
    assert not list(tmp_path.rglob("*.engine"))


def test_an_engine_that_cannot_be_written_still_runs(
    ask: Asked, said: Callable[[], list[str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert ask() == PLAN
    assert said()[-1] == "the engine of the step graph cannot be kept: No space left on device"
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]


BUILDER = """
import sys, time
from pathlib import Path
from lvedge_runtime.engines.cache import EngineCache, EngineKey

folder, started, other, builds = map(Path, sys.argv[1:])

def build():
    with builds.open("a") as file:
        file.write("built\\n")
    for _ in range(6000):  # until the other process is there as well
        if other.exists():
            break
        time.sleep(0.01)
    time.sleep(0.2)
    return b"plan" * 1000

started.touch()
key = EngineKey("step", "ab" * 32, "10.3.0", "gpu", "fp16", "")
sys.stdout.write(str(len(EngineCache(folder).engine(key, build, lambda plan: plan))))
"""


def test_two_processes_build_once(folder: Path, tmp_path: Path) -> None:
    builds = tmp_path / "builds"
    command = [sys.executable, "-c", BUILDER, str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    first, second = tmp_path / "first", tmp_path / "second"
    processes = [
        subprocess.Popen(
            [*command, str(mine), str(theirs), str(builds)],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for mine, theirs in ((first, second), (second, first))
    ]
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [out for out, _ in told] == ["4000", "4000"]
    assert builds.read_text() == "built\n"
    assert sorted(err.count("another process is building") for _, err in told) == [0, 1]


# --- with the engine ----------------------------------------------------------------------------------


@pytest.fixture
def start(fake: Fake, folder: Path) -> Callable[[], list[bytes]]:
    """Open and close the engine; gives what was handed to TensorRT."""
    pytest.importorskip("cuda.bindings.driver")
    entries = {f"{name}.onnx": data for name, data in tiny_graphs().items()}
    bundle = Bundle(manifest={}, shapes=SHAPES, sha256="", origin="tiny", entries=entries)

    def started() -> list[bytes]:
        fake.deserialised.clear()
        with TensorRt(bundle, device=lambda: open_device("cuda-bindings"), cache=EngineCache(folder)):
            return list(fake.deserialised)

    return started


def test_the_second_start_builds_nothing(start: Callable[[], list[bytes]], fake: Fake) -> None:
    first = start()
    assert fake.builds == 3
    assert start() == first
    assert fake.builds == 3
    assert all(plan.startswith(MAGIC) for plan in first)


def test_an_upgrade_of_tensorrt_builds_anew(
    start: Callable[[], list[bytes]],
    fake: Fake,
    said: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = start()
    said()
    fake.version = "10.13.3.9"
    fake.install(monkeypatch)
    after = start()
    assert not set(before) & set(after)  # the stale ones were not even tried
    assert all("is for TensorRT 10.3.0 and not 10.13.3.9" in line for line in said())
    assert fake.builds == 6
    assert start() == after


def test_another_gpu_builds_anew(
    start: Callable[[], list[bytes]], fake: Fake, said: Callable[[], list[str]]
) -> None:
    start()
    said()
    fake.gpu = "another"  # TensorRT's own check, where name and compute capability are the same
    start()
    assert all("TensorRT 10.3.0 refuses the one at hand" in line for line in said())
    assert fake.builds == 6


def test_a_truncated_engine_is_built_anew(
    start: Callable[[], list[bytes]], fake: Fake, folder: Path, said: Callable[[], list[str]]
) -> None:
    whole = start()
    said()
    for path in folder.glob("*.engine"):
        path.write_bytes(path.read_bytes()[:-100])
    assert start() == whole
    assert fake.builds == 6
    assert all(line.endswith("the one at hand is cut short") for line in said())


def test_options_that_shape_an_engine_are_part_of_its_key() -> None:
    @dataclass(frozen=True)
    class Options:
        batch: int = 1
        where: str = "GPU"
        told: object = field(default=None, compare=False)

    assert profile_of(Options(told=print)) == "batch=1, where='GPU'"
    assert profile_of(BuildOptions(max_batch=4)) != profile_of(BuildOptions())
