"""The engines that were built on this device, kept for the next start.

    $LVEDGE_HOME/engines/            by default ~/.local/share/lvedge/engines/, for its owner alone (0700)
        device.key                   32 random bytes, for its owner alone (0600)
        step-GRAPH-KEY.engine        a header of one JSON line, an HMAC under the device's key, the engine

An engine is code: it goes to TensorRT only after the HMAC over all of it was found right. One that belongs
to another TensorRT, GPU or build, comes from another device, or was cut short or altered is built anew, and a
line says why. A file is written whole or not at all; while one process builds, others wait for the result.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from lvedge.disk import PART, write_whole
from lvedge.errors import EngineError
from lvedge.store import HOME_VARIABLE, home_folder

FOLDER, KEY_FILE, SUFFIX = "engines", "device.key", ".engine"
KEY_BYTES, MAC_BYTES = 32, 32
LONGEST_HEADER = 4096
FORMAT = 1

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class EngineKey:
    """What an engine belongs to: with any of it changed it is another one.

    Args:
        graph: "step", "replay" or "locator".
        sha256: of the ONNX bytes.
        tensorrt: its version.
        gpu: its name and compute capability.
        precision: that the graph is typed in.
        profile: how it is built, from ``profile_of``.
    """

    graph: str
    sha256: str
    tensorrt: str
    gpu: str
    precision: str
    profile: str

    @property
    def start(self) -> str:
        """How the names of all engines of this graph begin."""
        return f"{self.graph}-{self.sha256[:16]}-"

    @property
    def file_name(self) -> str:
        """The name of its file."""
        whole = json.dumps(asdict(self), sort_keys=True).encode()
        return f"{self.start}{hashlib.sha256(whole).hexdigest()[:16]}{SUFFIX}"

    def difference(self, other: EngineKey) -> str:
        """What another engine of the graph belongs to instead, in words."""
        words = {"tensorrt": "TensorRT ", "gpu": "", "precision": "", "profile": ""}
        parts = [
            f"{word}{theirs} and not {ours}"
            for name, word in words.items()
            if (theirs := getattr(other, name)) != (ours := getattr(self, name))
        ]
        return "; ".join(parts)


def profile_of(options: Any) -> str:
    """The build options that shape an engine, as text: all fields of the dataclass but those not compared."""
    return ", ".join(f"{f.name}={getattr(options, f.name)!r}" for f in fields(options) if f.compare)


class EngineCache:
    """The cache of one user.

    Args:
        folder: where it is; None for its place under $LVEDGE_HOME.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = home_folder() / FOLDER if folder is None else folder

    def engine(self, key: EngineKey, build: Callable[[], bytes], accept: Callable[[bytes], T | None]) -> T:
        """The engine of a key, from its file or built now.

        Args:
            key: what it has to belong to.
            build: gives its bytes, after minutes.
            accept: makes of checked bytes what runs, or None where TensorRT refuses them.

        Raises:
            EngineError: if the folder is not this user's alone, TensorRT refuses even what was just built, or
                ``build`` or ``accept`` fails.
        """
        with self._locked() as device_key:
            if device_key is not None:
                plan, why = self._find(key, device_key)
                if plan is not None:
                    made = accept(plan)
                    if made is not None:
                        return made
                    why = f"TensorRT {key.tensorrt} refuses the one at hand"
                _log.warning("building the engine of the %s graph, which takes a while: %s", key.graph, why)
            plan = build()
            made = accept(plan)
            if made is None:
                raise EngineError(
                    f"TensorRT {key.tensorrt} refuses the engine that it built for the {key.graph} graph"
                )
            if device_key is not None:
                self._keep(key, plan, device_key)
            return made

    def _find(self, key: EngineKey, device_key: bytes) -> tuple[bytes | None, str]:
        """An engine's checked bytes, or why there are none."""
        path = self.folder / key.file_name
        if path.exists():
            found, plan, why = _opened(path, device_key)
            if not why and found == key:
                return plan, ""
            return None, f"the one at hand {why or 'belongs to another graph'}"
        others = []
        for other in sorted(self.folder.glob(f"{key.start}*{SUFFIX}")):
            found, _, why = _opened(other, device_key)
            others.append(why if found is None else f"is for {key.difference(found)}")
        return None, f"the one at hand {others[0]}" if others else "there is none yet"

    def _keep(self, key: EngineKey, plan: bytes, device_key: bytes) -> None:
        """Write an engine; those of the same graph for another TensorRT are of no use any more."""
        try:
            for other in self.folder.glob(f"{key.start}*{SUFFIX}"):
                found, _, _ = _opened(other, device_key)
                if found is None or found.tensorrt != key.tensorrt:
                    other.unlink()
            for left in self.folder.glob(f".{key.start}*{PART}"):
                left.unlink()  # of a process that was killed while it wrote
            write_whole(self.folder / key.file_name, _sealed(key, plan, device_key))
        except OSError as err:
            _log.warning("the engine of the %s graph cannot be kept: %s", key.graph, err.strerror or err)

    @contextmanager
    def _locked(self) -> Iterator[bytes | None]:
        """The folder for this process alone, and the device's key; None where no folder can be had.

        Raises:
            EngineError: if the folder is another user's, or others may look into it.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as err:
            _log.warning("engines cannot be kept in %s: %s", self.folder, err.strerror or err)
            yield None
            return
        try:
            self._check_owner(handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.warning("another process is building engines: waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield self._device_key()
        finally:
            os.close(handle)

    def _check_owner(self, handle: int) -> None:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid():
            raise EngineError(
                f"the engine cache {self.folder} belongs to another user (id {status.st_uid}):"
                f" name a folder of your own in ${HOME_VARIABLE}"
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise EngineError(f"the engine cache {self.folder} is open to others: chmod 700 {self.folder}")

    def _device_key(self) -> bytes | None:
        """The key, made where it is missing or was open to others; None where it cannot be kept."""
        path = self.folder / KEY_FILE
        try:
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and not stat.S_IMODE(status.st_mode) & 0o077:
                key = path.read_bytes()
                if len(key) == KEY_BYTES:
                    return key
            _log.warning("%s is damaged or open to others: a new one is made", path)
            path.unlink()
        except FileNotFoundError:
            pass
        key = secrets.token_bytes(KEY_BYTES)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(handle, "wb") as file:
                file.write(key)
        except OSError as err:
            _log.warning("engines cannot be kept in %s: %s", self.folder, err.strerror or err)
            return None
        return key


def _sealed(key: EngineKey, plan: bytes, device_key: bytes) -> bytes:
    """A file's bytes: header, HMAC over header and engine, engine."""
    about = {"lvedge engine": FORMAT, "device": _device(device_key), "bytes": len(plan), "key": asdict(key)}
    header = json.dumps(about, sort_keys=True).encode() + b"\n"
    return header + _mac(device_key, header, plan) + plan


