"""SQLAlchemy's own pools, but for three things.

A call's deadline bounds its wait for a connection, too. Where a new connection could not be begun at once, since others
are being made to the same node, the first that is given back will do as well. And a connection that is lost before
anybody had it is said to be that.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

import psycopg
from sqlalchemy import exc
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool
from sqlalchemy.util import queue

from undaunted.errors import UndauntedError
from undaunted.sqlalchemy.deadlines import remaining_here_s
from undaunted.sqlalchemy.errors import NoNodeAvailable
from undaunted.sqlalchemy.faults import SQLSTATES, Sign, sqlstate_of
from undaunted.sqlalchemy.turns import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AsyncPool", "Pool", "patient"]

_FOR_EVER_S = 86400.0
_LOOK_S = 0.005
"""Who waits for a connection to be given back looks this often whether a new one may be begun."""

P = TypeVar("P", bound=QueuePool)


def _never() -> bool:
    return False


class _Queue(queue.Queue[Any]):
    def __init__(self, maxsize: int = 0, use_lifo: bool = False, *, is_busy: Callable[[], bool] = _never) -> None:  # noqa: FBT001, FBT002  # as SQLAlchemy calls it
        super().__init__(maxsize, use_lifo)
        self._is_busy = is_busy

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002  # as SQLAlchemy calls it
        if block:
            return super().get(block, _bounded_s(timeout))
        try:
            return super().get(block)
        except queue.Empty:
            if not self._is_busy():
                raise
        return _given_back(super().get, self._is_busy)


class _AsyncQueue(queue.AsyncAdaptedQueue[Any]):
    def __init__(self, maxsize: int = 0, use_lifo: bool = False, *, is_busy: Callable[[], bool] = _never) -> None:  # noqa: FBT001, FBT002  # as SQLAlchemy calls it
        super().__init__(maxsize, use_lifo)
        self._is_busy = is_busy

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002  # as SQLAlchemy calls it
        if block:
            return super().get(block, _bounded_s(timeout))
        try:
            return super().get(block)
        except queue.Empty:
            if not self._is_busy():
                raise
        return _given_back(super().get, self._is_busy)


def _bounded_s(timeout_s: float | None) -> float:
    return remaining_here_s(_FOR_EVER_S if timeout_s is None else timeout_s)


def _given_back(get: Callable[[bool, float], Any], is_busy: Callable[[], bool]) -> Any:
    """A connection that somebody gives back.

    Raises:
        queue.Empty: There was none while others were being made; now one may be begun.
    """
    ends_s = time.monotonic() + remaining_here_s(PATIENCE_S)
    while True:
        try:
            return get(True, _LOOK_S)  # as SQLAlchemy calls it
        except queue.Empty:
            if not is_busy() or time.monotonic() >= ends_s:
                raise


def _is_unmade(error: Exception) -> bool:
    """Whether an error is that of a connection that was lost while SQLAlchemy took its first looks at it.

    On the first connection of an engine it asks for some settings and types. It closes its own hold of a connection
    that is lost then, and stumbles over that with its next question.
    """
    if isinstance(error, (UndauntedError, exc.ResourceClosedError)):
        return isinstance(error, exc.ResourceClosedError)
    orig = error.orig if isinstance(error, exc.DBAPIError) else error
    state = sqlstate_of(error)
    return isinstance(orig, psycopg.OperationalError) and (state is None or SQLSTATES.get(state) is Sign.LOST)


class _Said(QueuePool):
    def _do_get(self) -> Any:
        try:
            return super()._do_get()
        except Exception as error:
            if not _is_unmade(error):
                raise
            raise NoNodeAvailable("A connection was lost as soon as it had been made.") from error


class Pool(_Said):
    """Connections for threads."""

    _queue_class = _Queue


class AsyncPool(_Said, AsyncAdaptedQueuePool):
    """Connections for tasks."""

    _queue_class = _AsyncQueue


def patient(kind: type[P], is_busy: Callable[[], bool]) -> type[P]:
    """The same kind of pool for one engine, that knows when connections to its node are being made.

    Args:
        kind: One of the two above.
        is_busy: Whether no further one could be begun now.
    """
    made: Any = functools.partial(vars(kind)["_queue_class"], is_busy=is_busy)
    # From Python 3.14 on a partial in a class would be a method of it, and get the pool as its first argument.
    bound: Any = type(kind.__name__, (kind,), {"_queue_class": staticmethod(made)})
    return cast("type[P]", bound)
