"""Which parts of a graph stay in FP32: chosen from what each costs in millimetres when it alone is FP16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lvedge.contract import ContractShapes
from lvedge.errors import UsageError
from lvedge_export.clip import Clip
from lvedge_export.engine import Exported
from lvedge_export.finish import part_of
from lvedge_export.half import LARGEST, emulated_from_half, half_from_onnx, is_kept
from lvedge_export.parity import Parity, compare
from lvedge_export.reach import MARGIN, beyond_half, reach_of_nodes

THICKNESS_MM, AREA_MM2, POINT_MM = 0.05, 5.0, 0.05
"""What FP16 may change at most: a wall thickness, an area, a point of the locator."""

CARRIED = {"step": "recurrent"}
"""Network to its part whose results go on from frame to frame: rounded, they would add up for as long as one
streams, at next to no gain, since it has few products."""

NETWORKS: Mapping[str, tuple[str, ...]] = {"step": ("step", "replay"), "locator": ("locator",)}
"""A graph that is examined to the graphs that share its parts."""


@dataclass
class Choice:
    """What is kept in FP32, and why.

    Args:
        reach: graph to node to the largest value seen.
        cost: part, as "graph.part", to what it alone costs in FP16, as a share of the limits.
        kept: graph to the parts and nodes that are kept.
        why: a phrase for each of them, in order of choice.
    """

    reach: dict[str, dict[str, float]] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    kept: dict[str, list[str]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    def keep(self, graph: str, what: str, why: str) -> None:
        """Keep a part or a node in FP32."""
        self.kept[graph].append(what)
        self.why[f"{graph}.{what}"] = why

    def as_json(self) -> dict[str, Any]:
        """The choice as plain values."""
        return {
            "kept_fp32": self.why,
            "share_of_limits_by_part_alone": {part: float(f"{cost:.3g}") for part, cost in self.cost.items()},
            "largest_activation": {
                graph: {node: float(f"{value:.4g}") for node, value in nodes.items()}
                for graph, nodes in self.reach.items()
            },
        }


def change(parity: Parity, shapes: ContractShapes) -> dict[str, float]:
    """The largest change of thicknesses (mm), diameters (mm), areas (mm²), phase, and locator points (mm)."""
    size = shapes.view_mm_per_px
    units = {
        "thicknesses": ("thickness_mm", size),
        "diameters": ("diameter_mm", size),
        "areas": ("area_mm2", size**2),
        "phase": ("phase", 1.0),
        "points": ("point_mm", shapes.locator_mm_per_px),
        "confidence": ("confidence", 1.0),
    }
    found: dict[str, float] = {}
    for outputs in parity.graphs.values():
        for name, deviation in outputs.items():
            if name in units:
                key, unit = units[name]
                found[key] = max(found.get(key, 0.0), deviation.largest * unit)
    return found


def share_of_limits(changed: Mapping[str, float]) -> float:
    """The largest change as a share of what is allowed; at most 1 passes."""
    limits = {"thickness_mm": THICKNESS_MM, "area_mm2": AREA_MM2, "point_mm": POINT_MM}
    return max(changed.get(name, 0.0) / limit for name, limit in limits.items())


def rounded(changed: Mapping[str, float]) -> dict[str, float]:
    """Changes with three digits each, for a report."""
    return {name: float(f"{value:.3g}") for name, value in changed.items()}


def phrase(changed: Mapping[str, float]) -> str:
    """Changes in words."""
    return (
        f"a wall by at most {changed['thickness_mm']:.2g} mm, an area by {changed['area_mm2']:.2g} mm²,"
        f" a located point by {changed['point_mm']:.2g} mm"
    )


def choose_precision(exported: Exported, clips: Sequence[Clip], sample: Sequence[Clip]) -> Choice:
    """Keep in FP32 what is carried, what nears FP16's largest number, then the costliest, down to the limits.

    Args:
        exported: the FP32 graphs.
        clips: what the graphs have to hold on.
        sample: fewer frames, which each part is tried on by itself.
    """
    choice = Choice()
    for network in NETWORKS:
        reach = reach_of_nodes(exported.graphs[network], network, clips, exported.shapes)
        choice.reach[network], choice.kept[network] = reach, []
        for node in beyond_half(reach):
            choice.keep(network, node, _beyond(reach[node]))
        beyond = list(choice.kept[network])
        parts = sorted({part_of(node) for node in reach})
        if CARRIED.get(network) in parts:
            choice.keep(network, CARRIED[network], "what it carries from frame to frame adds up")
        costs = {
            part: _cost(exported, network, [*beyond, *(p for p in parts if p != part)], sample)
            for part in parts
        }
        choice.cost |= {f"{network}.{part}": cost for part, cost in costs.items()}
        left = sorted(set(parts) - set(choice.kept[network]), key=lambda part: (costs[part], part))
        while left and not _cost(exported, network, choice.kept[network], clips) <= 1:
            part = left.pop()
            choice.keep(network, part, f"alone costs {costs[part]:.2g} of what FP16 may change")
    return choice


def asked_precision(exported: Exported, clips: Sequence[Clip], asked: Sequence[str]) -> Choice:
    """Keep in FP32 what was asked for and nothing else.

    Args:
        exported: the FP32 graphs.
        clips: what the largest values are looked for in.
        asked: parts as "step.polar" or "locator.glue".

    Raises:
        UsageError: if there is no such part.
    """
    choice = Choice()
    known: list[str] = []
    for network in NETWORKS:
        reach = reach_of_nodes(exported.graphs[network], network, clips, exported.shapes)
        choice.reach[network], choice.kept[network] = reach, []
        for part in sorted({part_of(node) for node in reach}):
            known.append(f"{network}.{part}")
            if known[-1] in asked:
                choice.keep(network, part, "asked for")
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise UsageError(f"there is no part {', '.join(unknown)}: name some of {', '.join(known)}")
    return choice


def overflows(choice: Choice) -> list[str]:
    """What FP16 could not hold and is not kept in FP32, one phrase each."""
    return [
        f"{network}'s {node} {_beyond(reach[node])}"
        for network, reach in choice.reach.items()
        for node in beyond_half(reach)
        if not is_kept(node, choice.kept[network])
    ]


def halves(exported: Exported, kept: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    """The FP16 graphs of the networks that are named.

    Args:
        exported: the FP32 graphs.
        kept: "step" and "locator" to what stays in FP32; replay shares what step keeps.
    """
    return {
        name: half_from_onnx(exported, name, what)
        for network, what in kept.items()
        for name in NETWORKS[network]
    }


def _beyond(largest: float) -> str:
    return f"reaches {largest:.4g}, over 1/{MARGIN:g} of {LARGEST:g}"


def _cost(exported: Exported, network: str, kept: Sequence[str], sample: Sequence[Clip]) -> float:
    """What FP16 changes as a share of the limits, against FP32, emulated."""
    half = {name: emulated_from_half(graph) for name, graph in halves(exported, {network: kept}).items()}
    seen = [
        replace(clip, frames=clip.frames[:0]) if network == "step" else replace(clip, views=clip.views[:0])
        for clip in sample
    ]
    with exported.engine() as reference, exported.engine(**half) as candidate:
        return share_of_limits(change(compare(reference, candidate, seen), exported.shapes))
