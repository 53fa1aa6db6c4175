"""What the engines promise: this suite runs on `sync` and on `aio`, with a function and step by step."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import traceback
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from undaunted import errors
from undaunted.core.attempt import Attempt
from undaunted.core.budget import Budget
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind, Operation
from undaunted.core.policy import Backoff, BudgetPolicy, Policy
from undaunted.engine.call import Call, current_call
from undaunted.engine.context import options
from undaunted.engine.guard import NOT_APPLIED, UNDECIDED
from undaunted.events import CallFailed, CallRecovered, OutcomeLeftUnknown, RetryScheduled

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_SENT, SHED, ROLLED_BACK, UNKNOWN, PERMANENT = (
    Fault.NOT_SENT, Fault.SHED, Fault.ROLLED_BACK, Fault.UNKNOWN, Fault.PERMANENT,
)  # fmt: skip


# --- success


def test_a_success_is_returned_and_published_to_nobody(bench: Any) -> None:
    body = bench.script("value")
    assert bench.run(bench.write, body) == "value"
    assert (body.ran, bench.events, bench.waits) == (1, [], [])


def test_a_success_is_deposited(bench: Any) -> None:
    bench.guard.budget = Budget(BudgetPolicy(refill_per_s=0.0), bench.clock)
    bench.guard.budget.pay(10)
    bench.run(bench.read, bench.script("value"))
    assert bench.guard.budget.tokens == pytest.approx(90.1)


def test_none_is_a_value_like_any_other(bench: Any) -> None:
    assert bench.run(bench.read, bench.script(UNKNOWN, None)) is None


def test_the_body_sees_its_call(bench: Any) -> None:
    def body(call: Call) -> Any:
        assert current_call() is call
        assert call.remaining_s() == 15.0
        assert (call.operation, call.guard) == (bench.read, bench.guard)
        bench.clock.advance(1)
        assert call.elapsed_s() == 1.0
        return call

    call = bench.run(bench.read, body)
    assert not call.is_running
    assert current_call() is None


# --- running again


def test_what_was_not_sent_goes_on_elsewhere_at_once_and_then_with_jitter(bench: Any) -> None:
    body = bench.script(NOT_SENT, NOT_SENT, NOT_SENT, NOT_SENT, "value")
    assert bench.run(bench.write, body) == "value"
    assert body.ran == 5  # more than three attempts: what reached no server is none
    assert bench.waits[0] == 0
    for retries, wait_s in enumerate(bench.waits[1:], start=1):
        assert 0 < wait_s < 0.05 * 2**retries
    assert bench.guard.budget.tokens == 100


def test_a_read_that_was_not_answered_is_run_again(bench: Any) -> None:
    assert bench.run(bench.read, bench.script(UNKNOWN, "value")) == "value"
    assert bench.guard.budget.tokens < 100
    assert bench.named() == ["RetryScheduled", "CallRecovered"]


@pytest.mark.parametrize("kind", ["write", "unit"])
def test_a_write_that_was_not_answered_is_never_run_again(bench: Any, kind: str) -> None:
    body = bench.script(UNKNOWN, "value")
    with pytest.raises(errors.OutcomeUnknown) as caught:
        bench.run(getattr(bench, kind), body)
    assert body.ran == 1
    assert [attempt.fault for attempt in caught.value.attempts] == [UNKNOWN]
    assert bench.named() == ["OutcomeLeftUnknown"]


def test_an_idempotent_write_that_was_not_answered_is_run_again(bench: Any) -> None:
    assert bench.run(bench.idempotent, bench.script(UNKNOWN, UNKNOWN, "value")) == "value"


def test_a_unit_of_work_is_run_again_after_a_rollback_and_a_lone_write_is_not(bench: Any) -> None:
    assert bench.run(bench.unit, bench.script(ROLLED_BACK, ROLLED_BACK, "value")) == "value"
    body = bench.script(ROLLED_BACK, "value")
    with pytest.raises(Exception, match="secret") as caught:
        bench.run(bench.write, body)
    assert type(caught.value).__name__ == "DriverError"
    assert body.ran == 1


def test_refused_load_is_run_again_twice_and_never_at_once(bench: Any) -> None:
    body = bench.script(SHED)
    with pytest.raises(errors.Exhausted) as caught:
        bench.run(bench.read, body, policy=Policy(attempts=10))
    assert body.ran == 3
    assert type(caught.value) is errors.Exhausted
    assert all(wait_s > 0 for wait_s in bench.waits)


def test_attempts_are_counted_and_the_first_is_one_of_them(bench: Any) -> None:
    for attempts in (1, 2, 5):
        body = bench.script(UNKNOWN)
        with pytest.raises(errors.Exhausted) as caught:
            bench.run(bench.read, body, policy=Policy(attempts=attempts))
        assert body.ran == len(caught.value.attempts) == attempts


def test_uncounted_and_patient_executions_are_bounded_by_the_deadline_alone(bench: Any, driver_error: Any) -> None:
    uncounted = bench.script(*[driver_error(UNKNOWN, counted=False)] * 20, "value")
    assert bench.run(bench.read, uncounted, policy=Policy(deadline_s=90)) == "value"
    patient = bench.script(*[UNKNOWN] * 20, "value")
    assert bench.run(bench.patient, patient, policy=Policy(deadline_s=90)) == "value"


def test_each_attempt_begins_with_nothing_sent_and_no_node(bench: Any) -> None:
    bench.run(bench.read, bench.script(UNKNOWN, NOT_SENT, "value"))  # `Script` asserts it


def test_a_hop_lets_the_backend_choose_the_node_and_a_retry_does_not(bench: Any) -> None:
    hops: list[Call] = []
    bench.guard.hop = hops.append
    bench.run(bench.unit, bench.script(ROLLED_BACK, "value"))
    assert hops == []
    bench.run(bench.read, bench.script(UNKNOWN, "value"))
    assert len(hops) == 1


def test_with_one_node_there_is_no_hop_and_no_haste(bench: Any) -> None:
    bench.guard.has_other_node = lambda call: False
    bench.guard.hop = lambda call: pytest.fail("there is nowhere to go")
    assert bench.run(bench.read, bench.script(NOT_SENT, "value")) == "value"
    assert bench.waits[0] > 0


# --- limits


def test_nothing_begins_past_the_deadline(bench: Any) -> None:
    body = bench.script(NOT_SENT, takes_s=0.4)
    with pytest.raises(errors.DeadlineExceeded) as caught:
        bench.run(bench.write, body, policy=Policy(deadline_s=5))
    assert max(body.started_s) < 1005
    assert bench.clock.monotonic() <= 1005.4
    assert len(caught.value.attempts) == body.ran > 3


def test_a_wait_that_outlasts_the_deadline_is_followed_by_no_attempt(bench: Any) -> None:
    bench.guard.sleep = lambda for_s: bench.clock.advance(60)  # a stopped process

    async def oversleep(for_s: float) -> None:
        bench.clock.advance(60)

    bench.guard.async_sleep = oversleep
    body = bench.script(NOT_SENT, "value")
    with pytest.raises(errors.DeadlineExceeded):
        bench.run(bench.write, body)
    assert body.ran == 1


def test_an_empty_budget_stops_what_costs_and_not_what_reached_no_server(bench: Any) -> None:
    bench.guard.budget = Budget(BudgetPolicy(capacity=1, refill_per_s=0.0, deposit=0.0), bench.clock)
    body = bench.script(UNKNOWN)
    for _ in range(2):
        with pytest.raises(errors.BudgetExhausted, match="retry budget"):
            bench.run(bench.read, body)
    assert body.ran == 3  # two calls and the one retry that was paid
    assert bench.run(bench.read, bench.script(NOT_SENT, "value")) == "value"
    assert bench.named().count("BudgetEmptied") == 1


def test_a_budget_that_another_thread_has_just_emptied_pays_nothing(bench: Any) -> None:
    class Raced(Budget):
        def pay(self, cost: float) -> bool:
            return False

    bench.guard.budget = Raced(BudgetPolicy(), bench.clock)
    body = bench.script(UNKNOWN, "value")
    with pytest.raises(errors.BudgetExhausted):
        bench.run(bench.read, body)
    assert body.ran == 1


def test_load_under_total_failure_is_at_most_a_tenth_more_than_the_calls(bench: Any) -> None:
    """Sent <= calls + capacity + one a second; for 10 calls a second and more that is <= 1.1 * calls + capacity."""
    body = bench.script(UNKNOWN, takes_s=0.005)
    calls = 2_000 if bench.is_async else 10_000
    for _ in range(calls):
        with pytest.raises(errors.Exhausted):
            bench.run(bench.read, body)
    elapsed_s = bench.clock.monotonic() - 1000
    assert body.ran <= calls + 100 + elapsed_s
    assert body.ran <= 1.1 * calls


# --- outages


def test_a_long_outage_fails_at_once_with_nothing_tried(bench: Any) -> None:
    bench.guard.outage.all_lost()
    bench.clock.advance(15.1)
    body = bench.script("value")
    with pytest.raises(errors.NoNodeAvailable, match="Nothing was tried") as caught:
        bench.run(bench.write, body)
    assert (body.ran, caught.value.attempts, bench.named()) == (0, (), ["CallFailed"])
    bench.guard.outage.any_found()
    with pytest.raises(errors.NoNodeAvailable):
        bench.run(bench.write, body)
    assert bench.run(replace(bench.read, needs_primary=False), body) == "value"
    bench.guard.outage.primary_found()
    assert bench.run(bench.write, body) == "value"


def test_a_young_outage_is_waited_out(bench: Any) -> None:
    bench.guard.outage.all_lost()
    bench.clock.advance(3)
    assert bench.run(bench.write, bench.script(*[NOT_SENT] * 12, "value")) == "value"


def test_a_call_gives_up_once_the_outage_outlasts_its_patience(bench: Any) -> None:
    bench.guard.outage.primary_lost()
    with pytest.raises(errors.NoNodeAvailable) as caught:
        bench.run(bench.write, bench.script(NOT_SENT, takes_s=0.2), policy=Policy(deadline_s=60, fail_fast_after_s=5))
    assert 1005 < bench.clock.monotonic() < 1008
    assert len(caught.value.attempts) > 3


def test_who_asks_for_a_longer_deadline_has_more_patience(bench: Any) -> None:
    bench.guard.outage.all_lost()
    bench.clock.advance(60)
    assert bench.run(bench.write, bench.script("value"), policy=Policy(deadline_s=90)) == "value"


# --- errors


def test_a_wrong_request_passes_untouched_and_at_once(bench: Any) -> None:
    error = KeyError("no such field")
    error.__cause__ = cause = LookupError("why")
    body = bench.script(error)
    with pytest.raises(KeyError) as caught:
        bench.run(bench.write, body)
    assert caught.value is error
    assert caught.value.__cause__ is cause
    assert body.ran == 1
    (attempt,) = error.attempts  # type: ignore[attr-defined]
    assert (attempt.fault, attempt.node) == (PERMANENT, "n1:1")
    assert (type(attempt.error), attempt.error.args) == (KeyError, error.args)
    assert not getattr(error, "__notes__", [])
    assert bench.events == []


def test_a_wrong_request_after_a_failover_tells_of_the_tries_before(bench: Any) -> None:
    error = ValueError("wrong")
    with pytest.raises(ValueError, match="wrong") as caught:
        bench.run(bench.idempotent, bench.script(UNKNOWN, error))
    assert caught.value is error
    assert [each.fault for each in error.attempts] == [UNKNOWN, PERMANENT]  # type: ignore[attr-defined]
    assert error.__context__ is None  # an earlier attempt's error is no context of this one
    if sys.version_info >= (3, 11):
        (note,) = error.__notes__
        assert "1. n1:1, unknown" in note
        assert "never answered" in note
    assert bench.named() == ["RetryScheduled", "CallFailed"]


def test_an_error_that_refuses_attributes_passes_all_the_same(bench: Any) -> None:
    class ClosedError(Exception):
        @property
        def attempts(self) -> int:
            return 7

    with pytest.raises(ClosedError) as caught:
        bench.run(bench.write, bench.script(ClosedError()))
    assert caught.value.attempts == 7


def test_an_error_with_a_constructor_of_its_own_kind_is_listed_by_its_name(bench: Any) -> None:
    class OddError(Exception):
        def __new__(cls, *args: object) -> Any:
            if not args:
                raise TypeError("give me something")
            return super().__new__(cls)

    error = OddError("x")
    error.args = ()
    with pytest.raises(OddError) as caught:
        bench.run(bench.write, bench.script(error))
    assert caught.value.attempts[0].error.args == ("OddError",)  # type: ignore[attr-defined]


def test_os_errors_keep_their_number_in_the_list(bench: Any) -> None:
    error = ConnectionResetError(104, "reset")
    with pytest.raises(ConnectionResetError):
        bench.run(bench.write, bench.script(error))
    (attempt,) = error.attempts  # type: ignore[attr-defined]
    assert isinstance(attempt.error, ConnectionResetError)
    assert attempt.error.errno == 104


RAISED: dict[str, tuple[str, type[errors.UndauntedError], Callable[[Any], Any]]] = {
    "attempts": ("retry.attempts", errors.Exhausted, lambda b: b.run(b.read, b.script(UNKNOWN))),
    "deadline": ("retry.deadline", errors.DeadlineExceeded, lambda b: b.run(b.read, b.script(NOT_SENT))),
    "shed": ("retry.attempts", errors.Exhausted, lambda b: b.run(b.read, b.script(SHED))),
    "unknown": ("Look before you run it again", errors.OutcomeUnknown, lambda b: b.run(b.write, b.script(UNKNOWN))),
}


@pytest.mark.parametrize("name", RAISED)
def test_every_error_lists_its_tries_says_the_remedy_and_tells_no_data(
    bench: Any, name: str, driver_error: Any
) -> None:
    remedy, kind, act = RAISED[name]
    with pytest.raises(errors.UndauntedError) as caught:
        act(bench)
    error = caught.value
    assert type(error) is kind
    assert error.attempts
    assert all(isinstance(each, Attempt) and each.elapsed_s >= 0 for each in error.attempts)
    assert error.__cause__ is error.attempts[-1].error
    assert isinstance(error.__cause__, driver_error)
    text = str(error)
    assert remedy in text
    assert "on cluster 'orders'" in text
    assert "1. n1:1" in text
    assert "DriverError" in text
    assert "secret" not in text
    assert "secret" not in repr(bench.events)


def test_a_message_stays_short_however_many_tries_there_were(bench: Any) -> None:
    policy = Policy(deadline_s=60, backoff=Backoff(max_s=0.1))
    with pytest.raises(errors.DeadlineExceeded) as caught:
        bench.run(bench.read, bench.script(NOT_SENT), policy=policy)
    count = len(caught.value.attempts)
    assert count > 500
    assert len(str(caught.value).splitlines()) < 20
    assert f"{count - 10} more" in str(caught.value)
    assert f"  {count}. n{count}:1" in str(caught.value)


def test_a_message_names_the_code_of_the_drivers_error(bench: Any, driver_error: Any) -> None:
    with pytest.raises(errors.OutcomeUnknown, match=r"DriverError \(code 11602\)"):
        bench.run(bench.write, bench.script(driver_error(UNKNOWN, 11602)))


@pytest.mark.parametrize(
    ("steps", "policy", "says"),
    [
        ((UNKNOWN, UNKNOWN, UNKNOWN), Policy(attempts=3), "every attempt"),
        ((UNKNOWN, NOT_SENT), Policy(deadline_s=1), "deadline"),
    ],
)
def test_a_write_that_may_have_been_applied_is_told_so_whatever_ended_it(
    bench: Any, steps: tuple[Any, ...], policy: Policy, says: str
) -> None:
    with pytest.raises(errors.OutcomeUnknown, match=says) as caught:
        bench.run(bench.idempotent, bench.script(*steps), policy=policy)
    assert "may have been applied" in str(caught.value)
    assert isinstance(bench.events[-1], OutcomeLeftUnknown)


def test_a_read_is_never_told_that_its_outcome_is_unknown(bench: Any) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        bench.run(bench.read, bench.script(UNKNOWN, NOT_SENT), policy=Policy(deadline_s=1))


def test_a_mistake_in_the_classifier_does_not_hide_what_it_was_asked_about(bench: Any) -> None:
    def classify(error: Exception, call: Call) -> Any:
        raise ZeroDivisionError

    bench.guard.classify = classify
    with pytest.raises(ZeroDivisionError) as caught:
        bench.run(bench.write, bench.script(ValueError("asked")))
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("before", [(), (NOT_SENT,)], ids=["first", "later"])
def test_what_is_no_exception_passes_at_once(bench: Any, kind: type[BaseException], before: tuple[Any, ...]) -> None:
    error = kind()
    body = bench.script(*before, error, "value")
    with pytest.raises(kind):
        bench.run(bench.idempotent, body)
    assert body.ran == len(before) + 1
    assert current_call() is None
    assert "CallRecovered" not in bench.named()


# --- settling


def test_what_can_be_settled_is_settled_and_not_run_again(bench: Any) -> None:
    bench.guard.settle = lambda call, failure: "was applied"
    body = bench.script(UNKNOWN, "value")
    assert bench.run(bench.settleable, body) == "was applied"
    assert body.ran == 1
    assert isinstance(bench.events[-1], CallRecovered)
    assert bench.events[-1].attempts == 1


def test_what_is_known_not_to_have_happened_is_run_again(bench: Any) -> None:
    bench.guard.settle = lambda call, failure: NOT_APPLIED
    assert bench.run(bench.settleable, bench.script(UNKNOWN, "value")) == "value"
    write = Operation(name="insert", kind=Kind.WRITE, settleable=True)
    assert bench.run(write, bench.script(UNKNOWN, "value")) == "value"
    with pytest.raises(errors.Exhausted) as caught:  # settled each time, so its outcome is known
        bench.run(bench.settleable, bench.script(UNKNOWN))
    assert type(caught.value) is errors.Exhausted
    assert {each.fault for each in caught.value.attempts} == {ROLLED_BACK}


def test_what_cannot_be_settled_is_told(bench: Any) -> None:
    bench.guard.settle = lambda call, failure: UNDECIDED
    with pytest.raises(errors.OutcomeUnknown):
        bench.run(bench.settleable, bench.script(UNKNOWN))
    bench.guard.settle = None
    with pytest.raises(errors.OutcomeUnknown):
        bench.run(bench.settleable, bench.script(UNKNOWN))


def test_settling_that_fails_leaves_the_outcome_unknown(bench: Any) -> None:
    def settle(call: Call, failure: Any) -> Any:
        raise ConnectionError

    bench.guard.settle = settle
    with pytest.raises(errors.OutcomeUnknown) as caught:
        bench.run(bench.settleable, bench.script(UNKNOWN))
    assert [type(each.error).__name__ for each in caught.value.attempts] == ["DriverError", "ConnectionError"]


# --- events


def test_events_tell_what_happened(bench: Any) -> None:
    bench.run(bench.read, bench.script(UNKNOWN, NOT_SENT, "value", takes_s=0.5))
    first, second, last = bench.events
    assert isinstance(first, RetryScheduled)
    assert (first.cluster, first.backend, first.operation) == ("orders", "scripted", "find")
    assert (first.attempt, first.node, first.fault, first.error) == (1, "n1:1", UNKNOWN, "DriverError")
    assert (first.delay_s, first.is_hop) == (0.0, True)
    assert (second.attempt, second.fault) == (2, NOT_SENT)
    assert isinstance(last, CallRecovered)
    assert (last.attempts, last.node) == (3, "n3:1")
    assert last.elapsed_s == pytest.approx(1.0 + second.delay_s)


def test_a_failure_is_told_with_its_reason(bench: Any) -> None:
    with pytest.raises(errors.Exhausted):
        bench.run(bench.read, bench.script(UNKNOWN, takes_s=1))
    event = bench.events[-1]
    assert isinstance(event, CallFailed)
    assert (event.reason, event.attempts, event.error, event.node) == ("attempts", 3, "Exhausted", "n3:1")
    assert event.elapsed_s >= 3


# --- options


def test_options_in_force_are_laid_over_the_policy(bench: Any) -> None:
    def body(call: Call) -> Any:
        return call

    with options(attempts=7, reads="replica", many_writes="plain"):
        call = bench.run(bench.read, body)
    assert (call.policy.attempts, call.policy.reads, call.policy.many_writes) == (7, "replica", "plain")
    assert bench.run(bench.read, body).policy is bench.guard.policy


def test_a_declared_deadline_replaces_the_policys(bench: Any) -> None:
    with options(deadline="60s"):
        call = bench.run(bench.read, lambda call: (call.remaining_s(), call.policy.patience_s))
    assert call[0] == pytest.approx(60, abs=5)
    assert call[1] == 60


def test_a_deadline_that_has_passed_lets_nothing_begin(bench: Any) -> None:
    body = bench.script("value")
    with options(deadline=1e-9), pytest.raises(errors.DeadlineExceeded, match="Nothing was tried"):
        bench.run(bench.read, body)
    assert body.ran == 0


def test_a_write_declared_idempotent_is_run_again(bench: Any) -> None:
    with options(idempotent=True):
        assert bench.run(bench.write, bench.script(UNKNOWN, "value")) == "value"
        assert bench.run(bench.unit, bench.script(UNKNOWN, "value")) == "value"
    assert bench.run(bench.write, bench.script(UNKNOWN, "value"), policy=Policy(idempotent=True)) == "value"


def test_a_write_declared_not_idempotent_is_not_run_again_unless_it_is_the_same_write(bench: Any) -> None:
    with options(idempotent=False):
        with pytest.raises(errors.OutcomeUnknown):
            bench.run(bench.idempotent, bench.script(UNKNOWN, "value"))
        assert bench.run(bench.patient, bench.script(UNKNOWN, "value")) == "value"
        assert bench.run(bench.read, bench.script(UNKNOWN, "value")) == "value"


# --- memory


class Witness:
    pass


@pytest.mark.parametrize(
    ("operation", "steps"),
    [
        ("write", (UNKNOWN,)),
        ("write", (ValueError,)),
        ("read", (UNKNOWN, UNKNOWN, UNKNOWN)),
        ("read", (UNKNOWN, ValueError)),
        ("read", (NOT_SENT, KeyboardInterrupt)),
        ("read", (UNKNOWN, "value")),
    ],
)
def test_no_frame_outlives_what_was_raised(
    bench: Any, operation: str, steps: tuple[Any, ...], driver_error: Any
) -> None:
    """Without the collector: a cycle through an error would keep the body's locals, such as a whole result, alive."""
    seen: list[weakref.ref[Witness]] = []

    def body(call: Call) -> Any:
        witness = Witness()
        seen.append(weakref.ref(witness))
        step = steps[min(len(seen), len(steps)) - 1]
        if isinstance(step, Fault):
            raise driver_error(step)
        if isinstance(step, type):
            raise step
        return step

    bench.run(bench.read, bench.script(NOT_SENT, "warm"))  # imports done
    gc.collect()
    gc.disable()
    try:
        try:
            bench.run(getattr(bench, operation), body)
        except BaseException:  # every kind is meant
            assert steps[-1] != "value"
        if not bench.is_async:
            assert [ref for ref in seen if ref() is not None] == []
    finally:
        gc.enable()
    if bench.is_async:
        gc.collect()  # asyncio.run keeps cycles of its own; `test_aio` looks without them
        assert [ref for ref in seen if ref() is not None] == []


