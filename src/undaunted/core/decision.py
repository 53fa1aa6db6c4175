"""May it be run again, and where? The whole safety rule, on one page.

| fault | may be run again |
|---|---|
| `PERMANENT` | never |
| `UNKNOWN` | a read or an idempotent operation; else it is settled where that can be done; else never |
| `ROLLED_BACK` | a unit of work, as a whole |
| `SHED` | at most twice, after a wait |
| `NOT_SENT` | always: no server executed it, so it is neither counted nor charged |

What may be run again is, as long as attempts, breaker, budget and deadline allow it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from undaunted.core.backoff import full_jitter_s
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind

if TYPE_CHECKING:
    from undaunted.core.attempt import Failure
    from undaunted.core.operation import Operation
    from undaunted.core.policy import Policy

__all__ = ["Decision", "GiveUp", "Hop", "Reason", "Retry", "Settle", "State", "cost_of", "decide", "is_counted"]

MOST_SHED_RETRIES = 2
LEAST_SHED_WAIT_S = 0.01
"""A server that refuses load is never asked again at once, whatever the dice say."""


class Reason(enum.Enum):
    """Why an operation is not run again; the value is the phrase that errors and events use."""

    PERMANENT = "the request itself is wrong"
    UNKNOWN = "it was sent, no answer came, and running it again could apply it twice"
    ROLLED_BACK = "it was rolled back, and only the unit of work around it can be run again"
    SHED = "the server refused it under load, again and again"
    ATTEMPTS = "every attempt that was allowed has failed"
    NO_NODE = "no node has been able to serve it for longer than it waits for one"
    BUDGET = "the retry budget of the cluster is empty"
    DEADLINE = "its deadline leaves no time for another try"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is left to a call at the moment of a failure.

    Attributes:
        attempts: Executions so far that count, the failed one included.
        retries: Re-runs made so far, the exponent of the backoff.
        sheds: `SHED` answers so far, this one included.
        now_s: The present, on the clock of `deadline_s`.
        deadline_s: The moment after which nothing is begun.
        has_budget: Whether the budget can pay for one more (see `cost_of`).
        has_other_node: Whether another node may be asked.
        is_open: Whether no probe is allowed now: every breaker is open, or the outage is older than patience.
        has_hopped: Whether the first hop, the one without a wait, has been made.
        chance: A number in [0, 1) for the jitter.
    """

    attempts: int
    retries: int
    sheds: int
    now_s: float
    deadline_s: float
    has_budget: bool = True
    has_other_node: bool = True
    is_open: bool = False
    has_hopped: bool = False
    chance: float = 0.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Run it again on the same node, after the wait."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Hop:
    """Run it again on another node, after the wait."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Settle:
    """Ask the database what happened to it; do not run it again before that is known."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not run it again."""

    reason: Reason


Decision = Union[Retry, Hop, Settle, GiveUp]  # noqa: UP007  # an alias is evaluated: "X | Y" reads no better


def decide(operation: Operation, failure: Failure, state: State, policy: Policy) -> Decision:
    """Decide what becomes of an operation that has just failed."""
    return (
        _refusal(operation, failure, state)
        or _limit(operation, failure, state, policy)
        or _again(failure, state, policy)
    )


def _refusal(operation: Operation, failure: Failure, state: State) -> Settle | GiveUp | None:
    """What the meaning of the error forbids; None where it may be run again."""
    fault = failure.fault
    if fault is Fault.PERMANENT:
        return GiveUp(Reason.PERMANENT)
    if fault is Fault.UNKNOWN and not operation.is_repeatable:
        return Settle() if operation.settleable else GiveUp(Reason.UNKNOWN)
    if fault is Fault.ROLLED_BACK and operation.kind is not Kind.UNIT_OF_WORK:
        return GiveUp(Reason.ROLLED_BACK)
    if fault is Fault.SHED and state.sheds > MOST_SHED_RETRIES:
        return GiveUp(Reason.SHED)
    return None


def _limit(operation: Operation, failure: Failure, state: State, policy: Policy) -> GiveUp | None:
    """What the call's limits and the cluster's state forbid; None where they leave room."""
    if is_counted(operation, failure) and state.attempts >= policy.attempts:
        return GiveUp(Reason.ATTEMPTS)
    if state.is_open:
        return GiveUp(Reason.NO_NODE)
    if cost_of(failure) > 0 and not state.has_budget:
        return GiveUp(Reason.BUDGET)
    return None


def _again(failure: Failure, state: State, policy: Policy) -> Retry | Hop | GiveUp:
    """Where and when it is run again: elsewhere and at once the first time, with full jitter from then on."""
    leaves_node = failure.fault in (Fault.NOT_SENT, Fault.UNKNOWN) and state.has_other_node
    delay_s = full_jitter_s(policy.backoff, state.retries, state.chance)
    if failure.fault is Fault.SHED:
        delay_s = max(delay_s, LEAST_SHED_WAIT_S)
    if failure.has_waited:
        delay_s = min(delay_s, policy.backoff.initial_s)
    if leaves_node and not state.has_hopped:
        delay_s = 0.0
    if state.now_s + delay_s >= state.deadline_s:
        return GiveUp(Reason.DEADLINE)
    return Hop(delay_s) if leaves_node else Retry(delay_s)


def is_counted(operation: Operation, failure: Failure) -> bool:
    """Whether the failed execution counts against `Policy.attempts`: it may have reached a server."""
    return failure.counted and not operation.patient and failure.fault is not Fault.NOT_SENT


def cost_of(failure: Failure) -> float:
    """Budget tokens that running it again costs: none for what no server has seen."""
    return 0.0 if failure.fault is Fault.NOT_SENT else failure.cost
