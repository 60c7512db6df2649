"""Retrieval: the group of each unseen subject of acdc from what was measured, among cases of the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lvedge.casetable.features import cycle_features, cycle_names
from lvedge.casetable.reference import NO_COMPARISON
from lvedge.indices import FloatArray, Indices
from lvedge.training.choosing import choose_values
from lvedge.training.data.sample import MID_SLICE_RANGE
from lvedge.training.evaluation.figure import BOOTSTRAPS, by_subject
from lvedge.training.evaluation.still import ScoredSlice
from lvedge.training.references import (
    FEATURES,
    SIX_FEATURES,
    SliceBeat,
    content_from_beats,
    left_ventricle_group,
    mean_beats,
    reference_set,
)

PROTOCOL = (
    "values at the frames named ED and ES, within a beat, of the slices with k/(n-1) in [0.2, 0.8] in which "
    "an LV was returned at both, mean over the slices, looked up among the subjects of the other folds (one "
    "case each, from expert masks, standardised on them); RV counts as NOR, which the left ventricle cannot "
    "tell apart; an abstention, or a subject without such a slice, counts as wrong"
)
FEWEST_CASES = 10
"""Of fewer subjects nothing is retrieved."""

VALUES = {
    "six values, named beforehand": SIX_FEATURES,
    "shipped values, chosen on the subjects of folds 1 to 4": FEATURES,
}
CHOSEN = "values chosen anew for each fold on the subjects of the others"
CANDIDATES = tuple(name for name in cycle_names() if "wall_max" not in name)
"""What they are chosen from: all but the thickest point, which the L values do not hold."""


def measured_beats(scored: Sequence[ScoredSlice]) -> list[SliceBeat]:
    """A beat of every slice at mid level in which an LV was returned at both ends; no drawing enters."""
    low, high = MID_SLICE_RANGE
    ends: dict[tuple[str, int], dict[str, ScoredSlice]] = defaultdict(dict)
    for one in scored:
        if one.found and low <= one.level <= high:
            ends[one.subject, one.slice_index][one.phase] = one
    return [
        SliceBeat(
            subject,
            pair["ED"].group,
            cycle_features(Indices(pair["ED"].regressed), Indices(pair["ES"].regressed)),
        )
        for (subject, _), pair in sorted(ends.items())
        if pair.keys() >= {"ED", "ES"}
    ]


def retrieval_figures(
    scored: Sequence[ScoredSlice], drawn: Sequence[SliceBeat], folds: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """How often the group is found, from what was measured and from what was drawn.

    Args:
        scored: every slice of the subjects in question, measured.
        drawn: mid slices of all subjects, from expert masks: the cases, and what is asked in comparison.
        folds: subjects that were left out together; none is a case for another of its fold.
    """
    asked = {one.subject: one.group for one in scored}
    if any(len({beat.subject for beat in drawn} - set(fold)) < FEWEST_CASES for fold in folds):
        return {"subjects": 0}
    beats = {"as measured": measured_beats(scored), "expert masks": [b for b in drawn if b.subject in asked]}
    figures: dict[str, Any] = {"protocol": PROTOCOL}
    values = {title: [names] * len(folds) for title, names in VALUES.items()}
    # The others of a fold were measured as well, each by a network that had never seen it.
    others = [[b for b in beats["as measured"] if b.subject not in fold] for fold in folds]
    if all(len({b.subject for b in measured}) >= FEWEST_CASES for measured in others):
        values[CHOSEN] = [
            choose_values([b for b in drawn if b.subject not in fold], measured, CANDIDATES)
            for fold, measured in zip(folds, others, strict=True)
        ]
    for title, of_fold in values.items():
        said = {source: dict.fromkeys(asked, NO_COMPARISON) for source in beats}
        for fold, names in zip(folds, of_fold, strict=True):
            search = reference_set(content_from_beats([b for b in drawn if b.subject not in fold], names))
            for source, found in beats.items():
                for beat in mean_beats([b for b in found if b.subject in fold], names):
                    said[source][beat.subject] = left_ventricle_group(search.find(beat.features, "mid").case)
        figures[title] = {
            "values": [list(names) for names in dict.fromkeys(of_fold)],
            **{source: scores(asked, said[source]) for source in beats},
        }
    return figures


def scores(truth: Mapping[str, str], said: Mapping[str, str]) -> dict[str, Any]:
    """Accuracy and balanced accuracy with 95 % subject-bootstrap intervals, and who was taken for whom.

    Args:
        truth: subject to group.
        said: subject to what was retrieved.
    """
    truth = {subject: left_ventricle_group(group) for subject, group in truth.items()}
    subjects = sorted(said)
    groups = sorted({truth[subject] for subject in subjects})
    cases = (*sorted({*groups, *said.values()} - {NO_COMPARISON}), NO_COMPARISON)
    right = np.array([float(said[subject] == truth[subject]) for subject in subjects])
    of_group = np.array([[truth[subject] == group for group in groups] for subject in subjects], dtype=float)
    drawn = np.random.default_rng(0).integers(len(subjects), size=(BOOTSTRAPS, len(subjects)))
    balanced = _balanced(right[None], of_group[None])
    low, high = np.nanpercentile(_balanced(right[drawn], of_group[drawn]), (2.5, 97.5))
    return {
        "accuracy": by_subject(subjects, right),
        "balanced": {
            "mean": round(float(balanced[0]), 4),
            "interval_95": [round(float(low), 4), round(float(high), 4)],
        },
        "abstained": sum(case == NO_COMPARISON for case in said.values()),
        "subjects_by_true_and_retrieved_group": {
            group: {case: sum(truth[s] == group and said[s] == case for s in subjects) for case in cases}
            for group in groups
        },
    }


def _balanced(right: FloatArray, of_group: FloatArray) -> FloatArray:
    """Mean over the groups of the share that is right.

    Args:
        right: [..., S] 0 or 1.
        of_group: [..., S, G] 0 or 1.
    """
    with np.errstate(invalid="ignore"):
        shares = (right[..., None] * of_group).sum(axis=-2) / of_group.sum(axis=-2)
    means: FloatArray = np.nanmean(shares, axis=-1)
    return means
