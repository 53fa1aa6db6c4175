from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from undaunted import errors
from undaunted.core.attempt import Failure
from undaunted.core.budget import Budget
from undaunted.core.fault import Fault
from undaunted.core.outage import Outage
from undaunted.core.policy import Backoff, BudgetPolicy, Policy
from undaunted.engine.guard import ErrorClasses, Guard

if TYPE_CHECKING:
    from undaunted.engine.call import Call


@pytest.fixture
def guard() -> Guard:
    """A cluster on the real clock, whose OSErrors mean that no answer came."""

    def classify(error: Exception, call: Call) -> Failure:
        return Failure(fault=Fault.UNKNOWN if isinstance(error, OSError) else Fault.PERMANENT, node=call.node)

    fields: dict[str, Any] = {
        "outcome_unknown": errors.OutcomeUnknown,
        "deadline_exceeded": errors.DeadlineExceeded,
        "no_node_available": errors.NoNodeAvailable,
        "budget_exhausted": errors.BudgetExhausted,
        "exhausted": errors.Exhausted,
    }
    return Guard(
        cluster="orders",
        backend="scripted",
        policy=Policy(attempts=5, backoff=Backoff(initial_s=0.001, max_s=0.002)),
        budget=Budget(BudgetPolicy(capacity=10_000)),
        outage=Outage(),
        classify=classify,
        errors=ErrorClasses(**fields),
    )
