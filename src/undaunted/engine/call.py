"""One logical call: what a body and its backend share while it runs, and the mark that makes nested calls run once."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from undaunted.core.operation import Kind
from undaunted.engine.context import IN_FORCE

if TYPE_CHECKING:
    from undaunted.core.attempt import Attempt
    from undaunted.core.operation import Operation
    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard

__all__ = ["CURRENT", "Call", "current_call", "fold", "nested"]


class Call:
    """One logical call, all its attempts included. Mutable, and used by one thread or task.

    Attributes:
        guard: The cluster's part.
        operation: What is being done, with what the caller declared about it.
        policy: What bounds it, with the options in force laid over it.
        started_s: When it began, on the guard's clock.
        deadline_s: The moment after which nothing is begun, on the guard's clock.
        attempt_s: When the running attempt began.
        attempts: The failed tries so far.
        node: The node that is being asked, as ``"host:port"``; set by the backend, None until it is chosen.
        sent: Whether anything of this attempt has been handed to a connection; set by the backend, reset before
            each attempt.
        is_running: Whether the call has not ended; calls begun within a running one are nested.
        subject: What the backend must know of a failed attempt to settle it; set by the backend when one fails, and by
            nobody else.
    """

    __slots__ = (
        "attempt_s", "attempts", "deadline_s", "guard", "is_running", "node", "operation", "policy", "sent",
        "started_s", "subject",
    )  # fmt: skip

    subject: Any

    def __init__(self, guard: Guard, operation: Operation, policy: Policy, *, began_s: float | None = None) -> None:
        self.guard = guard
        self.node: str | None = None
        self.sent = False
        self.is_running = True
        self.attempts: list[Attempt] = []
        self.started_s = self.attempt_s = now_s = guard.clock.monotonic() if began_s is None else began_s
        options = IN_FORCE.get()
        if options is None:
            self.deadline_s = now_s + policy.deadline_s
        else:
            policy = options.overlay(policy)
            lasts_s = policy.deadline_s if options.deadline is None else options.deadline.remaining_s(time.monotonic())
            self.deadline_s = now_s + lasts_s
        self.policy = policy
        self.operation = operation if policy.idempotent is None else _declared(operation, idempotent=policy.idempotent)

    def remaining_s(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return max(0.0, self.deadline_s - self.guard.clock.monotonic())

    def elapsed_s(self) -> float:
        """Seconds since the call began."""
        return self.guard.clock.monotonic() - self.started_s

    def begin_attempt(self) -> None:
        """Forget what the backend noted about the attempt before."""
        self.node = None
        self.sent = False
        self.attempt_s = self.guard.clock.monotonic()


CURRENT: ContextVar[Call | None] = ContextVar("undaunted.call", default=None)


def current_call() -> Call | None:
    """The guarded call that is running here; None outside of one."""
    call = CURRENT.get()
    return call if call is not None and call.is_running else None


def nested(guard: Guard, operation: Operation, policy: Policy, outer: Call) -> Call:
    """A call within a call: it runs once, and never outlasts the one around it."""
    call = Call(guard, operation, policy)
    call.deadline_s = min(call.deadline_s, call.started_s + outer.remaining_s())
    return call


def fold(call: Call, outer: Call) -> None:
    """Tell the outer call what a nested one of the same cluster has done: its error will be judged there."""
    call.is_running = False
    if call.guard is outer.guard:
        outer.sent = outer.sent or call.sent
        outer.node = call.node or outer.node


def _declared(operation: Operation, *, idempotent: bool) -> Operation:
    """The operation as its caller declared it; a read, or the same numbered write, is what it is all the same."""
    if operation.kind is Kind.READ or operation.patient or operation.idempotent is idempotent:
        return operation
    return replace(operation, idempotent=idempotent)
