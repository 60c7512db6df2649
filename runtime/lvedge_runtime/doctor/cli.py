"""The command ``lvedge-doctor``: what a machine has, what will be used, what is missing, what brings it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lvedge import __version__
from lvedge_runtime.doctor.check import Check, Standing
from lvedge_runtime.doctor.package import package_checks
from lvedge_runtime.doctor.system import python_check, system_checks

CAN_RUN, CANNOT_RUN = 0, 1


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: the arguments without the command's name; those of the process by default.

    Returns:
        0 when the default job can run here, 1 when it cannot; 2 on wrong usage.
    """
    try:
        options = build_parser().parse_args(args)
    except SystemExit as leave:
        return int(leave.code or 0)
    checks = all_checks(options.root, options.config)
    can_run = not any(check.standing is Standing.FAULT for check in checks)
    sys.stdout.write(_json(checks, can_run) if options.json else _text(checks, can_run))
    return CAN_RUN if can_run else CANNOT_RUN


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="lvedge-doctor",
        description="Says what a machine has, what of it will be used, what is missing and what brings it.",
        epilog="exit codes: 0 lvedge-run can run as it is; 1 it cannot, see the faults; 2 wrong usage.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="where the system's own files lie, JetPack's for instance (default: /)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="PATH",
        help="also check this file of settings, and ask its peers and the running receiver for an echo",
    )
    return parser


def all_checks(root: Path, config: Path | None = None) -> list[Check]:
    """Everything that is looked at, in the order in which it is told.

    Args:
        root: the folder that the system's files lie under.
        config: a file of settings, or None.
    """
    checks = [python_check(), *system_checks(root), *package_checks()]
    if any(check.standing is Standing.FAULT for check in checks):
        return checks  # the job itself would fail for what was told already

    from lvedge_runtime.doctor.job import job_checks

    checks += job_checks()
    if config is not None:
        from lvedge_runtime.doctor.service import service_checks

        checks += service_checks(config)
    return checks


def _json(checks: Sequence[Check], can_run: bool) -> str:
    content = {"lvedge": __version__, "can_run": can_run, "checks": [check.as_json() for check in checks]}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _text(checks: Sequence[Check], can_run: bool) -> str:
    """The checks as a table, then what to do, then the verdict."""
    width = max(len(check.name) for check in checks)
    states = max(len(standing.value) for standing in Standing)
    lines = [f"{c.name:<{width}}  {c.standing.value:<{states}}  {c.found}" for c in checks]
    remedies = [f"  {check.name}: {check.remedy}" for check in checks if check.remedy]
    if remedies:
        lines += ["", "to mend:", *remedies]
    lines += [
        "",
        "lvedge-run can run here" if can_run else "lvedge-run cannot run here: mend the faults first",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