def _opened(path: Path, device_key: bytes) -> tuple[EngineKey | None, bytes, str]:
    """A file's key and engine after all of it was checked; else nothing, and what is wrong with it."""
    try:
        data = path.read_bytes()
    except OSError as err:
        return None, b"", f"cannot be read ({err.strerror or err})"
    header, newline, _ = data[:LONGEST_HEADER].partition(b"\n")
    start = len(header) + len(newline)
    mac, plan = data[start : start + MAC_BYTES], data[start + MAC_BYTES :]
    if newline and hmac.compare_digest(mac, _mac(device_key, header + newline, plan)):
        # From here on the content is our own.
        return EngineKey(**json.loads(header)["key"]), plan, ""
    return None, b"", _fault(header, len(plan), device_key)


def _fault(header: bytes, size: int, device_key: bytes) -> str:
    """What is wrong with a file that is not as this device wrote it; nobody vouches for its header."""
    try:
        about = json.loads(header)
        stated, device = int(about["bytes"]), str(about["device"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return "is damaged"
    if size < stated:
        return "is cut short"
    return "comes from another device" if device != _device(device_key) else "was altered"


def _device(device_key: bytes) -> str:
    """A name for the device that gives nothing of its key away."""
    return hmac.new(device_key, b"name of the device", hashlib.sha256).hexdigest()[:16]


def _mac(device_key: bytes, header: bytes, plan: bytes) -> bytes:
    sealed = hmac.new(device_key, header, hashlib.sha256)
    sealed.update(plan)
    return sealed.digest()
