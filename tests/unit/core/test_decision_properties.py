from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from undaunted.core.attempt import Failure
from undaunted.core.decision import GiveUp, Hop, Reason, Retry, Settle, State, decide
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind, Operation
from undaunted.core.policy import Backoff, Policy

seconds = st.floats(min_value=0.0, max_value=1e6)
operations = st.builds(
    Operation,
    name=st.just("op"),
    kind=st.sampled_from(Kind),
    idempotent=st.booleans(),
    settleable=st.booleans(),
    patient=st.booleans(),
    needs_primary=st.booleans(),
)
unsafe = st.builds(
    Operation,
    name=st.just("op"),
    kind=st.sampled_from([Kind.WRITE, Kind.UNIT_OF_WORK]),
    idempotent=st.just(False),
    settleable=st.booleans(),
    patient=st.booleans(),
)
failures = st.builds(
    Failure,
    fault=st.sampled_from(Fault),
    node=st.sampled_from([None, "n1:1"]),
    cost=st.floats(min_value=0.0, max_value=10.0),
    counted=st.booleans(),
    has_waited=st.booleans(),
)
states = st.builds(
    State,
    attempts=st.integers(0, 50),
    retries=st.integers(0, 5000),
    sheds=st.integers(0, 10),
    now_s=seconds,
    deadline_s=seconds,
    has_budget=st.booleans(),
    has_other_node=st.booleans(),
    is_open=st.booleans(),
    has_hopped=st.booleans(),
    chance=st.floats(min_value=0.0, max_value=1.0, exclude_max=True),
)
policies = st.builds(
    Policy,
    attempts=st.integers(1, 20),
    backoff=st.builds(
        Backoff,
        initial_s=st.floats(min_value=0.0, max_value=10.0),
        max_s=st.floats(min_value=0.0, max_value=100.0),
        multiplier=st.floats(min_value=1.0, max_value=10.0),
    ),
)


@given(operations, failures, states, policies)
def test_nothing_begins_at_or_past_the_deadline(o: Operation, f: Failure, s: State, p: Policy) -> None:
    decision = decide(o, f, s, p)
    if isinstance(decision, (Retry, Hop)):
        assert s.now_s + decision.delay_s < s.deadline_s


@given(unsafe, failures.map(lambda f: replace(f, fault=Fault.UNKNOWN)), states, policies)
def test_an_unanswered_write_that_is_not_idempotent_is_never_run_again(
    o: Operation, f: Failure, s: State, p: Policy
) -> None:
    assert decide(o, f, s, p) in (Settle(), GiveUp(Reason.UNKNOWN))


@given(operations, failures.map(lambda f: replace(f, fault=Fault.PERMANENT)), states, policies)
def test_a_wrong_request_is_never_run_again(o: Operation, f: Failure, s: State, p: Policy) -> None:
    assert decide(o, f, s, p) == GiveUp(Reason.PERMANENT)


@given(operations, failures, states, policies)
def test_no_wait_is_negative_or_longer_than_the_longest(o: Operation, f: Failure, s: State, p: Policy) -> None:
    decision = decide(o, f, s, p)
    if isinstance(decision, (Retry, Hop)):
        assert 0.0 <= decision.delay_s <= max(p.backoff.max_s, 0.01)
        assert decision.delay_s > 0 or f.fault is not Fault.SHED


@given(operations, failures, states, policies)
def test_an_empty_budget_or_an_open_breaker_sends_nothing(o: Operation, f: Failure, s: State, p: Policy) -> None:
    decision = decide(o, f, s, p)
    if isinstance(decision, (Retry, Hop)):
        assert not s.is_open
        assert s.has_budget or f.cost == 0 or f.fault is Fault.NOT_SENT


@given(operations, failures, states, policies)
def test_the_same_facts_give_the_same_decision(o: Operation, f: Failure, s: State, p: Policy) -> None:
    assert decide(o, f, s, p) == decide(o, f, s, p)
