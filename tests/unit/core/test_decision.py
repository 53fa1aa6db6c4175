"""The safety rule as tables: every class of (fault, kind, idempotent, attempts, budget, breaker, deadline)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from undaunted.core.attempt import Failure
from undaunted.core.decision import GiveUp, Hop, Reason, Retry, Settle, State, cost_of, decide, is_counted
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind, Operation
from undaunted.core.policy import Policy

READ, WRITE, UNIT = Kind.READ, Kind.WRITE, Kind.UNIT_OF_WORK
AGAIN, SETTLE = "again", "settle"

# What the meaning of the error alone allows: (fault, kind, idempotent, settleable) -> again, settle, or the reason.
# Written out in full, since this table is the promise "no write is applied twice".
MEANING = {
    (Fault.PERMANENT, READ, False, False): Reason.PERMANENT,
    (Fault.PERMANENT, READ, False, True): Reason.PERMANENT,
    (Fault.PERMANENT, READ, True, False): Reason.PERMANENT,
    (Fault.PERMANENT, READ, True, True): Reason.PERMANENT,
    (Fault.PERMANENT, WRITE, False, False): Reason.PERMANENT,
    (Fault.PERMANENT, WRITE, False, True): Reason.PERMANENT,
    (Fault.PERMANENT, WRITE, True, False): Reason.PERMANENT,
    (Fault.PERMANENT, WRITE, True, True): Reason.PERMANENT,
    (Fault.PERMANENT, UNIT, False, False): Reason.PERMANENT,
    (Fault.PERMANENT, UNIT, False, True): Reason.PERMANENT,
    (Fault.PERMANENT, UNIT, True, False): Reason.PERMANENT,
    (Fault.PERMANENT, UNIT, True, True): Reason.PERMANENT,
    (Fault.UNKNOWN, READ, False, False): AGAIN,
    (Fault.UNKNOWN, READ, False, True): AGAIN,
    (Fault.UNKNOWN, READ, True, False): AGAIN,
    (Fault.UNKNOWN, READ, True, True): AGAIN,
    (Fault.UNKNOWN, WRITE, False, False): Reason.UNKNOWN,
    (Fault.UNKNOWN, WRITE, False, True): SETTLE,
    (Fault.UNKNOWN, WRITE, True, False): AGAIN,
    (Fault.UNKNOWN, WRITE, True, True): AGAIN,
    (Fault.UNKNOWN, UNIT, False, False): Reason.UNKNOWN,
    (Fault.UNKNOWN, UNIT, False, True): SETTLE,
    (Fault.UNKNOWN, UNIT, True, False): AGAIN,
    (Fault.UNKNOWN, UNIT, True, True): AGAIN,
    (Fault.ROLLED_BACK, READ, False, False): Reason.ROLLED_BACK,
    (Fault.ROLLED_BACK, READ, False, True): Reason.ROLLED_BACK,
    (Fault.ROLLED_BACK, READ, True, False): Reason.ROLLED_BACK,
    (Fault.ROLLED_BACK, READ, True, True): Reason.ROLLED_BACK,
    (Fault.ROLLED_BACK, WRITE, False, False): Reason.ROLLED_BACK,
    (Fault.ROLLED_BACK, WRITE, False, True): Reason.ROLLED_BACK,
    (Fault.ROLLED_BACK, WRITE, True, False): Reason.ROLLED_BACK,
    (Fault.ROLLED_BACK, WRITE, True, True): Reason.ROLLED_BACK,
    (Fault.ROLLED_BACK, UNIT, False, False): AGAIN,
    (Fault.ROLLED_BACK, UNIT, False, True): AGAIN,
    (Fault.ROLLED_BACK, UNIT, True, False): AGAIN,
    (Fault.ROLLED_BACK, UNIT, True, True): AGAIN,
    **{(Fault.SHED, k, i, s): AGAIN for k in Kind for i in (False, True) for s in (False, True)},
    **{(Fault.NOT_SENT, k, i, s): AGAIN for k in Kind for i in (False, True) for s in (False, True)},
}

# What stops an operation that may be run again, by fault, in the order in which it is told.
CHARGED = (Fault.UNKNOWN, Fault.ROLLED_BACK, Fault.SHED)
STOPS = {
    "attempts": dict.fromkeys(CHARGED, Reason.ATTEMPTS),
    "open": {fault: Reason.NO_NODE for fault in Fault if fault is not Fault.PERMANENT},
    "budget": dict.fromkeys(CHARGED, Reason.BUDGET),
    "deadline": {fault: Reason.DEADLINE for fault in Fault if fault is not Fault.PERMANENT},
}

POLICY = Policy(attempts=3)
FRESH = State(attempts=1, retries=1, sheds=1, now_s=100.0, deadline_s=115.0, chance=0.5)
WORSE = {
    "attempts": {"attempts": 3},
    "open": {"is_open": True},
    "budget": {"has_budget": False},
    "deadline": {"deadline_s": 100.0},
}


def operation(kind: Kind, *, idempotent: bool = False, settleable: bool = False, patient: bool = False) -> Operation:
    return Operation(name="op", kind=kind, idempotent=idempotent, settleable=settleable, patient=patient)


def test_the_table_has_every_class() -> None:
    assert set(MEANING) == set(itertools.product(Fault, Kind, (False, True), (False, True)))


@pytest.mark.parametrize("row", MEANING.items(), ids=lambda row: "-".join(str(getattr(x, "name", x)) for x in row[0]))
@pytest.mark.parametrize("limits", [c for n in range(5) for c in itertools.combinations(WORSE, n)], ids="+".join)
def test_every_class_is_decided_as_the_tables_say(row: tuple, limits: tuple[str, ...]) -> None:
    (fault, kind, idempotent, settleable), meaning = row
    state = replace(FRESH, **{k: v for name in limits for k, v in WORSE[name].items()})
    found = decide(operation(kind, idempotent=idempotent, settleable=settleable), Failure(fault=fault), state, POLICY)
    stops = [STOPS[name][fault] for name in STOPS if name in limits and fault in STOPS[name]]
    if meaning is SETTLE:
        assert found == Settle()
    elif isinstance(meaning, Reason):
        assert found == GiveUp(meaning)
    elif stops:
        assert found == GiveUp(stops[0])
    else:
        assert type(found) is (Hop if fault in (Fault.NOT_SENT, Fault.UNKNOWN) else Retry)


@pytest.mark.parametrize(
    ("fault", "kind", "state", "expected"),
    [
        # The first hop waits for nothing, a later one draws from U(0, initial * 2**n).
        (Fault.NOT_SENT, WRITE, {"retries": 0}, Hop(0.0)),
        (Fault.NOT_SENT, WRITE, {"retries": 1, "has_hopped": True}, Hop(0.05)),
        (Fault.NOT_SENT, WRITE, {"retries": 3, "has_hopped": True}, Hop(0.2)),
        (Fault.NOT_SENT, WRITE, {"retries": 5000, "has_hopped": True}, Hop(1.0)),
        (Fault.UNKNOWN, READ, {"retries": 0}, Hop(0.0)),
        (Fault.UNKNOWN, READ, {"retries": 2, "has_hopped": True}, Hop(0.1)),
        # Without another node the same one is asked, and that never at once.
        (Fault.NOT_SENT, WRITE, {"retries": 0, "has_other_node": False}, Retry(0.025)),
        (Fault.UNKNOWN, READ, {"retries": 0, "has_other_node": False}, Retry(0.025)),
        # Contention and refused load stay on their node.
        (Fault.ROLLED_BACK, UNIT, {"retries": 0}, Retry(0.025)),
        (Fault.SHED, READ, {"retries": 0, "sheds": 1}, Retry(0.025)),
        (Fault.SHED, WRITE, {"retries": 1, "sheds": 2}, Retry(0.05)),
        (Fault.SHED, WRITE, {"sheds": 3}, GiveUp(Reason.SHED)),
        (Fault.SHED, READ, {"retries": 0, "sheds": 1, "chance": 0.0}, Retry(0.01)),
        # A wait that would reach the deadline is not begun; one that ends before it is.
        (Fault.NOT_SENT, WRITE, {"has_hopped": True, "retries": 3, "deadline_s": 100.2}, GiveUp(Reason.DEADLINE)),
        (Fault.NOT_SENT, WRITE, {"has_hopped": True, "retries": 3, "deadline_s": 100.21}, Hop(0.2)),
        (Fault.NOT_SENT, WRITE, {"deadline_s": 99.0}, GiveUp(Reason.DEADLINE)),
        # What reached no server is bounded by the deadline alone.
        (Fault.NOT_SENT, WRITE, {"attempts": 99, "has_budget": False, "retries": 0}, Hop(0.0)),
    ],
)
def test_where_and_when(fault: Fault, kind: Kind, state: dict, expected: object) -> None:
    assert decide(operation(kind), Failure(fault=fault), replace(FRESH, **state), POLICY) == expected


def test_the_same_numbered_write_is_bounded_by_the_deadline_and_not_by_attempts() -> None:
    patient = operation(WRITE, idempotent=True, patient=True)
    found = decide(patient, Failure(fault=Fault.UNKNOWN), replace(FRESH, attempts=99), POLICY)
    assert isinstance(found, Hop)
    assert decide(patient, Failure(fault=Fault.UNKNOWN), replace(FRESH, has_budget=False), POLICY) == GiveUp(
        Reason.BUDGET
    )


def test_behind_a_try_that_was_a_wait_itself_hardly_any_other_wait_follows() -> None:
    state = replace(FRESH, has_hopped=True, retries=5000)
    assert decide(operation(READ), Failure(fault=Fault.UNKNOWN, has_waited=True), state, POLICY) == Hop(
        POLICY.backoff.initial_s
    )
    few = replace(FRESH, has_hopped=True, retries=0)
    plain = decide(operation(READ), Failure(fault=Fault.UNKNOWN), few, POLICY)
    assert decide(operation(READ), Failure(fault=Fault.UNKNOWN, has_waited=True), few, POLICY) == plain


def test_contention_costs_no_budget() -> None:
    failure = Failure(fault=Fault.ROLLED_BACK, cost=0.0)
    assert isinstance(decide(operation(UNIT), failure, replace(FRESH, has_budget=False), POLICY), Retry)


@pytest.mark.parametrize(
    ("fault", "patient", "counted", "is_it"),
    [
        (Fault.UNKNOWN, False, True, True),
        (Fault.UNKNOWN, True, True, False),
        (Fault.UNKNOWN, False, False, False),
        (Fault.SHED, False, True, True),
        (Fault.NOT_SENT, False, True, False),
    ],
)
def test_what_counts_as_an_attempt(fault: Fault, patient: bool, counted: bool, is_it: bool) -> None:
    assert is_counted(operation(WRITE, patient=patient), Failure(fault=fault, counted=counted)) is is_it


def test_what_reached_no_server_costs_nothing() -> None:
    assert cost_of(Failure(fault=Fault.NOT_SENT, cost=5.0)) == 0.0
    assert cost_of(Failure(fault=Fault.UNKNOWN, cost=5.0)) == 5.0
