"""Units of work: functions that are run again as a whole, on a fresh session, until they have happened exactly once."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, Concatenate, Literal, NoReturn, ParamSpec, TypeVar, overload

from undaunted.engine import sync
from undaunted.engine.call import CURRENT, current_call
from undaunted.engine.context import options
from undaunted.sqlalchemy import declared, sweeps
from undaunted.sqlalchemy.attempt import Attempt, joined
from undaunted.sqlalchemy.errors import OutcomeUnknown
from undaunted.sqlalchemy.functions import complete, position_of_session, refuse_generator, without_session
from undaunted.sqlalchemy.keys import KeyTaken
from undaunted.sqlalchemy.memory import mapped_arguments
from undaunted.sqlalchemy.targets import cluster_of, only_cluster
from undaunted.sqlalchemy.unit import Terms, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import orm
    from sqlalchemy.ext import asyncio as sa_asyncio

    from undaunted.core.policy import Policy
    from undaunted.engine.call import Call
    from undaunted.sqlalchemy.cluster import Cluster

    AnySession = orm.Session | sa_asyncio.AsyncSession

__all__ = ["UnitOfWork", "run_in_transaction", "unit_of_work"]

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="AnySession")
Own = TypeVar("Own")

_KEYS = ("row", "free")
_UNBOUNDED = contextlib.nullcontext()


class UnitOfWork:
    """A way to run functions as units of work of one cluster; made by `unit_of_work`."""

    __slots__ = ("_options", "terms")

    def __init__(self, terms: Terms, declared_options: options | None) -> None:
        self.terms = terms
        self._options = declared_options

    @overload
    def __call__(self, function: Callable[Concatenate[S, P], T], /) -> Callable[P, T]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Own, S, P], T], /) -> Callable[Concatenate[Own, P], T]: ...
    def __call__(self, function: Any, /) -> Any:
        """Decorate a function, a method or a coroutine function: each call of it is a unit of work.

        The session is its first parameter, of a method the one behind ``self``; callers leave it out.

        Raises:
            TypeError: It is a generator, or takes no session.
        """
        position = position_of_session(function)
        unit = self

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_unit_async(*args: Any, **kwargs: Any) -> Any:
                from undaunted.sqlalchemy import aio  # noqa: PLC0415  # only where it is used

                return await aio.run_unit(unit, function, args, kwargs, position=position)

            wrapper: Any = in_unit_async
        else:

            @functools.wraps(function)
            def in_unit(*args: Any, **kwargs: Any) -> Any:
                return _run_unit(unit, function, args, kwargs, position=position)

            wrapper = in_unit
        wrapper.__signature__ = without_session(function, position)
        return wrapper

    def run(self, function: Callable[Concatenate[S, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function as a unit of work, and return what it returned; of a coroutine function, await that.

        Raises:
            Exception: As `run_in_transaction`.
        """
        if inspect.iscoroutinefunction(function):
            from undaunted.sqlalchemy import aio  # noqa: PLC0415  # only where it is used

            ran: Any = aio.run_unit(self, function, args, kwargs)
            return ran  # type: ignore[no-any-return]  # what a coroutine function returns is awaitable
        refuse_generator(function)
        return _run_unit(self, function, args, kwargs)  # type: ignore[no-any-return]

    @property
    def is_unbounded(self) -> bool:
        """Whether it declares nothing that bounds its calls."""
        return self._options is None

    def scope(self) -> contextlib.AbstractContextManager[object]:
        """What the calls of this unit are bounded by.

        Within another guarded call it is run again by itself all the same, since only so it can be settled; but it ends
        with that call at the latest.
        """
        outer = current_call()
        if outer is None:
            return self._options or _UNBOUNDED
        stack = contextlib.ExitStack()
        stack.callback(CURRENT.reset, CURRENT.set(None))
        stack.enter_context(options(deadline=max(outer.remaining_s(), 1e-6)))
        if self._options is not None:
            stack.enter_context(self._options)
        return stack

    def policy(self, cluster: Cluster) -> Policy:
        """What bounds its calls, under the options in force."""
        target = self.terms.target
        return declared.policy_in_force(target if isinstance(target, type) else None, cluster.guard)

    def __enter__(self) -> NoReturn:
        raise TypeError(
            "A unit of work must be able to run its body again, and the body of a with block cannot be. Decorate a "
            "function with @unit_of_work(Base), call run_in_transaction(Base, function), or write: "
            "for attempt in attempts(Base): / with attempt as session: / ..."
        )

    def __exit__(self, *exc_info: object) -> None:
        """Never reached: entering refuses."""


