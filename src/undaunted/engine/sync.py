"""The engine for threads: `run`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, TypeVar

from undaunted.engine.call import CURRENT, Call, fold, nested

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.core.operation import Operation
    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard
    from undaunted.engine.recovery import Recovery

__all__ = ["go_on", "load_recovery", "run"]

T = TypeVar("T")


def run(guard: Guard, operation: Operation, body: Callable[[Call], T], *, policy: Policy | None = None) -> T:
    """Run `body`, and run it again after a failure as often as is safe and allowed.

    Within the body of another guarded call it is run once, and its errors pass raw: the outer call decides.

    Args:
        guard: The cluster's part.
        operation: What the body does.
        body: One attempt; it is given the call, on which it notes the node and whether anything was sent.
        policy: What bounds the call; None means the guard's. Options in force are laid over it.

    Raises:
        OutcomeUnknown: It may or may not have been applied.
        DeadlineExceeded: Its deadline left no time to run it again.
        NoNodeAvailable: The outage has lasted for longer than it waits for a node.
        BudgetExhausted: The cluster's retry budget is empty.
        Exhausted: Every attempt that was allowed has failed.
        Exception: The driver's own, where the request itself is wrong.
    """
    outer = CURRENT.get()
    if outer is not None and outer.is_running:
        return _run_once(nested(guard, operation, policy or guard.policy, outer), body, outer)
    call = Call(guard, operation, policy or guard.policy)
    if call.deadline_s <= call.started_s or not guard.outage.is_over:
        _check_start(call)
    token = CURRENT.set(call)
    failed: Exception | None = None
    try:
        try:
            result = body(call)
        except Exception as error:  # noqa: BLE001  # the backend's table says what it means
            failed = error
        else:
            guard.budget.deposit()
            return result
        # Outside of the handler, so that no later error gets this one as its __context__.
        return _recover(call, body, failed)
    finally:
        CURRENT.reset(token)
        call.is_running = False
        failed = None  # its traceback leads back to this frame


def go_on(call: Call, body: Callable[[Call], T], failed: Exception) -> T:
    """Go on behind a first attempt that the backend has made by itself, and that has failed with `failed`.

    For a backend that needs no more than this on the way to success, and is called often enough for that to count.
    Nothing else may be in force where it makes that attempt: no call around, no options, no outage.

    Args:
        call: What `failed` ended, with what was noted about it and with the moment when it began.
        body: As for `run`.
        failed: The first attempt's error.

    Raises:
        Exception: As `run`.
    """
    token = CURRENT.set(call)
    try:
        return _recover(call, body, failed)
    finally:
        CURRENT.reset(token)
        call.is_running = False
        del failed  # its traceback leads back to this frame


def load_recovery() -> None:
    """Import what only failures need, for a backend of which the first failure must not wait for that.

    It takes 15 ms of a processor, and on a busy one three times as long, in which no thread gets on. To be called where
    the application waits anyway, and not in a thread of its own: a process forked meanwhile could never import it.
    """
    for name in ("tenacity", "undaunted.engine.recovery"):  # as in `_loop` and in `_recover`
        importlib.import_module(name)


def _run_once(call: Call, body: Callable[[Call], T], outer: Call) -> T:
    token = CURRENT.set(call)
    try:
        return body(call)
    finally:
        CURRENT.reset(token)
        fold(call, outer)


def _check_start(call: Call) -> None:
    from undaunted.engine.recovery import check_start  # noqa: PLC0415  # only during an outage

    check_start(call)


def _recover(call: Call, body: Callable[[Call], T], failed: Exception) -> T:
    from undaunted.engine.recovery import Recovery  # noqa: PLC0415  # only behind a failure

    recovery = Recovery(call, body)
    try:
        _judge(recovery, failed)
        if recovery.is_going_on:
            _loop(recovery)
        value: T = recovery.conclude()
        return value
    finally:
        recovery.clear()
        del failed


def _loop(recovery: Recovery) -> None:
    """Run it again until it succeeds or is given up. Nothing is raised through tenacity.

    The state in the frame of tenacity's loop holds what passes through it; so an exception would hold its own
    traceback, and with it every frame, until the collector runs. What tenacity leaves behind is a cycle anyway, that
    holds the recovery; which is why `Recovery.clear` drops the body and whatever else may be large.
    """
    from tenacity import Retrying  # noqa: PLC0415  # costs 46 ms at import, and only failures need it

    is_first = True

    def attempt() -> None:
        nonlocal is_first
        if is_first:  # that was the bare one, which has failed
            is_first = False
        elif recovery.begin_attempt():
            try:
                recovery.succeeded(recovery.body(recovery.call))
            except Exception as error:  # noqa: BLE001  # the backend's table says what it means
                _judge(recovery, error)
            except BaseException as error:  # noqa: BLE001  # raised at once, by `Recovery.conclude`
                recovery.interruption = error

    Retrying(
        retry=lambda _: recovery.is_going_on,
        wait=lambda _: recovery.delay_s,
        before_sleep=lambda _: recovery.announce(),
        sleep=recovery.call.guard.sleep,
        reraise=True,
    )(attempt)


def _judge(recovery: Recovery, error: Exception) -> None:
    recovery.failed(error)
    if recovery.must_settle:
        try:
            answer = recovery.settle()
        except Exception as failure:  # noqa: BLE001  # listed with the tries, and raised as an unknown outcome
            recovery.unsettled(failure)
        else:
            recovery.settled(answer)
