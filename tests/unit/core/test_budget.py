from __future__ import annotations

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undaunted.core.budget import Budget
from undaunted.core.policy import BudgetPolicy
from undaunted.testing.clock import VirtualClock


def test_it_begins_full_and_charged_retries_empty_it() -> None:
    budget = Budget(BudgetPolicy(capacity=3), VirtualClock())
    assert [budget.pay(1) for _ in range(5)] == [True, True, True, False, False]
    assert budget.tokens == 0
    assert budget.capacity == 3


def test_a_payment_is_made_whole_or_not_at_all() -> None:
    budget = Budget(BudgetPolicy(capacity=3), VirtualClock())
    assert not budget.pay(3.5)
    assert budget.tokens == 3


def test_successes_and_time_fill_it_up_to_its_capacity() -> None:
    clock = VirtualClock()
    budget = Budget(BudgetPolicy(capacity=3, deposit=0.1, refill_per_s=1.0), clock)
    budget.pay(3)
    for _ in range(5):
        budget.deposit()
    assert budget.tokens == pytest.approx(0.5)
    clock.advance(1.5)
    assert budget.tokens == pytest.approx(2.0)
    assert budget.can_pay(2.0)
    assert not budget.can_pay(2.1)
    clock.advance(1e9)
    budget.deposit()
    assert budget.tokens == 3


def test_whether_it_is_full_is_known_without_asking() -> None:
    clock = VirtualClock()
    budget = Budget(BudgetPolicy(capacity=3, deposit=0.1, refill_per_s=1.0), clock)
    assert budget.is_full
    assert not budget.pay(4)
    assert budget.is_full
    budget.pay(1)
    assert not budget.is_full
    budget.deposit()
    assert not budget.is_full
    clock.advance(1)
    budget.deposit()
    assert budget.is_full
    budget.pay(3)
    budget.after_fork_in_child()
    assert budget.is_full


def test_what_costs_nothing_is_always_paid() -> None:
    budget = Budget(BudgetPolicy(capacity=0), VirtualClock())
    assert budget.can_pay(0)
    assert budget.pay(0)
    assert not budget.can_pay(1)


def test_a_full_bucket_takes_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(BudgetPolicy(), VirtualClock())

    class Refused:
        def __enter__(self) -> None:
            raise AssertionError("the lock was taken")

        def __exit__(self, *_: object) -> None: ...

    budget._lock = Refused()  # type: ignore[assignment]
    budget.deposit()
    with pytest.raises(AssertionError):
        budget.pay(1)


def test_emptiness_is_told_once_until_it_has_been_half_full() -> None:
    clock = VirtualClock()
    budget = Budget(BudgetPolicy(capacity=10), clock)
    budget.pay(10)
    assert [budget.tell_empty() for _ in range(3)] == [True, False, False]
    clock.advance(2)
    budget.pay(1)
    assert not budget.tell_empty()
    clock.advance(5)
    budget.deposit()
    budget.pay(6)
    assert budget.tell_empty()


actions = st.one_of(
    st.tuples(st.just("pay"), st.floats(min_value=0, max_value=20)),
    st.tuples(st.just("deposit"), st.just(0.0)),
    st.tuples(st.just("advance"), st.floats(min_value=0, max_value=100)),
)


@given(
    st.lists(actions, max_size=200),
    st.floats(min_value=0, max_value=50),
    st.floats(min_value=0, max_value=1),
    st.floats(min_value=0, max_value=5),
)
def test_tokens_are_never_negative_nor_above_the_capacity_nor_out_of_nothing(
    script: list[tuple[str, float]], capacity: float, deposit: float, refill: float
) -> None:
    clock = VirtualClock()
    budget = Budget(BudgetPolicy(capacity=capacity, deposit=deposit, refill_per_s=refill), clock)
    paid = 0.0
    deposits = 0
    for action, amount in script:
        if action == "pay":
            paid += amount if budget.pay(amount) else 0.0
        elif action == "deposit":
            budget.deposit()
            deposits += 1
        else:
            clock.advance(amount)
        assert 0.0 <= budget.tokens <= capacity
    earned = capacity + deposits * deposit + clock.monotonic() * refill
    assert paid <= earned * (1 + 1e-9) + 1e-9


def test_64_threads_never_spend_a_token_twice() -> None:
    budget = Budget(BudgetPolicy(capacity=1000, deposit=0.0, refill_per_s=0.0), VirtualClock())
    paid: list[int] = []
    gate = threading.Barrier(64)

    def spend() -> None:
        gate.wait()
        paid.append(sum(budget.pay(1) for _ in range(100)))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=spend) for _ in range(64)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        sys.setswitchinterval(before)
    assert len(paid) == 64
    assert sum(paid) == 1000
    assert budget.tokens == 0


def test_a_forked_child_is_not_stuck_on_a_lock_that_was_held() -> None:
    budget = Budget(BudgetPolicy(capacity=5), VirtualClock())
    budget.pay(5)
    budget.tell_empty()
    with budget._lock:  # as another thread of the parent would have it
        budget.after_fork_in_child()
        assert budget.tokens == 5
        assert budget.tell_empty()