def unit_of_work(
    target: Any = None,
    *,
    key: Literal["row", "free"] = "row",
    readonly: bool = False,
    isolation: str | None = None,
    deadline: str | float | None = None,
    attempts: int | None = None,
    profile: str | None = None,
) -> UnitOfWork:
    """Make functions units of work: ``@unit_of_work(Base)``, ``unit_of_work("ledger").run(function)``.

    The function gets a fresh session first, and is run again as a whole, on another fresh session, when its
    transaction was undone. A COMMIT whose reply was lost is settled: was it applied, the caller gets what the function
    had returned; was it not, the function is run again. So it happens exactly once in effect, or not at all with an
    error; and only where neither is known by the deadline, the error is `OutcomeUnknown`. What the function does
    beside the database, such as sending a mail, it may do several times.

    An error that the function itself raises undoes the transaction and passes at once. Within another unit of work of
    the same cluster it becomes part of that one; on another cluster it is a transaction of its own, which stays when
    the outer one is undone, and is repeated when the outer one is run again. Called in a running event loop, a plain
    function blocks it, as SQLAlchemy's sync sessions do: make it a coroutine function, which gets an `AsyncSession`.

    New objects that it is given are put back to what they were before each run, objects that belong to another session
    are refused, and those that it returns keep their values.

    Args:
        target: A base, a mapped class, or the name of a cluster; None means the cluster that is the default one.
        key: How a lost COMMIT is settled: ``"row"``, by a row in the table of keys, which is always right; or
            ``"free"``, by a row that the function inserts itself, at no cost. That takes a new object, flushed by the
            session, whose primary key this process has made for it alone, as ``default=uuid.uuid4`` does, and which
            nobody deletes at once. Without one, a lost COMMIT is `OutcomeUnknown`. PostgreSQL only.
        readonly: Whether it only reads; then replicas may serve it, and there is nothing to settle.
        isolation: Its isolation level, such as ``"SERIALIZABLE"``; None means that of the engine.
        deadline: Time for all of it, in place of `retry.deadline`.
        attempts: Executions at most, in place of `retry.attempts`; contention and lost nodes are not counted.
        profile: Name of a profile from the settings.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A value is out of range.
    """
    if callable(target) and not isinstance(target, type):
        raise TypeError(
            "@unit_of_work needs to know its cluster: write @unit_of_work(Base), or @unit_of_work() for the default."
        )
    if key not in _KEYS:
        raise ValueError(f"key: {key!r} is not one of {', '.join(_KEYS)}")
    if isolation is not None and isolation.upper().replace("_", " ") == "AUTOCOMMIT":
        raise ValueError("isolation: a unit of work cannot be undone under 'AUTOCOMMIT'; name an isolation level.")
    has_options = not (deadline is None and attempts is None and profile is None)
    declared_options = options(deadline=deadline, attempts=attempts, profile=profile) if has_options else None
    return UnitOfWork(Terms(target=target, key=key, readonly=readonly, isolation=isolation), declared_options)


def run_in_transaction(
    target: Any,
    function: Callable[..., T],
    /,
    *args: Any,
    key: Literal["row", "free"] = "row",
    readonly: bool = False,
    isolation: str | None = None,
    deadline: str | float | None = None,
    attempts: int | None = None,
    profile: str | None = None,
    **kwargs: Any,
) -> T:
    """Call a function as a unit of work: ``run_in_transaction(Base, transfer, source, target, amount)``.

    Args:
        target: As for `unit_of_work`, and so are the options.
        function: Gets a session, and then `args` and `kwargs`. Of a coroutine function, await what this returns.
        *args: For the function.
        key: How a lost COMMIT is settled.
        readonly: Whether it only reads.
        isolation: Its isolation level.
        deadline: Time for all of it.
        attempts: Executions at most.
        profile: Name of a profile.
        **kwargs: For the function. One that takes `key` or another of these names is called by
            ``unit_of_work(Base).run(function, ...)``.

    Raises:
        OutcomeUnknown: The COMMIT was sent, and the deadline passed before anything said what became of it.
        DeadlineExceeded: Its deadline left no time to run it again; nothing of it has happened.
        NoNodeAvailable: The outage has lasted for longer than it waits for a node.
        BudgetExhausted: The cluster's retry budget is empty.
        Exhausted: Every attempt that was allowed has failed.
        Exception: Whatever `function` raises; nothing of it has happened then.
    """
    made = unit_of_work(
        target, key=key, readonly=readonly, isolation=isolation, deadline=deadline, attempts=attempts, profile=profile
    )
    return made.run(function, *args, **kwargs)


def _run_unit(
    work: UnitOfWork, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, position: int = 0
) -> Any:
    target = work.terms.target
    cluster = (None if target is None else only_cluster(target)) or cluster_of(target)
    outer = joined(cluster, work.terms)
    if outer is not None:
        return function(*args[:position], outer.opened, *args[position:], **kwargs)
    unit = Unit(cluster, work.terms, mapped_arguments(function, args, kwargs), is_async=False)

    def body(call: Call) -> Any:
        attempt = Attempt(unit, call)
        try:
            with attempt as session:
                attempt.value = complete(function(*args[:position], session, *args[position:], **kwargs))
        except KeyTaken:
            return unit.applied_before()
        return attempt.value

    try:
        if work.is_unbounded and CURRENT.get() is None:  # as most are
            result = sync.run(cluster.guard, unit.operation, body, policy=work.policy(cluster))
        else:
            with work.scope():
                result = sync.run(cluster.guard, unit.operation, body, policy=work.policy(cluster))
    except BaseException as error:
        gave_up(unit, error)
        raise
    if unit.has_key_row:
        sweeps.touch(cluster, unit.table)
    return result


def gave_up(unit: Unit, error: BaseException) -> None:
    """Put objects from outside back, since nothing of the unit is known to have happened; and say what was missing."""
    unit.memory.restore()
    if isinstance(error, OutcomeUnknown) and not unit.can_be_settled and sys.version_info >= (3, 11):
        error.add_note(
            'This unit of work has key="free", and its session has flushed no new object whose primary key was made by '
            'this process, so nothing could show whether it was applied. Give it key="row", or such an object.'
        )
