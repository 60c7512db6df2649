"""Choosing the values that tell groups apart: forward selection, one subject left out at a time.

The nearest cases are searched as ``lvedge.casetable.reference`` does, here over all subjects at once. What is
asked may be measured while the cases are drawn by experts: values that survive measuring are chosen then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lvedge.indices import FloatArray
from lvedge.training.references import NEIGHBOURS, SliceBeat, left_ventricle_group, mean_beats

Numbers = NDArray[np.intp]


def choose_values(
    cases: Sequence[SliceBeat], asked: Sequence[SliceBeat], names: Sequence[str]
) -> tuple[str, ...]:
    """The values by which most subjects' groups are found among the cases of all others.

    One value after the other is added: the one that raises the mean of accuracy and balanced accuracy most,
    of equals the first named, until none raises it.

    Args:
        cases: slices whose values are known.
        asked: slices that are looked up; subjects without a case are left out, and cases of nobody asked.
        names: the values to choose from.

    Raises:
        ValueError: if no subject has both.
    """
    known, looked_up = ({beat.subject: beat for beat in mean_beats(of, names)} for of in (cases, asked))
    subjects = sorted(known.keys() & looked_up.keys())
    if not subjects:
        raise ValueError("no subject is both a case and looked up")
    drawn, measured = (
        np.array([[of[subject].features[name] for name in names] for subject in subjects])
        for of in (known, looked_up)
    )
    groups = [known[subject].case for subject in subjects]
    kinds = sorted(set(groups))
    of_case = np.array([kinds.index(group) for group in groups])
    seen = sorted({left_ventricle_group(kind) for kind in kinds})
    of_kind = np.array([seen.index(left_ventricle_group(kind)) for kind in kinds])
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < len(names):
        tries = [
            0.0 if k in chosen else _found(drawn, measured, of_case, of_kind, [*chosen, k])
            for k in range(len(names))
        ]
        if max(tries) <= best:
            break
        best = max(tries)
        chosen.append(tries.index(best))
    return tuple(names[k] for k in chosen)


def _found(
    drawn: FloatArray, measured: FloatArray, of_case: Numbers, of_kind: Numbers, chosen: Sequence[int]
) -> float:
    """Mean of accuracy and balanced accuracy with these values, each subject among the cases of all others.

    Args:
        drawn, measured: [S, V].
        of_case: [S] kind of each case.
        of_kind: [K] group that a kind counts as.
        chosen: which values count.
    """
    right = of_kind[retrieved(drawn[:, chosen], measured[:, chosen], of_case, len(of_kind))]
    hits = right == of_kind[of_case]
    balanced = [hits[of_kind[of_case] == group].mean() for group in np.unique(of_kind[of_case])]
    return float((hits.mean() + np.mean(balanced)) / 2.0)


def retrieved(cases: FloatArray, asked: FloatArray, of_case: Numbers, kinds: int) -> Numbers:
    """The kind that the nearest cases of the others vote for, [S]; their votes count by inverse distance.

    Args:
        cases: [S, V] values of each subject's case, standardised on those of all others.
        asked: [S, V] what is looked up for each subject.
        of_case: [S] kind of each case.
        kinds: how many there are.
    """
    count = len(cases)
    others = count - 1
    mean = (cases.sum(axis=0) - cases) / others
    square = ((cases**2).sum(axis=0) - cases**2) / others
    spread = np.sqrt(np.maximum(square - mean**2, 1e-12))
    apart = np.sqrt((((asked[:, None] - cases[None]) / spread[:, None]) ** 2).mean(axis=2))
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :NEIGHBOURS]
    votes = np.zeros((count, kinds))
    for k in range(nearest.shape[1]):
        one = nearest[:, k]
        np.add.at(votes, (np.arange(count), of_case[one]), 1.0 / (apart[np.arange(count), one] + 1e-9))
    winners: Numbers = votes.argmax(axis=1)
    return winners
