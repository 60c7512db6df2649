"""A run of the bench: its sections in order, as one JSON object.

The start comes first, while this process has opened nothing that the command needs; only then are numpy and
the rest imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lvedge.errors import UsageError

if TYPE_CHECKING:
    from lvedge.bundle import Bundle
    from lvedge.contract import Floats
    from lvedge.measurement import Measurement
    from lvedge_runtime.bench.way import OpenSource, Rig
    from lvedge_runtime.sources import Source

SECTIONS = ("start", "way", "paced", "together", "steps", "bound")
"""In the order in which they run."""

COLD_EVERY = 3
"""Starts with the files in the page cache for one without."""

HIGHEST_FRAMES = 700
"""Enough for p99."""


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        source: its URI or path.
        spacing_mm: ROW[,COL] for a source that states none, or None.
        bundle: a file, or None for the one installed or shipped.
        cases: a case table, or None for the one installed or shipped.
        sinks: URIs; none writes JSON lines to a temporary file.
        sections: which.
        engine: what runs the way: a name in the registry, or "auto".
        engines: those whose steps are timed.
        threads: numbers of threads; the first one runs the way and the bound.
        batches: batch sizes of the steps; those over 1 are the streams that go together.
        streams: numbers of streams of the way and of the paced runs.
        rates: frames a second of the paced runs.
        deadline_ms: when a paced result is late, or None for the next frame's arrival.
        find_rate: look for the highest rate held at p99.
        frames: at least so many a timing.
        starts: of the command, with its files in the page cache.
        rounds: of the bound.
        live: the way frame by frame, even where the whole beat is at hand.
    """

    source: str
    spacing_mm: str | None
    bundle: Path | None
    cases: str | None
    sinks: Sequence[str]
    sections: Sequence[str]
    engine: str
    engines: Sequence[str]
    threads: Sequence[int]
    batches: Sequence[int]
    streams: Sequence[int]
    rates: Sequence[float]
    deadline_ms: float | None
    find_rate: bool
    frames: int
    starts: int
    rounds: int
    live: bool


