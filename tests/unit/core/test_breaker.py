from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undaunted.core.breaker import Breaker, BreakerState
from undaunted.core.policy import BreakerPolicy
from undaunted.testing.clock import VirtualClock

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class Bench:
    def __init__(self, chance: float = 0.999999, **policy: float) -> None:
        self.clock = VirtualClock(1000)
        self.changes: list[tuple[BreakerState, BreakerState]] = []
        self.breaker = Breaker(
            BreakerPolicy(**policy),  # type: ignore[arg-type]
            self.clock,
            lambda: chance,
            notify=lambda before, after: self.changes.append((before, after)),
        )

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.failure()

    def opened(self) -> Bench:
        self.fail(5)
        assert self.breaker.state is OPEN
        return self


def test_five_failures_in_a_row_open_it() -> None:
    bench = Bench()
    bench.fail(4)
    assert bench.breaker.state is CLOSED
    bench.breaker.success()
    bench.fail(4)
    assert bench.breaker.allows()
    bench.fail()
    assert bench.breaker.state is OPEN
    assert not bench.breaker.allows()
    assert bench.changes == [(CLOSED, OPEN)]
    bench.fail()  # news of calls that were on their way
    bench.breaker.success()
    assert bench.breaker.state is OPEN


def test_half_of_twenty_calls_open_it() -> None:
    bench = Bench()
    for _ in range(9):
        bench.fail()
        bench.breaker.success()
    bench.fail()
    assert bench.breaker.state is CLOSED  # 10 of 19
    bench.breaker.success()
    assert bench.breaker.state is CLOSED  # a success opens nothing
    bench.fail()
    assert bench.breaker.state is OPEN  # 11 of 21


def test_failures_older_than_the_window_are_forgotten() -> None:
    bench = Bench()
    for _ in range(9):
        bench.fail()
        bench.breaker.success()
    bench.clock.advance(10)
    bench.breaker.success()
    assert not bench.breaker._slots
    bench.fail(4)
    assert bench.breaker.state is CLOSED


def test_a_mixed_trickle_within_the_window_still_counts() -> None:
    bench = Bench(window_s=10.0)
    for _ in range(12):
        bench.fail()
        bench.breaker.success()
        bench.clock.advance(0.7)
    assert bench.breaker.state is OPEN


def test_it_stays_open_for_a_jittered_while_then_one_probe_goes() -> None:
    bench = Bench(chance=0.0).opened()
    assert bench.breaker.open_s == 2.5
    bench.clock.advance(2.4)
    assert not bench.breaker.allows()
    bench.clock.advance(0.2)
    assert [bench.breaker.allows() for _ in range(5)] == [True, False, False, False, False]
    assert bench.breaker.state is HALF_OPEN


def test_a_probe_that_succeeds_closes_it() -> None:
    bench = Bench().opened()
    bench.clock.advance(5)
    assert bench.breaker.allows()
    bench.breaker.success()
    assert bench.breaker.state is CLOSED
    assert bench.breaker.open_s == 0
    assert all(bench.breaker.allows() for _ in range(5))
    assert bench.changes == [(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, CLOSED)]
    bench.fail(4)
    assert bench.breaker.state is CLOSED  # nothing is left of before


def test_each_failed_probe_opens_it_for_twice_as_long_up_to_a_minute() -> None:
    bench = Bench().opened()
    lengths = [bench.breaker.open_s]
    for _ in range(40):
        bench.clock.advance(60)
        assert bench.breaker.allows()
        bench.fail()
        assert bench.breaker.state is OPEN
        lengths.append(bench.breaker.open_s)
    assert [round(each) for each in lengths[:6]] == [5, 10, 20, 40, 60, 60]
    assert round(lengths[-1]) == 60


def test_a_forgotten_probe_does_not_wedge_it() -> None:
    bench = Bench().opened()
    bench.clock.advance(5)
    assert bench.breaker.allows()
    bench.clock.advance(4.9)
    assert not bench.breaker.allows()
    bench.clock.advance(0.2)
    assert bench.breaker.allows()
    assert not bench.breaker.allows()


def test_a_forked_child_begins_closed_and_is_not_stuck() -> None:
    bench = Bench().opened()
    with bench.breaker._lock:
        bench.breaker.after_fork_in_child()
        assert bench.breaker.state is CLOSED
        assert bench.breaker.allows()


def test_nobody_need_be_notified() -> None:
    breaker = Breaker(BreakerPolicy(consecutive_failures=1), VirtualClock())
    breaker.failure()
    assert breaker.state is OPEN


def test_a_caller_that_saw_it_open_may_go_when_another_has_closed_it() -> None:
    bench = Bench().opened()
    bench.clock.advance(5)
    bench.breaker.allows()
    breaker = bench.breaker

    class ClosedMeanwhile:
        def __enter__(self) -> None:
            breaker._close()

        def __exit__(self, *_: object) -> None: ...

    breaker._lock = ClosedMeanwhile()  # type: ignore[assignment]
    assert breaker.allows()
    assert breaker.state is CLOSED


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["ask", "success", "failure"]), st.floats(min_value=0, max_value=30, allow_subnormal=False)
        ),
        max_size=200,
    ),
    st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_at_most_one_probe_is_out_at_a_time(script: list[str | float], chance: float) -> None:
    bench = Bench(chance)
    leased_at_s: float | None = None
    for step in script:
        state = bench.breaker.state
        if isinstance(step, float):
            bench.clock.advance(step)
        elif step == "success":
            bench.breaker.success()
        elif step == "failure":
            bench.breaker.failure()
        elif bench.breaker.allows() and state is not CLOSED:
            now_s = bench.clock.monotonic()
            assert leased_at_s is None or now_s >= leased_at_s + 5.0
            leased_at_s = now_s
        if bench.breaker.state is not HALF_OPEN:
            leased_at_s = None


@pytest.mark.parametrize("round_number", range(20))
def test_64_threads_get_one_probe(round_number: int) -> None:
    bench = Bench().opened()
    bench.clock.advance(60)
    granted: list[bool] = []
    gate = threading.Barrier(64)

    def ask() -> None:
        gate.wait()
        granted.append(bench.breaker.allows())

    threads = [threading.Thread(target=ask) for _ in range(64)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(granted) == 64
    assert granted.count(True) == 1
    assert bench.changes == [(CLOSED, OPEN), (OPEN, HALF_OPEN)]
