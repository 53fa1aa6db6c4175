"""What happens behind a failure, without the waiting: judge, pay, keep the books, and word the error at the end.

Both engines are this and a loop; whatever they must agree on stands here once.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from undaunted.core.attempt import Attempt, Failure
from undaunted.core.decision import GiveUp, Hop, Reason, Retry, Settle, State, cost_of, decide, is_counted
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind
from undaunted.engine import report
from undaunted.engine.guard import NOT_APPLIED, UNDECIDED
from undaunted.events import BudgetEmptied, CallFailed, CallRecovered, OutcomeLeftUnknown, RetryScheduled

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.core.decision import Decision
    from undaunted.engine.call import Call

__all__ = ["Recovery", "check_start"]


class Recovery:
    """The books of one call from its first failure on.

    Attributes:
        call: The call.
        body: One attempt; None once the call has ended.
        decision: What becomes of the call; None while an attempt runs and once one has succeeded.
        value: What the call returns in the end.
        interruption: A `BaseException` that ended an attempt, to be raised at once outside of the loop.
    """

    __slots__ = (
        "_counted", "_failed_s", "_failure", "_has_hopped", "_retries", "_sheds", "_waiting",
        "body", "call", "decision", "interruption", "value",
    )  # fmt: skip

    def __init__(self, call: Call, body: Callable[[Call], Any]) -> None:
        self.call = call
        self.body: Any = body
        self._waiting = call.guard.waiting.begun(call.started_s)
        self._counted = self._retries = self._sheds = 0
        self._has_hopped = False
        self._failed_s = call.guard.clock.monotonic()
        self._failure: Failure | None = None
        self.decision: Decision | None = None
        self.value: Any = None
        self.interruption: BaseException | None = None

    @property
    def delay_s(self) -> float:
        """Seconds to wait before the next attempt."""
        return self.decision.delay_s if isinstance(self.decision, (Retry, Hop)) else 0.0

    @property
    def is_going_on(self) -> bool:
        """Whether the call is to be run again."""
        return isinstance(self.decision, (Retry, Hop))

    @property
    def must_settle(self) -> bool:
        """Whether the database must be asked what happened."""
        return isinstance(self.decision, Settle)

    def failed(self, error: Exception) -> None:
        """Judge an attempt that has just failed."""
        call = self.call
        try:
            failure = call.guard.classify(error, call)
        except Exception as mistake:  # the backend's own; what it was asked about must not be lost
            raise mistake from error
        elapsed_s = call.guard.clock.monotonic() - call.attempt_s
        call.attempts.append(Attempt(node=failure.node, fault=failure.fault, elapsed_s=elapsed_s, error=error))
        self._counted += is_counted(call.operation, failure)
        self._sheds += failure.fault is Fault.SHED
        self._judge(failure)

    def settle(self) -> Any:
        """Ask the backend what happened. Returns its answer, or an awaitable of that."""
        call, failure = self.call, self._failure
        if call.guard.settle is None or failure is None:
            return UNDECIDED
        return call.guard.settle(call, failure)

    def unsettled(self, error: Exception) -> None:
        """Settling has failed itself, so nobody knows; the error is listed with the tries."""
        call = self.call
        elapsed_s = call.guard.clock.monotonic() - call.attempt_s
        call.attempts.append(Attempt(node=call.node, fault=Fault.UNKNOWN, elapsed_s=elapsed_s, error=error))
        self.decision = GiveUp(Reason.UNKNOWN)

    def settled(self, answer: Any) -> None:
        """Take the answer: the value, or that it may be run again, or that nobody can know."""
        if answer is UNDECIDED or self._failure is None:
            self.decision = GiveUp(Reason.UNKNOWN)
        elif answer is NOT_APPLIED:
            is_unit = self.call.operation.kind is Kind.UNIT_OF_WORK
            fault = Fault.ROLLED_BACK if is_unit else Fault.NOT_SENT
            attempts = self.call.attempts
            attempts[-1] = replace(attempts[-1], fault=fault)
            self._judge(replace(self._failure, fault=fault))
        else:
            self._keep(answer, attempts=len(self.call.attempts))

    def announce(self) -> None:
        """Publish that it is about to be run again."""
        call, decision = self.call, self.decision
        tried = call.attempts[-1]
        call.guard.publish(
            RetryScheduled(
                cluster=call.guard.cluster,
                backend=call.guard.backend,
                operation=call.operation.name,
                attempt=len(call.attempts),
                node=tried.node,
                fault=tried.fault,
                error=type(tried.error).__name__,
                delay_s=self.delay_s,
                is_hop=isinstance(decision, Hop),
            )
        )

    def begin_attempt(self) -> bool:
        """Begin the next attempt, unless the wait has outlasted the deadline."""
        call = self.call
        if call.remaining_s() <= 0:
            self.decision = GiveUp(Reason.DEADLINE)
            return False
        is_hop = isinstance(self.decision, Hop)
        self._retries += 1
        self._has_hopped = self._has_hopped or is_hop
        self.decision = None
        call.begin_attempt()
        if is_hop and call.guard.hop is not None:
            call.guard.hop(call)
        return True

    def succeeded(self, value: Any) -> None:
        """Keep what an attempt has returned."""
        self._keep(value, attempts=len(self.call.attempts) + 1)

    def conclude(self) -> Any:
        """Return the value, or raise what the caller is to get."""
        if self.interruption is not None:
            raise self.interruption
        if isinstance(self.decision, GiveUp):
            # No local variable may hold the error: it would hold this frame, and this frame it.
            raise self._error(self.decision.reason)
        self.call.guard.budget.deposit()
        return self.value

    def clear(self) -> None:
        """Drop what would keep errors, and through their tracebacks all frames, alive."""
        self.body = self.interruption = self.value = self.decision = None
        self.call.guard.waiting.ended(self._waiting)
        self.call.attempts = []

    def _keep(self, value: Any, *, attempts: int) -> None:
        call = self.call
        self.decision = None
        self.value = value
        call.guard.publish(
            CallRecovered(
                cluster=call.guard.cluster,
                backend=call.guard.backend,
                operation=call.operation.name,
                node=call.node,
                attempts=attempts,
                elapsed_s=call.guard.clock.monotonic() - self._failed_s,
            )
        )

    def _error(self, reason: Reason) -> Exception:
        call = self.call
        last = call.attempts[-1].error
        assert isinstance(last, Exception)  # noqa: S101  # `failed` takes nothing else
        if reason in (Reason.PERMANENT, Reason.ROLLED_BACK):
            if len(call.attempts) > 1:
                _publish_failed(call, reason, last)
            return _native(last, call)
        if reason is Reason.BUDGET and call.guard.budget.tell_empty():
            call.guard.publish(BudgetEmptied(cluster=call.guard.cluster, backend=call.guard.backend))
        raised = report.error_for(reason, call)
        raised.__cause__ = last
        _publish_failed(call, reason, raised)
        return raised

    def _judge(self, failure: Failure) -> None:
        call, guard = self.call, self.call.guard
        cost = cost_of(failure)
        state = State(
            attempts=self._counted,
            retries=self._retries,
            sheds=self._sheds,
            now_s=guard.clock.monotonic(),
            deadline_s=call.deadline_s,
            has_budget=guard.budget.can_pay(cost),
            has_other_node=guard.has_other_node(call),
            is_open=_is_open(call),
            has_hopped=self._has_hopped,
            chance=guard.chance(),
        )
        self._failure = failure
        self.decision = decide(call.operation, failure, state, call.policy)
        if self.is_going_on and not guard.budget.pay(cost):  # another thread was quicker
            self.decision = decide(call.operation, failure, replace(state, has_budget=False), call.policy)


def _is_open(call: Call) -> bool:
    outage = call.guard.outage
    return not outage.is_over and outage.age_s(needs_primary=call.operation.needs_primary) > call.policy.patience_s


def check_start(call: Call) -> None:
    """Raise at once where a first attempt is known to be in vain."""
    if call.remaining_s() <= 0:
        raise _refused(Reason.DEADLINE, call)
    if _is_open(call):
        raise _refused(Reason.NO_NODE, call)


def _refused(reason: Reason, call: Call) -> Exception:
    call.is_running = False
    refused = report.error_for(reason, call)
    _publish_failed(call, reason, refused)
    return refused


def _publish_failed(call: Call, reason: Reason, error: Exception) -> None:
    event = OutcomeLeftUnknown if report.is_unknown(reason, call) else CallFailed
    call.guard.publish(
        event(
            cluster=call.guard.cluster,
            backend=call.guard.backend,
            operation=call.operation.name,
            node=call.attempts[-1].node if call.attempts else None,
            attempts=len(call.attempts),
            elapsed_s=call.elapsed_s(),
            reason=reason.name.lower(),
            error=type(error).__name__,
        )
    )


def _native(error: Exception, call: Call) -> Exception:
    """The driver's own error, untouched but for the list of tries.

    It cannot be listed in itself: an object that holds itself keeps its traceback, and so every frame, alive until
    the collector runs. A likeness without a traceback stands in for it.
    """
    *before, last = call.attempts
    attempts = (*before, replace(last, error=_likeness(error)))
    with contextlib.suppress(AttributeError, TypeError):  # a class that refuses attributes still has its own news
        error.attempts = attempts  # type: ignore[attr-defined]
    if before and sys.version_info >= (3, 11):
        error.add_note(report.note_for(call))
    return error


def _likeness(error: Exception) -> BaseException:
    """An exception of the same class, arguments and attributes, without traceback and cause."""
    kind = type(error)
    try:
        likeness = kind.__new__(kind, *error.args)
        likeness.args = error.args
        likeness.__dict__.update({k: v for k, v in vars(error).items() if k not in ("attempts", "__notes__")})
    except Exception:  # noqa: BLE001  # a class with a constructor of its own kind: its name must do
        return Exception(kind.__name__)
    return likeness
