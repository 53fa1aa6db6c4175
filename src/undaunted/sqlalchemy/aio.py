"""Units of work that are coroutine functions: the same as in threads but for the awaiting."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from undaunted.engine import aio
from undaunted.sqlalchemy import sweeps
from undaunted.sqlalchemy.attempt import Attempt, joined
from undaunted.sqlalchemy.functions import complete
from undaunted.sqlalchemy.keys import KeyTaken
from undaunted.sqlalchemy.memory import mapped_arguments
from undaunted.sqlalchemy.targets import cluster_of
from undaunted.sqlalchemy.unit import Unit
from undaunted.sqlalchemy.units import gave_up
from undaunted.sqlalchemy.unitsessions import AsyncUnitSession

if TYPE_CHECKING:
    from types import TracebackType

    from undaunted.engine.call import Call
    from undaunted.sqlalchemy.units import UnitOfWork
    from undaunted.sqlalchemy.unitsessions import UnitSession

__all__ = ["AsyncAttempt", "run_unit", "session_of"]


class AsyncAttempt:
    """One attempt of a unit of work for asyncio: an async context manager that gives its session.

    Attributes:
        sync: The attempt beneath, whose I/O is awaited here.
    """

    def __init__(self, unit: Unit, call: Call) -> None:
        self.sync = Attempt(unit, call)
        self._session: AsyncUnitSession | None = None

    async def __aenter__(self) -> AsyncUnitSession:
        terms = self.sync.unit.terms
        session = AsyncUnitSession(terms.target, readonly=terms.readonly, expire_on_commit=False)
        self._session = session
        try:
            await session.run_sync(lambda beneath: self.sync.begin(cast("UnitSession", beneath)))
        except BaseException:
            await self._drop()
            raise
        self.sync.enter()
        self.sync.given = session
        return session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sync.leave()
        if error is None:
            try:
                await self._beneath(self.sync.commit)
            except Exception as failed:
                await self._close()
                if (meant := self.sync.meaning_of(failed)) is not failed:
                    raise meant  # noqa: B904  # its own cause says more
                raise
            except BaseException:
                await self._drop()
                raise
            await self._close()
        elif not isinstance(error, Exception):
            await self._drop()
        else:
            await self._close()
            if (meant := self.sync.meaning_of(error)) is not error:
                raise meant

    async def _beneath(self, do: Any) -> None:
        assert self._session is not None  # noqa: S101  # it was entered
        await self._session.run_sync(lambda _: do())

    async def _close(self) -> None:
        try:
            await self._beneath(self.sync.close)
        except BaseException:  # a cancellation, which must not leave the connection behind
            await self._drop()
            raise

    async def _drop(self) -> None:
        with contextlib.suppress(Exception):
            await self._beneath(self.sync.drop)


async def run_unit(
    work: UnitOfWork, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, position: int = 0
) -> Any:
    """Run a coroutine function as a unit of work."""
    cluster = cluster_of(work.terms.target)
    outer = joined(cluster, work.terms)
    if outer is not None:
        return await function(*args[:position], session_of(outer), *args[position:], **kwargs)
    unit = Unit(cluster, work.terms, mapped_arguments(function, args, kwargs), is_async=True)

    async def body(call: Call) -> Any:
        attempt = AsyncAttempt(unit, call)
        try:
            async with attempt as session:
                result = await function(*args[:position], session, *args[position:], **kwargs)
                attempt.sync.value = complete(result)
        except KeyTaken:
            return unit.applied_before()
        return attempt.sync.value

    with work.scope():
        try:
            result = await aio.run(cluster.guard, unit.operation, body, policy=work.policy(cluster))
        except BaseException as error:
            gave_up(unit, error)
            raise
    if unit.has_key_row:
        sweeps.touch(cluster, unit.table)
    return result


def session_of(attempt: Attempt) -> Any:
    """The session that a coroutine function gets which becomes part of an attempt.

    Raises:
        TypeError: The attempt is one of a plain function.
    """
    if attempt.given is None:
        raise TypeError(
            "A coroutine function was called as a part of a unit of work that is a plain function, whose session "
            "cannot be awaited. Make the outer one a coroutine function too."
        )
    return attempt.given
