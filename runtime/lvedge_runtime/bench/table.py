"""What the bench found, for people: tables on the terminal, from the same JSON that it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lvedge_runtime.bench.compare import Change
from lvedge_runtime.bench.interval import WIDEST
from lvedge_runtime.bench.timing import PERCENTILES, Timing
from lvedge_runtime.bench.trtexec import TrtLayer

Json = Mapping[str, Any]

NONE = "–"
WIDE = f", wider than ±{WIDEST:.0%}"
"""Behind a ratio that is not to be reported."""

MOST_LAYERS = 15
WIDTH = 120
"""Of a file or a pipe, which has none of its own."""


def show(*parts: Table | Text) -> None:
    """Write tables to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    for part in parts:
        console.print(part)


def run_tables(run: Json) -> Iterator[Table | Text]:
    """A whole run, section by section."""
    yield _machine(run)
    if run.get("start"):
        yield _start(run["start"])
    for way in run.get("way", ()):
        yield _way(way)
        if way.get("around_over_step"):
            yield Text(f"everything around the step over the step: {_ratio(way['around_over_step'])}")
    if run.get("paced"):
        yield from _paced(run["paced"])
    if run.get("highest_rate"):
        yield Text(_highest(run["highest_rate"]))
    if run.get("together"):
        yield from _together(run["together"])
    if run.get("steps"):
        yield from _steps(run["steps"])
        yield from _ratios(run["steps"])
    if run.get("bound"):
        yield _bound(run["bound"])
        yield _layers(run["bound"])
    yield Text(
        "Milliseconds. p: percentile; p99 ≤: MLPerf's early-stopping estimate, 99 % sure; "
        f"{NONE}: too few samples for it.",
        style="dim",
    )


def case_name(case: Json) -> str:
    """An engine with its threads and its batch, in words."""
    return f"{case['engine']}, {case['threads']} thr., batch {case['batch']}"


def change_table(changes: Sequence[Change]) -> Table:
    """Two runs beside each other."""
    table = _table("second run against the first", "what", "before", "after", "median ×", "p99 ×", "verdict")
    for change in changes:
        words = f"{change.verdict}{WIDE if change.median.is_wide else ''}"
        tail = NONE if change.tail is None else str(change.tail)
        table.add_row(
            change.what, _ms(change.before_ms), _ms(change.after_ms), str(change.median), tail, words
        )
    return table


def trtexec_table(theirs: Mapping[str, Timing], ours: Sequence[Json]) -> Table:
    """trtexec's times, and beside them those of our steps.

    Args:
        theirs: stage to timing.
        ours: the step cases of a run.
    """
    table = _timing_table("step", "who", "stage")
    for stage, timing in theirs.items():
        _add_timing(table, timing.as_json(samples=False), "trtexec", stage)
    for case in ours:
        who = case_name(case)
        for stage, told in {**case["stages"], "total": case["total"]}.items():
            _add_timing(table, told, who, stage)
    return table


def profile_table(layers: Sequence[TrtLayer]) -> Table:
    """TensorRT's layers that take longest."""
    table = _table(f"TensorRT's layers that take longest, of {len(layers)}", "layer", "ms", "share")
    whole = sum(layer.ms for layer in layers) or 1.0
    for layer in layers[:MOST_LAYERS]:
        table.add_row(layer.name, _ms(layer.ms), f"{layer.ms / whole:.1%}")
    return table


def _machine(run: Json) -> Table:
    machine = run["machine"]
    cores = f"{machine['cores_allowed']} of {machine['cores_of_machine']} cores"
    clocks = ", ".join(
        f"{name.replace('_', ' ')} {mhz:.0f}" for name, mhz in (machine["clock_mhz"] or {}).items()
    )
    rows = {
        "processor": ", ".join((machine["processor"], cores, *machine["flags"])),
        "clocks, MHz": ", ".join(part for part in (clocks, *machine["governors"]) if part) or "not told",
        "GPU": ", ".join(str(gpu["name"]) for gpu in machine["gpus"]) or "none that NVML knows",
        **machine["system"],
        "load before": machine["load_1_min"],
        "bundle": run["bundle"],
        "engine": run["engine"],
        "source": run["source"],
    }
    for section, told in run.get("sensors", {}).items():
        energy = [f"{name} {mj:g} mJ a frame" for name, mj in told["energy_mj_a_frame"].items()]
        hottest = max(told["highest_temperature_c"].values(), default=None)
        warmth = [] if hottest is None else [f"hottest {hottest:g} °C"]
        if energy or warmth:
            rows[f"sensors, {section}"] = ", ".join(energy + warmth)
    return _facts(f"lvedge-bench {machine['lvedge']}", rows)


