"""Reference cases from expert masks: ``python -m lvedge.training.references``.

Each ACDC subject that the split does not hold out gives one case: its values at end diastole and end
systole, averaged over its mid slices. Subjects stay unnamed, in an order drawn with a fixed seed. ACDC is
Bernard et al., IEEE TMI 37(11):2514-2525, 2018, doi 10.1109/TMI.2018.2837502.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lvedge.casetable.content import Content
from lvedge.casetable.csvfile import text_from_references
from lvedge.casetable.features import cycle_features
from lvedge.casetable.reference import (
    NO_COMPARISON,
    Reference,
    ReferenceGroup,
    ReferenceSet,
    Search,
    features_from_references,
)
from lvedge.errors import DataError, LvedgeError
from lvedge.geometry import indices_from_rays
from lvedge.indices import Indices
from lvedge.training.data import acdc_subjects, data_root, read_acdc, read_split
from lvedge.training.data.split import SPLIT_FILE

FEATURES = (
    "fac",
    "thickening_spread",
    "ed_rwt_max_mm",
    "es_rwt_max_mm",
    "es_rwt_min_mm",
    "ed_area_cavity_mm2",
    "es_relative_wall_thickness",
)
"""Chosen by forward selection on the subjects that are not held out, leaving one subject out at a time."""

SIX_FEATURES = (
    "fac",
    "thickening_mean",
    "thickening_min",
    "thickening_spread",
    "ed_rwt_max_mm",
    "ed_area_cavity_mm2",
)
"""What the selection is compared with in the report."""

NEIGHBOURS = 5
SEED = 7
SOURCE = "ACDC expert masks: Bernard et al., IEEE TMI 37(11):2514-2525, 2018, doi 10.1109/TMI.2018.2837502"
_COMMON = "One slice, compared with expert masks of one hospital's patients whose age and sex are not stated."

GROUPS = {
    group.case: group
    for group in (
        ReferenceGroup("NOR", "NOR, a normal left ventricle", 0, SOURCE, _COMMON),
        ReferenceGroup(
            "RV",
            "group RV, an abnormal right ventricle, which cannot be seen from the LV",
            0,
            SOURCE,
            f"{_COMMON} From the left ventricle alone this group cannot be told from a normal one.",
        ),
        ReferenceGroup("MINF", "MINF, heart failure after infarction", 2, SOURCE, _COMMON),
        ReferenceGroup("DCM", "DCM", 2, SOURCE, _COMMON),
        ReferenceGroup("HCM", "HCM", 2, SOURCE, _COMMON),
    )
}


@dataclass(frozen=True)
class SliceBeat:
    """One mid slice of a subject, at end diastole and end systole.

    Args:
        subject: the subject within the data set.
        case: its diagnosis group.
        features: the cycle values by name.
    """

    subject: str
    case: str
    features: Mapping[str, float]


def read_beats(root: Path) -> list[SliceBeat]:
    """Every mid slice of ACDC that was drawn at both phases, by subject and slice.

    Raises:
        DataError: if the data set is not there.
    """
    beats: list[SliceBeat] = []
    for subject, case in acdc_subjects(root).items():
        drawn: dict[tuple[int, str | None], tuple[Indices, float]] = {}
        for sample in read_acdc(root, subject):
            rays = sample.rays()
            if rays is None or not sample.is_mid_slice:
                continue
            septum = sample.septum(rays)
            if septum is None:
                continue
            indices = indices_from_rays(rays, septum.direction_deg)
            drawn[sample.slice_index, sample.phase] = (indices, rays.wall_max_mm)
        for k in sorted({index for index, _ in drawn}):
            if (k, "ED") in drawn and (k, "ES") in drawn:
                (ed, ed_max), (es, es_max) = drawn[k, "ED"], drawn[k, "ES"]
                beats.append(SliceBeat(subject, case, cycle_features(ed, es, ed_max, es_max)))
    return beats


def mean_beats(beats: Iterable[SliceBeat], names: Sequence[str] = FEATURES) -> list[SliceBeat]:
    """One beat a subject: the mean of each named value over its slices; subjects by name."""
    by_subject: dict[str, list[SliceBeat]] = defaultdict(list)
    for beat in beats:
        by_subject[beat.subject].append(beat)
    means = []
    for subject, found in sorted(by_subject.items()):
        values = np.array([[beat.features[name] for name in names] for beat in found]).mean(axis=0)
        means.append(SliceBeat(subject, found[0].case, dict(zip(names, values.tolist(), strict=True))))
    return means


def references_from_beats(
    beats: Iterable[SliceBeat], names: Sequence[str] = FEATURES, seed: int = SEED
) -> tuple[Reference, ...]:
    """One unnamed case a subject, the mean of its slices, numbered in a drawn order."""
    subjects = mean_beats(beats, names)
    order = np.random.default_rng(seed).permutation(len(subjects))
    return tuple(
        Reference(number, subjects[k].case, tuple(round(subjects[k].features[name], 4) for name in names))
        for number, k in enumerate(order.tolist(), start=1)
    )


def content_from_beats(
    beats: Sequence[SliceBeat], names: Sequence[str] = FEATURES, distance_limit: float | None = None
) -> Content:
    """The reference part of a case table.

    Args:
        beats: the slices of the subjects that may be references.
        names: the values that count.
        distance_limit: farthest nearest case that allows a comparison; None takes the farthest that one of
            these slices is itself from the other subjects' cases.
    """
    references = references_from_beats(beats, names)
    features = features_from_references(names, references, {})
    if distance_limit is None:
        distances = [
            search.nearest(beat.features, 1)[0][1]
            for search, beat in _with_others_search(beats, beats, names, distance_limit=np.inf)
        ]
        distance_limit = float(np.ceil(100.0 * max(distances)) / 100.0)
    return Content(
        references=references,
        groups=GROUPS,
        features=features,
        search=Search(NEIGHBOURS, distance_limit, "mid"),
    )


def reference_set(content: Content) -> ReferenceSet:
    """The search as a case table runs it."""
    return ReferenceSet.in_memory(content.features, content.references, content.groups, content.search)


def left_out(
    beats: Sequence[SliceBeat],
    names: Sequence[str],
    distance_limit: float,
    asked: Sequence[SliceBeat] | None = None,
) -> list[tuple[SliceBeat, str]]:
    """What is retrieved for each slice from the cases of all other subjects.

    Args:
        beats: the slices of all subjects.
        names: the values that count.
        distance_limit: farthest nearest case that allows a comparison.
        asked: what is looked up; None looks up the slices themselves.
    """
    return [
        (beat, search.find(beat.features, "mid").case)
        for search, beat in _with_others_search(
            beats, beats if asked is None else asked, names, distance_limit
        )
    ]


def _with_others_search(
    beats: Sequence[SliceBeat], asked: Sequence[SliceBeat], names: Sequence[str], distance_limit: float
) -> Iterator[tuple[ReferenceSet, SliceBeat]]:
    """Each beat with a search that does not hold its subject."""
    for subject in sorted({beat.subject for beat in asked}):
        others = [beat for beat in beats if beat.subject != subject]
        search = reference_set(content_from_beats(others, names, distance_limit))
        yield from ((search, beat) for beat in asked if beat.subject == subject)


def scores(retrieved: Sequence[tuple[SliceBeat, str]]) -> dict[str, object]:
    """Shares of slices and of subjects whose group was retrieved; an abstention counts as wrong.

    A subject's group is the one retrieved for most of its slices. ``left_ventricle`` counts NOR and RV as one
    group: what tells them apart lies outside the left ventricle.
    """
    by_subject: dict[str, list[str]] = defaultdict(list)
    truth = {beat.subject: beat.case for beat, _ in retrieved}
    for beat, case in retrieved:
        by_subject[beat.subject].append(case)
    voted = [(truth[s], Counter(cases).most_common(1)[0][0]) for s, cases in by_subject.items()]
    slices = [(beat.case, case) for beat, case in retrieved]
    confusion: dict[str, dict[str, int]] = {case: {} for case in GROUPS}
    for true, case in slices:
        confusion[true][case] = confusion[true].get(case, 0) + 1
    return {
        "slices": len(slices),
        "subjects": len(voted),
        "coverage": _share(case != NO_COMPARISON for _, case in slices),
        "slice_accuracy": _share(a == b for a, b in slices),
        "subject_accuracy": _share(a == b for a, b in voted),
        "left_ventricle_slice_accuracy": _share(
            left_ventricle_group(a) == left_ventricle_group(b) for a, b in slices
        ),
        "left_ventricle_subject_accuracy": _share(
            left_ventricle_group(a) == left_ventricle_group(b) for a, b in voted
        ),
        "slices_by_true_and_retrieved_group": confusion,
    }


def left_ventricle_group(case: str) -> str:
    """The group as far as the left ventricle shows it: RV counts as NOR."""
    return "NOR" if case == "RV" else case


def _look_alike(true: str, retrieved: str) -> bool:
    return left_ventricle_group(true) == left_ventricle_group(retrieved)


def _share(hits: Iterable[bool]) -> float:
    return round(float(np.mean([float(hit) for hit in hits])), 4)


def report(beats: Sequence[SliceBeat], held_out: Sequence[str], command: str) -> dict[str, object]:
    """How well the retrieval finds the group on expert masks, by protocol and by set of values."""
    kept = [beat for beat in beats if beat.subject not in held_out]
    asked = [beat for beat in beats if beat.subject in held_out]
    results: dict[str, object] = {}
    for title, names in (("shipped values", FEATURES), ("six values", SIX_FEATURES)):
        content = content_from_beats(kept, names)
        limit = content.search.distance_limit
        search = reference_set(content)
        no_rv = [beat for beat in beats if beat.case != "RV"]
        results[title] = {
            "values": list(names),
            "distance_limit": limit,
            "table's own subjects, one left out": scores(left_out(kept, names, limit)),
            "held-out subjects against the table": scores(
                [(beat, search.find(beat.features, "mid").case) for beat in asked]
            ),
            "all subjects, one left out": scores(left_out(beats, names, limit)),
            "all subjects but group RV, one left out": scores(left_out(no_rv, names, limit)),
            "all subjects but group RV, one left out, mean over the slices looked up": scores(
                left_out(no_rv, names, limit, mean_beats(no_rv, names))
            ),
        }
    return {
        "what": "group of ACDC's mid slices retrieved by nearest reference cases, on expert masks",
        "command": command,
        "neighbours": NEIGHBOURS,
        "note": "the values were chosen on the table's own subjects; the held-out ones had no part in it",
        "results": results,
    }


def main(args: Sequence[str] | None = None) -> int:
    """Writes the reference cases as CSV, and the report.

    Returns:
        0, or 2 where the data cannot be read.
    """
    parser = argparse.ArgumentParser(prog="python -m lvedge.training.references", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that holds acdc/ (default: $LVEDGE_DATA)")
    parser.add_argument("--out", type=Path, required=True, metavar="CSV", help="the reference cases")
    parser.add_argument(
        "--exclude-split", type=Path, default=SPLIT_FILE, metavar="FILE", help="whose test part is left out"
    )
    parser.add_argument(
        "--report", type=Path, metavar="JSON", help="accuracy of the retrieval on expert masks"
    )
    options = parser.parse_args(args)
    try:
        held_out = read_split(options.exclude_split).subjects("acdc", "test")
        beats = read_beats(data_root(options.data))
        kept = [beat for beat in beats if beat.subject not in held_out]
        if not kept:
            raise DataError(f"{options.exclude_split} leaves no subject of acdc: name another split file")
        content = content_from_beats(kept)
    except LvedgeError as err:
        sys.stderr.write(f"references: {err}\n")
        return 2
    meta = {
        "references.title": "ACDC, one case a subject: mean of its mid slices, end diastole and systole",
        "references.licence": "CC-BY-NC-SA-4.0",
        "references.source": SOURCE,
        "references.version": "1",
        "references.held out": f"{len(held_out)} subjects, the split's test part, are not among these cases",
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text_from_references(replace(content, meta=meta)), encoding="utf-8")
    if options.report:
        found = report(
            beats, held_out, "python -m lvedge.training.references --data DATA --out CSV --report JSON"
        )
        options.report.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
