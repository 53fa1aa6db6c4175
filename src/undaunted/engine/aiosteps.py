"""The engine for asyncio, step by step: the same as `undaunted.engine.steps` but for its awaiting."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Generic, TypeVar

from undaunted.engine.call import CURRENT
from undaunted.engine.steps import Course

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from contextvars import Token
    from types import TracebackType

    from undaunted.core.operation import Operation
    from undaunted.core.policy import Policy
    from undaunted.engine.call import Call
    from undaunted.engine.guard import Guard

__all__ = ["AsyncStep", "AsyncSteps"]

S = TypeVar("S")


class AsyncSteps(Course, Generic[S]):
    """One logical call: iterating with ``async for`` gives its attempts, until one has succeeded.

    As `undaunted.engine.steps.Steps`; a cancellation passes at once, from an attempt and from a wait.
    """

    def __init__(
        self,
        guard: Guard,
        operation: Operation,
        body: Callable[[Call], AbstractAsyncContextManager[S]],
        *,
        policy: Policy | None = None,
    ) -> None:
        super().__init__(guard, operation, policy)
        self._body = body

    def __aiter__(self) -> AsyncSteps[S]:
        return self

    async def __anext__(self) -> AsyncStep[S]:
        call = self.started()
        while not self.is_over and await self._wait(call):
            step = AsyncStep(self, call, self._body(call))
            try:
                await step.open()
            except Exception as error:  # noqa: BLE001  # the backend's table says what it means
                failed = error
            except BaseException:
                self.end()
                raise
            else:
                return step
            try:
                await self.judge(failed)
            finally:
                del failed  # its traceback leads back to this frame
        raise StopAsyncIteration

    async def _wait(self, call: Call) -> bool:
        recovery = self.recovery
        if recovery is None:
            return True
        recovery.announce()
        try:
            await (call.guard.async_sleep or asyncio.sleep)(recovery.delay_s)
        except BaseException:
            self.end()
            raise
        if recovery.begin_attempt():
            return True
        self.concluded()
        return False

    async def judge(self, error: Exception) -> None:
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
                if inspect.isawaitable(answer):
                    answer = await answer
            except Exception as failure:  # noqa: BLE001  # listed with the tries, and raised as an unknown outcome
                recovery.unsettled(failure)
            except BaseException:
                self.end()
                raise
            else:
                recovery.settled(answer)
            finally:
                CURRENT.reset(token)
        self.concluded()


class AsyncStep(Generic[S]):
    """One attempt: ``async with step as what_its_body_gives:``. Made by `AsyncSteps`."""

    __slots__ = ("_body", "_call", "_given", "_steps", "_token")

    _given: S

    def __init__(self, steps: AsyncSteps[S], call: Call, body: AbstractAsyncContextManager[S]) -> None:
        self._steps = steps
        self._call = call
        self._body = body
        self._token: Token[Call | None] | None = None

    async def open(self) -> None:
        """Enter the body, so that what fails there is still judged by the loop."""
        token = CURRENT.set(self._call)
        try:
            self._given = await self._body.__aenter__()
        finally:
            CURRENT.reset(token)
        self._steps.is_open = True

    async def __aenter__(self) -> S:
        self._token = CURRENT.set(self._call)
        return self._given

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        steps = self._steps
        failed: Exception | None = None
        steps.is_open = False
        try:
            if not await self._body.__aexit__(kind, error, trace) and isinstance(error, Exception):
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
            await steps.judge(failed)
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
