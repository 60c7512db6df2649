"""What was installed in place of what ships: the bundle or case table in use, and the last good one.

    $LVEDGE_HOME/bundle/        by default ~/.local/share/lvedge/bundle/; cases/ likewise
        SHA256.lvedge           the one in use, and the one before
        state                   which is which

A file is named by its hash and written whole; then ``state`` is replaced, which is the one moment at which an
update or a rollback happens. Wherever the power fails, the old or the new one is in use, whole. Readers and
writers lock the folder (flock), so that nobody reads a file that is being tidied away.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from lvedge.disk import sync_folder, write_whole
from lvedge.errors import LvedgeError, StoreError

HOME_VARIABLE = "LVEDGE_HOME"
SHIPPED, NONE = "shipped", "none"
STATE = "state"

_STATE = re.compile(
    rb"lvedge store 1\ncurrent (shipped|[0-9a-f]{64})\nprevious (shipped|none|[0-9a-f]{64})\n"
)

T = TypeVar("T")


@dataclass(frozen=True)
class State:
    """Which of a store's files is which, by SHA-256.

    Args:
        current: what is in use; "shipped" for what ships with lvedge.
        previous: what a rollback goes back to; "none" before the first update.
    """

    current: str = SHIPPED
    previous: str = NONE


class Store(Generic[T]):
    """The installed bundle, or the installed case table.

    Args:
        what: what it holds, for messages.
        folder: name of its folder.
        suffix: how its files' names end.
        command: the command that updates it and rolls it back.
        read: reads and checks a file; None for the one that ships. Raises an ``LvedgeError``.
    """

    def __init__(
        self, what: str, folder: str, suffix: str, command: str, read: Callable[[Path | None], T]
    ) -> None:
        self._what = what
        self._suffix = suffix
        self._command = command
        self._read = read
        self._folder = home_folder() / folder

    @property
    def state(self) -> State:
        """Which file is which.

        Raises:
            StoreError: if that cannot be read.
        """
        path = self._folder / STATE
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return State()
        except OSError as err:
            raise StoreError(f"{path} cannot be read: {err.strerror or err}") from err
        found = _STATE.fullmatch(data)
        if found is None:
            raise StoreError(
                f"{path} is damaged: remove it, and install the {self._what} again"
                f" with {self._command} update"
            )
        return State(*(part.decode() for part in found.groups()))

    def current(self) -> T:
        """What is in use, read and checked.

        Raises:
            LvedgeError: if it cannot be used.
        """
        with self._locked(fcntl.LOCK_SH):
            return self._open(self.state.current)

    def update(self, data: bytes, may_follow: Callable[[T, T], None]) -> T:
        """Put a file in use, and keep the one before for a rollback. What is in use already stays as it is.

        Args:
            data: its bytes.
            may_follow: raises an ``LvedgeError`` where the second may not take the place of the first; not
                asked where what is in use cannot be read.

        Returns:
            What is in use now.

        Raises:
            LvedgeError: if the file is refused, or cannot be written; what was in use stays in use.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        with self._writing():
            state = self.state
            try:
                path = self._path(sha256)
                if not path.is_file() or path.read_bytes() != data:
                    write_whole(path, data)
                new = self._open(sha256)
                if state.current == sha256:
                    return new
                old = self._usable(state.current)
                if old is not None:
                    may_follow(old, new)
                kept = state.previous if old is None else state.current
                self._write(State(sha256, NONE if kept == sha256 else kept))
            finally:
                self._tidy()
        return new

    def rollback(self) -> T:
        """Put the last good one back in use, and keep the one that it replaces.

        Returns:
            What is in use now.

        Raises:
            LvedgeError: if there is none, or it cannot be used; what was in use stays in use.
        """
        if not self._folder.is_dir():
            raise self._nothing_before()
        with self._writing():
            state = self.state
            if state.previous == NONE:
                raise self._nothing_before()
            before = self._open(state.previous)
            self._write(State(state.previous, state.current))
        return before

    def _nothing_before(self) -> StoreError:
        return StoreError(
            f"there is no {self._what} to go back to: none was installed with {self._command} update"
        )

    def _usable(self, name: str) -> T | None:
        """What a state names, or None: what cannot be used is no last good one to keep."""
        try:
            return self._open(name)
        except LvedgeError:
            return None

    def _open(self, name: str) -> T:
        """Read and check what a state names."""
        if name == SHIPPED:
            return self._read(None)
        path = self._path(name)
        try:
            sound = hashlib.sha256(path.read_bytes()).hexdigest() == name
        except OSError as err:
            raise self._lost(path, err.strerror or str(err)) from err
        if not sound:
            raise self._lost(path, "it is damaged")
        return self._read(path)

    def _lost(self, path: Path, reason: str) -> StoreError:
        before = self.state.previous
        can_go_back = before != NONE and path != self._path(before)
        way_back = f", or go back with {self._command} rollback" if can_go_back else ""
        return StoreError(
            f"the installed {self._what} {path} cannot be used ({reason}):"
            f" install one with {self._command} update{way_back}"
        )

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}{self._suffix}"

    def _write(self, state: State) -> None:
        lines = ("lvedge store 1", f"current {state.current}", f"previous {state.previous}", "")
        write_whole(self._folder / STATE, "\n".join(lines).encode("ascii"))

    def _tidy(self) -> None:
        """Remove what no state names: files from before the last update, or of an update that was cut off."""
        state = self.state
        kept = {STATE, self._path(state.current).name, self._path(state.previous).name}
        for path in self._folder.iterdir():
            if path.name not in kept:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The folder, made where it is missing, for this process alone."""
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True, exist_ok=True)
                for parent in (self._folder.parent, self._folder.parent.parent):
                    sync_folder(parent)
            with self._locked(fcntl.LOCK_EX):
                yield
        except OSError as err:
            raise StoreError(
                f"the {self._what} in {self._folder} cannot be replaced: {err.strerror or err}"
            ) from err

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Hold a lock on the folder; nothing to lock where nothing was installed."""
        try:
            handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            yield
            return
        except OSError as err:
            raise StoreError(f"{self._folder} cannot be read: {err.strerror or err}") from err
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)


def home_folder() -> Path:
    """Where installed things are: $LVEDGE_HOME, else lvedge/ in $XDG_DATA_HOME or ~/.local/share."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "lvedge"
