"""Results that are too long to be made on every change are made again when what they measure has changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.provenance import changes_since, git, provenance

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"


def long_results() -> list[Path]:
    return [
        path
        for path in sorted(RESULTS.glob("*.json"))
        if "measures" in json.loads(path.read_text(encoding="utf-8"))
    ]


@pytest.fixture(autouse=True)
def whole_history() -> None:
    try:
        shallow = git("rev-parse", "--is-shallow-repository")
    except (RuntimeError, FileNotFoundError) as error:
        pytest.skip(f"no git checkout: {error}")
    if shallow == "true":
        pytest.skip("a shallow clone does not know which commits came later")


@pytest.mark.parametrize("path", long_results(), ids=lambda path: path.stem)
def test_is_newer_than_what_it_measures(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    assert not result["uncommitted_changes"], "made from files that no commit holds"
    later = changes_since(result["commit"], result["measures"])
    assert not later, f"stale, run `{result['command']}` again; since then: " + "; ".join(later)


def test_a_later_change_is_seen() -> None:
    first = git("rev-list", "--max-parents=0", "HEAD").splitlines()[0]
    assert changes_since(first, ["lvedge/bundle.py"])
    assert not changes_since(git("rev-parse", "HEAD"), ["lvedge"])


def test_what_is_measured_has_to_exist() -> None:
    with pytest.raises(ValueError, match="gone"):
        provenance("python -m it", ["lvedge/gone.py"])
