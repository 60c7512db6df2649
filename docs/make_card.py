"""Writes ``docs/model-card.md`` from its template and the measured figures: ``python docs/make_card.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "model-card.md"
ACCURACY = ROOT / "benchmarks" / "results" / "cross_validation.json"

TEMPLATE = PAGE.with_name("model-card.in.md")


def card(figures: dict[str, Any]) -> str:
    """The page for measured figures."""
    from lvedge.training.evaluation.table import markdown

    per_index = figures["acdc"]["regressed"]["per_index"]
    rows = [
        f"| `{name}` | {f['mae']} | {f['sd']} | {f['bias']} | {f['limits_of_agreement'][0]} to"
        f" {f['limits_of_agreement'][1]} | {f['pearson_r']} |"
        for name, f in per_index.items()
    ]
    groups = [
        f"| {group} | {f['rwt_mm']} | {f['dims_mm']} | {f['areas_mm2']} |"
        for group, f in figures["acdc"]["by_group"].items()
    ]
    return TEMPLATE.read_text(encoding="utf-8").format(
        protocol=figures["protocol"],
        tables=markdown(figures).strip(),
        mid=figures["acdc"]["mid_slices"],
        per_index="\n".join(rows),
        by_group="\n".join(groups),
        command=figures["command"],
    )


def main() -> None:
    """Write the page."""
    PAGE.write_text(card(json.loads(ACCURACY.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
