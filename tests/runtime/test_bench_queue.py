"""The queue on a clock that the test winds: waiting, lateness and the highest rate are known in advance."""

from __future__ import annotations

import numpy as np
import pytest

from lvedge_runtime.bench.queue import Paced, WallClock, arrivals, highest_rate, paced


class WoundClock:
    """A clock that moves when somebody waits or works."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def wait_until(self, due: float) -> None:
        self.time = max(self.time, due)

    def work(self, seconds: float) -> None:
        self.time += seconds


def served(service_ms: list[float], rate: float, streams: int = 1, deadline_ms: float | None = None) -> Paced:
    """Frames that take so long each, one after another."""
    clock, left = WoundClock(), iter(service_ms)
    return paced(
        lambda _stream: clock.work(next(left) / 1e3), rate, len(service_ms), streams, deadline_ms, clock
    )


def test_streams_arrive_evenly_between_each_other() -> None:
    assert list(arrivals(10.0, 2, 4)) == [(0.0, 0), (0.05, 1), (0.1, 0), (0.15, 1)]


def test_a_server_that_keeps_up_lets_nobody_wait() -> None:
    run = served([8.0] * 10, rate=100.0)
    np.testing.assert_allclose(run.latency.ms, 8.0)
    np.testing.assert_allclose(run.waiting.ms, 0.0, atol=1e-9)
    assert (run.missed, run.longest_queue, run.deadline_ms) == (0, 0, 10.0)


def test_one_slow_frame_makes_the_next_ones_late_until_the_queue_is_empty() -> None:
    # Every 10 ms a frame; 8 ms each, but the second takes 26: behind it 16 ms have gathered, 2 go each frame.
    run = served([8.0, 26.0, *[8.0] * 10], rate=100.0)
    np.testing.assert_allclose(
        run.latency.ms, [8, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 8], rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(run.waiting.ms[:5], [0, 0, 16, 14, 12], atol=1e-9)
    assert run.missed == 8  # 26 down to 12; 10 is in time
    assert run.longest_queue == 2  # when the slow one is done at 36 ms, those of 20 and 30 ms wait


def test_back_to_back_timing_would_hide_the_queue() -> None:
    run = served([12.0] * 50, rate=100.0)
    service = np.array([frame.done - frame.started for frame in run.served])
    np.testing.assert_allclose(1e3 * service, 12.0)
    np.testing.assert_allclose(run.latency.ms, 12.0 + 2.0 * np.arange(50), rtol=1e-9)
    assert run.longest_queue == 9  # at 492 ms, 41 are done and all 50 have come


def test_streams_share_one_line_in_the_order_of_arrival() -> None:
    run = served([4.0] * 6, rate=50.0, streams=3, deadline_ms=5.0)
    assert [frame.stream for frame in run.served] == [0, 1, 2, 0, 1, 2]
    told = run.as_json()
    assert (told["missed"], len(told["latency_by_stream"]), told["latency_by_stream"][2]["n"]) == (0, 3, 2)


def test_p99_is_judged_from_662_frames_on() -> None:
    assert served([8.0] * 661, rate=100.0).holds() is None
    assert served([8.0] * 662, rate=100.0).holds() is True
    assert served([11.0] * 662, rate=100.0).holds() is False


def test_a_result_is_checked_after_its_time_was_taken() -> None:
    clock, seen = WoundClock(), []

    def check(stream: int, result: str) -> None:
        seen.append((stream, result))
        clock.work(1.0)

    run = paced(lambda stream: f"of {stream}", 0.5, 2, 2, clock=clock, check=check)
    assert seen == [(0, "of 0"), (1, "of 1")]
    np.testing.assert_allclose(run.latency.ms, 0.0, atol=1e-9)


@pytest.mark.parametrize("service_ms", [3.0, 8.0, 20.0])
def test_the_highest_rate_is_that_of_the_server(service_ms: float) -> None:
    found, attempts = highest_rate(lambda rate: served([service_ms] * 700, rate), guess=100.0)
    assert found is not None
    assert found <= 1e3 / service_ms < found * 1.05**2
    assert len(attempts) < 40


def test_no_rate_is_held_where_frames_take_for_ever() -> None:
    found, attempts = highest_rate(lambda rate: served([5000.0] * 700, rate), guess=100.0)
    assert found is None
    assert [run.rate for run in attempts] == [50.0, 25.0, 12.5, 6.25]


def test_the_wall_clock_waits_until_it_is_time() -> None:
    clock = WallClock()
    due = clock.now() + 0.01
    clock.wait_until(due)
    assert clock.now() >= due
