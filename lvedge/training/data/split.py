"""Who trains, who is watched while training, who is only measured: by subject, in one file that all share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lvedge.errors import DataError
from lvedge.training.data.acdc import acdc_subjects
from lvedge.training.data.york import york_subjects

SPLIT_FILE = Path(__file__).parent / "split.json"
PARTS = ("train", "watch", "test")


@dataclass(frozen=True)
class Split:
    """Subjects by data set and part.

    Args:
        parts: part ("train", "watch", "test") to data set to subjects.
    """

    parts: dict[str, dict[str, list[str]]]

    def subjects(self, source: str, *parts: str) -> list[str]:
        """Subjects of a data set in the named parts."""
        return [subject for part in parts for subject in self.parts[part].get(source, [])]


def read_split(path: Path = SPLIT_FILE) -> Split:
    """The split as written.

    Raises:
        DataError: if the file is damaged or a subject stands in two parts.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["parts"]
        parts = {part: {source: list(stored[part][source]) for source in stored[part]} for part in PARTS}
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError(f"{path} is not a split file: {err}") from err
    for source in ("acdc", "york"):
        subjects = [s for part in PARTS for s in parts[part].get(source, [])]
        if len(subjects) != len(set(subjects)):
            raise DataError(f"{path}: a subject of {source} stands in two parts")
    return Split(parts)


def make_split(
    root: Path, path: Path, seed: int = 2020, test_per_group: int = 4, watch_per_group: int = 1
) -> Split:
    """Draw a split, stratified by acdc's groups, and write it: 5 test and 2 watched subjects of york."""
    rng = np.random.default_rng(seed)
    parts: dict[str, dict[str, list[str]]] = {part: {"acdc": [], "york": []} for part in PARTS}
    groups = acdc_subjects(root)
    for group in sorted(set(groups.values())):
        members = rng.permutation([s for s, g in groups.items() if g == group]).tolist()
        parts["test"]["acdc"] += members[:test_per_group]
        parts["watch"]["acdc"] += members[test_per_group : test_per_group + watch_per_group]
        parts["train"]["acdc"] += members[test_per_group + watch_per_group :]
    members = rng.permutation(york_subjects(root)).tolist()
    parts["test"]["york"], parts["watch"]["york"], parts["train"]["york"] = (
        members[:5],
        members[5:7],
        members[7:],
    )
    for part in PARTS:
        for source, subjects in parts[part].items():
            parts[part][source] = sorted(subjects, key=lambda s: (len(s), s))
    note = f"drawn by make_split with seed {seed}; test subjects are never trained on nor tuned on"
    path.write_text(json.dumps({"note": note, "parts": parts}, indent=1) + "\n", encoding="utf-8")
    return Split(parts)
