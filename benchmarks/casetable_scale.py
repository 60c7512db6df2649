"""How a look-up in the case table grows with its rows: 1,000,000 against 1,000, with the same expected hits.

    python -m benchmarks.casetable_scale --out benchmarks/results/casetable_scale.json

Makes the tables, then asks the small and the large one in turn with the same values, files in the page cache.
No two queries are alike. Each is asked once more at once, as the next beat of the same heart nearly does
("again"). One thread; medians; the intervals are bootstrapped over the queries.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from benchmarks.provenance import ROOT, provenance
from lvedge.casetable import CaseTable, cycle_names, open_case_table
from lvedge.casetable.content import Content, write_content
from lvedge.casetable.reference import Reference, Search, features_from_references
from lvedge.casetable.rule import Condition, Rule, Scope
from lvedge.casetable.schema import rewritten

MEASURES = ["benchmarks/casetable_scale.py", "lvedge/casetable"]
OURSELVES = (sys.executable, "-m", "benchmarks.casetable_scale")
SIZES = (1_000, 1_000_000)
HITS_A_SET = 0.25
RANGE = 100.0
SETS = tuple(
    cycle_names()[start : start + count]
    for start, count in zip(
        (0, 1, 2, 3, 5, 8, 10, 13, 16, 20, 24, 29), (1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 5, 6), strict=True
    )
)


def rules_content(count: int, seed: int) -> Content:
    """Rules over twelve sets of one to six values; any point of the range meets 3 of them on average."""
    rng = np.random.default_rng(seed)
    rules: list[Rule] = []
    for k, names in enumerate(SETS):
        members = count // len(SETS) + (k < count % len(SETS))
        share = (HITS_A_SET / members) ** (1.0 / len(names))
        width = share / (1.0 - share)
        low = rng.uniform(-width, 1.0, (members, len(names)))
        for bounds in np.stack((low, low + width), axis=2) * RANGE:
            rules.append(
                Rule(
                    number=len(rules) + 1,
                    scope=Scope.CYCLE,
                    conditions=tuple(
                        Condition(name, *b) for name, b in zip(names, bounds.tolist(), strict=True)
                    ),
                    case="generated",
                    label="consistent with a generated rule",
                    severity=1,
                    source="generated",
                )
            )
    return Content(tuple(rules), meta={"title": f"{count} rules"}).with_fallbacks()


def drawn_beats(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Cases and values like those of the table that ships: a normal distribution for each of its groups."""
    with open_case_table() as table:
        shipped = table.content
    rng = np.random.default_rng(seed)
    groups = list(shipped.groups)
    drawn = rng.integers(len(groups), size=count)
    values = np.empty((count, len(shipped.features)))
    for k, case in enumerate(groups):
        of_case = np.array([r.values for r in shipped.references if r.case == case])
        here = drawn == k
        values[here] = rng.multivariate_normal(of_case.mean(axis=0), np.cov(of_case.T), int(here.sum()))
    return [groups[k] for k in drawn.tolist()], values


def references_content(count: int, seed: int) -> Content:
    """Reference cases like those of the table that ships, with its groups and values."""
    with open_case_table() as table:
        shipped = table.content
    cases, values = drawn_beats(count, seed)
    rows = zip(cases, values.tolist(), strict=True)
    references = [Reference(n, case, tuple(row)) for n, (case, row) in enumerate(rows, start=1)]
    features = features_from_references([f.name for f in shipped.features], references, {})
    meta = {"title": f"{count} reference cases"}
    return Content((), tuple(references), shipped.groups, features, Search(), meta).with_fallbacks()


def make(folder: Path, kind: str, count: int) -> Path:
    """The table of one kind and size; made in a process of its own, whose memory then is not ours."""
    path = folder / f"{kind}-{count}.sqlite"
    if not path.exists():
        subprocess.run([*OURSELVES, "--make", kind, str(count), "--folder", folder], check=True, cwd=ROOT)
    return path


def write(path: Path, kind: str, count: int) -> None:
    """Makes a table and says beside it how long that took."""
    started = perf_counter()
    content = rules_content(count, 1) if kind == "rules" else references_content(count, 1)
    with rewritten(path, append=False) as connection:
        write_content(connection, content)
    path.with_suffix(".seconds").write_text(f"{perf_counter() - started:.1f}\n", encoding="utf-8")


def queries(kind: str, count: int, names: tuple[str, ...]) -> list[dict[str, float]]:
    """Values to ask with, not those of any row."""
    if kind == "rules":
        values = np.random.default_rng(2).uniform(0.0, RANGE, (count, len(cycle_names())))
        return [dict(zip(cycle_names(), row, strict=True)) for row in values.tolist()]
    return [dict(zip(names, row, strict=True)) for row in drawn_beats(count, 2)[1].tolist()]


