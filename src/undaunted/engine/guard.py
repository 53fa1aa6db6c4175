"""What the engines need to know about one cluster; its backend builds it once."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from undaunted.core.clock import SYSTEM_CLOCK
from undaunted.engine.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from undaunted import errors as base
    from undaunted.core.attempt import Failure
    from undaunted.core.budget import Budget
    from undaunted.core.clock import Clock
    from undaunted.core.outage import Outage
    from undaunted.core.policy import Policy
    from undaunted.engine.call import Call
    from undaunted.events import Event

__all__ = ["NOT_APPLIED", "UNDECIDED", "ErrorClasses", "Guard"]


class _Answer:
    """What settling found out, where there is no value to return."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


NOT_APPLIED: Final = _Answer("NOT_APPLIED")
"""Answer of `Guard.settle`: it certainly did not happen, so it may be run again."""

UNDECIDED: Final = _Answer("UNDECIDED")
"""Answer of `Guard.settle`: it cannot be found out, so the caller must be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorClasses:
    """The classes that the engines raise for one backend; each also inherits the driver's own."""

    outcome_unknown: type[base.OutcomeUnknown]
    deadline_exceeded: type[base.DeadlineExceeded]
    no_node_available: type[base.NoNodeAvailable]
    budget_exhausted: type[base.BudgetExhausted]
    exhausted: type[base.Exhausted]


def _nobody(event: Event) -> None:
    """Publish to nobody."""


def _always(call: Call) -> bool:  # noqa: ARG001
    """A driver that chooses nodes itself may always find another."""
    return True


@dataclass(slots=True, kw_only=True)
class Guard:
    """One per cluster, shared by its threads and tasks.

    Attributes:
        cluster: Name of the cluster, for errors and events.
        backend: Name of the backend, likewise.
        policy: What bounds a call that brings no policy of its own.
        budget: Pays for what is run again.
        outage: What the cluster lacks now; the backend feeds it.
        classify: Says what an error means for a running call.
        errors: What to raise.
        clock: Tells monotonic time.
        chance: Gives a number in [0, 1) for jitter.
        sleep: Waits in the sync engine.
        async_sleep: Waits in the async engine; None means `asyncio.sleep`.
        publish: Takes events.
        settle: Finds out what happened to a settleable operation: returns the operation's value when it was
            applied, else `NOT_APPLIED` or `UNDECIDED`. Keeps to ``call.remaining_s()``. For the async engine it
            may return an awaitable of that. None means that nothing can be settled.
        hop: Chooses the next node before a re-run elsewhere; None where the driver chooses.
        has_other_node: Whether another node may be asked.
        diagnose: Says in a sentence why no node can serve a call, from what is known without asking; None means that
            nothing can be said.
        waiting: The calls that have met a failure and have not ended.
        renew: What the backend does in a forked child, before any call there; None where the driver sees to it.
    """

    cluster: str
    backend: str
    policy: Policy
    budget: Budget
    outage: Outage
    classify: Callable[[Exception, Call], Failure]
    errors: ErrorClasses
    clock: Clock = SYSTEM_CLOCK
    chance: Callable[[], float] = random.random
    sleep: Callable[[float], None] = time.sleep
    async_sleep: Callable[[float], Awaitable[None]] | None = None
    publish: Callable[[Event], None] = _nobody
    settle: Callable[[Call, Failure], Any] | None = None
    hop: Callable[[Call], None] | None = None
    has_other_node: Callable[[Call], bool] = _always
    diagnose: Callable[[], str | None] | None = None
    renew: Callable[[], None] | None = None
    waiting: Waiting = field(default_factory=Waiting)

    def after_fork_in_child(self) -> None:
        """Begin anew in a forked child: fresh locks, a full budget, and no outage known."""
        self.budget.after_fork_in_child()
        self.outage.after_fork_in_child()
        self.waiting.forget()
        if self.renew is not None:
            self.renew()
