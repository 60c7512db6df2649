"""Two thousand damaged files and conversations: nothing raises, hangs or goes uncounted."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks.fuzz_receiver import BECAME, damaged, fuzz_files, fuzz_messages, seeds

FILES, MESSAGES = 1800, 200
SEED = int(os.environ.get("LVEDGE_EXPLORE", "0")) and int.from_bytes(os.urandom(4), "big")


def test_a_seed_damages_in_the_same_way() -> None:
    from random import Random

    whole = seeds()
    assert [damaged(Random(7), whole) for _ in range(3)] == [damaged(Random(7), whole)] * 3
    assert damaged(Random(7), whole) not in whole


def test_damaged_files_are_measured_or_refused_and_counted() -> None:
    found = fuzz_files(FILES, SEED, seeds())
    assert dict(found.faults) == {}, f"seed {SEED}"
    left = found.counts.pop("left on the shelf")
    assert (sum(found.counts.values()), left) == (FILES, 0)
    # Enough of them get through for all that comes behind the header to be tried.
    assert min(found.counts["taken"], found.counts["damaged"]) > FILES / 10


def test_damaged_conversations_end_and_are_counted(tmp_path: Path) -> None:
    found = fuzz_messages(MESSAGES, SEED, tmp_path)
    assert dict(found.faults) == {}, f"seed {SEED}"
    assert found.counts["opened"] == MESSAGES + 1  # and one that speaks well
    # Each of them became an association, was rejected, or ended before it asked for one.
    assert found.counts["opened"] == sum(found.counts[how] for how in BECAME)
    ended = found.counts.get("aborted", 0) + found.counts.get("released", 0)
    assert ended == found.counts["accepted"] - 1 > 0


def test_what_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise KeyError("anything")

    monkeypatch.setattr("lvedge_runtime.receiver.intake.images_from_header", broken)
    found = fuzz_files(5, 1, seeds()[:1])
    assert found.faults
    assert all(words.startswith("KeyError > ") for words in found.faults)
