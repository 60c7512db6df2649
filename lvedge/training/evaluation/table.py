"""Figures as Markdown: the headline tables that the pages show, and the whole report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lvedge.training.evaluation.contour import CONTOURS
from lvedge.training.evaluation.figure import GROUPS
from lvedge.training.evaluation.retest import KINDS

HEAD = ("coverage", "RWT mm", "diameters mm", "areas mm²")
GIVEN = ("regressed", "geometric", "mean_of_both")
VARIANTS = (
    (("acdc",), "acdc mid slices, ED and ES"),
    (("acdc", "warm"), "the same within a beat (warm)"),
    (("acdc", "hand_made"), "the same, view made by hand"),
)
ROWS = (
    ("Dice cavity", "acdc.dice_cavity", 1),
    ("Dice myocardium", "acdc.dice_myocardium", 1),
    ("LV centre within 6 mm, all slices with LV", "acdc.locator.within_6mm", 100),
    ("mid-septum within 15°", "acdc.septum.within_15deg", 100),
    ("false LV on slices without LV", "acdc.false_lv_on_empty", 100),
    ("york: phase error, clips as stored", "york.phase_error_stored", 100),
    ("york: frame-index clock, same clips", "york.clock_error_stored", 100),
    ("york: phase error, random start", "york.phase_error_random_start", 100),
    ("york: coverage", "york.coverage", 100),
    ("sunnybrook (not trained on): coverage", "sunnybrook.coverage", 100),
    ("sunnybrook: Dice cavity", "sunnybrook.dice_cavity", 1),
    ("sunnybrook: Dice myocardium", "sunnybrook.dice_myocardium", 1),
)
MORE_ROWS = (
    ("LV centre within 5 mm, all slices with LV", "acdc.locator.within_5mm", 100),
    ("LV centre, median, mm", "acdc.locator.centre_median_mm", 1),
    ("mid-septum, median, degrees", "acdc.septum.median_deg", 1),
    ("sectors named wrongly (mirror, or shift by 60° or more)", "acdc.septum.sector_confusion", 100),
    ("false LV on slices without LV, within a beat", "acdc.warm.false_lv_on_empty", 100),
    ("thickening ES − ED, cold, mm", "acdc.thickening_mm.regressed.mae", 1),
    ("thickening ES − ED, warm, mm", "acdc.warm.thickening_mm.regressed.mae", 1),
    (
        "york: phase error, closed, random start, by the classification layer alone",
        "york.phase_error_layer_alone",
        100,
    ),
    ("york: phase error, live, second beat, random start", "york.phase_error_live_second_beat", 100),
    ("york: ED off, median, frames", "york.ed_off_median_frames", 1),
    ("york: ES off, median, frames", "york.es_off_median_frames", 1),
    ("york: ED off, frames", "york.ed_off_frames", 1),
    ("york: ES off, frames", "york.es_off_frames", 1),
    ("york: cavity area, relative error", "york.areas_relative_error.cavity", 100),
    ("york: myocardial area, relative error", "york.areas_relative_error.myocardium", 100),
    ("york: cavity area, jitter of the error", "york.jitter.cavity.error", 100),
    ("york: cavity area, jitter as returned", "york.jitter.cavity.said", 100),
    ("york: cavity area, jitter as drawn", "york.jitter.cavity.drawn", 100),
    ("york: myocardial area, jitter of the error", "york.jitter.myocardium.error", 100),
    ("york: Dice cavity", "york.dice_cavity", 1),
    ("york: Dice myocardium", "york.dice_myocardium", 1),
    ("sunnybrook: cavity area error, mm²", "sunnybrook.cavity_area_error_mm2", 1),
)
DIFFERENCES = (
    ("warm_minus_cold", "Warm minus cold"),
    ("located_minus_hand_made", "Located minus hand-made"),
)
PARTS = (
    ("by_level", "level k / (n − 1), base 0"),
    ("by_group", "group"),
    ("by_spacing_mm", "pixel spacing, mm"),
    ("by_quality", "quality"),
)


PART_FIGURES = (
    ("dice_cavity", "Dice cavity"),
    ("dice_myocardium", "Dice myocardium"),
    ("endocardium_95_mm", "endocardium 95 %, mm"),
    ("epicardium_95_mm", "epicardium 95 %, mm"),
    ("centre_median_mm", "LV centre, median, mm"),
    ("septum_median_deg", "mid-septum, median, degrees"),
)


def markdown(figures: Mapping[str, Any]) -> str:
    """The headline tables; coverage comes first. What an older file of figures does not hold is left out."""
    lines = _table(("data", "reading", *HEAD), _headline(figures))
    lines += ["", *_table(("figure", "value"), _rows(figures, ROWS))]
    return "\n".join(lines) + "\n"


def report(figures: Mapping[str, Any]) -> str:
    """Everything, in tables with their headings."""
    acdc = figures["acdc"]
    parts = [
        "# Accuracy",
        f"Protocol: {figures['protocol']}.",
        f"Command: `{figures['command']}`.",
        extent(figures),
        "A figure is the mean over subjects of the subject's mean, with its 95 % interval; where it says "
        "pooled, over all slices.",
        "## Headline",
        markdown(figures).strip(),
        "## More",
        _joined(_table(("figure", "value"), _rows(figures, MORE_ROWS))),
    ]
    for key, title in DIFFERENCES:
        if key in acdc:
            table = _table(("reading", *HEAD), _differences(acdc[key]))
            parts += [f"## {title}", "Paired by slice; above 0 the first is the worse.", _joined(table)]
    parts += ["## Contours", "Hausdorff distance, mm.", _joined(_contours(acdc))]
    for variant, title in VARIANTS:
        some = at(figures, ".".join(variant))
        if some is not None:
            words = f"Regressed, pooled over {some['mid_slices']} mid slices."
            parts += [f"## Each value: {title}", words, _joined(_per_index(some["regressed"]["per_index"]))]
    for key, name in PARTS:
        words = "One frame, pooled over slices; errors are those of the regressed values."
        parts += [f"## By {name}", words, _joined(_parted(acdc[key], name))]
    if "retest" in acdc:
        words = "Standard deviation of the regressed values over versions of one slice."
        parts += ["## Test and retest", words, _joined(_retest(acdc["retest"]))]
    if at(figures, "quality.cold.frames"):
        words = "Gross: a sector off by more than 3 mm, or an area by more than 400 mm²."
        parts += ["## Quality", words, _joined(_quality(figures["quality"]))]
    if at(figures, "retrieval.protocol"):
        parts += ["## Case table", f"Protocol: {figures['retrieval']['protocol']}."]
        parts += [_joined(_retrieval(figures["retrieval"])), *_confusions(figures["retrieval"])]
    if figures.get("refusals"):
        words = "Pictures without a short-axis LV, each measured by itself: none should be returned."
        parts += ["## Refused", words, _joined(_refusals(figures["refusals"]))]
    if figures.get("volumes", {}).get("given"):
        volumes = figures["volumes"]
        words = (
            f"Disc summation over the returned slices against that over the drawn ones, one frame each; "
            f"given for {volumes['given']} of {volumes['subjects']} subjects."
        )
        parts += ["## Whole stacks", words, _joined(_volumes(volumes))]
    return "\n\n".join(parts) + "\n"


def extent(figures: Mapping[str, Any]) -> str:
    """One line: how many slices and subjects of which folds, and whether that is all."""
    folds = ", ".join(str(k) for k in figures["folds"])
    slices, beats = figures["acdc"]["mid_slices"], figures["york"]["complete_slices"]
    subjects = figures["subjects"]
    line = (
        f"{figures['form']}, fold{'s' if len(figures['folds']) > 1 else ''} {folds}: {slices} mid slices of "
        f"{subjects['acdc']} subjects of acdc, {beats} beats of {subjects['york']} subjects of york."
    )
    return f"PARTIAL, not all subjects: {line}" if figures["partial"] else line


def at(figures: Mapping[str, Any], path: str) -> Any:
    """What stands at a dotted path; None where nothing does."""
    found: Any = figures
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def shown(figure: Any, factor: float, unit: str = "") -> str:
    """A figure with its interval, or a bare number, times a factor."""
    if figure is None or (isinstance(figure, Mapping) and "mean" not in figure):
        return "none"
    unit = f" {unit}" if unit else ""
    if not isinstance(figure, Mapping):
        return f"{factor * figure:.1f}{unit}" if factor == 100 else f"{factor * figure:.2f}{unit}"
    low, high = (factor * bound for bound in figure["interval_95"])
    digits = 1 if factor == 100 or abs(figure["mean"]) > 20 else 3
    return f"{factor * figure['mean']:.{digits}f}{unit} [{low:.{digits}f}, {high:.{digits}f}]"


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _headline(figures: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for variant, title in VARIANTS:
        some = at(figures, ".".join(variant))
        if some is None:
            continue
        coverage = shown(some["coverage"], 100, "%")
        for reading in GIVEN:
            yield title, reading, coverage, *(shown(some[reading][name], 1) for name, _ in GROUPS)


def _rows(figures: Mapping[str, Any], rows: Sequence[tuple[str, str, int]]) -> Iterator[Sequence[str]]:
    for name, path, factor in rows:
        parent, _, key = path.rpartition(".")
        if key in (at(figures, parent) or {}):
            yield name, shown(at(figures, path), factor, "%" if factor == 100 else "")


def _differences(figures: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    coverage = shown(figures["coverage"], 100, "%")
    for reading in GIVEN[:2]:
        yield reading, coverage, *(shown(figures[reading][name], 1) for name, _ in GROUPS)


def _contours(acdc: Mapping[str, Any]) -> list[str]:
    def rows() -> Iterator[Sequence[str]]:
        for variant, title in (("", "cold"), ("warm.", "warm")):
            for contour in CONTOURS:
                found = at(acdc, f"{variant}hausdorff_mm.{contour}")
                if found is not None:
                    yield title, contour, shown(found["95"], 1), shown(found["max"], 1)

    return _table(("clip", "contour", "95 %", "largest"), rows())


def _per_index(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    head = ("value", "MAE", "SD", "RMSE", "bias", "limits of agreement", "Pearson r")
    return _table(
        head,
        (
            (
                f"`{name}`",
                str(f["mae"]),
                str(f["sd"]),
                str(f["rmse"]),
                str(f["bias"]),
                f"{f['limits_of_agreement'][0]} to {f['limits_of_agreement'][1]}",
                str(f["pearson_r"]),
            )
            for name, f in figures.items()
        ),
    )


def _parted(figures: Mapping[str, Mapping[str, Any]], name: str) -> list[str]:
    return _table(
        (name, "slices", "subjects", *HEAD, *(words for _, words in PART_FIGURES)),
        (
            (
                part,
                str(f["slices"]),
                str(f["subjects"]),
                f"{100 * f['coverage']:.1f} %",
                *(str(f[group]) for group, _ in GROUPS),
                *(str(f[key]) for key, _ in PART_FIGURES),
            )
            for part, f in figures.items()
        ),
    )


def _refusals(figures: Mapping[str, Any]) -> list[str]:
    head = ("what is shown", "pictures", "LV returned", "refused")
    rows = (
        (kind, str(entry["shown"]), str(entry["returned"]), f"{100 * entry['refused']:.1f} %")
        for kind, entry in figures.items()
    )
    return _table(head, rows)


def _quality(figures: Mapping[str, Any]) -> list[str]:
    def row(clip: str, found: Mapping[str, Any]) -> Sequence[str]:
        low, high = found["auroc"]["interval_95"] or (float("nan"), float("nan"))
        worst, flagged = found["worst_tenth"], found["flagged"]
        return (
            clip,
            str(found["frames"]),
            shown(found["base_rate"], 100, "%"),
            f"{shown(found['auroc']['value'], 1)} [{low:.2f}, {high:.2f}]",
            shown(worst["of_attainable"], 100, "%"),
            shown(flagged["share"], 100, "%"),
            shown(flagged["gross_among_flagged"], 100, "%"),
            shown(flagged["gross_among_others"], 100, "%"),
        )

    head = ("clip", "frames", "gross", "AUROC", "worst tenth holds, of what it can", "flagged")
    known = ((clip, found) for clip, found in figures.items() if found["frames"])
    return _table((*head, "gross among these", "gross among others"), (row(*entry) for entry in known))


def _retrievals(figures: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for title, found in figures.items():
        if title != "protocol":
            yield from ((title, source, found[source]) for source in found if source != "values")


def _retrieval(figures: Mapping[str, Any]) -> list[str]:
    rows = (
        (title, source, shown(f["accuracy"], 100, "%"), shown(f["balanced"], 100, "%"), str(f["abstained"]))
        for title, source, f in _retrievals(figures)
    )
    return _table(("distance over", "values", "accuracy", "balanced", "abstained"), rows)


def _confusions(figures: Mapping[str, Any]) -> Iterator[str]:
    for title, source, found in _retrievals(figures):
        counts = found["subjects_by_true_and_retrieved_group"]
        names = list(next(iter(counts.values())))
        rows = ((group, *(str(row[name]) for name in names)) for group, row in counts.items())
        yield f"True group against the retrieved one, {title}, {source}:"
        yield _joined(_table(("true", *names), rows))


VOLUMES = (("edv_ml", "EDV, ml"), ("esv_ml", "ESV, ml"), ("ef_percent", "EF, %"), ("mass_g", "mass, g"))


def _volumes(figures: Mapping[str, Any]) -> list[str]:
    def row(key: str, title: str) -> Sequence[str]:
        entry = figures[key]
        low, high = entry["limits_of_agreement"]
        r = "none" if entry["pearson_r"] is None else f"{entry['pearson_r']:.3f}"
        return title, f"{entry['mae']:.1f}", f"{entry['bias']:.1f}", f"{low:.1f} .. {high:.1f}", r

    return _table(("value", "MAE", "bias", "limits of agreement", "r"), (row(*which) for which in VOLUMES))


def _retest(figures: Mapping[str, Any]) -> list[str]:
    return _table(
        ("version", "slices", *HEAD),
        (
            (
                kind,
                str(figures[kind]["slices"]),
                shown(figures[kind]["coverage"], 100, "%"),
                *(shown(figures[kind]["regressed"][name], 1) for name, _ in GROUPS),
            )
            for kind in KINDS
        ),
    )
