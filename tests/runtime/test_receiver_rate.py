"""How often a peer may do something, at times that the test says."""

from __future__ import annotations

from lvedge_runtime.receiver.rate import MOST_KNOWN, Rate


def test_a_burst_passes_and_then_what_drips() -> None:
    rate = Rate(2.0, burst_s=3.0)
    assert [rate.wait_s("a", 10.0) for _ in range(7)] == [0.0] * 6 + [0.5]
    assert rate.wait_s("a", 10.25) == 0.25
    assert rate.wait_s("a", 10.5) == 0.0
    assert rate.wait_s("a", 10.5) == 0.5
    # However long nothing came, no more than the burst is left.
    assert [rate.wait_s("a", 1e6) for _ in range(7)] == [0.0] * 6 + [0.5]


def test_one_peer_takes_nothing_from_another() -> None:
    rate = Rate(1.0, burst_s=1.0)
    assert [rate.wait_s("a", 0.0), rate.wait_s("a", 0.0), rate.wait_s("b", 0.0)] == [0.0, 1.0, 0.0]


def test_only_so_many_peers_are_remembered() -> None:
    rate = Rate(1.0, burst_s=1.0)
    for k in range(2 * MOST_KNOWN):
        rate.wait_s(str(k), 0.0)
    assert rate.wait_s(str(2 * MOST_KNOWN - 1), 0.0) == 1.0
    assert rate.wait_s("0", 0.0) == 0.0
