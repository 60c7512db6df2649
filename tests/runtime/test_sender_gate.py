"""The gate: once it is shut nobody comes through, however the two threads meet."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("pynetdicom")

from lvedge_runtime.sender.gate import Gate


class Walker(threading.Thread):
    """Goes through the gate again and again, and says each time that it has."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.gate = Gate(self)
        self.passed = 0
        self.is_behind = False
        self.ends = False

    def run(self) -> None:
        while not self.ends:
            self.gate.wait()
            self.is_behind = True
            self.passed += 1
            self.is_behind = False


@contextmanager
def walking() -> Iterator[Walker]:
    walker = Walker()
    walker.start()
    try:
        yield walker
    finally:
        walker.ends = True
        walker.gate.set()
        walker.join(10)
        assert not walker.is_alive()


def test_nobody_is_behind_a_gate_that_was_shut() -> None:
    with walking() as walker:
        for round_number in range(3000):
            walker.gate.clear()
            passed = walker.passed
            assert not walker.is_behind
            if round_number % 100 == 0:
                time.sleep(0.002)
            assert walker.passed == passed
            walker.gate.set()


def test_it_opens_again() -> None:
    with walking() as walker:
        walker.gate.clear()
        passed = walker.passed
        walker.gate.set()
        until = time.monotonic() + 10
        while walker.passed == passed:
            assert time.monotonic() < until


def test_it_shuts_at_once_where_the_thread_has_ended() -> None:
    with walking() as walker:
        pass
    walker.gate.clear()
    assert not walker.gate.is_set()
    assert walker.gate.wait(0.01) is False
    walker.gate.set()
    assert walker.gate.wait(0.01) is True
