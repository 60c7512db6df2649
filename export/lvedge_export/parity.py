"""Parity: two steppers walk the same clips, each with the state that it carries itself, and are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lvedge.contract import Floats, ReplayResult, State, Stepper, StepResult
from lvedge.indices import IndexLayout
from lvedge_export.clip import Clip

TOLERANCE = 1e-4
"""Largest difference that an export may show, as a part of the output's range over the clips."""


@dataclass
class Deviation:
    """How far one output strays.

    Args:
        largest: largest absolute difference.
        low: smallest value of the reference.
        high: largest value of the reference.
        where: clip and frame of the largest difference.
    """

    largest: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    where: str = ""

    def add(self, expected: Floats, found: Floats, where: str) -> None:
        """Take in one more frame. A difference that is no number counts as infinite."""
        difference = float(np.abs(expected - found).max()) if expected.shape == found.shape else np.inf
        if not difference <= self.largest:
            self.largest, self.where = (difference if np.isfinite(difference) else np.inf), where
        self.low = min(self.low, float(expected.min()))
        self.high = max(self.high, float(expected.max()))

    @property
    def relative(self) -> float:
        """The largest difference as a part of the range; the difference itself where nothing moves."""
        span = self.high - self.low
        return self.largest / span if span > 0 else self.largest


@dataclass
class Parity:
    """What a comparison came to.

    Args:
        tolerance: largest part of an output's range that passes.
        clips: number of clips.
        frames: number of frames.
        graphs: graph to output to its deviation; the kinds of values count as outputs of their own.
    """

    tolerance: float
    clips: int = 0
    frames: int = 0
    graphs: dict[str, dict[str, Deviation]] = field(default_factory=dict)

    def add(
        self, graph: str, expected: Mapping[str, Floats], found: Mapping[str, Floats], where: str
    ) -> None:
        """Take in the outputs of one call."""
        outputs = self.graphs.setdefault(graph, {})
        for name, values in expected.items():
            outputs.setdefault(name, Deviation()).add(values, found[name], where)

    @property
    def worst(self) -> tuple[str, Deviation]:
        """The output that strays most, as "graph.output", relative to its range."""
        every = [(f"{g}.{name}", d) for g, outputs in self.graphs.items() for name, d in outputs.items()]
        return max(every, key=lambda item: item[1].relative)

    @property
    def failures(self) -> list[str]:
        """Outputs out of tolerance, one phrase each."""
        return [
            f"{graph}.{name} strays by {d.relative:.1e} of its range at {d.where}"
            for graph, outputs in self.graphs.items()
            for name, d in outputs.items()
            if not d.relative <= self.tolerance
        ]

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "tolerance_of_range": self.tolerance,
            "clips": self.clips,
            "frames": self.frames,
            "passed": not self.failures,
            "graphs": {
                graph: {
                    name: {
                        "largest_difference": float(f"{d.largest:.3g}"),
                        "range": [float(f"{d.low:.6g}"), float(f"{d.high:.6g}")],
                        "part_of_range": float(f"{d.relative:.3g}"),
                        "where": d.where,
                    }
                    for name, d in outputs.items()
                }
                for graph, outputs in self.graphs.items()
            },
        }


def compare(
    reference: Stepper, candidate: Stepper, clips: Iterable[Clip], tolerance: float = TOLERANCE
) -> Parity:
    """Walk the clips with both: every step, then the second pass by replay, and the locator on every frame.

    Args:
        reference: what is right; its replay is not used, its second pass steps through the frames again.
        candidate: what is compared.
        clips: what both see.
        tolerance: largest part of an output's range that passes.
    """
    parity = Parity(tolerance)
    for clip in clips:
        parity.clips += 1
        parity.frames += len(clip.views)
        _compare_clip(parity, reference, candidate, clip)
    return parity


def _compare_clip(parity: Parity, reference: Stepper, candidate: Stepper, clip: Clip) -> None:
    layout = reference.shapes.layout
    right, found = State.zeros(reference.shapes), State.zeros(candidate.shapes)
    features = []
    for t, view in enumerate(clip.views):
        expected, given = reference.step(view[None], right), candidate.step(view[None], found)
        parity.add("step", _outputs(expected, layout), _outputs(given, layout), f"{clip.name} frame {t}")
        features.append(given.features)
        right, found = expected.state, given.state
    for t, view in enumerate(clip.views):
        again, replayed = reference.step(view[None], right), candidate.replay(features[t], found)
        both = _outputs(again, layout), _outputs(replayed, layout)
        names = both[1].keys()
        parity.add("replay", {n: both[0][n] for n in names}, both[1], f"{clip.name} frame {t}, second pass")
        right, found = again.state, replayed.state
    for t, frame in enumerate(clip.frames):
        named = [
            dict(zip(("points", "confidence"), stepper.locate(frame[None]), strict=True))
            for stepper in (reference, candidate)
        ]
        parity.add("locator", named[0], named[1], f"{clip.name} frame {t}")


def _outputs(result: StepResult | ReplayResult, layout: IndexLayout) -> dict[str, Floats]:
    """Outputs by name; thicknesses, diameters and areas apart, since their ranges are."""
    found = {
        "thicknesses": result.indices[:, layout.rwt],
        "diameters": result.indices[:, layout.dims],
        "areas": result.indices[:, layout.areas],
        "phase": result.phase,
    }
    if isinstance(result, StepResult):
        found |= {"mask": result.mask, "features": result.features}
    return found | {f"{name}_next": array for name, array in result.state.as_inputs().items()}
