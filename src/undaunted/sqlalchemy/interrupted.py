"""psycopg's connections: they tell before they commit, and are left at once when interrupted.

What interrupts is Ctrl-C, or the cancellation of a task.

psycopg asks the server to cancel what runs, and waits for both, 5 s each: so long a frozen node would hold a task that
has been cancelled. And a COMMIT that is cancelled while it waits for a synchronous standby is not undone, but answered
without that standby. So a COMMIT is left alone, and all else is cancelled as far as that takes no time.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
from psycopg import capabilities

from undaunted.engine.call import current_call
from undaunted.sqlalchemy.errors import CommitRolledBack
from undaunted.sqlalchemy.opening import IDLE, INERROR, INTRANS, AsyncCursor, Cursor, Opening

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

__all__ = ["AsyncConnection", "Connection"]

_PATIENCE_S = 0.1


class Connection(Opening, psycopg.Connection[Any]):
    """`psycopg.Connection` that is closed when a signal interrupts what it does.

    Attributes:
        before_commit: Called before each COMMIT that is sent, with what the server has said of its log.
    """

    before_commit: Callable[[bytes | None], None] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = Cursor
        self.undaunted_prepared = set()
        self.undaunted_pid = os.getpid()

    def commit(self) -> None:
        """As psycopg's.

        Raises:
            CommitRolledBack: The server would answer with ROLLBACK.
        """
        status = self.pgconn.transaction_status
        if status == INERROR:
            # SQLAlchemy takes the transaction for ended now, as it is after a COMMIT that fails at the server.
            with contextlib.suppress(psycopg.Error):
                self.rollback()
            raise CommitRolledBack
        if self.due is not None and status == INTRANS:
            self.begin_with_key()  # somebody has begun beneath psycopg; the key is there before the COMMIT all the same
        self.due = None
        if status != IDLE and self.before_commit is not None:
            self.before_commit(self.written_at)
        self.written_at = None
        super().commit()

    def rollback(self) -> None:
        """As psycopg's."""
        if self._is_undone():
            return
        undone = self._undone()
        if undone is None:
            super().rollback()
            return
        with self.lock:
            self.wait(undone)

    @contextlib.contextmanager
    def transaction(self, *args: Any, **options: Any) -> Generator[psycopg.Transaction]:
        """As psycopg's; within a unit of work it is a savepoint from the start."""
        if self.due is not None:
            self.begin_with_key()
        with super().transaction(*args, **options) as block:
            yield block

    def begin_with_key(self) -> None:
        """Begin a transaction with the key that is due; returns behind the server's answer."""
        with self.lock:
            self.wait(self._start_query())

    def _try_cancel(self, *, timeout: float = 5.0) -> NoReturn:  # noqa: ARG002  # overrides psycopg's
        interruption = sys.exc_info()[1]
        if not _is_committing() and capabilities.has_cancel_safe():  # else it could not be left
            with contextlib.suppress(Exception):
                self.cancel_safe(timeout=_PATIENCE_S)
        self.pgconn.finish()
        raise interruption or KeyboardInterrupt


class AsyncConnection(Opening, psycopg.AsyncConnection[Any]):
    """`psycopg.AsyncConnection` that is closed when the task that uses it is cancelled; see `Connection`."""

    before_commit: Callable[[bytes | None], None] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = AsyncCursor
        self.undaunted_prepared = set()
        self.undaunted_pid = os.getpid()

    async def commit(self) -> None:
        """As psycopg's; see `Connection.commit`."""
        status = self.pgconn.transaction_status
        if status == INERROR:
            with contextlib.suppress(psycopg.Error):
                await self.rollback()
            raise CommitRolledBack
        if self.due is not None and status == INTRANS:
            await self.begin_with_key()
        self.due = None
        if status != IDLE and self.before_commit is not None:
            self.before_commit(self.written_at)
        self.written_at = None
        await super().commit()

    async def rollback(self) -> None:
        """As psycopg's."""
        if self._is_undone():
            return
        undone = self._undone()
        if undone is None:
            await super().rollback()
            return
        async with self.lock:
            await self.wait(undone)

    @contextlib.asynccontextmanager
    async def transaction(self, *args: Any, **options: Any) -> AsyncGenerator[psycopg.AsyncTransaction]:
        """As psycopg's; see `Connection.transaction`."""
        if self.due is not None:
            await self.begin_with_key()
        async with super().transaction(*args, **options) as block:
            yield block

    async def begin_with_key(self) -> None:
        """As `Connection.begin_with_key`."""
        async with self.lock:
            await self.wait(self._start_query())

    async def _try_cancel(self, *, timeout: float = 5.0) -> NoReturn:  # noqa: ARG002  # overrides psycopg's
        interruption = sys.exc_info()[1]
        if not _is_committing():
            with contextlib.suppress(Exception):
                await self.cancel_safe(timeout=_PATIENCE_S)
        self.pgconn.finish()
        raise interruption or asyncio.CancelledError


def _is_committing() -> bool:
    call = current_call()
    return call is not None and call.sent