def first_look_up(path: Path) -> dict[str, float]:
    """Of a process of its own, files in the page cache: opening, the first look-up, memory after 2,000."""
    command = [*OURSELVES, "--first", str(path)]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(5)]
    return {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]}


def say_first(path: Path) -> None:
    """What ``first_look_up`` asks a process for."""
    kind = path.name.split("-")[0]
    with open_case_table() as shipped:
        asked = queries(kind, 2000, tuple(f.name for f in shipped.content.features))
        shipped.find_cycle(asked[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = perf_counter()
    table = open_case_table(path)
    opened = perf_counter()
    table.find_cycle(asked[0])
    found = perf_counter()
    for values in asked:
        table.find_cycle(values)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    record = {"open_ms": 1e3 * (opened - started), "first_look_up_ms": 1e3 * (found - opened)}
    print(json.dumps({**record, "memory_mb": grown / 1024}))


def look_up_ms(table: CaseTable, values: dict[str, float]) -> tuple[float, int]:
    started = perf_counter()
    found = table.find_cycle(values, level="mid")
    return 1e3 * (perf_counter() - started), sum(finding.case != "none" for finding in found)


def ask(tables: dict[int, CaseTable], asked: list[dict[str, float]]) -> tuple[dict[int, np.ndarray], ...]:
    """Milliseconds of each query, of the same asked again at once, and how many hits it had, by size."""
    first, again, hits = ({count: np.zeros(len(asked)) for count in tables} for _ in range(3))
    sizes = tuple(tables)
    for k, values in enumerate(asked):
        for count in sizes if k % 2 else sizes[::-1]:
            first[count][k], hits[count][k] = look_up_ms(tables[count], values)
            again[count][k], _ = look_up_ms(tables[count], values)
    return first, again, hits


def ratio_of_medians(small: np.ndarray, large: np.ndarray) -> tuple[float, list[float]]:
    """How much longer the large table takes, with the 95 % interval, bootstrapped over the queries."""
    draws = np.random.default_rng(0).integers(small.size, size=(2000, small.size))
    ratios = np.median(large[draws], axis=1) / np.median(small[draws], axis=1)
    found = float(np.median(large) / np.median(small))
    return round(found, 3), np.percentile(ratios, (2.5, 97.5)).round(3).tolist()


def compare(kind: str, folder: Path, rounds: int) -> dict[str, object]:
    """Both sizes asked in turn; the ratio of the medians with its interval."""
    paths = {count: make(folder, kind, count) for count in SIZES}
    tables = {count: open_case_table(path) for count, path in paths.items()}
    with open_case_table() as shipped:
        asked = queries(kind, rounds + 200, tuple(f.name for f in shipped.content.features))
    times: dict[str, dict[int, np.ndarray]] = {}
    times["first"], times["again"], hits = ask(tables, asked)
    for table in tables.values():
        table.close()
    ratios = {how: ratio_of_medians(*(of[count][200:] for count in SIZES)) for how, of in times.items()}
    return {
        "ratio": ratios["first"][0],
        "ratio_interval_95": ratios["first"][1],
        "ratio_again": ratios["again"][0],
        "ratio_again_interval_95": ratios["again"][1],
        "rounds": rounds,
        "tables": {
            str(count): {
                "median_ms": round(float(np.median(times["first"][count][200:])), 4),
                "median_again_ms": round(float(np.median(times["again"][count][200:])), 4),
                "p99_ms": round(float(np.percentile(times["first"][count][200:], 99)), 4),
                "mean_hits": round(float(hits[count].mean()), 3),
                "bytes_a_row": round(path.stat().st_size / count, 1),
                "made_in_s": float(path.with_suffix(".seconds").read_text(encoding="utf-8")),
                **first_look_up(path),
            }
            for count, path in paths.items()
        },
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3000, help="queries of each table")
    parser.add_argument("--out", type=Path, metavar="JSON", help="the JSON to write (default: only print)")
    parser.add_argument("--folder", type=Path, help="where the tables are kept (default: they are not)")
    parser.add_argument("--make", nargs=2, metavar=("KIND", "ROWS"), help="only make this table")
    parser.add_argument("--first", type=Path, metavar="TABLE", help="only open this table and ask it")
    options = parser.parse_args()
    if options.first:
        say_first(options.first)
        return
    if options.make:
        kind, count = options.make[0], int(options.make[1])
        write(options.folder / f"{kind}-{count}.sqlite", kind, count)
        return
    command = f"python -m benchmarks.casetable_scale --rounds {options.rounds}"
    head = provenance(command, MEASURES) if options.out else None
    with TemporaryDirectory() as name:
        folder = (options.folder or Path(name)).absolute()
        found = {kind: compare(kind, folder, options.rounds) for kind in ("rules", "neighbours")}
    if head:
        record = {**head, "cpus": os.cpu_count(), "load": round(os.getloadavg()[1], 1), "results": found}
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