def _start(start: Json) -> Table:
    table = _table("start, seconds", "what", "median", "runs")
    rows = {
        "first result after starting": start["first_result_s"],
        f"importing {', '.join(start['imports'])} alone": start["imports_alone_s"],
        "first result, files out of the page cache": start["cold_first_result_s"],
        "first result, the process's own time": start["first_result_cpu_s"],
        "the imports, the process's own time": start["imports_alone_cpu_s"],
    }
    for name, told in rows.items():
        if told:
            table.add_row(name, f"{told['median']:.3f}", str(len(told["all"])))
    for what, told in (("", start["over_imports"]), (", own time", start["over_imports_cpu"])):
        if told:
            table.add_row(f"first result over the imports{what}", f"{_ratio(told)} ×", "")
    return table


def _way(way: Json) -> Table:
    how = "live" if way["live"] else "closed beats where the source has them"
    title = (
        f"the way of a frame, back to back, {how}, {way['streams']} stream(s): "
        f"{way['frames_per_second']:.1f} frames/s, {_agreement(way['state_carry'])}"
    )
    table = _timing_table(title, "stage", "share")
    whole = sum(way["pass_seconds"]) * 1e3
    for stage, timing in way["stages"].items():
        _add_timing(table, timing, stage, f"{sum(timing['ms']) / whole:.1%}")
    frames = way["frames_a_pass"] * way["passes"]
    table.add_row("rest", f"{way['rest_ms_a_frame'] * frames / whole:.1%}")
    _add_timing(table, way["total"], "a frame in all", "")
    return table


def _paced(runs: Sequence[Json]) -> Iterator[Table | Text]:
    table = _timing_table(
        "paced: frames come at a rate; from arrival to result", "rate", "due", "late", "queue"
    )
    for run in runs:
        row = (f"{run['rate']:g}/s × {run['streams']}", _ms(run["deadline_ms"]), str(run["missed"]))
        _add_timing(table, run["latency"], *row, str(run["longest_queue"]))
    yield table
    for run in runs:
        holds = {True: "is held", False: "is not held", None: "cannot be judged: too few frames"}[
            run["holds_p99"]
        ]
        yield Text(f"{run['rate']:g}/s × {run['streams']}: p99 {holds}, {_agreement(run['state_carry'])}")


def _highest(found: Json) -> str:
    if found["frames_per_second"] is None:
        return "no rate is held at p99"
    streams = found["streams"]
    return (
        f"highest rate held at p99: {found['frames_per_second']:.1f} frames/s a stream, {streams} stream(s)"
    )


def _together(told: Json) -> Iterator[Table | Text]:
    table = _timing_table("streams together: from all frames being there to each result", "how", "frames/s")
    for case in told["cases"]:
        for how, timing in case["latency"].items():
            rate = f"{case['frames_per_second'][how]:.1f}"
            _add_timing(table, timing, f"{case['streams']} streams, {how}", rate)
    if told["cases"]:
        yield table
    for case in told["cases"]:
        yield Text(
            f"{case['streams']} streams: as one batch {_ratio(case['batched_over_sequential'])} times the "
            f"frames/s of one after another, p99 {_ratio(case['p99_batched_over_sequential'])} times, "
            f"{_agreement(case['state_carry'])}"
        )
    for name, reason in told["absent"].items():
        yield Text(f"{name}: not here: {reason}")


def _steps(steps: Json) -> Iterator[Table | Text]:
    table = _timing_table("the step alone", "engine", "frames/s")
    for case in steps["cases"]:
        _add_timing(table, case["total"], case_name(case), f"{case['frames_per_second']:.1f}")
        for stage, timing in case["stages"].items() if len(case["stages"]) > 1 else ():
            _add_timing(table, timing, f"  {stage}", "")
    if steps["cases"]:
        yield table
    for case in steps["cases"]:
        yield Text(f"{case_name(case)}: {_agreement(case['state_carry'])}")
    for name, reason in steps["absent"].items():
        yield Text(f"{name}: not here: {reason}")


