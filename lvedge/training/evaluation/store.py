"""Scores kept in a folder, subject by subject, so that an interrupted evaluation goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from lvedge.training.evaluation.beat import ScoredBeat
from lvedge.training.evaluation.other import ScoredFrame
from lvedge.training.evaluation.refusal import Refusal
from lvedge.training.evaluation.retest import Retest
from lvedge.training.evaluation.still import ScoredSlice
from lvedge.training.evaluation.volume import ScoredVolumes


@dataclass(frozen=True)
class Scores:
    """Everything that was scored of one or more subjects.

    Args:
        cold: acdc's slices as one frame, through the located view.
        warm: the same slices within a beat.
        hand_made: acdc's mid slices through the drawn view.
        retests: versions of one slice.
        beats: york's.
        frames: of sources that nothing was trained on.
        volumes: of acdc's stacks.
        refusals: of pictures without an LV, by kind.
    """

    cold: tuple[ScoredSlice, ...] = ()
    warm: tuple[ScoredSlice, ...] = ()
    hand_made: tuple[ScoredSlice, ...] = ()
    retests: tuple[Retest, ...] = ()
    beats: tuple[ScoredBeat, ...] = ()
    frames: tuple[ScoredFrame, ...] = ()
    volumes: tuple[ScoredVolumes, ...] = ()
    refusals: tuple[Refusal, ...] = ()


KINDS: Mapping[str, type] = {
    "cold": ScoredSlice,
    "warm": ScoredSlice,
    "hand_made": ScoredSlice,
    "retests": Retest,
    "beats": ScoredBeat,
    "frames": ScoredFrame,
    "volumes": ScoredVolumes,
    "refusals": Refusal,
}


def pooled(scores: Sequence[Scores]) -> Scores:
    """The scores of several subjects together, in their order."""
    return Scores(**{kind: tuple(r for s in scores for r in getattr(s, kind)) for kind in KINDS})


@dataclass(frozen=True)
class Store:
    """A folder of scores, one file a subject; each names what it was made with.

    Args:
        folder: made when the first scores are written.
    """

    folder: Path

    def read(self, name: str, made_with: str) -> Scores | None:
        """The stored scores; None where there are none, or they were made with something else.

        Args:
            name: of the file, unique within the folder.
            made_with: a digest of everything that the scores depend on.
        """
        try:
            head, *lines = self._path(name).read_text(encoding="utf-8").splitlines()
            if json.loads(head) != {"made_with": made_with, "records": len(lines)}:
                return None
            records = [json.loads(line, object_hook=_restored) for line in lines]
        except (OSError, ValueError):
            return None
        return Scores(
            **{
                kind: tuple(_record(of, entry) for name, entry in records if name == kind)
                for kind, of in KINDS.items()
            }
        )

    def write(self, name: str, made_with: str, scores: Scores) -> None:
        """Keep scores, whole or not at all."""
        lines = [
            json.dumps([kind, {f.name: getattr(record, f.name) for f in fields(record)}], default=_plain)
            for kind in KINDS
            for record in getattr(scores, kind)
        ]
        head = json.dumps({"made_with": made_with, "records": len(lines)})
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self._path(name).with_suffix(".part")
        beside.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        beside.replace(self._path(name))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"


def _plain(value: object) -> object:
    """An array as JSON, exactly; Python's JSON holds NaN and infinities."""
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a file of scores")


def _restored(entry: dict[str, Any]) -> object:
    return np.array(entry["array"], dtype=entry["dtype"]) if entry.keys() == {"array", "dtype"} else entry


def _record(of: Callable[..., Any], entry: Mapping[str, Any]) -> Any:
    return of(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})
