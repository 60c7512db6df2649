"""Checks the JSON lines of a run, and the pictures and volumes beside them.

Usage: check_lines.py LINES.jsonl [options]; exits with 1 and one line a fault.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--frames", type=int, help="exactly so many frames")
    parser.add_argument("--slices", type=int, help="exactly so many slices, one cycle each")
    parser.add_argument("--measured", type=float, default=0.0, help="least share of measured frames")
    parser.add_argument("--result", action="store_true", help="at least one cycle has a result")
    parser.add_argument("--pictures", type=Path, help="folder with one PNG a frame")
    parser.add_argument("--volumes", nargs=2, metavar=("DIR", "COUNT"), help="folder with so many volumes")
    options = parser.parse_args()
    faults = list(faults_of(options))
    for fault in faults:
        sys.stderr.write(f"{options.lines.name}: {fault}\n")
    return 1 if faults else 0


def faults_of(options: argparse.Namespace) -> Iterator[str]:
    """What is wrong, one line each."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in options.lines.read_text("utf-8").splitlines()]
    yield from schema_faults(lines)
    frames = [line for line in lines if "frame" in line]
    cycles = [line["cycle"] for line in lines if "cycle" in line]
    measured = [frame for frame in frames if frame["measured"]]
    # Where no rule holds and no case is near, the case is "none".
    known = [cycle for cycle in cycles if cycle["result"] and cycle["result"]["case"] != "none"]
    sys.stdout.write(
        f"{len(frames)} frames, {len(measured)} measured, {len(cycles)} cycles, "
        f"{len(known)} of them with a case\n"
    )
    if not frames:
        yield "no frame"
        return
    if options.frames is not None and len(frames) != options.frames:
        yield f"{len(frames)} frames instead of {options.frames}"
    if options.slices is not None and len(cycles) != options.slices:
        yield f"{len(cycles)} cycles instead of {options.slices}"
    if len(measured) < options.measured * len(frames):
        yield f"only {len(measured)} of {len(frames)} frames are measured"
    if any(line for line in lines if "rejected" in line):
        yield "something was rejected"
    if options.result and not known:
        yield "the case table knows none of the cycles"
    if options.pictures and (count := len(list(options.pictures.glob("*.png")))) != len(frames):
        yield f"{count} pictures for {len(frames)} frames"
    if options.volumes:
        folder, expected = Path(options.volumes[0]), int(options.volumes[1])
        if (count := len(list(folder.glob("*.nii.gz")))) != expected:
            yield f"{count} volumes instead of {expected}"


def schema_faults(lines: list[dict[str, Any]]) -> Iterator[str]:
    """Where lines break the published schema."""
    schema = json.loads(files("lvedge_runtime").joinpath("sinks/result.schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for number, line in enumerate(lines, start=1):
        for error in validator.iter_errors(line):
            yield f"line {number}: {error.json_path}: {error.message}"


if __name__ == "__main__":
    sys.exit(main())