def _ratios(steps: Json) -> Iterator[Text]:
    for row in steps["ratios"]:
        yield Text(
            f"{case_name(row)}: {_ratio(row['frames_per_second'])} times the frames/s of "
            f"{case_name(row['against'])}"
        )
    for row in steps["batch_gain"]:
        last, alone = row["last_result_batched_ms"]["median_ms"], row["last_result_sequential_ms"]
        yield Text(
            f"{row['streams']} streams on {row['engine']}: as one batch the last result is there after "
            f"{_ms(last)} ms, one after another after {_ms(alone)} ms"
        )


def _bound(bound: Json) -> Table:
    step, product, copy = bound["step"], bound["best_matmul"], bound["best_copy"]
    rows = {
        "the step asks": f"{step['flop'] / 1e9:.3f} GFLOP; {step['bytes_least'] / 1e6:.1f} MB at least, "
        f"{step['bytes_by_node'] / 1e6:.1f} MB node by node",
        "the machine gives": f"{bound['matmul_gflop_per_s'][product]:.1f} GFLOP/s ({product}), "
        f"{bound['copy_gb_per_s'][copy]:.1f} GB/s ({copy})",
        "at least": f"{_ms(bound['bound_ms'])} ms, by its {bound['bound_by']}",
        "the step takes": f"{_ms(step['median_ms'])} ms",
        "FLOP/s, step over product": _ratio(bound["step_over_matmul"]),
        "bound over step": _ratio(bound["step_over_bound"]),
    }
    return _facts(
        f"the bound, {bound['engine']}, {bound['threads']} thread(s), {bound['rounds']} rounds", rows
    )


def _layers(bound: Json) -> Table:
    rows = sorted(bound["layers"], key=lambda row: -row["ms"])
    title = f"layers that take longest, {min(MOST_LAYERS, len(rows))} of {len(rows)}"
    table = _table(title, "layer", "ms", "share", "MFLOP", "MB", "at least", "of bound")
    whole = sum(row["ms"] for row in rows)
    for row in rows[:MOST_LAYERS]:
        share = NONE if row["of_bound"] is None else f"{row['of_bound']:.0%}"
        mega = (f"{row['flop'] / 1e6:.1f}", f"{row['bytes_least'] / 1e6:.2f}")
        table.add_row(
            row["layer"], _ms(row["ms"]), f"{row['ms'] / whole:.1%}", *mega, _ms(row["bound_ms"]), share
        )
    return table


def _timing_table(title: str, *heads: str) -> Table:
    percentiles = [f"p{percent:g}" for percent in PERCENTILES]
    return _table(title, *heads, "n", *percentiles, "p99 ≤", "max", "jitter")


def _add_timing(table: Table, timing: Json, *cells: str) -> None:
    percentiles = timing["percentiles"]
    table.add_row(
        *cells,
        str(timing["n"]),
        *(_ms(told["ms"]) for told in percentiles.values()),
        _ms(percentiles["p99"]["at_most_ms"]),
        _ms(timing["max_ms"]),
        _ms(timing["jitter_ms"]),
    )


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right", no_wrap=number > 0)
    return table


def _facts(title: str, rows: Mapping[str, object]) -> Table:
    """Names and what they are."""
    table = _table(title, "", "")
    table.show_header = False
    table.columns[1].justify, table.columns[1].no_wrap = "left", False
    for name, value in rows.items():
        table.add_row(name, str(value))
    return table


def _agreement(told: Json) -> str:
    if not told["agrees"]:
        return f"RESULTS DIFFER from the untimed run, first at frame {told['first_apart']}"
    exactly = "bit for bit" if told["identical"] else "within tolerance"
    return f"results as untimed, {exactly}"


def _ratio(told: Json) -> str:
    low, high = told["interval_95"]
    return f"{told['ratio']:.3f} [{low:.3f}, {high:.3f}]{WIDE if told['wide'] else ''}"


def _ms(value: float | None) -> str:
    """Milliseconds to three or four digits."""
    if value is None:
        return NONE
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0}f}"
