"""``[run]``: what can be said on the command line of ``lvedge-run``, said in the file of settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from lvedge.errors import UsageError
from lvedge_runtime.config import Config, Faults, check_known, flag_in, placed

NOT_IN_FILE = ("help", "version", "config")
SINKS = "sinks"
"""The one name that differs: ``--sink`` is given several times, ``sinks`` is a list."""


def options_from_config(
    config: Config, parser: argparse.ArgumentParser, args: Sequence[str] | None
) -> argparse.Namespace:
    """The options that the command line states over those that ``[run]`` does.

    A name is the option's, with underscores; sinks on the command line replace those of the file.

    Args:
        config: the file.
        parser: the command's arguments; what it checks is checked here.
        args: the command line, as for ``main``.

    Raises:
        UsageError: if ``[run]`` says what cannot be meant; all faults at once.
    """
    actions = {_name(action): action for action in parser._actions if action.dest not in NOT_IN_FILE}
    with placed(config.path):
        said = _checked(config.table("run"), actions)
    sinks = said.pop("sink", [])
    parser.set_defaults(**said)
    options = parser.parse_args(args)
    options.sink = options.sink or sinks
    return options


def _checked(table: Mapping[str, Any], actions: Mapping[str, argparse.Action]) -> dict[str, Any]:
    faults, values = Faults(), dict[str, Any]()
    with faults.noted():
        check_known(table, tuple(actions), "run.")
    for name in (name for name in table if name in actions):
        with faults.noted():
            values[actions[name].dest] = _value(table[name], actions[name], f"run.{name}")
    if values.get("quiet") and values.get("verbose"):
        with faults.noted():
            raise UsageError("run.verbose: not together with run.quiet")
    faults.tell()
    return values


def _value(value: Any, action: argparse.Action, where: str) -> Any:
    """What the option would be, written on the command line."""
    if action.nargs == 0:
        return flag_in(value, where)
    if _name(action) == SINKS:
        if not isinstance(value, list) or not all(isinstance(uri, str) for uri in value):
            raise UsageError(f"{where}: expected a list of URIs, as ['jsonl:values.jsonl']")
        return value
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise UsageError(f"{where}: expected a text or a number")
    text = str(value)
    if action.choices is not None and text not in action.choices:
        raise UsageError(f"{where}: {text!r} is none of {', '.join(action.choices)}")
    if not callable(action.type):
        return text
    try:
        return action.type(text)
    except argparse.ArgumentTypeError as err:
        raise UsageError(f"{where}: {err}") from err


def _name(action: argparse.Action) -> str:
    return SINKS if action.dest == "sink" else action.dest
