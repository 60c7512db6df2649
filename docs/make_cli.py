"""Writes ``docs/cli.md`` from the ``--help`` of every command: ``python docs/make_cli.py``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from unittest import mock

PAGE = Path(__file__).with_name("cli.md")

COMMANDS = {
    "lvedge-run": "lvedge_runtime.cli:main",
    "lvedge-cases": "lvedge.casetable.cli:main",
    "lvedge-bundle": "lvedge.bundle_cli:main",
    "lvedge-outbox": "lvedge_runtime.journal.cli:main",
    "lvedge-doctor": "lvedge_runtime.doctor.cli:main",
    "lvedge-bench": "lvedge_runtime.bench.cli:main",
    "lvedge-train": "lvedge.training.cli:main",
    "lvedge-eval": "lvedge.training.evaluation.cli:main",
    "lvedge-export": "lvedge_export.cli:main",
}
"""Command to ``module:function``, as ``[project.scripts]`` has them."""

HEAD = """# Commands

What `--help` says of every command. `python docs/make_cli.py` writes this page; a test holds it in step.
The keys of the results stand in [results.md](results.md).
"""

WIDTH = "100"


class _Found(BaseException):
    """Carries a command's parser out of its main function."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def section(command: str) -> str:
    """The command's part of the page.

    Raises:
        ImportError: if the command needs a package that is not installed.
    """
    module, name = COMMANDS[command].split(":")
    with mock.patch.dict(os.environ, {"COLUMNS": WIDTH, "NO_COLOR": "1"}):
        parser = _parser_of(getattr(import_module(module), name))
        texts = [f"```text\n{part.format_help().rstrip()}\n```\n" for part in _with_commands(parser)]
    return f"## {command}\n\n" + "\n".join(texts)


def page(before: str) -> str:
    """The whole page; a command that cannot be imported here keeps the section that it had before."""
    kept = {
        part.split("\n", 1)[0]: f"## {part}" for part in re.split(r"^## ", before, flags=re.MULTILINE)[1:]
    }
    parts = [HEAD]
    for command in COMMANDS:
        try:
            parts.append(section(command))
        except ImportError:
            if command in kept:
                parts.append(kept[command].rstrip() + "\n")
    return "\n".join(parts)


def _parser_of(main: Callable[[list[str]], int]) -> argparse.ArgumentParser:
    """The parser that a main function reads its arguments with."""

    def carry(self: argparse.ArgumentParser, *_args: object, **_options: object) -> None:
        raise _Found(self)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", carry):
        try:
            main([])
        except _Found as found:
            return found.parser
    raise RuntimeError(f"{main.__module__}: the main function reads no arguments")


def _with_commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, then those of its commands, each once."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in dict.fromkeys(action.choices.values()):
                yield from _with_commands(inner)


if __name__ == "__main__":
    sys.path[:0] = [str(PAGE.parent.parent / room) for room in (".", "export", "runtime")]
    PAGE.write_text(page(PAGE.read_text("utf-8") if PAGE.exists() else ""), encoding="utf-8")
