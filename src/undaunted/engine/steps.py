"""The engine for threads, step by step: attempts are the turns of a ``for`` loop, and each is a ``with`` block.

For work that shall not be put into a function. The loop is the caller's own, so tenacity has no part in it; what is
decided, paid and told is `Recovery`'s, as in `undaunted.engine.sync`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from undaunted.engine.call import CURRENT, Call, fold, nested

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from contextvars import Token
    from types import TracebackType

    from undaunted.core.operation import Operation
    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard
    from undaunted.engine.recovery import Recovery

__all__ = ["Course", "Step", "Steps"]

S = TypeVar("S")

_NOT_ENTERED = "An attempt was begun and not used. Write: for attempt in attempts: / with attempt as session: / ..."


class Course:
    """What both kinds of steps share: where a call stands, without any waiting.

    Attributes:
        answer: What settling an attempt of unknown outcome returned, where that ended the call; else None.
        is_over: Whether no further attempt is made.
    """

    def __init__(self, guard: Guard, operation: Operation, policy: Policy | None) -> None:
        self._made = (guard, operation, policy or guard.policy)
        self._call: Call | None = None
        self._outer: Call | None = None
        self.recovery: Recovery | None = None
        self.answer: Any = None
        self.is_over = False
        self.is_open = False

    def started(self) -> Call:
        """The call; begun with the first step."""
        if self.is_open:
            raise RuntimeError(_NOT_ENTERED)
        if self._call is None:
            guard, operation, policy = self._made
            outer = CURRENT.get()
            if outer is not None and outer.is_running:
                self._outer = outer
                self._call = nested(guard, operation, policy, outer)
                return self._call
            self._call = call = Call(guard, operation, policy)
            if call.deadline_s <= call.started_s or not guard.outage.is_over:
                from undaunted.engine.recovery import check_start  # noqa: PLC0415  # only during an outage

                check_start(call)
        return self._call

    def failed(self, error: Exception) -> Recovery | None:
        """Judge a failed attempt; None where a call around this one does so.

        What it returns may have to settle; `concluded` is to follow.
        """
        call = self.started()
        if self._outer is not None:
            self.end()
            return None
        if self.recovery is None:
            from undaunted.engine.recovery import Recovery  # noqa: PLC0415  # only behind a failure

            self.recovery = Recovery(call, _no_body)
        self.recovery.failed(error)
        return self.recovery

    def concluded(self) -> None:
        """Go on, or end: with the answer that was found, or by raising what the caller is to get."""
        recovery = self.recovery
        if recovery is None or recovery.is_going_on:
            return
        try:
            self.answer = recovery.conclude()
        finally:
            self.end()

    def succeeded(self) -> None:
        """Keep the books of an attempt that has succeeded, which ends the call."""
        call, recovery = self.started(), self.recovery
        if recovery is not None:
            recovery.succeeded(None)
            recovery.conclude()
        elif self._outer is None:
            call.guard.budget.deposit()
        self.end()

    def end(self) -> None:
        """No further attempt is made."""
        self.is_over = True
        if self._call is not None:
            self._call.is_running = False
            if self._outer is not None:
                fold(self._call, self._outer)
        if self.recovery is not None:
            self.recovery.clear()
            self.recovery = None
        self._outer = None


class Steps(Course, Generic[S]):
    """One logical call: iterating gives its attempts, until one has succeeded.

    Within the body of another guarded call there is one attempt, and its errors pass raw: the outer call decides.

    Args:
        guard: The cluster's part.
        operation: What the attempts do.
        body: Makes an attempt: a context manager, which is entered before the loop gets it, and left with its block.
            What it raises on either way is judged like an error of the block.
        policy: What bounds the call; None means the guard's. Options in force are laid over it.

    Raises:
        Exception: As `undaunted.engine.sync.run`, out of the loop.
    """

    def __init__(
        self,
        guard: Guard,
        operation: Operation,
        body: Callable[[Call], AbstractContextManager[S]],
        *,
        policy: Policy | None = None,
    ) -> None:
        super().__init__(guard, operation, policy)
        self._body = body

    def __iter__(self) -> Steps[S]:
        return self

    def __next__(self) -> Step[S]:
        call = self.started()
        while not self.is_over and self._wait(call):
            step = Step(self, call, self._body(call))
            try:
                step.open()
            except Exception as error:  # noqa: BLE001  # the backend's table says what it means
                failed = error
            except BaseException:
                self.end()
                raise
            else:
                return step
            try:
                self.judge(failed)
            finally:
                del failed  # its traceback leads back to this frame
        raise StopIteration

    def _wait(self, call: Call) -> bool:
        """Wait before an attempt that is not the first; False where the deadline has passed meanwhile."""
        recovery = self.recovery
        if recovery is None:
            return True
        recovery.announce()
        call.guard.sleep(recovery.delay_s)
        if recovery.begin_attempt():
            return True
        self.concluded()
        return False

    def judge(self, error: Exception) -> None:
        """Take an attempt's failure: return where the loop goes on, or ends well; else raise."""
        recovery = self.failed(error)
        if recovery is None:
            try:
                raise error
            finally:
                del error  # its traceback leads back to this frame
        del error
        if recovery.must_settle:
            token = CURRENT.set(recovery.call)
            try:
                answer = recovery.settle()
            except Exception as failure:  # noqa: BLE001  # listed with the tries, and raised as an unknown outcome
                recovery.unsettled(failure)
            else:
                recovery.settled(answer)
            finally:
                CURRENT.reset(token)
        self.concluded()


class Step(Generic[S]):
    """One attempt: ``with step as what_its_body_gives:``. Made by `Steps`."""

    __slots__ = ("_body", "_call", "_given", "_steps", "_token")

    _given: S

    def __init__(self, steps: Steps[S], call: Call, body: AbstractContextManager[S]) -> None:
        self._steps = steps
        self._call = call
        self._body = body
        self._token: Token[Call | None] | None = None

    def open(self) -> None:
        """Enter the body, so that what fails there is still judged by the loop."""
        token = CURRENT.set(self._call)
        try:
            self._given = self._body.__enter__()
        finally:
            CURRENT.reset(token)
        self._steps.is_open = True

    def __enter__(self) -> S:
        self._token = CURRENT.set(self._call)
        return self._given

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        steps = self._steps
        failed: Exception | None = None
        steps.is_open = False
        try:
            if not self._body.__exit__(kind, error, trace) and isinstance(error, Exception):
                failed = error
        except Exception as own:  # noqa: BLE001  # such as a failed COMMIT
            failed = own
        except BaseException:
            steps.end()
            raise
        finally:
            if self._token is not None:
                CURRENT.reset(self._token)
        if failed is None:
            return self._ended(error)
        try:
            steps.judge(failed)
        except Exception as raised:
            if raised is error:
                return False  # passes as it is
            raise
        finally:
            del failed, error, trace, self._body  # their tracebacks lead back to this frame
        return True

    def _ended(self, error: BaseException | None) -> bool:
        if error is None or isinstance(error, Exception):  # one that the body has swallowed
            self._steps.succeeded()
            return error is not None
        self._steps.end()
        return False


def _no_body(call: Call) -> None:
    """The body stands in the caller's loop."""
