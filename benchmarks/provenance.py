"""Where a result comes from: the command, the commit, and the files that it measures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parent.parent


class Provenance(TypedDict):
    """Head of a result that takes too long to be made on every change."""

    command: str
    commit: str
    uncommitted_changes: bool
    measures: list[str]
    python: str


def provenance(command: str, measures: Sequence[str]) -> Provenance:
    """The head of a result's JSON.

    Args:
        command: that makes it.
        measures: files and folders of the repository whose later change makes the result stale.

    Raises:
        ValueError: if one of them is not there.
    """
    missing = [path for path in measures if not (ROOT / path).exists()]
    if missing:
        raise ValueError(f"no such file in the repository: {', '.join(missing)}")
    return Provenance(
        command=command,
        commit=git("rev-parse", "HEAD"),
        uncommitted_changes=bool(git("status", "--porcelain", "-uno", "--", *measures)),
        measures=list(measures),
        python=sys.version.split()[0],
    )


def changes_since(commit: str, measures: Sequence[str]) -> list[str]:
    """Later commits that changed what was measured, newest first, a line each.

    Raises:
        RuntimeError: if git does not know the commit, or is not there.
    """
    return git("log", "--oneline", f"{commit}..HEAD", "--", *measures).splitlines()


def git(*arguments: str) -> str:
    """What git says of this checkout.

    Raises:
        RuntimeError: if it fails.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()