@pytest.mark.parametrize("steps", [(UNKNOWN, "value"), (UNKNOWN,)])
def test_no_body_outlives_its_call(bench: Any, steps: tuple[Any, ...]) -> None:
    """What tenacity leaves to the collector must not hold the body, which may close over a whole result."""
    bench.run(bench.read, bench.script(NOT_SENT, "warm"))
    body = bench.script(*steps)
    ref = weakref.ref(body)
    gc.collect()
    gc.disable()
    try:
        try:
            bench.run(bench.read, body)
        except errors.Exhausted:
            assert steps[-1] != "value"
        del body
        if not bench.is_async:
            assert ref() is None
    finally:
        gc.enable()


def test_no_frame_of_tenacity_is_in_a_traceback(bench: Any) -> None:
    with pytest.raises(errors.Exhausted) as caught:
        bench.run(bench.read, bench.script(UNKNOWN))
    error: BaseException | None = caught.value
    while error is not None:
        assert not [frame for frame in traceback.extract_tb(error.__traceback__) if "tenacity" in frame.filename]
        error = error.__cause__


def test_nothing_is_logged_by_the_engine_itself(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(errors.Exhausted):
        bench.run(bench.read, bench.script(UNKNOWN))
    assert [record for record in caplog.records if record.name.startswith(("undaunted", "tenacity"))] == []
