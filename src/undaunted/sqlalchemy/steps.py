"""Units of work without a function: each attempt is a turn of a ``for`` loop, and a ``with`` block."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

from undaunted.engine.aiosteps import AsyncSteps
from undaunted.engine.steps import Course, Steps
from undaunted.sqlalchemy import sweeps
from undaunted.sqlalchemy.aio import AsyncAttempt, session_of
from undaunted.sqlalchemy.attempt import Attempt, joined
from undaunted.sqlalchemy.targets import cluster_of
from undaunted.sqlalchemy.unit import Unit
from undaunted.sqlalchemy.units import gave_up, unit_of_work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from undaunted.sqlalchemy.session import AsyncSession, Session
    from undaunted.sqlalchemy.units import UnitOfWork

__all__ = ["Attempts", "attempts"]


class _UnitCourse(Course):
    """Puts objects from outside back when the loop is left with an error."""

    unit: Unit

    def concluded(self) -> None:
        try:
            super().concluded()
        except Exception as error:
            gave_up(self.unit, error)
            raise

    def succeeded(self) -> None:
        super().succeeded()
        if self.unit.has_key_row:
            sweeps.touch(self.unit.cluster, self.unit.table)


class _UnitSteps(_UnitCourse, Steps["Session"]):
    pass


class _AsyncUnitSteps(_UnitCourse, AsyncSteps["AsyncSession"]):
    pass


class Attempts:
    """The attempts of one unit of work; made by `attempts`."""

    __slots__ = ("_work",)

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work

    def __iter__(self) -> Iterator[AbstractContextManager[Session]]:
        cluster = cluster_of(self._work.terms.target)
        outer = joined(cluster, self._work.terms)
        if outer is not None:
            return iter([contextlib.nullcontext(outer.opened)])
        unit = Unit(cluster, self._work.terms, [], is_async=False)
        with self._work.scope():
            steps = _UnitSteps(
                cluster.guard, unit.operation, lambda call: Attempt(unit, call), policy=self._work.policy(cluster)
            )
            steps.unit = unit
            steps.started()
        return steps

    def __aiter__(self) -> AsyncIterator[AbstractAsyncContextManager[AsyncSession]]:
        cluster = cluster_of(self._work.terms.target)
        outer = joined(cluster, self._work.terms)
        if outer is not None:
            return _alone(session_of(outer))
        unit = Unit(cluster, self._work.terms, [], is_async=True)
        with self._work.scope():
            steps = _AsyncUnitSteps(
                cluster.guard, unit.operation, lambda call: AsyncAttempt(unit, call), policy=self._work.policy(cluster)
            )
            steps.unit = unit
            steps.started()
        return steps


def attempts(
    target: Any = None,
    *,
    key: Literal["row", "free"] = "row",
    readonly: bool = False,
    isolation: str | None = None,
    deadline: str | float | None = None,
    attempts: int | None = None,
    profile: str | None = None,
) -> Attempts:
    """The attempts of a unit of work, as turns of a loop.

    ::

        for attempt in attempts(Base):
            with attempt as session:
                session.add(Order(...))

    and ``async for`` with ``async with`` in coroutines. The block is run again on a fresh session until it has happened
    exactly once; leaving it commits. An error that the block itself raises ends the loop. What stands behind the
    loop is reached only once the block has been applied, be it by an attempt whose reply was lost.

    Make new objects within the block. One from outside is put back to what it was when it was added to the session.

    Args:
        target: As for `unit_of_work`, and so is everything else.
        key: How a lost COMMIT is settled.
        readonly: Whether it only reads.
        isolation: Its isolation level.
        deadline: Time for all of it.
        attempts: Executions at most.
        profile: Name of a profile.

    Raises:
        Exception: As `run_in_transaction`, out of the loop.
    """
    return Attempts(
        unit_of_work(
            target,
            key=key,
            readonly=readonly,
            isolation=isolation,
            deadline=deadline,
            attempts=attempts,
            profile=profile,
        )
    )


async def _alone(session: AsyncSession) -> AsyncIterator[AbstractAsyncContextManager[AsyncSession]]:
    yield contextlib.nullcontext(session)