def run(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """All sections of a plan.

    Args:
        plan: what to measure.
        say: is told what is being measured.
    """
    start = None
    if "start" in plan.sections:
        say("start: the command is started again and again")
        start = _start(plan)
    with _opened(plan) as (bundle, open_source, rig, engine):
        from lvedge_runtime.bench.compare import FORMAT
        from lvedge_runtime.bench.machine import machine_record

        result: dict[str, Any] = {
            "format": FORMAT,
            "machine": machine_record(),
            "bundle": f"{bundle.name} {bundle.version}",
            "source": _short(plan.source),
            "engine": engine,
            "sensors": {},
        }
        if start is not None:
            from lvedge_runtime.bench.start_ratio import start_ratios

            result["start"] = {**start, **start_ratios(start)}
        for section, measure in (
            ("way", _way),
            ("paced", _paced),
            ("together", _together),
            ("steps", _steps),
            ("bound", _bound),
        ):
            if section in plan.sections:
                measure(plan, bundle, open_source, rig, result, say)
    return result


def is_sound(result: dict[str, Any]) -> bool:
    """Whether all timed results were those of the untimed runs."""
    told = [*result.get("way", ()), *result.get("paced", ())]
    told += [case for part in ("together", "steps") for case in result.get(part, {}).get("cases", ())]
    return all(part["state_carry"]["agrees"] for part in told)


@contextmanager
def _opened(plan: Plan) -> Iterator[tuple[Bundle, OpenSource, Rig, str]]:
    """What frames are measured with, as ``lvedge-run`` opens it, and the engine's name."""
    from lvedge.bundle import open_bundle
    from lvedge.casetable import has_case_table, open_case_table
    from lvedge.quality import DEFAULT_QUALITY, QualityModel
    from lvedge_runtime.bench.way import Rig
    from lvedge_runtime.engines import open_engine
    from lvedge_runtime.sinks import RunContext, Sinks, check_uris
    from lvedge_runtime.sources import SourceOptions, open_source, spacing_from_text

    check_uris(plan.sinks)
    spacing_mm = None if plan.spacing_mm is None else spacing_from_text(plan.spacing_mm)
    bundle = open_bundle(plan.bundle)
    options = SourceOptions(spacing_mm=spacing_mm, modality=bundle.modality)

    def opened_source() -> Source:
        return open_source(plan.source, options)

    with ExitStack() as things:
        folder = Path(things.enter_context(TemporaryDirectory(prefix="lvedge-bench-")))
        at_once = max(plan.batches) if "together" in plan.sections else 1
        engine = things.enter_context(open_engine(bundle, plan.engine, plan.threads[0], at_once))
        cases = None
        if plan.cases is not None or has_case_table():
            cases = things.enter_context(open_case_table(plan.cases))
        context = RunContext(
            engine.name, bundle.name, bundle.version, bundle.shapes.layout, source=plan.source
        )
        sink = things.enter_context(Sinks(plan.sinks or [f"jsonl:{folder / 'results.jsonl'}"], context))
        quality = QualityModel.from_manifest(bundle.quality) if bundle.quality else DEFAULT_QUALITY
        yield bundle, opened_source, Rig(engine, quality, cases, sink), engine.name


def _start(plan: Plan) -> dict[str, Any]:
    from lvedge_runtime.bench.start import start_of

    arguments = ["--stream", plan.source, "--engine", plan.engine, "--threads", str(plan.threads[0])]
    for option, value in (
        ("--bundle", plan.bundle),
        ("--cases", plan.cases),
        ("--spacing-mm", plan.spacing_mm),
    ):
        arguments += [] if value is None else [option, str(value)]
    return start_of(arguments, _files(plan), plan.starts, -(-plan.starts // COLD_EVERY))


def _way(
    plan: Plan,
    _bundle: Bundle,
    open_source: OpenSource,
    rig: Rig,
    result: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    from lvedge_runtime.bench.sensor import Sensors
    from lvedge_runtime.bench.way import back_to_back

    result["way"] = []
    for streams in plan.streams:
        say(f"way: {plan.frames} frames back to back, {streams} stream(s)")
        with Sensors() as sensors:
            way = back_to_back(open_source, rig, plan.frames, plan.live, streams)
        result["way"].append(way.as_json())
        result["sensors"][f"way, {streams} stream(s)"] = sensors.as_json(len(way.totals))


def _paced(
    plan: Plan,
    _bundle: Bundle,
    open_source: OpenSource,
    rig: Rig,
    result: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    from lvedge_runtime.bench.arrival import paced_way
    from lvedge_runtime.bench.queue import Paced, highest_rate
    from lvedge_runtime.bench.sensor import Sensors
    from lvedge_runtime.bench.way import back_to_back

    result["paced"] = []

    def attempt(rate: float, streams: int, frames: int) -> Paced:
        say(f"paced: {frames} frames at {rate:.1f} a second, {streams} stream(s)")
        with Sensors() as sensors:
            paced, agreement = paced_way(open_source, rig, rate, frames, streams, plan.deadline_ms)
        result["sensors"][f"paced, {rate:g}/s x {streams}"] = sensors.as_json(frames)
        result["paced"].append({**paced.as_json(), "state_carry": agreement.as_json()})
        return paced

    for streams in plan.streams:
        for rate in plan.rates:
            attempt(rate, streams, plan.frames)
    if plan.find_rate:
        streams, frames = plan.streams[0], max(plan.frames, HIGHEST_FRAMES)
        guess = back_to_back(open_source, rig, 1, live=True).rate / streams
        found, _ = highest_rate(lambda rate: attempt(rate, streams, frames), guess)
        result["highest_rate"] = {"streams": streams, "frames_per_second": found and round(found, 3)}


def _together(
    plan: Plan,
    _bundle: Bundle,
    open_source: OpenSource,
    rig: Rig,
    result: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    from lvedge.errors import EngineError
    from lvedge_runtime.bench.sensor import Sensors
    from lvedge_runtime.bench.step import LONGEST_CLIP
    from lvedge_runtime.bench.together import together_of

    clip = [measurement.frame for measurement in _best_slice(open_source, rig)[:LONGEST_CLIP]]
    cases: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    result["together"] = {"cases": cases, "absent": absent}
    for streams in (batch for batch in plan.batches if batch > 1):
        say(f"together: {streams} streams as one batch and one after another, {plan.frames} frames of each")
        with Sensors() as sensors:
            try:
                cases.append(together_of(clip, rig, streams, plan.frames))
            except EngineError as err:
                absent[f"{streams} streams"] = str(err)
                continue
        result["sensors"][f"together, {streams} streams"] = sensors.as_json(2 * streams * cases[-1]["rounds"])


def _steps(
    plan: Plan,
    bundle: Bundle,
    open_source: OpenSource,
    rig: Rig,
    result: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    from lvedge_runtime.bench.sensor import Sensors
    from lvedge_runtime.bench.step import batch_gain, ratios, step_cases

    say(f"steps: {', '.join(plan.engines)}")
    clip = _clip(open_source, rig)
    with Sensors() as sensors:
        cases, absent = step_cases(bundle, plan.engines, plan.threads, plan.batches, clip, plan.frames)
    result["steps"] = {
        "cases": [case.as_json() for case in cases],
        "absent": absent,
        "ratios": ratios(cases) if cases else [],
        "batch_gain": batch_gain(cases),
    }
    result["sensors"]["steps"] = sensors.as_json(sum(case.batch * case.at for case in cases))


def _bound(
    plan: Plan,
    bundle: Bundle,
    open_source: OpenSource,
    rig: Rig,
    result: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    from lvedge_runtime.bench.bound import bound_of

    say("bound: the step, matrix products and copies in turn")
    result["bound"] = bound_of(bundle, _clip(open_source, rig)[:1], plan.threads[0], plan.rounds)


def _clip(open_source: OpenSource, rig: Rig) -> Floats:
    """The views of the source's first slice, as the step takes them."""
    from lvedge_runtime.bench.step import clip_of

    return clip_of(next(_slices(open_source, rig)))


def _best_slice(open_source: OpenSource, rig: Rig) -> list[Measurement]:
    """The measurements of the source's first slice that shows an LV throughout, else of its first one."""
    slices = _slices(open_source, rig)
    first = next(slices)
    return next((found for found in chain([first], slices) if all(m.measured for m in found)), first)


def _slices(open_source: OpenSource, rig: Rig) -> Iterator[list[Measurement]]:
    """The live measurements of the source, slice by slice; at least one of the first has a view."""
    from lvedge_runtime.bench.way import played

    with open_source() as source:
        if source.live:
            raise UsageError("this source never ends, so it cannot be played twice: name files, or demo:")
        results = (measurement for measurement, _ in played(source, rig, live=True))
        is_first = True
        for _, group in groupby(results, key=lambda m: (m.frame.series, m.frame.slice_index)):
            found = list(group)
            if is_first and not any(measurement.view is not None for measurement in found):
                break
            is_first = False
            yield found
    if is_first:
        raise UsageError("no heart was located in the source's first slice: the steps have nothing to play")


def _files(plan: Plan) -> list[Path]:
    """The source's own files, and the others that the command was told to read."""
    named = [Path(name) for name in (plan.bundle, plan.cases) if name is not None]
    place = plan.source.split(":", 1)[-1]
    if not place:  # demo:
        return named
    path = Path(place)
    return [*(path.rglob("*") if path.is_dir() else [path]), *named]


def _short(uri: str) -> str:
    """The source without the folders that it lies in."""
    scheme, colon, path = uri.partition(":") if ":" in uri else ("", "", uri)
    return f"{scheme}{colon}{Path(path).name}"
