from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undaunted.core.backoff import ceiling_s, equal_jitter_s, full_jitter_s
from undaunted.core.clock import SYSTEM_CLOCK
from undaunted.core.deadline import Deadline, earlier
from undaunted.core.node import Node
from undaunted.core.operation import Kind, Operation
from undaunted.core.policy import Backoff, Policy
from undaunted.testing.clock import VirtualClock


def test_the_ceiling_doubles_up_to_the_longest_wait() -> None:
    assert [ceiling_s(Backoff(), n) for n in (0, 1, 2, 5, 6, 100_000)] == [0.05, 0.1, 0.2, 1.6, 2.0, 2.0]


@given(st.integers(0, 10_000), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_full_jitter_stays_below_the_ceiling(retries: int, chance: float) -> None:
    wait_s = full_jitter_s(Backoff(), retries, chance)
    assert 0 <= wait_s <= ceiling_s(Backoff(), retries)


def test_equal_jitter_waits_at_least_half() -> None:
    assert equal_jitter_s(10, 0.0) == 5
    assert equal_jitter_s(10, 0.5) == 7.5


def test_a_deadline_tells_what_is_left() -> None:
    deadline = Deadline.after(2.0, now_s=10.0)
    assert deadline == Deadline(at_s=12.0, length_s=2.0)
    assert deadline.remaining_s(11.5) == 0.5
    assert deadline.remaining_s(13.0) == 0.0


def test_of_two_deadlines_the_earlier_holds() -> None:
    soon, late = Deadline.after(1, now_s=0), Deadline.after(2, now_s=0)
    assert earlier(soon, late) is soon
    assert earlier(late, soon) is soon
    assert earlier(None, late) is late
    assert earlier(soon, None) is soon
    assert earlier(None, None) is None


def test_the_system_clock_never_goes_back() -> None:
    times = [SYSTEM_CLOCK.monotonic() for _ in range(1000)]
    assert times == sorted(times)


def test_a_virtual_clock_moves_only_when_told() -> None:
    clock = VirtualClock(5)
    assert clock.monotonic() == clock.monotonic() == 5
    clock.sleep(1.5)
    assert clock.monotonic() == 6.5
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="never goes back"):
            clock.advance(wrong)


async def test_a_virtual_clock_sleeps_in_coroutines_too() -> None:
    clock = VirtualClock()
    await clock.async_sleep(3)
    assert clock.monotonic() == 3


def test_a_node_is_unknown_until_it_is_asked() -> None:
    assert Node(address="n1:27017").role == "unknown"


@pytest.mark.parametrize(
    ("kind", "idempotent", "is_repeatable"),
    [(Kind.READ, False, True), (Kind.WRITE, False, False), (Kind.WRITE, True, True), (Kind.UNIT_OF_WORK, False, False)],
)
def test_reads_and_idempotent_operations_are_repeatable(kind: Kind, idempotent: bool, is_repeatable: bool) -> None:
    assert Operation(name="op", kind=kind, idempotent=idempotent).is_repeatable is is_repeatable


@pytest.mark.parametrize(
    ("deadline_s", "fail_fast_after_s", "patience_s"), [(5, None, 15), (90, None, 90), (90, 15, 15), (5, 0, 0)]
)
def test_patience_follows_the_deadline_unless_it_is_declared(
    deadline_s: float, fail_fast_after_s: float | None, patience_s: float
) -> None:
    assert Policy(deadline_s=deadline_s, fail_fast_after_s=fail_fast_after_s).patience_s == patience_s
